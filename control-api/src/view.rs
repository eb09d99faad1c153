//! What answers look like. Field names are the contract.

use serde::Serialize;
use utoipa::ToSchema;
use xfiles_core::{
    catalog::{Clearing, KeyRecord, Project},
    clock::Timestamp,
    file::{File, State},
    id::{EndpointId, FileId, KeyId, ProjectId},
    operations::{Begun, Erased, FileUrls, Overdue, Reconciliation},
    webhook::{Attempt, Delivery, Endpoint},
};

use crate::openapi::words::{
    DebtorState, DeliveryState, EventName, KeyScope, ListedUrls, Method, ProjectStatus, SignedHeaders, UploadStatus,
    Visibility,
};

/// The answer to `upload-intent`.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Upload)]
pub(crate) struct IntentView {
    #[schema(value_type = String, pattern = "^[a-z0-9]{20}$")]
    file_id: FileId,
    /// Where the bytes go; it is good for this upload only.
    #[schema(format = "uri")]
    upload_url: String,
    #[schema(value_type = Method)]
    method: &'static str,
    #[schema(value_type = SignedHeaders)]
    headers: serde_json::Map<String, serde_json::Value>,
    /// Where the file will be on the CDN once it is confirmed.
    key: String,
    /// Seconds until the URL ends.
    #[schema(minimum = 1, maximum = 900)]
    expires_in: u64,
    #[schema(value_type = String, format = DateTime)]
    expires_at: Timestamp,
}

impl From<Begun> for IntentView {
    fn from(begun: Begun) -> Self {
        let Begun { file, upload } = begun;
        Self {
            file_id: file.id,
            key: file.original_key().to_string(),
            method: "PUT",
            headers: upload.headers.into_iter().map(|(name, value)| (name, value.into())).collect(),
            expires_in: upload.life.as_secs(),
            expires_at: upload.expires_at,
            upload_url: upload.url,
        }
    }
}

/// A file.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = File)]
pub(crate) struct FileView {
    #[schema(value_type = String, pattern = "^[a-z0-9]{20}$")]
    id: FileId,
    /// The sanitised name, as it stands in URLs.
    #[schema(pattern = "^[a-z0-9-]+\\.[a-z0-9]+$")]
    filename: String,
    /// The client's name, kept as it came.
    #[schema(min_length = 1, max_length = 1024)]
    original_filename: String,
    content_type: String,
    /// Bytes.
    #[schema(minimum = 0, maximum = 104857600)]
    size: u64,
    #[schema(value_type = Visibility)]
    visibility: &'static str,
    #[schema(value_type = UploadStatus)]
    upload_status: &'static str,
    #[schema(required, max_length = 256)]
    owner_user_id: Option<String>,
    #[schema(required)]
    entity: Option<EntityView>,
    transformations: TransformationsView,
    /// Pixels, as displayed; raster images have it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, minimum = 1)]
    width: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, minimum = 1)]
    height: Option<u32>,
    /// A [ThumbHash](https://evanw.github.io/thumbhash/) in base64, to be shown until the picture is there. A raster image
    /// has it soon after its confirmation: seconds on one machine, up to about a minute on AWS, or, where that is switched
    /// off, from its first variant on. One that cannot be decoded never has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, pattern = "^[A-Za-z0-9+/]+=*$", min_length = 8, max_length = 36)]
    thumbhash: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, pattern = "^[A-Za-z0-9+/]{43}=$")]
    checksum_sha256: Option<String>,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    /// When a pending upload ends by itself and its bytes are free again, unless it is confirmed or its URL is renewed.
    /// Only pending uploads have it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, value_type = String, format = DateTime)]
    expires_at: Option<Timestamp>,
    /// The version, to be sent as `If-Match`; the same as in the header of an answer that is about this file alone.
    #[schema(pattern = "^\"[0-9]+\"$")]
    etag: String,
}

/// What a file is attached to, and where among its files.
#[derive(Serialize, ToSchema)]
#[schema(as = Entity)]
struct EntityView {
    #[serde(rename = "type")]
    #[schema(min_length = 1, max_length = 256)]
    kind: String,
    #[schema(min_length = 1, max_length = 256)]
    id: String,
    #[schema(required, min_length = 1, max_length = 256)]
    role: Option<String>,
    #[schema(format = Int64, maximum = 4_294_967_295_u32)]
    position: u32,
}

/// What is made of a file.
#[derive(Serialize, ToSchema)]
#[schema(as = Transformations)]
struct TransformationsView {
    image: ImageView,
}

