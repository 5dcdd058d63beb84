#!/usr/bin/env bash
# launch.sh train|eval EXPERIMENT PARTITION NUM_GPUS [srun options] [-- main.py options]
#
# Every train.sh and eval.sh calls this script. NUM_GPUS is the number of processes, at most 8 on a node, one GPU each.
#   PARTITION local, or no srun here   torchrun's agent for NUM_GPUS > 1, else one process; NUM_GPUS 0 hides the GPUs
#   otherwise                          srun in the foreground; --gres only where the partition's nodes have GPUs
#   inside an allocation (sbatch)      srun inside it; sbatch without options submits itself again with the right ones
# RETRIES (3): a run that ended for any reason but a user's error or Ctrl-C is started again and continues from its
# checkpoint. Inside sbatch, a run that was asked to leave (SIGTERM, or USR1 before the time limit) is requeued.
# Each attempt has the same LAUNCH_ID, so that --fresh counts once. A terminal shows a progress bar, which the log leaves out.
# PYTHON chooses the interpreter; by default the project's .venv, otherwise python3.
# STORE=memcached or STORE=disk replaces the config's data.store. MEMCACHED_SERVERS names running servers (host:port or
# Unix sockets, separated by commas); without it one server of MEMCACHED_MB (1024) megabytes is started for this run.
set -uo pipefail

usage() { echo "usage: $1.sh PARTITION NUM_GPUS [srun options] [-- main.py options]    (PARTITION local: no Slurm)" >&2; exit 2; }
fail() { echo "error: $*" >&2; exit 2; }

