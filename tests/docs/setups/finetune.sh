# shellcheck shell=bash
# A data set of own videos, and a small network under the name and in the layout of MIT's published Kinetics checkpoint
. tests/docs/setups/own_videos.sh
python tools/dump_frames.py videos data/mine
python tools/make_lists.py data/mine
python - <<'PYTHON'
import torch

from methods.tsm import TSM
from tests.networks.checkpoints.layouts.official_names_2d import mit

FILE = "pretrained/TSM_kinetics_RGB_resnet50_shift8_blockres_avg_segment8_e50.pth"
state = mit(TSM(backbone="resnet18", num_class=400).state_dict(), {}, shifted=True)
torch.save({"state_dict": state, "arch": "resnet18"}, FILE)
PYTHON
