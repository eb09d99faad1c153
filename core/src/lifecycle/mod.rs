//! Every operation on files, each safe to stop at any point and to try again.
//!
//! S3, DynamoDB and CloudFront cannot commit together. So a change first writes to the record what it owes and when
//! that falls due, then does the work in idempotent steps, then clears the record. Callers settle at once; the cleanup
//! settles whatever is overdue, from the record alone.

mod begin;
mod clear;
mod confirm;
mod delete;
mod patch;
mod read;
mod settle;

pub use self::{
    begin::Begun,
    delete::BulkDeleted,
    read::{FileUrls, VariantUrl},
    settle::Sweep,
};
use crate::{blobs::Blobs, catalog::Catalog, cdn::Cdn, clock::Clock};

/// All files of all projects: the records, the bytes, the CDN and the time.
#[derive(Clone, Debug)]
pub struct Files {
    /// The records.
    pub catalog: Catalog,
    /// The bytes.
    pub blobs: Blobs,
    /// The URLs.
    pub cdn: Cdn,
    /// The time.
    pub clock: Clock,
}
