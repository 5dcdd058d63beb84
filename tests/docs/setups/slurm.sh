# shellcheck shell=bash
# A real Slurm on this machine (tests/slurm/cluster.py), a few motion8 videos, and its experiments cut down to some steps
python tools/make_motion8.py data/motion8/videos --train 16 --val 8
python tools/dump_frames.py data/motion8/videos data/motion8 --size 72
python tools/make_lists.py data/motion8 --split data/motion8/videos/splits
. tests/docs/setups/motion8.sh

python - >slurm_conf <<'PYTHON' &
import signal
import sys

from tests.slurm.cluster import running_cluster

signal.signal(signal.SIGTERM, lambda *_: sys.exit())
with running_cluster() as cluster:
    print(cluster.environment["SLURM_CONF"], flush=True)
    signal.pause()
PYTHON
slurm=$!
trap 'kill $slurm; wait $slurm || true' EXIT
until [ -s slurm_conf ]; do
    kill -0 $slurm  # fails here when it could not start
    sleep 0.1
done
SLURM_CONF=$(cat slurm_conf)
export SLURM_CONF
