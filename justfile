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

# Draw report and figures of a finished sweep again.
figures dir:
    cargo run --release --quiet --package relgrad-harness -- report "$1"

# Compare every backend with golden vectors (the committed ones unless files are named).
verify *files:
    cargo run --release --quiet --package relgrad-harness -- verify {{ if files == "" { "kernels/tests/golden/*.json" } else { '"$@"' } }}

# Gate this working tree against a git revision, both builds measured in turn.
regress rev *args:
    cargo run --release --quiet --package relgrad-harness -- gate --against "$@"

# Gate this working tree against the committed baseline, by ratios that hold on any machine.
gate *args:
    cargo run --release --quiet --package relgrad-harness -- gate --baseline reports/baselines/ci.jsonl "$@"

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
