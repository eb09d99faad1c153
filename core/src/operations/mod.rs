//! Every operation of the product. Each can be stopped after any step and run again.
//!
//! S3, DynamoDB and CloudFront cannot commit together. A change therefore first writes to the record what it owes and
//! when that falls due, then does the work in idempotent steps, then clears the record. The caller settles the debt at
//! once; the cleanup settles what is overdue, from the record alone.

mod cleanup;
mod files;
mod keys;
mod once;
mod projects;
mod webhooks;

use std::time::Duration;

pub use self::{
    cleanup::{CERTAINTY, Drift, NoSuchReconciling, Orphan, Overdue, Reconciliation, Reconciling, Sweep},
    files::{Begun, BulkDeleted, Erased, FileUrls, Uploader, VariantUrl},
    keys::{IssuedKey, KeyAttempt, NewKey},
    projects::{NewProject, ProjectChange},
    webhooks::{EndpointChange, NewEndpoint, Replayed},
};
use crate::{
    blobs::Blobs,
    catalog::{Catalog, UploadLimits},
    cdn::Cdn,
    clock::Clock,
};

/// How many files of one request are worked on at the same time.
const AT_ONCE: usize = 8;

/// How long an API key or a signing secret that was rotated works on if the request names no grace period.
pub const ROTATION_GRACE: Duration = Duration::from_secs(24 * 60 * 60);

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

impl Files {
    /// The projects that own the files.
    pub fn projects(&self) -> Projects {
        Projects { catalog: self.catalog.clone(), clock: self.clock.clone() }
    }

    /// The same files with other limits on pending uploads.
    #[must_use]
    pub fn with_upload_limits(self, limits: UploadLimits) -> Self {
        Self { catalog: self.catalog.with_limits(limits), blobs: self.blobs, cdn: self.cdn, clock: self.clock }
    }

    /// The clock that every operation uses.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }
}

/// All projects with their API keys, webhooks and idempotency keys: what the records alone hold.
#[derive(Clone, Debug)]
pub struct Projects {
    catalog: Catalog,
    clock: Clock,
}

impl Projects {
    /// The projects in that table.
    pub fn new(catalog: Catalog, clock: Clock) -> Self {
        Self { catalog, clock }
    }
}
