//! Files: uploads, lists, URLs, changes and deletions. What the core's types become stands below the declarations.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use xfiles_core::{
    catalog::{Catalog, FileFilter, PageSize, TypeFilter},
    clock::Timestamp,
    content_type::ContentType,
    file::{self, Patch, State},
    id::FileId,
    intent::{
        self, ByteSize, EntityWord, OriginalFilename, OwnerId, Position, Sha256Checksum, UPLOAD_URL_LIFE, VariantPolicy,
    },
    object_key::Visibility,
    operations::{Begun, Erased, FileUrls},
    variant::{ImageFormat, Width},
};

use crate::{
    limits,
    problem::ItemRefused,
    wire::{Change, Distinct, Flat, List, Nullable, Wire as _},
    words::{
        BatchedFile, Beginning, Etag, FILE, FileRef, Include, ListCursor, Method, PROJECT, Placeholder, Seconds,
        StoredName, UploadStatus, Url, Whole, Word,
    },
};

const NAME: &str = "Best Ever Photo (2024).JPG";

object! {
    /// What is to be uploaded.
    pub struct UploadIntent {
        /// The client's name of the file; kept as it is.
        filename: OriginalFilename = NAME,
        content_type: ContentType = "image/jpeg",
        /// Bytes.
        size: ByteSize = 2_417_803,
        /// Who may read the original.
        visibility: Visibility [default Visibility::Private] = "private",
        /// The application's id of a user.
        owner_user_id: Option<OwnerId>,
        entity: Option<EntityPlace> = EntityPlace::example(),
        transformations: Option<TransformationsWish> = TransformationsWish::example(),
        /// The base64 of the SHA-256 of the bytes. The store refuses other bytes.
        checksum_sha256: Option<Sha256Checksum>,
    }

    /// The application's thing to which a file is attached, and where among its files.
    pub struct EntityPlace {
        /// The kind of thing, such as `listing`.
        kind as "type": EntityWord = "listing",
        /// Which one.
        id: EntityWord = "1187",
        /// What the file is to it, such as `cover`.
        role: Option<EntityWord> = "cover",
        /// Its place in the order.
        position: Position [default Position(0)] = 0,
    }

    /// What is to be made of a file.
    #[derive(Default)]
    pub struct TransformationsWish {
        image: Option<ImageWish> = ImageWish::example(),
    }

    /// Whether variants are made of an image, and who may read them.
    #[derive(Default)]
    pub struct ImageWish {
        /// Left out, it is false for a new upload and stays as it is in a change.
        enabled: Option<bool> = true,
        /// Left out, it is private for a new upload and stays as it is in a change.
        visibility: Option<Visibility> = "public",
    }

    /// Several uploads.
    pub struct UploadIntents {
        files: List<UploadIntent, 1, { limits::BATCH }>,
        /// Whether all are refused if there is no room for one; otherwise each is judged alone.
        all_or_nothing: bool [default false] = true,
    }

    /// One file.
    pub struct FileReference {
        /// A text that is no id is a file that does not exist.
        file_id: FileRef,
    }

    /// Several files.
    pub struct FileReferences {
        /// A text that is no id is a file that does not exist.
        file_ids: List<BatchedFile, 1, { limits::BATCH }> = json!([FILE, "7c1n4r8t2y6u0p5s9a3e"]),
    }

    /// Files to delete.
    pub struct FilesToDelete {
        /// A text that is no id is a file that does not exist.
        file_ids: List<BatchedFile, 1, { limits::DELETED_AT_ONCE }> = json!([FILE, "7c1n4r8t2y6u0p5s9a3e"]),
    }

    /// Files in their order.
    pub struct FileOrder {
        /// Each once; the first gets position 0.
        file_ids: Distinct<FileRef, 1, { Catalog::REPLACE_AT_ONCE }>,
    }

    /// What of a file is to change; what is left out stays.
    #[derive(Default)]
    pub struct FileChange {
        /// Moves the file between its public and its private path.
        visibility: Option<Visibility> = "public",
        /// Null takes the owner away.
        owner_user_id: Change<OwnerId> = Value::Null,
        /// Only a file with an entity has one.
        position: Option<Position> = 3,
        transformations: Option<TransformationsWish>,
    }

