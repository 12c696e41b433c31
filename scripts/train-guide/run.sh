#!/usr/bin/env bash
# Trains models/guide anew and checks it: `scripts/train-guide/run.sh [options of train.py]`. Needs Python 3.11 or newer.
# VENV says where the Python packages go (default: .venv beside this file).
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
venv=${VENV:-$here/.venv}
[ -x "$venv/bin/python" ] || python3 -m venv "$venv"
"$venv/bin/pip" install --quiet --requirement "$here/requirements.txt"
# One thread: at this size the matrices are too small to share, and threads that wait for each other cost a third more. Without the malloc settings glibc
# gives the buffers of every step back to the kernel and asks for them again, 69,000 page faults a step and a quarter of the time.
export XLA_FLAGS="--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
export MALLOC_MMAP_MAX_=0 MALLOC_ARENA_MAX=1 MALLOC_TRIM_THRESHOLD_=4000000000 MALLOC_TOP_PAD_=500000000
"$venv/bin/python" "$here/train.py" "$@"
"$venv/bin/python" "$here/check.py" --held-out
