//! The image-variant worker. The CDN asks it for variants that the bucket does not have: it makes those that records
//! offer, and stores them. An event tells it of a published image, whose placeholder it stores. [`render`] turns bytes
//! into bytes; [`Worker`] decides what may be made and where it goes; [`Invocation`] is the payload of Lambda.
#![warn(missing_docs)]

pub mod render;

mod invocation;
mod worker;

pub use invocation::Invocation;
pub use worker::{Invocations, Pause, Worker};
