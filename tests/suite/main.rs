//! What XFiles promises, as a client sees it: one module for each part of the promise.

// Tells Clippy that the helpers beside the tests are tests too, where `unwrap` is allowed.
#![cfg(test)]

mod api;
mod architecture;
mod batches;
mod changes;
mod cleanup;
mod cli;
mod costs;
mod crashes;
mod isolation;
mod lists;
mod machine;
mod openapi;
mod private;
mod projects;
mod s3_conformance;
mod signatures;
mod uploads;
mod variants;
