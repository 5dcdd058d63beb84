#!/bin/sh
# The miniature of the official archive that the page prepares.
set -e
python -m tests.archives hmdb51 downloads/hmdb51
