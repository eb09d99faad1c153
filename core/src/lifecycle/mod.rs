//! Every operation on files, each safe to stop at any point and to try again.
//!
//! S3, DynamoDB and CloudFront cannot commit together. So a change first writes to the record what it owes and when
//! that falls due, then does the work in idempotent steps, then clears the record. Callers settle at once; the cleanup
//! settles whatever is overdue, from the record alone.

mod begin;
mod clear;
mod confirm;
mod delete;
mod erase;
mod patch;
mod read;
mod reconcile;
mod settle;

pub use self::{
    begin::{Begun, Uploader},
    delete::BulkDeleted,
    erase::Erased,
    read::{FileUrls, VariantUrl},
    reconcile::{CERTAINTY, Drift, NoSuchReconciling, Orphan, Reconciliation, Reconciling},
    settle::{Overdue, Sweep},
};
use crate::{blobs::Blobs, catalog::Catalog, cdn::Cdn, clock::Clock};

/// The two stores and the time, for whoever has no business with the CDN.
#[derive(Clone, Debug)]
pub struct Stores {
    /// The records.
    pub catalog: Catalog,
    /// The bytes.
    pub blobs: Blobs,
    /// The time.
    pub clock: Clock,
}

impl From<Files> for Stores {
    fn from(files: Files) -> Self {
        Self { catalog: files.catalog, blobs: files.blobs, clock: files.clock }
    }
}

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
