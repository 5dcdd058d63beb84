#!/bin/sh
# The miniature of the official archive that the page prepares.
set -e
python -m tests.archives kinetics400 downloads/kinetics400
