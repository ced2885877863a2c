#!/usr/bin/env bash
# The evidence of a GPU: checks, then sweeps in f32 and in tf32 with their reports and figures, then other frameworks
# on the same GPU where their scripts and packages are there. Under 9 minutes on an H100.
# Usage: bench.sh [PROGRAM] [FOLDER]. Needs the program, this checkout, and CUDA's libraries; no Rust toolchain.
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
relgrad=${1:-$root/target/release/relgrad}
out=${2:-results/gpu}
# shellcheck source=libraries.sh
. "$root/harness/gpu/libraries.sh"

mkdir -p "$out"
"$relgrad" doctor | tee "$out/doctor.txt"
if ! grep -q "ready: --device cuda" "$out/doctor.txt"; then
    echo "gpu-bench: there is no usable GPU; the verdict above says why" >&2
    exit 7
fi
"$relgrad" verify --device cuda --sizes 1,31,33,127,257,1000 "$root"/kernels/tests/golden/*.json | tee "$out/check.txt"

# Figure 1 (left) and Figure 4: to D = 30,000, beyond the paper's 20,000; what memory or time rules out is recorded.
dims=10,20,50,100,200,500,1000,2000,5000,10000,20000,30000
"$relgrad" sweep --device cuda --math f32 --dims $dims --methods relative,ordinary,autodiff,relative-inplace \
    --rounds 2 --mem-limit 92% --budget 190s --cell-limit 30s --out "$out/f32"
"$relgrad" sweep --device cuda --math tf32 --dims $dims --methods relative,ordinary \
    --rounds 2 --mem-limit 92% --budget 100s --cell-limit 15s --out "$out/tf32"
for math in f32 tf32; do
    "$relgrad" plot "$out/$math" --figure fig1-left
    "$relgrad" plot "$out/$math" --figure fig4
done

if [ -f "$root/harness/peers/bench.py" ]; then
    python3 "$root/harness/peers/bench.py" --device cuda --out "$out/peers" ||
        echo "gpu-bench: the other frameworks did not run; the lines above say why" >&2
fi
echo "gpu-bench: reports are $out/f32/report.md and $out/tf32/report.md"
