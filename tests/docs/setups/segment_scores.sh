# shellcheck shell=bash
# truth.json and answer.json: made-up true segments of six videos and answers to them
python - <<'PYTHON'
from pathlib import Path

import numpy as np

from tests.helpers.segments import made_up, write_files

write_files(Path(), *made_up(np.random.default_rng(0)))
PYTHON
