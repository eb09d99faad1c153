//! What answers look like. Field names are the contract.

use serde::Serialize;
use utoipa::ToSchema;
use xfiles_core::{
    catalog::{Clearing, KeyRecord, Project},
    clock::Timestamp,
    file::File,
    id::{FileId, KeyId, ProjectId},
    lifecycle::{Begun, FileUrls},
};

use crate::openapi::words::{
    FileState, KeyScope, ListedUrls, Method, ProjectStatus, SignedHeaders, UploadStatus, Visibility,
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
    #[schema(minimum = 1, maximum = 104857600)]
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
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, pattern = "^[A-Za-z0-9+/]{43}=$")]
    checksum_sha256: Option<String>,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
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
            checksum_sha256: file.checksum.map(|c| c.to_string()),
            created_at: file.created,
        }
    }
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
    /// How many files match.
    pub(crate) total: u64,
    #[schema(minimum = 1)]
    pub(crate) page: u32,
    pub(crate) total_pages: u64,
}

/// `{"success": true}`.
#[derive(Serialize, ToSchema)]
pub(crate) struct Done {
    pub(crate) success: bool,
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
    DryRun { overdue: Vec<OverdueView>, more: bool },
}

/// A record that owes work.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Overdue)]
pub(crate) struct OverdueView {
    #[schema(value_type = String, pattern = "^[a-z0-9]{20}$")]
    id: FileId,
    #[schema(value_type = FileState)]
    state: &'static str,
    size: u64,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
}

impl From<&File> for OverdueView {
    fn from(file: &File) -> Self {
        let state = file.state.as_str();
        Self { id: file.id, state, size: file.size.bytes(), created_at: file.created }
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
