# shellcheck shell=bash
# The miniature of the official archive that the page prepares.
python -m tests.helpers.archives activitynet downloads/activitynet