    /// What kind of URLs.
    pub struct UrlWish {
        /// Seconds that signed URLs live, a week at most. More than an hour needs the scope `write` as well. If it is
        /// left out, they live five to six minutes, and requests within the same minute get the same URLs.
        expires_in: Option<Seconds<{ limits::MIN_URL_LIFE }, { limits::MAX_URL_LIFE }>> = 3600,
        /// Whether `url` makes a browser save the original, under the name that it had on the client.
        download: bool [default false],
    }

    /// Which entity's files.
    pub struct EntityFilters {
        /// Attached to an entity of this type.
        entity_type: Option<EntityWord>,
        /// Attached to an entity with this id.
        entity_id: Option<EntityWord>,
        /// In this role there.
        role: Option<EntityWord>,
    }

    /// Which files a list has, and which part of it is wanted.
    pub struct ListQuery {
        entity: Flat<EntityFilters>,
        /// Of this user of the application.
        owner_user_id: Option<OwnerId>,
        /// With originals of this visibility.
        visibility: Option<Visibility>,
        /// With variants of this visibility.
        variant_visibility: Option<Visibility>,
        /// Confirmed files, or pending uploads instead of them.
        upload_status: Option<UploadStatus> [assumed UploadStatus::Confirmed],
        /// Begun at this time or later.
        created_after: Option<Timestamp>,
        /// Begun before this time.
        created_before: Option<Timestamp>,
        /// Of this media type, or of a family such as `image/*`.
        content_type: Option<TypeFilter>,
        /// With a client-side name that begins so; case does not matter.
        q: Option<Beginning>,
        /// A numbered page, from 1. Not together with `cursor`.
        page: Option<Whole<1, { u32::MAX as u64 }>> [assumed Whole(1)],
        /// How many files a page has.
        limit: PageSize [default PageSize::default()],
        /// Empty to begin a walk, then each `nextCursor` of the same list with the same filters.
        cursor: Option<ListCursor>,
        /// Adds `url` and `variants` to each file.
        include: Option<Include>,
        /// The encoding of the variants whose URLs are listed; `auto` is what the viewer's `Accept` prefers.
        format: Option<ImageFormat> [assumed ImageFormat::default()],
    }

    /// Which URLs of variants are listed.
    pub struct VariantQuery {
        /// The encoding of the variants whose URLs are listed; `auto` is what the viewer's `Accept` prefers.
        format: ImageFormat [default ImageFormat::default()],
    }

    /// How a file is read.
    pub struct GetQuery {
        variants: Flat<VariantQuery>,
        /// For how many seconds to wait for a pending upload to be confirmed; 25 at most are waited.
        wait: Seconds<0, { limits::MAX_WAIT }> [default Seconds(std::time::Duration::ZERO)],
    }

    /// How a file is deleted.
    pub struct DeleteQuery {
        /// Whether to verify that no trace is left.
        erase: bool [default false],
    }
}

object! {
    /// Where and how to upload.
    pub struct Upload {
        file_id: FileId,
        /// Where the bytes go; it is good for this upload only.
        upload_url: Url = "https://store.example.com/…?X-Amz-Signature=…",
        method: Word<Method> = "PUT",
        /// Exactly the headers that the upload is sent with, by name.
        headers: BTreeMap<String, String> = json!({"content-type": "image/jpeg", "content-length": "2417803"}),
        /// Where the file will be on the CDN once it is confirmed.
        key: String = format!("files/originals/private/{PROJECT}/{FILE}/best-ever-photo-2024-a7x9k2.jpg"),
        /// Seconds until the URL ends.
        expires_in: Whole<1, { UPLOAD_URL_LIFE.as_secs() }> = 900,
        expires_at: Timestamp = "2026-01-31T12:15:00.000Z",
    }

