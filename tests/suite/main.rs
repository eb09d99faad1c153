//! What XFiles promises, as a client sees it: one module for each part of the promise.

mod api;
mod architecture;
mod cleanup;
mod cli;
mod crashes;
mod lists;
mod machine;
mod private;
mod s3_conformance;
mod signatures;
mod uploads;
mod variants;
