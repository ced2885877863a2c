# Every task of the project; `just` alone lists them.

set positional-arguments

# List the tasks.
default:
    @just --list

# The study on this machine in about 10 minutes; further arguments go to `relgrad sweep`.
bench-sweep *args:
    cargo bench-sweep "$@"

# The study without a time budget: `ordinary` to D = 20,000. Hours.
bench-sweep-full *args:
    cargo bench-sweep --budget none --cell-limit none "$@"

# The study on the first NVIDIA GPU; further arguments go to `relgrad sweep`.
bench-gpu *args:
    cargo bench-sweep --device cuda "$@"

# Compare every method on the GPU with golden vectors and independent computations; says so where there is no GPU.
gpu-check:
    cargo build --release --quiet --package relgrad-harness
    bash harness/gpu/check.sh target/release/relgrad

# The whole evidence of a GPU in under 9 minutes: checks, sweeps in f32 and tf32, figures.
gpu-bench out="results/gpu":
    cargo build --release --quiet --package relgrad-harness
    bash harness/gpu/bench.sh target/release/relgrad "{{ out }}"

# Draw report and figures of a finished sweep again.
figures dir:
    cargo run --release --quiet --package relgrad-harness -- report "$1"

# Compare every backend with golden vectors (the committed ones unless files are named).
verify *files:
    cargo run --release --quiet --package relgrad-harness -- verify {{ if files == "" { "kernels/tests/golden/*.json" } else { '"$@"' } }}

# Criterion benches of the kernels' operations.
bench *args:
    cargo bench --package relgrad-kernels "$@"

# All tests.
test:
    cargo test --workspace

# Format the code.
fmt:
    cargo fmt --all

# What CI says of style and documentation.
lint:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets -- -D warnings
    RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps

# The whole gate, as CI runs it.
ci:
    bash .ci/run
