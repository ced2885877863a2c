#!/usr/bin/env bash
# Compares every method on the GPU, in each of its arithmetics, with golden vectors and with independent computations.
# Usage: check.sh [PROGRAM]. Needs the program, this checkout, and CUDA's libraries; no Rust toolchain.
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
relgrad=${1:-$root/target/release/relgrad}
# shellcheck source=libraries.sh
. "$root/harness/gpu/libraries.sh"

"$relgrad" doctor
echo
code=0
"$relgrad" verify --device cuda --sizes 1,31,33,127,160,161,257,1000 "$root"/kernels/tests/golden/*.json || code=$?
case $code in
    0) echo "gpu-check passed" ;;
    7) echo "gpu-check skipped: the line above says what is missing" && code=0 ;;
    *) echo "gpu-check failed" >&2 ;;
esac
exit $code