/// Whether variants are made of an image, and who may read them.
#[derive(Serialize, ToSchema)]
#[schema(as = ImageTransformations)]
struct ImageView {
    enabled: bool,
    #[schema(value_type = Visibility)]
    visibility: &'static str,
}

impl From<&File> for FileView {
    fn from(file: &File) -> Self {
        Self {
            id: file.id,
            filename: file.name.to_string(),
            original_filename: file.original_filename.as_str().to_owned(),
            content_type: file.content_type.to_string(),
            size: file.size.bytes(),
            visibility: file.visibility.as_str(),
            upload_status: if file.is_confirmed() { "confirmed" } else { "pending" },
            owner_user_id: file.owner.as_ref().map(|owner| owner.as_str().to_owned()),
            entity: file.entity.as_ref().map(|entity| EntityView {
                kind: entity.kind.as_str().to_owned(),
                id: entity.id.as_str().to_owned(),
                role: entity.role.as_ref().map(|role| role.as_str().to_owned()),
                position: entity.position.0,
            }),
            transformations: TransformationsView {
                image: ImageView { enabled: file.variants.enabled, visibility: file.variants.visibility.as_str() },
            },
            width: file.dimensions.map(|d| d.width),
            height: file.dimensions.map(|d| d.height),
            thumbhash: file.thumbhash.as_ref().map(|hash| hash.to_string()),
            checksum_sha256: file.checksum.map(|c| c.to_string()),
            created_at: file.created,
            // One that is being published has no end.
            expires_at: file.due.filter(|_| file.state == State::Pending),
            etag: etag(file),
        }
    }
}

/// The file's version, as far as a client can see it.
pub(crate) fn etag(file: &File) -> String {
    format!("\"{}\"", file.revision)
}

/// `{"file": File}`.
#[derive(Serialize, ToSchema)]
pub(crate) struct FileAnswer {
    pub(crate) file: FileView,
}

/// Where a file's bytes are.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Urls)]
pub(crate) struct UrlsView {
    #[schema(format = "uri")]
    url: String,
    /// All seven widths of a raster image whose variants are enabled, otherwise none.
    #[schema(max_items = 7)]
    variants: Vec<VariantView>,
    /// Seconds; present where anything is signed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, minimum = 1)]
    expires_in: Option<u64>,
}

/// A variant of an image.
#[derive(Serialize, ToSchema)]
#[schema(as = Variant)]
pub(crate) struct VariantView {
    /// Pixels; the picture is never wider than its original.
    width: u32,
    #[schema(format = "uri")]
    url: String,
}

impl From<FileUrls> for UrlsView {
    fn from(urls: FileUrls) -> Self {
        let signed = std::iter::once(&urls.original).chain(urls.variants.iter().map(|v| &v.url));
        let expires_in = signed.filter_map(|url| url.expires_in()).min().map(|life| life.as_secs());
        Self {
            url: urls.original.into_string(),
            variants: urls
                .variants
                .into_iter()
                .map(|v| VariantView { width: v.width.pixels(), url: v.url.into_string() })
                .collect(),
            expires_in,
        }
    }
}

/// `{"file": File, "url", "variants"}`.
#[derive(Serialize, ToSchema)]
pub(crate) struct FileWithUrls {
    pub(crate) file: FileView,
    #[serde(flatten)]
    pub(crate) urls: UrlsView,
}

/// A file in a list, with its URLs beside its own fields if they were asked for.
#[derive(Serialize, ToSchema)]
pub(crate) struct ListedFile {
    #[serde(flatten)]
    pub(crate) file: FileView,
    #[serde(flatten)]
    #[schema(value_type = ListedUrls)]
    pub(crate) urls: Option<UrlsView>,
}

/// A page of a list.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = NumberedPage)]
pub(crate) struct ListAnswer {
    #[schema(max_items = 100)]
    pub(crate) files: Vec<ListedFile>,
    /// How many files match; at least, if `totalIsExact` is false.
    pub(crate) total: u64,
    /// Whether `total` and `totalPages` count everything. Counting stops where 20,000 files have been compared with the
    /// filters.
    pub(crate) total_is_exact: bool,
    #[schema(minimum = 1)]
    pub(crate) page: u32,
    pub(crate) total_pages: u64,
}

/// `{"success": true}`.
#[derive(Serialize, ToSchema)]
pub(crate) struct Done {
    pub(crate) success: bool,
}

