#![doc = include_str!("../../ARCHITECTURE.md")]
#![warn(missing_docs)]

pub mod id;

pub mod api_key;

pub mod content_type;

pub mod sniff;

pub use xfiles_thumbhash as thumbhash;

pub mod intent;

pub mod variant;

pub mod object_key;

pub mod file;

pub mod event;

pub mod webhook;

pub mod store_event;

pub mod lifecycle;

pub mod catalog;

pub mod blobs;

pub mod cdn;

#[cfg(feature = "aws")]
pub mod aws;

pub mod config;

pub mod metrics;

pub mod prometheus;

pub mod clock;

pub mod share;

pub mod error;
