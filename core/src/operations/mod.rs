//! Every operation of the product. Each can be stopped after any step and run again.
//!
//! S3, DynamoDB and CloudFront cannot commit together. A change therefore first writes to the record what it owes and
//! when that falls due, then does the work in idempotent steps, then clears the record. The caller settles the debt at
//! once; the cleanup settles what is overdue, from the record alone.

mod cleanup;
mod deliveries;
mod files;
mod keys;
mod once;
mod projects;
mod recover;
mod variants;
mod webhooks;

use std::time::Duration;

use aws_sdk_s3::config::SharedCredentialsProvider;

pub use self::{
    cleanup::{CERTAINTY, Drift, NoSuchReconciling, Orphan, Overdue, Reconciliation, Reconciling, Sweep},
    files::{Begun, BulkDeleted, Erased, FileUrls, Uploader, VariantUrl},
    keys::{IssuedKey, KeyAttempt, NewKey},
    projects::{NewProject, ProjectChange},
    variants::Variants,
    webhooks::{EndpointChange, NewEndpoint, Replayed},
};
use crate::{
    blobs::Blobs,
    catalog::{Catalog, UploadLimits},
    cdn::Cdn,
    clock::Clock,
    error::Result,
};

/// How many files of one request are worked on at the same time.
const AT_ONCE: usize = 8;

/// How long an API key or a signing secret that was rotated works on if the request names no grace period.
pub const ROTATION_GRACE: Duration = Duration::from_secs(24 * 60 * 60);

/// All files of all projects. Every operation is a method; the stores behind it are private.
#[derive(Clone, Debug)]
pub struct Files {
    catalog: Catalog,
    blobs: Blobs,
    cdn: Cdn,
    clock: Clock,
}

impl Files {
    /// The files in these stores.
    pub fn new(catalog: Catalog, blobs: Blobs, cdn: Cdn, clock: Clock) -> Self {
        Self { catalog, blobs, cdn, clock }
    }

    /// The projects that own the files.
    pub fn projects(&self) -> Projects {
        Projects { catalog: self.catalog.clone(), clock: self.clock.clone() }
    }

    /// The same files behind another CDN.
    #[must_use]
    pub fn with_cdn(self, cdn: Cdn) -> Self {
        Self { cdn, ..self }
    }

    /// The same files with other limits on pending uploads.
    #[must_use]
    pub fn with_upload_limits(self, limits: UploadLimits) -> Self {
        Self { catalog: self.catalog.with_limits(limits), ..self }
    }

    /// The same files, with upload URLs signed by these credentials.
    #[must_use]
    pub fn presigning_with(self, s3: aws_sdk_s3::Client, credentials: SharedCredentialsProvider) -> Self {
        Self { blobs: self.blobs.presigning_with(s3, credentials), ..self }
    }

    /// The clock that every operation uses.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// The CDN, for another set of files behind it.
    pub fn cdn(&self) -> &Cdn {
        &self.cdn
    }

    /// Makes table and bucket, unless they are there. On AWS the template makes them.
    pub async fn create_stores(&self) -> Result<()> {
        self.catalog.create_table().await?;
        self.blobs.create_bucket().await
    }

    /// How many items of the table this process could not read, and has skipped.
    pub fn unreadable_items(&self) -> u64 {
        self.catalog.unreadable_items()
    }

    /// The stores behind the operations. Only tests look at them.
    pub fn inspect(&self) -> Inspection<'_> {
        Inspection { catalog: &self.catalog, blobs: &self.blobs, cdn: &self.cdn }
    }
}

/// What tests see behind the operations. `tests/suite/architecture.rs` holds that nothing else uses it.
#[derive(Clone, Copy, Debug)]
pub struct Inspection<'a> {
    /// The records.
    pub catalog: &'a Catalog,
    /// The bytes.
    pub blobs: &'a Blobs,
    /// The URLs and the cached copies.
    pub cdn: &'a Cdn,
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
