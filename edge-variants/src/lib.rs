//! The image-variant worker: asked by the CDN for what the bucket does not hold, it makes the variants that records
//! offer and stores them. [`render`] turns bytes into bytes; [`Worker`] decides what may be made, and where it goes.
#![warn(missing_docs)]

pub mod render;

mod worker;

pub use worker::Worker;