/// What a deletion answers; of an erasure also what it looked at, and found gone.
#[derive(Default, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Deletion)]
pub(crate) struct DeletionAnswer {
    success: bool,
    /// Every key under which the bucket could have had something of the file.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    objects: Option<Vec<String>>,
    /// Every CDN path, with a trailing `*`, under which nothing of the file is cached any more.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    paths: Option<Vec<String>>,
    /// Every CDN path that the CDN was asked to forget and cannot be asked about.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    unverified_paths: Option<Vec<String>>,
    /// When the cleanup looks once more: a worker may still be busy with a variant, or the file's upload URL may still
    /// work.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime, nullable = false)]
    again_at: Option<Timestamp>,
}

impl DeletionAnswer {
    pub(crate) fn deleted() -> Self {
        Self { success: true, ..Self::default() }
    }

    pub(crate) fn erased(erased: Erased) -> Self {
        let Erased { objects, paths, unverified_paths, again_at } = erased;
        Self {
            success: true,
            objects: Some(objects.iter().map(ToString::to_string).collect()),
            paths: Some(paths),
            unverified_paths: Some(unverified_paths),
            again_at,
        }
    }
}

/// What a cleanup did, or would do.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
#[schema(as = Cleanup)]
pub(crate) enum CleanupAnswer {
    /// It ran.
    Run {
        /// How many records were settled.
        settled: u64,
        /// The ids of those that could not be; the next run tries again.
        failed: Vec<String>,
        /// Whether it stopped at its bounds with more to do.
        more: bool,
    },
    /// It only looked.
    DryRun {
        overdue: Vec<OverdueView>,
        more: bool,
    },
    Report {
        report: ReconciliationView,
    },
}

/// A record that owes work.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Overdue)]
pub(crate) struct OverdueView {
    /// A file's id, or that of a project that is being cleared.
    #[schema(pattern = "^[a-z0-9]{12}([a-z0-9]{8})?$")]
    id: String,
    #[schema(value_type = DebtorState)]
    state: &'static str,
    /// How many bytes it holds.
    size: u64,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
}

impl From<&Overdue> for OverdueView {
    fn from(overdue: &Overdue) -> Self {
        match overdue {
            Overdue::File(file) => Self {
                id: file.id.to_string(),
                state: file.state.as_str(),
                size: file.holds(),
                created_at: file.created,
            },
            Overdue::Project(project) => Self {
                id: project.id.to_string(),
                state: "clearing",
                size: project.used_bytes(),
                created_at: project.created,
            },
        }
    }
}

/// What a walk through bucket, records and quota found.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Reconciliation)]
pub(crate) struct ReconciliationView {
    /// How many objects were looked at.
    objects: u64,
    /// How many published files were looked at.
    records: u64,
    /// Objects that no record knows of. The cleanup removes those that it has known for a day.
    orphans: Vec<OrphanView>,
    /// How many objects have keys that are none of XFiles'. Nobody touches them.
    foreign: u64,
    /// Published files whose bytes are not there.
    missing: Vec<String>,
    /// Published files whose bytes are there, and are not those that were published. Only the embedded store looks.
    damaged: Vec<String>,
    /// Projects whose free bytes are not what their files leave.
    drifts: Vec<DriftView>,
    /// Whether the time of one request was not enough for all of it.
    more: bool,
}

/// An object that no record knows of.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Orphan)]
pub(crate) struct OrphanView {
    key: String,
    /// When the cleanup first found it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    since: Option<Timestamp>,
}

/// A project whose counter is off.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Drift)]
pub(crate) struct DriftView {
    project_id: String,
    /// How many bytes too few are free; negative: too many.
    missing_bytes: i64,
}

impl From<Reconciliation> for ReconciliationView {
    fn from(found: Reconciliation) -> Self {
        let orphans = found.orphans.iter().map(|o| OrphanView { key: o.key.to_string(), since: o.since });
        let drifts = found.drifts.iter();
        let drifts = drifts.map(|d| DriftView { project_id: d.project.to_string(), missing_bytes: d.missing_bytes });
        Self {
            objects: found.objects,
            records: found.records,
            orphans: orphans.collect(),
            foreign: found.foreign,
            missing: found.missing.iter().map(ToString::to_string).collect(),
            damaged: found.damaged.iter().map(ToString::to_string).collect(),
            drifts: drifts.collect(),
            more: found.more,
        }
    }
}

/// `{"files": [File]}`.
#[derive(Serialize, ToSchema)]
pub(crate) struct FilesAnswer {
    pub(crate) files: Vec<FileView>,
}

