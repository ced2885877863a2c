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

# The whole evidence of a GPU in under 9 minutes: checks, sweeps in f32 and tf32, figures, peers; into FOLDER, else reports/archive.
gpu-bench *folder:
    cargo build --release --quiet --package relgrad-harness
    bash harness/gpu/bench.sh target/release/relgrad "$@"

# Sweeps on the cluster engines that are installed (Slurm, HyperQueue, ssh), each with a node killed midway.
cluster-check *engines:
    cargo build --release --quiet --package relgrad-harness
    harness/cluster/check target/release/relgrad "$@"

# Draw report and figures of a finished sweep again.
figures dir:
    cargo run --release --quiet --package relgrad-harness -- report "$1"

# Compare every backend with golden vectors (the committed ones unless files are named).
verify *files:
    cargo run --release --quiet --package relgrad-harness -- verify {{ if files == "" { "kernels/tests/golden/*.json" } else { '"$@"' } }}

# Every figure and table of the paper on one page, at the paper's settings: hours; `--quick` takes about 15 minutes.
paper *args:
    cargo build --release --quiet --package relgrad-harness
    target/release/relgrad paper --data "${RELGRAD_DATA:-../shared/data}" "$@"

# The training experiments, each under 3 minutes on two cores; those of images need the data sets in `data`.
experiments out="experiments" data=env("RELGRAD_DATA", "../shared/data"):
    cargo build --release --quiet --package relgrad-harness
    for name in errata primitives bias-mode fig1-right fig2 fig5 gaussian mnist-epoch fig6 table1 sample bias-noise ica; do \
        target/release/relgrad experiment "$name" --out "$1" --data "$2" || exit; done

# The same without a limit of time: hours. Started again, trainings continue from their checkpoints.
experiments-full out="experiments-full" data=env("RELGRAD_DATA", "../shared/data"):
    cargo build --release --quiet --package relgrad-harness
    for name in errata primitives bias-mode fig1-right fig2 fig5 gaussian mnist-epoch fig6 table1 sample bias-noise ica rivals; do \
        target/release/relgrad experiment "$name" --effort full --out "$1" --data "$2" || exit; done

# Gate this working tree against a git revision, both builds measured in turn; further arguments go to `relgrad gate`.
regress rev *args:
    cargo run --release --quiet --package relgrad-harness -- gate --against "$@"

# Gate this working tree against the committed baseline, as CI does, by ratios that hold on any machine.
gate *args:
    cargo run --release --quiet --package relgrad-harness -- gate --baseline reports/baselines/ci.jsonl \
        --max-slowdown 30% --max-slowdown-elsewhere 100% --max-growth 50% "$@"

# Measure the baseline that CI gates against; on a quiet machine; about a minute after the build.
baseline *args:
    cargo run --release --quiet --package relgrad-harness -- gate --save reports/baselines/ci.jsonl \
        --dims 128,256,512 --methods relative,ordinary --threads 1 --rounds 16 --round-time 300ms "$@"

# What the gate is worth on this machine: false alarms, and how surely it finds a planted 10 %. The build that can plant it stays apart.
calibrate *args:
    cargo run --release --quiet --package relgrad-harness --features inject --target-dir target/inject -- calibrate --aa 40 --dims 1000 --methods relative \
        --inject relative:factor=1.1 "$@"

# Criterion benches of the kernels' operations.
bench *args:
    cargo bench --package relgrad-kernels "$@"

# The machine's ceilings: products, inverses, bandwidth, parallel regions.
roofline *args:
    cargo run --release --quiet --package relgrad-harness -- roofline "$@"

# relgrad and NumPy, JAX, PyTorch, with the targets, about 12 minutes; requires Python 3.11 and makes .venv (some GB).
bench-peers *args:
    harness/peers/run "$@"

# The layers, densities and ICA of libraries for normalizing flows: `layers`, `table1` or `ica`; makes .venv-libraries.
bench-libraries *args:
    harness/peers/libraries "$@"

# Instructions of one gradient at small D against the baseline; `--update` writes a new baseline. Needs valgrind.
instructions *args:
    cargo build --release --quiet --package relgrad-harness
    python3 harness/instructions/count.py "$@"

# The library's example: a small sweep from Rust that prints the exponents.
example:
    cargo run --release --quiet --package relgrad-harness --example small_sweep

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
