//! The adapters that the operations use: [`catalog`] keeps records in DynamoDB, [`blobs`] keeps bytes in S3, [`cdn`] makes
//! and signs URLs and invalidates cached copies. Only [`operations`](crate::operations) call them.

pub mod blobs;
pub mod catalog;
pub mod cdn;
pub(crate) mod fault;
