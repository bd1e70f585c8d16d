#!/usr/bin/env bash
# Train on a Slurm cluster: tools/slurm_train.sh PARTITION JOB_NAME CONFIG [arguments of train.py].
#
# Slurm starts torchrun once per machine, and torchrun the processes there, see torchrun.sh.
# In the environment: GPUS, processes in all (8); GPUS_PER_NODE, of them on one machine (8); CPUS_PER_TASK, cores of each
# process (5); GRES, what srun is asked for (gpu:GPUS_PER_NODE; empty for processes on CPUs); SRUN_ARGS, more arguments
# of srun; PYTHON.
set -euo pipefail

if (($# < 3)); then
    echo "usage: $0 PARTITION JOB_NAME CONFIG [arguments of train.py]" >&2
    exit 2
fi
gpus=${GPUS:-8}
per_node=${GPUS_PER_NODE:-$((gpus < 8 ? gpus : 8))}
gres=${GRES-gpu:$per_node}
if ((gpus % per_node)); then
    echo "$0: GPUS=$gpus cannot be shared out to machines with GPUS_PER_NODE=$per_node each" >&2
    exit 2
fi
# On each machine. The first one is where they meet; two jobs may share it, so that the port is the job's own.
# shellcheck disable=SC2016 # Slurm sets these variables where it starts the script
start='MASTER_ADDR=${MASTER_ADDR:-$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)} \
    PORT=${PORT:-$((20000 + SLURM_JOB_ID % 10000))} NNODES=$SLURM_NNODES NODE_RANK=$SLURM_NODEID exec "$@"'
# shellcheck disable=SC2086 # SRUN_ARGS are several
exec srun -p "$1" --job-name="$2" ${gres:+--gres="$gres"} --nodes="$((gpus / per_node))" --ntasks-per-node=1 \
    --cpus-per-task="$((per_node * ${CPUS_PER_TASK:-5}))" --kill-on-bad-exit=1 ${SRUN_ARGS:-} \
    bash -c "$start" bash "$(dirname "$0")/torchrun.sh" "$per_node" train.py "$3" "${@:4}"
