//! The bodies of requests, as `input` reads them: it parses by hand, so that all faults of a request are found at once,
//! and these structs say the same rules. A field that may be left out may be null as well. Nothing here is ever made.
#![expect(dead_code, reason = "read by the derives only")]

use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        RefOr, Schema,
        schema::{AnyOfBuilder, ArrayBuilder, ObjectBuilder, SchemaType, Type},
    },
};
use xfiles_core::{catalog::Catalog, content_type::ContentType};

use super::words::{EventName, KeyScope, Visibility};

/// What is to be uploaded.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub(crate) struct UploadIntent {
    /// The client's name of the file; kept as it is.
    #[schema(min_length = 1, max_length = 1024)]
    filename: String,
    content_type: MediaType,
    /// Bytes.
    #[schema(minimum = 0, maximum = 104857600)]
    size: u64,
    /// Without it, private.
    visibility: Option<Visibility>,
    /// The application's id of a user.
    #[schema(min_length = 1, max_length = 256)]
    owner_user_id: Option<String>,
    entity: Option<EntityPlace>,
    transformations: Option<TransformationsWish>,
    /// The base64 of the SHA-256 of the bytes. The store refuses other bytes.
    #[schema(pattern = "^[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=$")]
    checksum_sha256: Option<String>,
}

/// An allowed media type.
pub(crate) struct MediaType;

impl PartialSchema for MediaType {
    fn schema() -> RefOr<Schema> {
        let text = || ObjectBuilder::new().schema_type(SchemaType::new(Type::String));
        let open_xml = r"^application/vnd\.openxmlformats-[A-Za-z0-9.+-]{1,100}$";
        AnyOfBuilder::new()
            .item(text().enum_values(Some(ContentType::names().chain(ContentType::aliases()))))
            .item(text().pattern(Some(open_xml)))
            .description(Some(
                "An allowed media type, or another name in use for it; `File.contentType` has the registered name. \
                 Parameters may follow, as in `text/plain; charset=utf-8` or `video/webm;codecs=vp9`: the upload is sent \
                 with the same text, and of a text the charset is served.",
            ))
            .into()
    }
}

impl ToSchema for MediaType {}

/// The application's thing to which a file is attached, and where among its files.
#[derive(ToSchema)]
pub(crate) struct EntityPlace {
    /// The kind of thing, such as `listing`.
    #[schema(rename = "type", min_length = 1, max_length = 256)]
    kind: String,
    /// Which one.
    #[schema(min_length = 1, max_length = 256)]
    id: String,
    /// What the file is to it, such as `cover`.
    #[schema(min_length = 1, max_length = 256)]
    role: Option<String>,
    /// Its place in the order; without it, 0.
    #[schema(format = Int64, maximum = 4_294_967_295_u32)]
    position: Option<u32>,
}

/// What is to be made of a file.
#[derive(ToSchema)]
pub(crate) struct TransformationsWish {
    image: Option<ImageWish>,
}

/// Whether variants are made of an image, and who may read them.
#[derive(ToSchema)]
pub(crate) struct ImageWish {
    /// Without it, false for a new upload; a change leaves it as it is.
    enabled: Option<bool>,
    /// Without it, private for a new upload; a change leaves it as it is.
    visibility: Option<Visibility>,
}

/// Several uploads.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub(crate) struct UploadIntents {
    #[schema(min_items = 1, max_items = 100)]
    files: Vec<UploadIntent>,
    /// Whether one that has no room refuses all; without it, each is judged alone.
    all_or_nothing: Option<bool>,
}

/// One file.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub(crate) struct FileReference {
    /// A text that is no id is a file that does not exist.
    #[schema(pattern = "^[a-z0-9]{20}$")]
    file_id: String,
}

/// Several files.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub(crate) struct FileReferences {
    /// A text that is no id is a file that does not exist.
    #[schema(min_items = 1, max_items = 100)]
    file_ids: Vec<String>,
}

/// Files to delete.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub(crate) struct FilesToDelete {
    /// A text that is no id is a file that does not exist.
    #[schema(min_items = 1, max_items = 1000)]
    file_ids: Vec<String>,
}

/// Files in their order.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub(crate) struct FileOrder {
    file_ids: OrderedIds,
}

/// Ids of files, each once.
pub(crate) struct OrderedIds;

