//! The image-variant worker: asked by the CDN for what the bucket does not hold, it makes the variants that records
//! offer and stores them; told by an event that a picture was published, it notes its placeholder. [`render`] turns bytes
//! into bytes; [`Worker`] decides what may be made, and where it goes; [`Invocation`] is what Lambda hands over.
#![warn(missing_docs)]

pub mod render;

mod invocation;
mod worker;

pub use invocation::Invocation;
pub use worker::{Invocations, Pause, Worker};
