# shellcheck shell=bash
# The miniature of the official archive that the page prepares.
python -m tests.helpers.archives kinetics400 downloads/kinetics400