mode=$1 experiment=$(cd "$2" && pwd); shift 2
[ $# -ge 2 ] || usage "$mode"
partition=$1 num_gpus=$2; shift 2
[[ $num_gpus =~ ^[0-9]+$ ]] || fail "NUM_GPUS must be a number, not '$num_gpus'"
tasks=$((num_gpus > 0 ? num_gpus : 1))
srun_options=()
while [ $# -gt 0 ] && [ "$1" != -- ]; do
    case $1 in  # without Slurm these would be dropped, and a different run would start
        common.* | --fresh | --dry-run | --load-path* | --recover | --new-head | --not-strict | --trust-pickle | --fus* | --fake) fail "$1 is an option of main.py; those go behind --: $mode.sh $partition $num_gpus -- $1" ;;
    esac
    srun_options+=("$1"); shift
done
[ $# -eq 0 ] || shift
main_options=("$@")

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
config=$experiment/config.yaml
[ -f "$config" ] || fail "no config.yaml in $experiment"
if [ -z "${PYTHON:-}" ]; then
    PYTHON=$root/.venv/bin/python
    [ -x "$PYTHON" ] || PYTHON=$(command -v python3 || command -v python) || fail "no python3: run make test or make demo once, or set PYTHON"
fi

program=("$PYTHON" "$root/main.py" --config "$config")
log=$experiment/full_log.txt
if [ "$mode" = eval ]; then
    program+=(--evaluate)  # of ckpt_best.pth.tar, unless the options name something else
    log=$experiment/eval_log.txt
fi
program+=(${main_options[@]+"${main_options[@]}"})

# Sets `cache`, the folder of the server's socket, and `server`, its process.
start_memcached() {
    [ "$slurm" = no ] || fail "STORE=memcached under Slurm: start memcached where all nodes reach it and set MEMCACHED_SERVERS"
    command -v memcached >/dev/null || fail "STORE=memcached: no memcached here (apt-get install memcached); or set MEMCACHED_SERVERS"
    cache=$(mktemp -d)
    local options=(-s "$cache/socket" -m "${MEMCACHED_MB:-1024}" -U 0)
    [ "$(id -u)" -ne 0 ] || options+=(-u root)
    memcached "${options[@]}" &
    server=$!
    trap 'kill "$server" 2>/dev/null; rm -rf "$cache"' EXIT
    for _ in {1..100}; do if [ -S "$cache/socket" ]; then return; fi; sleep 0.05; done
    fail "memcached ${options[*]}: does not start"
}

slurm=yes
if [ "$partition" = local ] || ! command -v srun >/dev/null; then slurm=no; fi
in_allocation=$([ "$slurm" = yes ] && [ -n "${SLURM_JOB_ID:-}" ] && echo yes || echo no)
in_batch=$([ "$in_allocation" = yes ] && [ "${SLURM_JOB_NAME:-}" != interactive ] && [ -n "${SLURM_NODEID:-}" ] && [ -z "${SLURM_STEP_ID:-}" ] && echo yes || echo no)

# Sets `request`, the options of a new allocation: tasks spread evenly over nodes, and CPUs for each task's loader workers.
slurm_request() {
    local workers gpus_on_node most=8 nodes per_node given=" ${srun_options[*]-}"
    workers=$("$PYTHON" -c 'import sys, yaml; print(max(1, int((yaml.safe_load(open(sys.argv[1]))["common"].get("workers") or 1))))' "$config") ||
        fail "cannot read common.workers from $config"
    gpus_on_node=$(sinfo -h -p "$partition" -o %G | sed -n 's/.*gpu:\([^:,(]*:\)\?\([0-9]\+\).*/\2/p' | sort -n | tail -1)
    if [ "$num_gpus" -gt 0 ] && [ -n "$gpus_on_node" ] && [ "$gpus_on_node" -lt $most ]; then most=$gpus_on_node; fi
    if [[ $given =~ \ --ntasks-per-node[=\ ]([0-9]+) ]] && [ "${BASH_REMATCH[1]}" -lt $most ]; then most=${BASH_REMATCH[1]}; fi
    nodes=$(((tasks + most - 1) / most))
    if [[ $given =~ \ (-N\ ?|--nodes[=\ ])([0-9]+) ]] && [ "${BASH_REMATCH[2]}" -gt $nodes ]; then nodes=${BASH_REMATCH[2]}; fi
    per_node=$(((tasks + nodes - 1) / nodes))
    request=(--partition="$partition" --job-name="$(basename "$experiment" | cut -c1-60)" --nodes="$nodes" --ntasks="$tasks" --ntasks-per-node="$per_node" --cpus-per-task="$workers")
    if [ "$num_gpus" -gt 0 ] && [ -n "$gpus_on_node" ]; then request+=(--gres=gpu:"$per_node"); fi
    request+=(${srun_options[@]+"${srun_options[@]}"})
}

allocation_holds_all_tasks() {
    local total=0 part
    [ "$tasks" -le "${SLURM_NTASKS:-1}" ] && return
    for part in ${SLURM_JOB_CPUS_PER_NODE//,/ }; do  # like 16(x2),8
        [[ $part =~ ^([0-9]+)(\(x([0-9]+)\))?$ ]] && total=$((total + BASH_REMATCH[1] * ${BASH_REMATCH[3]:-1}))
    done
    [ -z "${SLURM_NTASKS:-}" ] && [ "$tasks" -le "$total" ]
}

if [ "$slurm" = no ]; then
    [ ${#srun_options[@]} -eq 0 ] || echo "no Slurm here: ${srun_options[*]} are not used" >&2
    if [ "$num_gpus" -eq 0 ]; then export CUDA_VISIBLE_DEVICES=; fi
    unset "${!SLURM_@}"  # in a shell inside an allocation, a local run must not look like a Slurm task
    if [ "$tasks" -gt 1 ]; then
        program=("$PYTHON" -m tools.local_launch "$tasks" "${program[@]:1}")
    fi
    launcher=()
elif [ "$in_allocation" = yes ]; then
    if ! allocation_holds_all_tasks; then
        [ "$in_batch" = yes ] || fail "this allocation holds fewer than $tasks tasks"
        slurm_request
        echo "this job is too small for $tasks tasks; submitting it again as: sbatch ${request[*]}"
        exec sbatch "${request[@]}" --requeue --open-mode=append "$experiment/$mode.sh" "$partition" "$num_gpus" -- ${main_options[@]+"${main_options[@]}"}
    fi
    launcher=(srun --mpi=none --kill-on-bad-exit=1 --label --ntasks="$tasks")
    [ -z "${SLURM_CPUS_PER_TASK:-}" ] || launcher+=(--cpus-per-task="$SLURM_CPUS_PER_TASK")
    launcher+=(${srun_options[@]+"${srun_options[@]}"})
else
    slurm_request
    launcher=(srun --mpi=none --kill-on-bad-exit=1 --label "${request[@]}")
fi

case ${STORE:-} in
    "") ;;
    disk) program+=("common.data.store={type: disk}") ;;
    memcached)
        [ -n "${MEMCACHED_SERVERS:-}" ] || start_memcached
        program+=("common.data.store={type: memcached, servers: '${MEMCACHED_SERVERS:-$cache/socket}'}") ;;
    *) fail "STORE must be memcached or disk, not '$STORE'" ;;
esac

# what all attempts have in common, those after Slurm requeued the job as well
if [ "$in_batch" = yes ]; then LAUNCH_ID="slurm $SLURM_JOB_ID"; else LAUNCH_ID="$(hostname) $$ $(date +%s)"; fi
export LAUNCH_ID

# srun --label holds back what does not end a line, and with it the bar
if [ -t 1 ] && [ "$slurm" = no ]; then BAR_COLUMNS=$(tput cols 2>/dev/null || echo 80); export BAR_COLUMNS; else unset BAR_COLUMNS; fi
keep_lines() {  # without the bar, which is everything up to the last return in a line
    local line
    while IFS= read -r line || [ -n "$line" ]; do line=${line%$'\r'}; printf '%s\n' "${line##*$'\r'}"; done >>"$log"
}
# shows what the run prints and keeps it, even when the terminal is closed or its reader has ended
show_and_keep() {
    trap '' HUP INT PIPE
    if [ -n "${BAR_COLUMNS:-}" ]; then tee -i >(trap '' HUP INT; keep_lines); else exec tee -i -a "$log"; fi
}

# Bash handles a signal only between commands or in `wait`, so the run goes to the background and the script waits.
stop=0 child=
forward() {
    stop=$1
    # on SIGTERM srun kills its tasks at once; it forwards USR1, which main.py understands as "save and leave"
    [ -z "$child" ] || kill "-$([ ${#launcher[@]} -gt 0 ] && echo USR1 || echo TERM)" "$child" 2>/dev/null
}
trap 'forward 143' TERM
trap 'forward 138' USR1
trap 'forward 129' HUP  # not under nohup
trap 'stop=130; [ -t 0 ] || kill -INT "$child" 2>/dev/null' INT  # Ctrl-C in a terminal reaches the run by itself

cd "$root" || exit 1
for ((attempt = 0; ; attempt++)); do
    ${launcher[@]+"${launcher[@]}"} "${program[@]}" > >(show_and_keep) 2>&1 &
    child=$!
    code=
    while kill -0 "$child" 2>/dev/null; do wait "$child"; code=$?; done
    [ -n "$code" ] || { wait "$child"; code=$?; }
    child=
    if [ $code -eq 0 ] || [ $code -eq 2 ] || [ $code -eq 130 ] || [ $stop -eq 130 ]; then exit $code; fi
    # asked to leave: always requeued. 143 alone may also mean that srun ended the tasks after one died: RETRIES times
    if [ "$in_batch" = yes ] && { [ $stop -ne 0 ] || [ $code -eq 138 ] || { [ $code -eq 143 ] && [ "${SLURM_RESTART_COUNT:-0}" -lt "${RETRIES:-3}" ]; }; }; then
        echo "asking Slurm to requeue job $SLURM_JOB_ID; the run will continue from its checkpoint" | tee -a "$log"
        scontrol requeue "$SLURM_JOB_ID" 2>/dev/null  # fails where Slurm does it already
        exit $code
    fi
    [ $stop -eq 0 ] || exit $stop
    [ "$attempt" -lt "${RETRIES:-3}" ] || exit $code
    sleep 1  # what the attempt has printed last comes first
    echo "$mode ended with code $code; starting it again ($((attempt + 1)) of ${RETRIES:-3})" | tee -a "$log"
done
