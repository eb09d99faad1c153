//! Measures the costs of XFiles: a [`meter`] that counts every request of the handlers to AWS, and the [`prices`] of
//! these requests. The programs of this crate print the cost table and put load on a server. Nothing here is deployed.
#![warn(missing_docs)]

pub mod meter;

pub mod prices;
