# shellcheck shell=bash
# The miniature of the official archive that the page prepares.
python -m tests.archives kinetics400 downloads/kinetics400
