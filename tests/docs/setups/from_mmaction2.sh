# shellcheck shell=bash
# A small data set with the annotation files of the other project.
python -m tests.helpers.peer_lists theirs
printf 'a 10 0 1\nb 10 1\n' > theirs/train_multi.txt
