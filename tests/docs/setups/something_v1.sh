#!/bin/sh
# The miniature of the official archive that the page prepares.
set -e
python -m tests.archives something_v1 downloads/something_v1
