# shellcheck shell=bash
# A small data set with the annotation files of the other project.
python -m tests.helpers.peer_lists theirs
