#!/bin/sh
# A small data set with the annotation files of the other project.
set -e
python -m tests.peer_lists theirs
