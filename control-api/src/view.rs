//! What answers look like. Field names are the contract.

use serde::Serialize;
use xfiles_core::{
    clock::Timestamp,
    file::File,
    id::FileId,
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
        failed: Vec<FileId>,
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
