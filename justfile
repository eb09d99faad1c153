# Shortcuts for the steps of .ci/run, which is authoritative.

# run everything on this machine
serve *args:
    cargo xf serve {{args}}

# all tests that need only Rust and a C compiler
test *args:
    cargo test --locked --workspace {{args}}

# format, licences, lints and documentation
check:
    .ci/run format licences lint docs

# the simulation with the given number of seeds
sim seeds="1000":
    cargo sim --seeds {{seeds}}

# write the generated files: openapi.json, docs/errors.md, NOTICE
generate:
    cargo run --quiet -p xfiles-control-api --example openapi
    .ci/notice

# all checks that a change must pass
ci:
    .ci/run
