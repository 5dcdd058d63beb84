# exps/mine and exps/other: two tiny experiments, trained and evaluated on the same videos
python - <<'PYTHON'
from pathlib import Path

from tests.helpers.experiment import make_experiment

make_experiment(Path("data/mine").absolute())
PYTHON
for name in mine other; do
    mkdir -p exps/$name
    cp data/mine/exp/config.yaml exps/$name/
done
printf '  seed: 1\n' >>exps/other/config.yaml
for name in mine other; do
    python main.py --config exps/$name/config.yaml
    python main.py --config exps/$name/config.yaml --evaluate
done
