# data/ucf101 in miniature: textures that move left or right, of UCF-101's 101 classes the first two
set -eu
python - <<'PYTHON'
from pathlib import Path

from tests.helpers.moving import make_moving

root = Path("data/ucf101")
make_moving(root, {"train": 4, "val": 2})
names = "".join(f"{label} {name}\n" for label, name in enumerate(["left", "right", *map("class_{}".format, range(2, 101))]))
(root / "lists" / "classInd.txt").write_text(names)
PYTHON
