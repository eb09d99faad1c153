//! The guarantees of XFiles, tested as a client: one module for each topic.

// Tells Clippy that the helpers beside the tests are tests too, where `unwrap` is allowed.
#![cfg(test)]

mod api;
mod architecture;
mod arrivals;
mod batches;
mod bus;
mod changes;
mod circles;
mod cleanup;
mod cli;
mod cli_files;
mod connections;
mod costs;
mod crashes;
mod damage;
mod disconnects;
mod doctor;
mod door;
mod erasing;
mod events;
mod fairness;
mod faults;
mod fuzzing;
mod infra;
mod isolation;
mod key_cache;
mod late;
mod lists;
mod live;
mod machine;
mod media_types;
mod openapi;
mod operator;
mod originals;
mod pending;
mod placeholders;
mod private;
mod projects;
mod races;
mod reconciling;
mod refusals;
mod reliability;
mod renders;
mod s3_conformance;
mod signatures;
mod simulation;
mod spelling;
mod uploads;
mod variants;
mod webhooks;