/// A page of a list that is walked.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = CursorPage)]
pub(crate) struct WalkAnswer {
    #[schema(max_items = 100)]
    pub(crate) files: Vec<ListedFile>,
    /// Where the next page begins; null at the end.
    #[schema(required)]
    pub(crate) next_cursor: Option<String>,
}

/// Either kind of page.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
#[schema(as = FilePage)]
pub(crate) enum PageAnswer {
    Numbered(ListAnswer),
    Walked(WalkAnswer),
}

/// The results of a batch, in the order of what was asked: what a single request would have answered, or `error`.
#[derive(Serialize, ToSchema)]
pub(crate) struct BatchAnswer {
    #[schema(value_type = Vec<Object>)]
    pub(crate) results: Vec<serde_json::Value>,
}

/// What a bulk deletion did.
#[derive(Serialize, ToSchema)]
pub(crate) struct DeletedAnswer {
    /// How many files are gone.
    pub(crate) deleted: u64,
    /// Present and true when its time ran out: the same request goes on.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) more: bool,
}

/// What a project holds, in bytes.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Usage)]
pub(crate) struct UsageView {
    quota_bytes: u64,
    /// Held by confirmed files.
    used_bytes: u64,
    /// Held for uploads that are not confirmed yet.
    reserved_bytes: u64,
    free_bytes: u64,
    /// How many files are confirmed.
    files: u64,
}

impl From<&Project> for UsageView {
    fn from(project: &Project) -> Self {
        Self {
            quota_bytes: project.quota_bytes,
            used_bytes: project.used_bytes() - project.reserved_bytes,
            reserved_bytes: project.reserved_bytes,
            free_bytes: project.free_bytes,
            files: project.file_count,
        }
    }
}

/// A project.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Project)]
pub(crate) struct ProjectView {
    #[schema(value_type = String, pattern = "^[a-z0-9]{12}$")]
    id: ProjectId,
    #[schema(min_length = 1, max_length = 100)]
    name: String,
    #[schema(value_type = ProjectStatus)]
    status: &'static str,
    usage: UsageView,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
}

impl From<&Project> for ProjectView {
    fn from(project: &Project) -> Self {
        let status = match project.clearing {
            None => "active",
            Some(Clearing { and_project: false, .. }) => "emptying",
            Some(Clearing { and_project: true, .. }) => "deleting",
        };
        Self {
            id: project.id,
            name: project.name.clone(),
            status,
            usage: UsageView::from(project),
            created_at: project.created,
        }
    }
}

/// `{"project": Project}`.
#[derive(Serialize, ToSchema)]
pub(crate) struct ProjectAnswer {
    pub(crate) project: ProjectView,
}

/// `{"projects": [Project]}`.
#[derive(Serialize, ToSchema)]
pub(crate) struct ProjectsAnswer {
    pub(crate) projects: Vec<ProjectView>,
}

/// A key, without what opens anything.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Key)]
pub(crate) struct KeyView {
    #[schema(value_type = String, pattern = "^[a-z0-9]{10}$")]
    id: KeyId,
    #[schema(min_length = 1, max_length = 100)]
    name: String,
    prefix: &'static str,
    #[schema(min_length = 4, max_length = 4)]
    last_four: String,
    #[schema(value_type = Vec<KeyScope>)]
    scopes: Vec<&'static str>,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    #[schema(value_type = Option<String>, format = DateTime, required)]
    last_used_at: Option<Timestamp>,
    #[schema(value_type = Option<String>, format = DateTime, required)]
    expires_at: Option<Timestamp>,
    #[schema(value_type = Option<String>, format = DateTime, required)]
    revoked_at: Option<Timestamp>,
}

impl From<&KeyRecord> for KeyView {
    fn from(key: &KeyRecord) -> Self {
        Self {
            id: key.id,
            name: key.name.clone(),
            prefix: "xf_",
            last_four: key.last_four.clone(),
            scopes: key.scopes.iter().map(|scope| scope.as_str()).collect(),
            created_at: key.created,
            last_used_at: key.last_used,
            expires_at: key.expires_at,
            revoked_at: key.revoked_at,
        }
    }
}

/// A key and, in the one answer that makes it, what opens something.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct KeyAnswer {
    pub(crate) key: KeyView,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, pattern = "^xf_[A-Za-z0-9]{32}$")]
    pub(crate) api_key: Option<String>,
}

