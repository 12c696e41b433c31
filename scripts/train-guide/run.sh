#!/usr/bin/env bash
# Trains models/guide anew and checks it: `scripts/train-guide/run.sh [options of train.py]`. Needs Python 3.11 or newer; about 15 minutes on two free cores.
# VENV says where the Python packages go (default: .venv beside this file).
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
venv=${VENV:-$here/.venv}
[ -x "$venv/bin/python" ] || python3 -m venv "$venv"
"$venv/bin/pip" install --quiet --requirement "$here/requirements.txt"
# Without these glibc gives the large buffers of every step back to the kernel and asks for them again: a third of the time.
export MALLOC_TRIM_THRESHOLD_=4000000000 MALLOC_MMAP_THRESHOLD_=4000000000
"$venv/bin/python" "$here/train.py" "$@"
"$venv/bin/python" "$here/check.py" --held-out
