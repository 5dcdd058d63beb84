# shellcheck shell=bash
# data/mine: twelve short videos as frames with two CSV files of their classes; a small network in the template
python - <<'PYTHON'
from pathlib import Path

from tests.helpers.experiment import write_frames

SETS = {0: ["run;jump", "jump", "-"], 1: ["swim", "run", "run;swim"]}
for split, count in (("train", 9), ("val", 6)):
    rows = ["video,labels\n"]
    for number in range(count):
        name = f"{split}_{number}"
        write_frames(Path("data/mine/frames") / name, number % 2, seed=number)
        rows.append(f"{name}.mp4,{SETS[number % 2][number % 3]}\n")
    Path(f"data/mine/{split}.csv").write_text("".join(rows))
PYTHON
sed -i -e 's/backbone: resnet50/backbone: resnet18/' -e 's/num_class: 10/num_class: 3/' -e 's/pretrained: True/pretrained: False/' \
    -e 's/input_size: 224/input_size: 32/' -e 's/test_resize: 256/test_resize: 36/' -e 's/workers: 4/workers: 1/' \
    -e 's/batch_size: 32/batch_size: 4/' -e 's/epochs: 25/epochs: 2/' -e 's/warmup_epochs: 2/warmup_epochs: 1/' \
    exps/template/tsm_resnet50/config.yaml