/// `{"keys": [Key]}`.
#[derive(Serialize, ToSchema)]
pub(crate) struct KeysAnswer {
    pub(crate) keys: Vec<KeyView>,
}

/// Where a project's events are sent.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Webhook)]
pub(crate) struct WebhookView {
    #[schema(value_type = String, pattern = "^[a-z0-9]{12}$")]
    id: EndpointId,
    #[schema(format = "uri", max_length = 1024)]
    url: String,
    /// Which events; empty: all.
    #[schema(value_type = Vec<EventName>, max_items = 5)]
    events: Vec<&'static str>,
    /// False when it was switched off, or answered 410.
    enabled: bool,
    /// Until when messages carry the old secret's signature too, after a rotation.
    #[schema(value_type = Option<String>, format = DateTime, required)]
    old_secret_until: Option<Timestamp>,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
}

impl From<&Endpoint> for WebhookView {
    fn from(endpoint: &Endpoint) -> Self {
        Self {
            id: endpoint.id,
            url: endpoint.url.to_string(),
            events: endpoint.types.iter().map(|kind| kind.as_str()).collect(),
            enabled: endpoint.enabled,
            old_secret_until: endpoint.retiring.as_ref().map(|(_, until)| *until),
            created_at: endpoint.created,
        }
    }
}

/// A webhook and, in an answer that makes one, its secret.
#[derive(Serialize, ToSchema)]
pub(crate) struct WebhookAnswer {
    webhook: WebhookView,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, pattern = "^whsec_[A-Za-z0-9+/=]+$")]
    secret: Option<String>,
}

impl WebhookAnswer {
    pub(crate) fn with_secret(endpoint: &Endpoint) -> Self {
        Self { secret: Some(endpoint.secret.reveal().to_owned()), ..Self::without_secret(endpoint) }
    }

    pub(crate) fn without_secret(endpoint: &Endpoint) -> Self {
        Self { webhook: WebhookView::from(endpoint), secret: None }
    }
}

/// `{"webhooks": [Webhook]}`.
#[derive(Serialize, ToSchema)]
pub(crate) struct WebhooksAnswer {
    #[schema(max_items = 10)]
    pub(crate) webhooks: Vec<WebhookView>,
}

/// One event on its way to one webhook.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Delivery)]
pub(crate) struct DeliveryView {
    #[schema(pattern = "^[0-9]{14}-evt_[0-9a-f]{32}$")]
    id: String,
    /// The same as in the header `webhook-id`.
    #[schema(pattern = "^evt_[0-9a-f]{32}$")]
    event_id: String,
    #[serde(rename = "type")]
    #[schema(value_type = EventName)]
    kind: &'static str,
    #[schema(value_type = DeliveryState)]
    status: &'static str,
    attempts: u32,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    #[schema(value_type = Option<String>, format = DateTime, required)]
    last_attempt_at: Option<Timestamp>,
    /// The HTTP status of the last answer.
    #[schema(required)]
    last_status: Option<u16>,
    /// Why the last attempt had no answer.
    #[schema(required)]
    last_error: Option<String>,
    #[schema(value_type = Option<String>, format = DateTime, required)]
    next_attempt_at: Option<Timestamp>,
}

impl From<&Delivery> for DeliveryView {
    fn from(delivery: &Delivery) -> Self {
        let (at, last_status, last_error) = match delivery.last.clone() {
            None => (None, None, None),
            Some((at, Attempt::Answered(status))) => (Some(at), Some(status), None),
            Some((at, Attempt::Failed(reason))) => (Some(at), None, Some(reason)),
        };
        Self {
            id: delivery.key().name().to_owned(),
            event_id: delivery.event.to_string(),
            kind: delivery.kind.as_str(),
            status: delivery.status.as_str(),
            attempts: delivery.attempts,
            created_at: delivery.created,
            last_attempt_at: at,
            last_status,
            last_error,
            next_attempt_at: delivery.due,
        }
    }
}

/// A page of deliveries, newest first. With a filter a page may be short and still have a next one.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DeliveriesAnswer {
    #[schema(max_items = 50)]
    pub(crate) deliveries: Vec<DeliveryView>,
    /// Where the next page begins; null at the end.
    #[schema(required)]
    pub(crate) next_cursor: Option<String>,
}

/// What was replayed.
#[derive(Serialize, ToSchema)]
pub(crate) struct ReplayedAnswer {
    /// How many deliveries will be tried again.
    pub(crate) replayed: u64,
    /// Whether there are more: the same request goes on.
    pub(crate) more: bool,
}
