#!/usr/bin/env bash
# The evidence of a GPU in under 9 minutes: checks, then sweeps in f32 and in tf32 with their reports and figures, then
# JAX and PyTorch beside relgrad on the same GPU, where they are installed.
# Usage: bench.sh [PROGRAM] [FOLDER] [PART...], parts being check, f32, tf32 and peers; all when absent.
# Needs the program, this checkout, and CUDA's libraries; no Rust toolchain and no network.
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
relgrad=${1:-$root/target/release/relgrad}
# shellcheck source=libraries.sh
. "$root/harness/gpu/libraries.sh"

doctor=$("$relgrad" doctor)
echo "$doctor"
if ! grep -q "ready: --device cuda" <<<"$doctor"; then
    echo "gpu-bench: there is no usable GPU; the verdict above says why" >&2
    exit 7
fi
gpu=$(sed -n 's/^ *GPU 0  *\([^,]*\),.*/\1/p' <<<"$doctor" | tr '[:upper:] ' '[:lower:]-')
out=${2:-$root/reports/archive/$(date -u +%F)-$gpu}
shift $(($# < 2 ? $# : 2))
parts=${*:-check f32 tf32 peers}
mkdir -p "$out"
echo "$doctor" >"$out/doctor.txt"

# Figure 1 (left) and Figure 4: to D = 30,000, beyond the paper's 20,000; what memory or time rules out is recorded.
sweep() { # MATH DIMS METHODS BUDGET CELL-LIMIT
    "$relgrad" sweep --device cuda --math "$1" --dims "$2" --methods "$3" --budget "$4" --cell-limit "$5" \
        --rounds 2 --mem-limit 92% --out "$out/$1"
    for figure in fig1-left fig4; do
        "$relgrad" plot "$out/$1" --figure $figure || echo "gpu-bench: no $figure; the line above says why" >&2
    done
}

peers() {
    local installed code=0
    installed=$(python3 -c 'from importlib.util import find_spec
print(",".join(name for name in ("jax", "torch") if find_spec(name)))') || installed=
    if [ -z "$installed" ]; then
        echo "SKIPPED: python3 has neither JAX nor PyTorch; harness/peers/requirements-cuda.txt lists them"
        return
    fi
    # Code 1 means that a line of the table misses its target, or that a framework computes something else.
    python3 "$root/harness/peers/bench.py" --device cuda --math f32 --relgrad "$relgrad" --out "$out/peers" \
        --peers "$installed" --dims 1000,5000,20000 --methods relative,ordinary,autodiff --max-ordinary 20000 \
        --max-autodiff 1000 --rounds 1 --budget 200s || code=$?
    [ $code -eq 0 ] || echo "gpu-bench: peers ended with code $code; the lines above say why" >&2
}

for part in $parts; do
    echo "== $part (${SECONDS}s)"
    case $part in
        check)
            "$relgrad" verify --device cuda --sizes 1,31,33,127,160,161,257,1000 "$root"/kernels/tests/golden/*.json |
                tee "$out/check.txt"
            ;;
        f32) sweep f32 10,100,1000,2000,5000,10000,20000,30000 relative,ordinary,autodiff 170s 30s ;;
        tf32) sweep tf32 1000,5000,20000,30000 relative,ordinary 50s 15s ;;
        peers) peers ;;
        *) echo "gpu-bench: \`$part\` is no part; the parts are: check f32 tf32 peers" >&2 && exit 2 ;;
    esac
done
echo "gpu-bench: everything is in $out (${SECONDS}s)"
