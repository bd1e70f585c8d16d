#!/usr/bin/env bash
# Train in several processes: tools/dist_train.sh CONFIG PROCESSES [arguments of train.py]; see torchrun.sh.
set -euo pipefail

if (($# < 2)); then
    echo "usage: $0 CONFIG PROCESSES [arguments of train.py]" >&2
    exit 2
fi
exec "$(dirname "$0")/torchrun.sh" "$2" train.py "$1" "${@:3}"
