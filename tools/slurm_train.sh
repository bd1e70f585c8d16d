#!/usr/bin/env bash
# Train on a Slurm cluster: tools/slurm_train.sh PARTITION JOB_NAME CONFIG [arguments of train.py].
#
# In the environment: GPUS, processes in all (8); GPUS_PER_NODE, of them on one machine (8); CPUS_PER_TASK (5); GRES, what
# srun is asked for (gpu:GPUS_PER_NODE; empty for processes on CPUs); SRUN_ARGS, more arguments of srun; PYTHON.
set -euo pipefail

if (($# < 3)); then
    echo "usage: $0 PARTITION JOB_NAME CONFIG [arguments of train.py]" >&2
    exit 2
fi
gpus=${GPUS:-8}
per_node=${GPUS_PER_NODE:-$((gpus < 8 ? gpus : 8))}
gres=${GRES-gpu:$per_node}
# shellcheck disable=SC2086 # SRUN_ARGS are several
exec srun -p "$1" --job-name="$2" ${gres:+--gres="$gres"} --ntasks="$gpus" --ntasks-per-node="$per_node" \
    --cpus-per-task="${CPUS_PER_TASK:-5}" --kill-on-bad-exit=1 ${SRUN_ARGS:-} \
    "${PYTHON:-python}" -u "$(dirname "$0")/train.py" "$3" "${@:4}" --launcher slurm
