#!/usr/bin/env bash
# ./eval.sh PARTITION NUM_GPUS [srun options]; PARTITION local needs no Slurm. The same in every experiment: see tools/launch.sh
#SBATCH --requeue --open-mode=append --signal=B:USR1@60
here=$(dirname "$0") # sbatch runs a copy of this file from its spool folder, so the next line asks Slurm where it came from
[ -f "$here/config.yaml" ] || here=$(dirname "$(scontrol show job "$SLURM_JOB_ID" | sed -n 's/^ *Command=\(.*\/eval\.sh\).*/\1/p')")
root=$(cd "$here" && until [ -f tools/launch.sh ] || [ "$PWD" = / ]; do cd ..; done && pwd)
exec bash "$root/tools/launch.sh" eval "$here" "$@"
