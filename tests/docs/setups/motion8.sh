# shellcheck shell=bash
# The experiments of motion8 cut down to some steps
sed -i -e 's/max_iter: .*/max_iter: 3/' -e 's/batch_size: .*/batch_size: 4/' -e 's/warmup_steps: .*/warmup_steps: 1/' \
    exps/motion8/*/config.yaml
