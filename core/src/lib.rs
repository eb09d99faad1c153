#![doc = include_str!("../../ARCHITECTURE.md")]
#![warn(missing_docs)]

// Validated value types.
pub mod api_key;
pub mod content_type;
pub mod id;
pub mod intent;
pub mod object_key;
pub mod sniff;
pub mod variant;
pub mod visibility;
pub use xfiles_thumbhash as thumbhash;

pub mod records;
#[doc(no_inline)]
pub use records::{event, file, webhook};

pub mod operations;

pub mod stores;
#[doc(no_inline)]
pub use stores::{blobs, catalog, cdn};

// What the processes around the operations need.
#[cfg(feature = "aws")]
pub mod aws;
pub mod clock;
pub mod config;
pub mod error;
pub mod metrics;
pub mod prometheus;
pub mod random;
pub mod share;
pub mod store_event;