    /// A file.
    pub struct File {
        id: FileId,
        /// The sanitised name, as it stands in URLs.
        filename: StoredName,
        /// The client's name, kept as it came.
        original_filename: OriginalFilename = NAME,
        content_type: String = "image/jpeg",
        /// Bytes.
        size: ByteSize = 2_417_803,
        visibility: Word<Visibility> = "private",
        upload_status: Word<UploadStatus> = "confirmed",
        owner_user_id: Nullable<OwnerId>,
        entity: Nullable<Entity> = Entity::example(),
        transformations: Transformations,
        /// Pixels, as displayed; raster images have it.
        width: Option<Pixels> = 4032,
        height: Option<Pixels> = 3024,
        /// A [ThumbHash](https://evanw.github.io/thumbhash/) in base64, to be shown until the picture is there. A raster image
        /// has it soon after its confirmation: seconds on one machine, up to about a minute on AWS, or, where that is switched
        /// off, from its first variant on. One that cannot be decoded never has it.
        thumbhash: Option<Placeholder> = "1QcSHQRnh493V4dIh4eXh1h4kJUI",
        checksum_sha256: Option<Sha256Checksum>,
        created_at: Timestamp,
        /// When a pending upload ends by itself and its bytes are free again, unless it is confirmed or its URL is renewed.
        /// Only pending uploads have it.
        expires_at: Option<Timestamp>,
        /// The version, to be sent as `If-Match`; the same as in the header of an answer that is about this file alone.
        etag: Etag,
    }

    /// What a file is attached to, and where among its files.
    pub struct Entity {
        kind as "type": EntityWord = "listing",
        id: EntityWord = "1187",
        role: Nullable<EntityWord> = "cover",
        position: Position = 0,
    }

    /// What is made of a file.
    pub struct Transformations {
        image: ImageTransformations,
    }

    /// Whether variants are made of an image, and who may read them.
    pub struct ImageTransformations {
        enabled: bool = true,
        visibility: Word<Visibility> = "public",
    }

    /// `{"file": File}`.
    pub struct FileAnswer {
        file: File,
    }

    /// `{"files": [File]}`.
    pub struct FilesAnswer {
        files: Vec<File>,
    }

    /// A variant of an image.
    pub struct Variant {
        /// Pixels; the picture is never wider than its original.
        width: u32,
        url: Url,
    }

    /// Where a file's bytes are.
    pub struct Urls {
        url: Url = format!("{ORIGINAL}?Signature=…"),
        /// All seven widths of a raster image whose variants are enabled, otherwise none.
        variants: List<Variant, 0, { Width::ALL.len() }> = variants(),
        /// Seconds; present where anything is signed.
        expires_in: Option<Whole<1, { u64::MAX }>> = 300,
    }

    /// `{"file": File, "url", "variants"}`.
    pub struct FileWithUrls {
        file: File,
        urls: Flat<Urls>,
    }

    /// A file in a list, with its URLs beside its own fields if they were asked for.
    pub struct ListedFile {
        file: Flat<File>,
        url: Option<Url>,
        variants: Option<List<Variant, 0, { Width::ALL.len() }>>,
        /// Seconds; present where anything is signed.
        expires_in: Option<Whole<1, { u64::MAX }>>,
    }

    /// A page of a list.
    pub struct NumberedPage {
        files: List<ListedFile, 0, { PageSize::MAX as usize }>,
        /// How many files match; at least, if `totalIsExact` is false.
        total: u64 = 41,
        /// Whether `total` and `totalPages` count everything. Counting stops where 20,000 files have been compared with the
        /// filters.
        total_is_exact: bool = true,
        page: Whole<1, { u32::MAX as u64 }> = 1,
        total_pages: u64 = 3,
    }

    /// A page of a list that is walked.
    pub struct CursorPage {
        files: List<ListedFile, 0, { PageSize::MAX as usize }> = json!([listed_with_urls()]),
        /// Where the next page begins; null at the end.
        next_cursor: Nullable<String> = "AeJ0m1sQ7xkB",
    }

    /// `{"success": true}`.
    pub struct Done {
        success: bool = true,
    }

