//! What XFiles costs, measured: a [`meter`] that sees every request which the handlers send to AWS, and the [`prices`]
//! of what it saw. The programs beside this library print the cost table and put load on a server.
//! Nothing here is part of what is deployed.
#![warn(missing_docs)]

pub mod meter;

pub mod prices;