impl PartialSchema for OrderedIds {
    fn schema() -> RefOr<Schema> {
        let id = ObjectBuilder::new().schema_type(SchemaType::new(Type::String)).pattern(Some("^[a-z0-9]{20}$"));
        let ids = ArrayBuilder::new()
            .items(id)
            .unique_items(true)
            .min_items(Some(1))
            .max_items(Some(Catalog::REPLACE_AT_ONCE));
        ids.description(Some("Each once; the first gets position 0.")).into()
    }
}

impl ToSchema for OrderedIds {}

/// What of a file is to change; what is left out stays.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub(crate) struct FileChange {
    /// Moves the file between its public and its private path.
    visibility: Option<Visibility>,
    /// Null takes the owner away.
    #[schema(min_length = 1, max_length = 256)]
    owner_user_id: Option<String>,
    /// Only a file with an entity has one.
    #[schema(format = Int64, maximum = 4_294_967_295_u32)]
    position: Option<u32>,
    transformations: Option<TransformationsWish>,
}

/// What kind of URLs.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub(crate) struct UrlWish {
    /// Seconds that signed URLs live, a week at the most. More than an hour needs the scope `write` as well. Without
    /// it, five to six minutes, and the same URLs for everybody who asks within a minute.
    #[schema(minimum = 5, maximum = 604800)]
    expires_in: Option<u64>,
    /// Whether `url` makes a browser save the original, under the name that it had on the client.
    #[schema(default = false)]
    download: Option<bool>,
}

/// A project to make.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub(crate) struct NewProject {
    #[schema(min_length = 1, max_length = 100)]
    name: String,
    /// How much it may hold.
    #[schema(maximum = 9_007_199_254_740_992_u64)]
    quota_bytes: u64,
}

/// What of a project is to change; what is left out stays.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub(crate) struct ProjectChange {
    #[schema(min_length = 1, max_length = 100)]
    name: Option<String>,
    /// Not less than what the project holds and has reserved.
    #[schema(maximum = 9_007_199_254_740_992_u64)]
    quota_bytes: Option<u64>,
}

/// A key to make.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub(crate) struct NewKey {
    /// By which people know it.
    #[schema(min_length = 1, max_length = 100)]
    name: String,
    /// Without them, all but `admin`.
    #[schema(min_items = 1)]
    scopes: Option<Vec<KeyScope>>,
    /// Seconds until it ends, ten years at the most; without it, never.
    #[schema(minimum = 1, maximum = 315360000)]
    expires_in: Option<u64>,
}

/// How the old key ends.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub(crate) struct KeyRotation {
    /// Seconds that the old key works on, 30 days at the most; without it, a day.
    #[schema(maximum = 2592000)]
    grace_period: Option<u64>,
}

/// An https URL of a public host, without user and fragment.
pub(crate) struct PublicUrl;

impl PartialSchema for PublicUrl {
    fn schema() -> RefOr<Schema> {
        let url =
            r"^https://([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]{2,63}(:[1-9][0-9]{0,3})?(/[A-Za-z0-9._~/?&=-]*)?$";
        ObjectBuilder::new()
            .schema_type(SchemaType::new(Type::String))
            .pattern(Some(url))
            .max_length(Some(1024))
            .description(Some("An https URL of a public host, without user and fragment."))
            .into()
    }
}

impl ToSchema for PublicUrl {}

/// A webhook to make.
#[derive(ToSchema)]
pub(crate) struct NewWebhook {
    url: PublicUrl,
    /// Which events; without them or empty, all.
    events: Option<Vec<EventName>>,
    /// Without it, true.
    enabled: Option<bool>,
}

/// What of a webhook is to change; what is left out stays.
#[derive(ToSchema)]
pub(crate) struct WebhookChange {
    url: Option<PublicUrl>,
    /// Empty: all.
    events: Option<Vec<EventName>>,
    enabled: Option<bool>,
}

/// How the old secret ends.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub(crate) struct SecretRotation {
    /// Seconds for which messages carry the old secret's signature too, 30 days at the most; without it, a day.
    #[schema(maximum = 2592000)]
    grace_period: Option<u64>,
}

/// What to replay.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub(crate) struct ReplayWish {
    /// One delivery, whatever became of it; without it, all that are parked.
    #[schema(pattern = "^[0-9]{14}-evt_[0-9a-f]{32}$")]
    delivery_id: Option<String>,
}

/// How to clean up.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub(crate) struct CleanupWish {
    /// Only say what is overdue; without it, false.
    dry_run: Option<bool>,
    /// Only compare bucket, records and quota, and say what does not agree; without it, false.
    report: Option<bool>,
}
