# shellcheck shell=bash
# videos/ with three classes of small videos, and the template cut down to what a CPU trains in seconds
python - <<'PYTHON'
from pathlib import Path

from tests.helpers.make_video import make_video

for label, name in enumerate(("clap", "jump", "wave")):
    for number in range(5):
        make_video(Path(f"videos/{name}/{name}_{number}.mp4"), frames=16 + 4 * label + number)
PYTHON
sed -i -e 's/backbone: resnet50/backbone: resnet18/' -e 's/num_class: 10/num_class: 3/' -e 's/pretrained: True/pretrained: False/' \
    -e 's/input_size: 224/input_size: 32/' -e 's/test_resize: 256/test_resize: 36/' -e 's/workers: 4/workers: 1/' \
    -e 's/batch_size: 32/batch_size: 4/' -e 's/epochs: 25/epochs: 2/' -e 's/warmup_epochs: 2/warmup_epochs: 1/' \
    exps/template/tsm_resnet50/config.yaml
cp videos/wave/wave_0.mp4 some_video.mp4