    /// What a deletion answers; of an erasure also what it looked at, and found gone.
    pub struct Deletion {
        success: bool = true,
        /// Every key under which the bucket could have had something of the file.
        objects: Option<Vec<String>>,
        /// Every CDN path, with a trailing `*`, under which nothing of the file is cached any more.
        paths: Option<Vec<String>>,
        /// Every CDN path that the CDN was asked to forget and cannot be asked about.
        unverified_paths: Option<Vec<String>>,
        /// When the cleanup looks once more: a worker may still be busy with a variant, or the file's upload URL may still
        /// work.
        again_at: Option<Timestamp>,
    }

    /// What a bulk deletion did.
    pub struct DeletedAnswer {
        /// How many files are gone.
        deleted: u64 = 12,
        /// Present and true when its time ran out: the same request goes on.
        more: Option<bool>,
    }

    /// What became of each intent, in order.
    pub struct BatchOfUploads {
        results: List<UploadResult, 1, { limits::BATCH }>,
    }

    /// What became of each confirmation, in order.
    pub struct BatchOfFiles {
        results: List<FileResult, 1, { limits::BATCH }>,
    }

    /// What became of each deletion, in order.
    pub struct BatchOfDeletions {
        results: List<DeletionResult, 1, { limits::DELETED_AT_ONCE }>,
    }
}

one_of! {
    /// Either kind of page.
    pub enum FilePage { Numbered(NumberedPage), Walked(CursorPage) }

    /// An upload, or why there is none.
    pub enum UploadResult { Done(Upload), Refused(ItemRefused) }

    /// A confirmed file, or why it is not.
    #[expect(clippy::large_enum_variant, reason = "a batch has at most a hundred, most of which are files")]
    pub enum FileResult { Done(FileAnswer), Refused(ItemRefused) }

    /// Deleted, or why not.
    pub enum DeletionResult { Done(Done), Refused(ItemRefused) }
}

/// A length in pixels.
pub type Pixels = Whole<1, { u32::MAX as u64 }>;

const ORIGINAL: &str =
    "https://cdn.example.com/files/originals/private/k3v9x2m7q1z8/2h8w0k5v9d3m7q1x4z6b/best-ever-photo-2024-a7x9k2.jpg";

fn variants() -> Value {
    let base = format!("https://cdn.example.com/files/variants/public/{PROJECT}/{FILE}/best-ever-photo-2024-a7x9k2_w");
    let variant = |width: Width| json!({"width": width.pixels(), "url": format!("{base}{width}.webp")});
    Width::ALL.map(variant).to_vec().into()
}

fn listed_with_urls() -> Value {
    let mut file = File::example().unwrap_or_default();
    file.as_object_mut().into_iter().for_each(|file| {
        if let Some(Value::Object(urls)) = Urls::example() {
            file.extend(urls);
        }
    });
    file
}

impl UploadIntent {
    /// An upload with nothing but what every upload has.
    pub fn new(filename: OriginalFilename, content_type: ContentType, size: ByteSize) -> Self {
        Self {
            filename,
            content_type,
            size,
            visibility: Visibility::Private,
            owner_user_id: None,
            entity: None,
            transformations: None,
            checksum_sha256: None,
        }
    }
}

impl From<UploadIntent> for intent::UploadIntent {
    fn from(asked: UploadIntent) -> Self {
        let image = asked.transformations.and_then(|asked| asked.image).unwrap_or_default();
        Self {
            original_filename: asked.filename,
            content_type: asked.content_type,
            size: asked.size,
            visibility: asked.visibility,
            owner: asked.owner_user_id,
            entity: asked.entity.map(|EntityPlace { kind, id, role, position }| intent::Entity {
                kind,
                id,
                role,
                position,
            }),
            variants: VariantPolicy {
                enabled: image.enabled.unwrap_or(false),
                visibility: image.visibility.unwrap_or(Visibility::Private),
            },
            checksum: asked.checksum_sha256,
        }
    }
}

impl From<FileChange> for Patch {
    fn from(asked: FileChange) -> Self {
        let image = asked.transformations.and_then(|asked| asked.image).unwrap_or_default();
        Self {
            visibility: asked.visibility,
            owner: asked.owner_user_id.into_option(),
            position: asked.position,
            variants_enabled: image.enabled,
            variants_visibility: image.visibility,
        }
    }
}

