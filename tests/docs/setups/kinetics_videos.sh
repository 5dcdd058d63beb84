#!/usr/bin/env bash
# A Kinetics of two classes in data/kinetics400/{train,val}/<class>/, for pages whose commands read videos from there.
set -euo pipefail
python -m tools.make_motion8 data/motion8/videos --train 8 --val 8
for line in left:air_drumming right:zumba; do
    for split in train val; do
        mkdir -p "data/kinetics400/$split/${line#*:}"
    done
    videos=(data/motion8/videos/"${line%:*}"/*.mp4)
    cp "${videos[0]}" "data/kinetics400/train/${line#*:}"
    cp "${videos[1]}" "data/kinetics400/val/${line#*:}"
done
