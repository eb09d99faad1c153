# Short verbs for the steps of .ci/run, which is what decides.

# run everything on this machine
serve *args:
    cargo xf serve {{args}}

# every test that needs nothing but Rust and a C compiler
test *args:
    cargo test --locked --workspace {{args}}

# format, licences, lints and documentation
check:
    .ci/run format licences lint docs

# the simulation, with as many seeds as asked
sim seeds="1000":
    cargo sim --seeds {{seeds}}

# what is generated: openapi.json, docs/errors.md, NOTICE
generate:
    cargo run --quiet -p xfiles-control-api --example openapi
    .ci/notice

# everything that a change must pass
ci:
    .ci/run
