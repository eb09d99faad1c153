//! XFiles on one machine: the embedded engines, the stand-in for CloudFront and the schedule in one process, around the
//! same code that runs on AWS. This crate makes no decisions about files.
#![warn(missing_docs)]

mod in_process;

mod lock;

mod fair;

mod room;

pub mod s3;

pub mod dynamodb;

pub mod distribution;

pub mod secrets;

pub mod custody;

pub mod server;

mod metrics;

mod engines;

mod stack;

pub mod backup;

pub use xfiles_control_api::ApiOptions;

pub use metrics::MetricsListen;

pub use engines::{BUCKET, Engines, REGION, TABLE};
pub use stack::{Data, Placeholders, Stack, StackOptions, StartError, open_projects};

/// The default log filter. The protocol layer of the object store logs signatures and signed URLs, so every filter must
/// end with [`s3::LOG_DIRECTIVE`].
pub const LOG_FILTER: &str = "info,s3s=off";
