#![doc = include_str!("../../ARCHITECTURE.md")]
#![warn(missing_docs)]

pub mod id;

pub mod api_key;

pub mod content_type;

pub mod intent;

pub mod variant;

pub mod object_key;

pub mod clock;
