//! What answers look like. Field names are the contract.

use serde::Serialize;
use xfiles_core::{
    catalog::{Clearing, KeyRecord, Project},
    clock::Timestamp,
    file::File,
    id::{FileId, KeyId, ProjectId},
    lifecycle::{Begun, FileUrls},
};

/// The answer to `upload-intent`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct IntentView {
    file_id: FileId,
    upload_url: String,
    method: &'static str,
    headers: serde_json::Map<String, serde_json::Value>,
    key: String,
    expires_in: u64,
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
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct FileView {
    id: FileId,
    filename: String,
    original_filename: String,
    content_type: String,
    size: u64,
    visibility: &'static str,
    upload_status: &'static str,
    owner_user_id: Option<String>,
    entity: Option<EntityView>,
    transformations: TransformationsView,
    #[serde(skip_serializing_if = "Option::is_none")]
    width: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    height: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    checksum_sha256: Option<String>,
    created_at: Timestamp,
}

#[derive(Serialize)]
struct EntityView {
    #[serde(rename = "type")]
    kind: String,
    id: String,
    role: Option<String>,
    position: u32,
}

#[derive(Serialize)]
struct TransformationsView {
    image: ImageView,
}

#[derive(Serialize)]
struct ImageView {
    enabled: bool,
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
#[derive(Serialize)]
pub(crate) struct FileAnswer {
    pub(crate) file: FileView,
}

/// Where a file's bytes are.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct UrlsView {
    url: String,
    variants: Vec<VariantView>,
    /// Seconds; present where anything is signed.
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_in: Option<u64>,
}

#[derive(Serialize)]
struct VariantView {
    width: u32,
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
#[derive(Serialize)]
pub(crate) struct FileWithUrls {
    pub(crate) file: FileView,
    #[serde(flatten)]
    pub(crate) urls: UrlsView,
}

/// A file in a list, with its URLs beside its own fields if they were asked for.
#[derive(Serialize)]
pub(crate) struct ListedFile {
    #[serde(flatten)]
    pub(crate) file: FileView,
    #[serde(flatten)]
    pub(crate) urls: Option<UrlsView>,
}

/// A page of a list.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ListAnswer {
    pub(crate) files: Vec<ListedFile>,
    pub(crate) total: u64,
    pub(crate) page: u32,
    pub(crate) total_pages: u64,
}

/// `{"success": true}`.
#[derive(Serialize)]
pub(crate) struct Done {
    pub(crate) success: bool,
}

/// What a cleanup did, or would do.
#[derive(Serialize)]
#[serde(untagged)]
pub(crate) enum CleanupAnswer {
    /// It ran.
    Run {
        settled: u64,
        failed: Vec<String>,
        /// Whether it stopped at its bounds with more to do.
        more: bool,
    },
    /// It only looked.
    DryRun { overdue: Vec<OverdueView>, more: bool },
}

/// A record that owes work.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct OverdueView {
    id: FileId,
    state: &'static str,
    size: u64,
    created_at: Timestamp,
}

impl From<&File> for OverdueView {
    fn from(file: &File) -> Self {
        let state = file.state.as_str();
        Self { id: file.id, state, size: file.size.bytes(), created_at: file.created }
    }
}

/// `{"files": [File]}`.
#[derive(Serialize)]
pub(crate) struct FilesAnswer {
    pub(crate) files: Vec<FileView>,
}

/// A page of a list that is walked.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct WalkAnswer {
    pub(crate) files: Vec<ListedFile>,
    pub(crate) next_cursor: Option<String>,
}

/// Either kind of page.
#[derive(Serialize)]
#[serde(untagged)]
pub(crate) enum PageAnswer {
    Numbered(ListAnswer),
    Walked(WalkAnswer),
}

/// The results of a batch, in the order of what was asked: what a single request would have answered, or `error`.
#[derive(Serialize)]
pub(crate) struct BatchAnswer {
    pub(crate) results: Vec<serde_json::Value>,
}

/// What a bulk deletion did.
#[derive(Serialize)]
pub(crate) struct DeletedAnswer {
    pub(crate) deleted: u64,
    /// Present and true when its time ran out: the same request goes on.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) more: bool,
}

/// What a project holds, in bytes.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct UsageView {
    quota_bytes: u64,
    used_bytes: u64,
    reserved_bytes: u64,
    free_bytes: u64,
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
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ProjectView {
    id: ProjectId,
    name: String,
    status: &'static str,
    usage: UsageView,
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
#[derive(Serialize)]
pub(crate) struct ProjectAnswer {
    pub(crate) project: ProjectView,
}

/// `{"projects": [Project]}`.
#[derive(Serialize)]
pub(crate) struct ProjectsAnswer {
    pub(crate) projects: Vec<ProjectView>,
}

/// A key, without what opens anything.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct KeyView {
    id: KeyId,
    name: String,
    prefix: &'static str,
    last_four: String,
    scopes: Vec<&'static str>,
    created_at: Timestamp,
    last_used_at: Option<Timestamp>,
    expires_at: Option<Timestamp>,
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
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct KeyAnswer {
    pub(crate) key: KeyView,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) api_key: Option<String>,
}

/// `{"keys": [Key]}`.
#[derive(Serialize)]
pub(crate) struct KeysAnswer {
    pub(crate) keys: Vec<KeyView>,
}
