//! The closed vocabularies and small shapes of the document that no view has as a type of its own. Nothing here is ever
//! made; the derives read it.
#![expect(dead_code, clippy::large_enum_variant, reason = "read by the derives only")]

use std::collections::BTreeMap;

use utoipa::ToSchema;

use crate::{
    error::FieldError,
    view::{Done, FileAnswer, IntentView, VariantView},
};

/// Who may read: everybody who knows the URL, or only with a signed URL.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
pub(crate) enum Visibility {
    Public,
    Private,
}

/// Whether the file is published.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
pub(crate) enum UploadStatus {
    Pending,
    Confirmed,
}

/// What the upload is sent with.
#[derive(ToSchema)]
pub(crate) enum Method {
    #[schema(rename = "PUT")]
    Put,
}

/// Exactly the headers that the upload is sent with, by name.
#[derive(ToSchema)]
pub(crate) struct SignedHeaders(BTreeMap<String, String>);

/// What a key may do.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
pub(crate) enum KeyScope {
    Read,
    Write,
    Delete,
    Admin,
}

/// Whether a project is in use, or being emptied or deleted by the cleanup.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
pub(crate) enum ProjectStatus {
    Active,
    Emptying,
    Deleting,
}

/// What can happen to a file.
#[derive(ToSchema)]
pub(crate) enum EventName {
    #[schema(rename = "file.confirmed")]
    FileConfirmed,
    #[schema(rename = "file.updated")]
    FileUpdated,
    #[schema(rename = "file.deleted")]
    FileDeleted,
    #[schema(rename = "file.expired")]
    FileExpired,
    #[schema(rename = "variants.purged")]
    VariantsPurged,
}

/// How far a delivery is: it will be tried, was taken, or was given up and waits to be replayed.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
pub(crate) enum DeliveryState {
    Pending,
    Delivered,
    Parked,
}

/// What owes work: a file in a state, or a project that is being cleared.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
pub(crate) enum DebtorState {
    Pending,
    Confirming,
    Confirmed,
    Moving,
    Expiring,
    Deleting,
    Removed,
    Clearing,
}

/// Which kind of rule a field breaks.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
pub(crate) enum FieldRule {
    Required,
    Invalid,
    Unknown,
}

/// What `include=urls` adds to a file of a list.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub(crate) struct ListedUrls {
    #[schema(nullable = false, format = "uri")]
    url: Option<String>,
    #[schema(nullable = false, max_items = 7)]
    variants: Option<Vec<VariantView>>,
    /// Seconds; present where anything is signed.
    #[schema(nullable = false, minimum = 1)]
    expires_in: Option<u64>,
}

/// A refusal, as RFC 9457 has it. `code` is stable; texts are for people.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub(crate) struct Problem {
    /// A name of the kind of problem: `urn:xfiles:problem:` and the code.
    #[schema(rename = "type")]
    kind: String,
    title: String,
    #[schema(minimum = 400, maximum = 599)]
    status: u16,
    detail: String,
    /// The path that was asked for.
    instance: String,
    code: String,
    /// The same as in the header `Request-Id`.
    request_id: String,
    /// The same text as `detail`.
    error: String,
    /// Every field that breaks its rule.
    errors: Vec<FieldError>,
    /// What to do about it.
    hint: String,
}

/// Why one item of a batch was refused.
#[derive(ToSchema)]
pub(crate) struct ItemRefused {
    error: ItemProblem,
}

/// A refusal inside a batch: the status and code that a request for this item alone would have got.
#[derive(ToSchema)]
pub(crate) struct ItemProblem {
    #[schema(minimum = 400, maximum = 599)]
    status: u16,
    code: String,
    detail: String,
    errors: Vec<FieldError>,
    /// What to do about it.
    hint: String,
}

/// What became of each intent, in order.
#[derive(ToSchema)]
pub(crate) struct BatchOfUploads {
    #[schema(min_items = 1, max_items = 100)]
    results: Vec<UploadResult>,
}

/// An upload, or why there is none.
#[derive(ToSchema)]
#[serde(untagged)]
pub(crate) enum UploadResult {
    Begun(IntentView),
    Refused(ItemRefused),
}

/// What became of each confirmation, in order.
#[derive(ToSchema)]
pub(crate) struct BatchOfFiles {
    #[schema(min_items = 1, max_items = 100)]
    results: Vec<FileResult>,
}

/// A confirmed file, or why it is not.
#[derive(ToSchema)]
#[serde(untagged)]
pub(crate) enum FileResult {
    Confirmed(FileAnswer),
    Refused(ItemRefused),
}

/// What became of each deletion, in order.
#[derive(ToSchema)]
pub(crate) struct BatchOfDeletions {
    #[schema(min_items = 1, max_items = 1000)]
    results: Vec<DeletionResult>,
}

/// Deleted, or why not.
#[derive(ToSchema)]
#[serde(untagged)]
pub(crate) enum DeletionResult {
    Deleted(Done),
    Refused(ItemRefused),
}

/// A description of an API, as the OpenAPI specification has it.
#[derive(ToSchema)]
pub(crate) struct Description {
    /// Which version of that specification.
    openapi: String,
}
