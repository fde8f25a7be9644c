#!/usr/bin/env bash
# Install a wheel beside this checkout and run everything that needs a GPU: the checks, the four tools of compute-sanitizer where
# it is installed, the bench. For a machine with Python 3.11 or newer, torch and a driver; no Rust, no compiler, no network.
#
#   make wheel && scripts/on_device.sh dist/tokenloom-*.whl [OUT]     # records go to OUT, by default benches/record
set -euo pipefail
wheel=$1
out=${2:-}
cd "$(dirname "$0")/.."
site=$(mktemp -d)
python3 -m pip install --quiet --no-deps --no-index --target "$site" "$wheel"
export PYTHONPATH=$site:$PWD/tests/cuda:$PWD
status=0
python3 tests/cuda/on_device.py || status=$?
if command -v compute-sanitizer >/dev/null; then
    for tool in memcheck racecheck initcheck synccheck; do
        echo "compute-sanitizer $tool"
        compute-sanitizer --tool "$tool" --error-exitcode 9 python3 tests/cuda/on_device.py --quick || status=$?
    done
else
    echo "compute-sanitizer is not installed: memcheck, racecheck, initcheck and synccheck did not run"
fi
python3 -m benches.gpu || status=$?
if [ -n "$out" ]; then cp benches/record/*-gpu.* "$out"/; fi
exit "$status"
