#!/usr/bin/env bash
# All GPU measurements with one command, on a bare machine without a network. Needs Python 3.10 or
# newer with PyTorch; what else is missing comes as wheels. Made beforehand, with a network:
#
#   pip download --no-deps -d WHEELS segment-anything pooch    # and what else is not there
#
# (for another Python or system: --python-version 3.12 --platform manylinux2014_x86_64
# --only-binary=:all:). Then:
#
#   bash benchmarks/gpu_day.sh --wheels WHEELS --out DIR             # all, 13 minutes
#   bash benchmarks/gpu_day.sh --wheels WHEELS --out DIR --part 1    # 7 minutes, and then
#   bash benchmarks/gpu_day.sh --wheels WHEELS --out DIR --part 2    # 6 minutes
#   bash benchmarks/gpu_day.sh --dry --out DIR                       # does it run? a minute, a CPU
#   bash benchmarks/gpu_day.sh ... --real FOLDER                     # last: compare on real images
set -uo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
arguments=() wheels=""
while (($#)); do
  case $1 in
    --wheels) wheels=$2 && shift ;;
    *) arguments+=("$1") ;;
  esac
  shift
done
if [[ -n $wheels ]]; then
  site=$(mktemp -d)
  python3 -m pip install -q --no-index --no-deps --no-compile --target "$site" "$wheels"/*.whl ||
    echo "some wheels could not be installed; going on" >&2
  export PYTHONPATH=$site:${PYTHONPATH:-}
fi
export PYTHONPATH=$here/..:$here:${PYTHONPATH:-}
export TLSEG_OFFLINE=1 TLSEG_PROGRESS=0 PYTHONUNBUFFERED=1
exec "${PYTHON:-python3}" "$here/gpu_day.py" "${arguments[@]}"