impl From<EntityFilters> for FileFilter {
    fn from(EntityFilters { entity_type, entity_id, role }: EntityFilters) -> Self {
        Self { entity_type, entity_id, role, ..Self::default() }
    }
}

impl ListQuery {
    /// The filters alone.
    pub fn into_filter(self) -> FileFilter {
        FileFilter {
            owner: self.owner_user_id,
            visibility: self.visibility,
            variants_visibility: self.variant_visibility,
            created_after: self.created_after,
            created_before: self.created_before,
            content_type: self.content_type,
            name_prefix: self.q.map(|beginning| beginning.prefix),
            ..self.entity.0.into()
        }
    }
}

impl From<Begun> for Upload {
    fn from(begun: Begun) -> Self {
        let Begun { file, upload } = begun;
        Self {
            file_id: file.id,
            key: file.original_key().to_string(),
            method: Method::Put.into(),
            headers: upload.headers.into_iter().map(|(name, value)| (name.to_string(), value.to_string())).collect(),
            expires_in: Whole(upload.life.as_secs()),
            expires_at: upload.expires_at,
            upload_url: Url(upload.url),
        }
    }
}

impl From<&file::File> for File {
    fn from(file: &file::File) -> Self {
        let status = if file.is_confirmed() { UploadStatus::Confirmed } else { UploadStatus::Pending };
        Self {
            id: file.id,
            filename: StoredName(file.name.to_string()),
            original_filename: file.original_filename.clone(),
            content_type: file.content_type.to_string(),
            size: file.size,
            visibility: file.visibility.into(),
            upload_status: status.into(),
            owner_user_id: Nullable(file.owner.clone()),
            entity: Nullable(file.entity.clone().map(|intent::Entity { kind, id, role, position }| Entity {
                kind,
                id,
                role: Nullable(role),
                position,
            })),
            transformations: Transformations {
                image: ImageTransformations {
                    enabled: file.variants.enabled,
                    visibility: file.variants.visibility.into(),
                },
            },
            width: file.dimensions.map(|d| Whole(d.width.into())),
            height: file.dimensions.map(|d| Whole(d.height.into())),
            thumbhash: file.thumbhash.as_ref().map(|hash| Placeholder(hash.to_string())),
            checksum_sha256: file.checksum,
            created_at: file.created,
            // An upload that is being published no longer expires.
            expires_at: file.due.filter(|_| file.state == State::Pending),
            etag: Etag::of(file),
        }
    }
}

impl Etag {
    /// The file's version, as far as a client can see it.
    pub fn of(file: &file::File) -> Self {
        Self(format!("\"{}\"", file.revision))
    }
}

impl From<FileUrls> for Urls {
    fn from(urls: FileUrls) -> Self {
        let signed = std::iter::once(&urls.original).chain(urls.variants.iter().map(|v| &v.url));
        let expires_in = signed.filter_map(|url| url.expires_in()).min().map(|life| Whole(life.as_secs()));
        let variants = urls.variants.into_iter();
        let variants = variants.map(|v| Variant { width: v.width.pixels(), url: Url(v.url.into_string()) });
        Self { url: Url(urls.original.into_string()), variants: List(variants.collect()), expires_in }
    }
}

impl ListedFile {
    pub fn new(file: &file::File, urls: Option<FileUrls>) -> Self {
        let file = Flat(File::from(file));
        match urls.map(Urls::from) {
            Some(Urls { url, variants, expires_in }) => {
                Self { file, url: Some(url), variants: Some(variants), expires_in }
            }
            None => Self { file, url: None, variants: None, expires_in: None },
        }
    }
}

impl Deletion {
    /// The answer of a deletion that is no erasure.
    pub const DONE: Self = Self { success: true, objects: None, paths: None, unverified_paths: None, again_at: None };
}

impl From<Erased> for Deletion {
    fn from(erased: Erased) -> Self {
        Self {
            success: true,
            objects: Some(erased.objects.iter().map(ToString::to_string).collect()),
            paths: Some(erased.paths),
            unverified_paths: Some(erased.unverified_paths),
            again_at: erased.again_at,
        }
    }
}
