#!/usr/bin/env bash
# PROCESSES SCRIPT [ARGUMENTS]: starts tools/SCRIPT in PROCESSES processes on this machine, one per GPU, or on CPUs.
#
# Over several machines, run it on each with NNODES, NODE_RANK (0, 1, ...), MASTER_ADDR and PORT in the environment.
# Alone, it takes a free port; PORT sets another. PYTHON is the interpreter.
set -euo pipefail

if [[ ${NNODES:-1} == 1 && -z ${PORT:-} ]]; then
    meeting=(--standalone)
else
    meeting=(--nnodes "${NNODES:-1}" --node_rank "${NODE_RANK:-0}"
             --master_addr "${MASTER_ADDR:-127.0.0.1}" --master_port "${PORT:-29500}")
fi
exec "${PYTHON:-python}" -m torch.distributed.run "${meeting[@]}" --nproc_per_node "$1" \
    "$(dirname "$0")/$2" "${@:3}" --launcher pytorch
