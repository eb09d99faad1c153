//! The bytes: one S3 bucket. Presigned uploads, conditional publication, variants, deletion.
//! Nothing here knows records or decides who may read.

use std::time::Duration;

use aws_sdk_s3::{
    Client,
    config::{ProvideCredentials, SharedCredentialsProvider, retry::RetryConfig},
    error::{ProvideErrorMetadata, SdkError},
    operation::{
        delete_objects::{DeleteObjectsOutput, builders::DeleteObjectsFluentBuilder},
        get_object::GetObjectOutput,
    },
    presigning::PresigningConfig,
    primitives::ByteStream,
    types::{Delete, MetadataDirective, ObjectIdentifier},
};
use bytes::Bytes;

use crate::{
    clock::{Clock, Timestamp},
    content_type::ContentType,
    error::{Cause, Error, Result},
    file::File,
    intent::UPLOAD_URL_LIFE,
    object_key::{ObjectKey, Visibility},
    sniff,
    stores::fault::{self, status, unavailable},
    variant::ImageFormat,
};

/// How much of an upload is read to tell what it is.
pub const HEAD_BYTES: u64 = 64 * 1024;

/// How far a JPEG is read whose size is not in its head, because profiles and previews come before it.
const LONG_HEAD_BYTES: u64 = 1024 * 1024;

/// Time for a URL's last use to reach the store before its credentials end.
const CREDENTIALS_MARGIN: Duration = Duration::from_secs(30);

/// The header in which a store says, with a 500, that an object exists and its bytes are damaged, and how. Only the
/// embedded store has it; S3 repairs what its disks lose.
pub const DAMAGE_HEADER: &str = "x-xfiles-damage";

/// Of what is in [`DAMAGE_HEADER`], that there are no bytes at all.
pub const DAMAGE_MISSING: &str = "missing";

/// How often a deletion is tried whose attempts are counted here and not by the SDK, and how long it waits after the first.
/// Three attempts of 8 s and the pauses are less than a request's 29 s.
const DELETION_ATTEMPTS: u32 = 3;
const DELETION_PAUSE: Duration = Duration::from_millis(100);

/// The bucket.
#[derive(Clone, Debug)]
pub struct Blobs {
    s3: Client,
    presigner: Presigner,
    bucket: String,
    clock: Clock,
}

/// Who signs upload URLs. A URL lives no longer than the credentials that signed it.
#[derive(Clone, Debug)]
struct Presigner {
    s3: Client,
    credentials: SharedCredentialsProvider,
}

/// A URL to which exactly one object can be put, with what the request must carry. `Debug` does not show it.
pub struct PresignedPut {
    /// The URL. Its holder can put the object.
    pub url: String,
    /// The headers that the signature binds and the client must send. Its HTTP library adds `Host` and
    /// `Content-Length`, which are bound as well.
    pub headers: Vec<(String, String)>,
    /// When the URL stops working.
    pub expires_at: Timestamp,
    /// How long it works.
    pub life: Duration,
}

impl std::fmt::Debug for PresignedPut {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PresignedPut").field("expires_at", &self.expires_at).finish_non_exhaustive()
    }
}

/// What the store says of an upload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upload {
    /// Its ETag; the published object must be copied from this one.
    pub etag: String,
    /// Its size in bytes.
    pub size: u64,
    /// Its media type.
    pub content_type: String,
    /// Its first bytes: [`HEAD_BYTES`], and of a JPEG as many as its size needs, up to a megabyte.
    pub head: Vec<u8>,
}

/// The headers under which a published object is stored and served. None of them comes from the client's upload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PublishedHeaders<'a> {
    /// `Content-Type`.
    pub content_type: &'a str,
    /// `Cache-Control`.
    pub cache_control: &'static str,
    /// `Content-Disposition`, if it is set.
    pub content_disposition: Option<&'static str>,
}

impl<'a> PublishedHeaders<'a> {
    /// The headers of a file's object at this key.
    pub fn of(file: &'a File, key: &ObjectKey) -> Self {
        Self {
            content_type: file.content_type.as_str(),
            cache_control: key.cache_control(),
            content_disposition: disposition(&file.content_type),
        }
    }
}

/// Some keys of the bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyPage {
    /// The keys, ours or not.
    pub keys: Vec<String>,
    /// After which key the next page begins; `None` at the end.
    pub next: Option<String>,
}

/// Whether an object's bytes are there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Presence {
    /// There is no such object.
    Absent,
    /// The store has the object, and has lost its bytes.
    Lost,
    /// The store has the object, and knows that its bytes are not those that were put.
    Damaged,
    /// The store has the object and no reason to doubt it.
    There {
        /// Its ETag.
        etag: String,
        /// Its size in bytes.
        size: u64,
    },
}

/// What became of a copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Copied {
    /// The object is in place, now or since an earlier try.
    Yes {
        /// Its ETag. Under SSE-KMS that is another one than its source's.
        etag: String,
    },
    /// The source is gone or another object, and nothing was copied.
    SourceChanged,
    /// Another object is in place, and stays.
    Occupied,
}

/// What became of a variant that was to be stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoredVariant {
    /// It is stored now.
    New {
        /// The store's ETag of it.
        etag: Option<String>,
    },
    /// It was there before.
    Before,
}

/// What is known of a deletion that succeeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deletion {
    /// It was sent once: nothing of it is under way any more.
    Sent,
    /// An earlier attempt got no answer, and may delete what is put there later.
    MayBeRepeated,
}

/// An object that is being read. Dropped before its end, it closes the connection.
#[derive(Debug)]
pub struct Reading {
    length: u64,
    left: u64,
    body: ByteStream,
}

impl Reading {
    /// Its size in bytes.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// The next bytes of it; `None` after the last. A body that ends before its length is an error.
    pub async fn next(&mut self) -> Result<Option<Bytes>> {
        const DOING: &str = "reading an object's bytes";

        let part = match self.body.next().await.transpose() {
            Ok(part) => part,
            Err(e) => return Err(unavailable(Cause::new(DOING, &e))),
        };
        let length = part.as_ref().map_or(0, |part| part.len() as u64);
        match self.left.checked_sub(length) {
            Some(0) | None if part.is_none() => Ok(None),
            Some(left) if part.is_some() => {
                self.left = left;
                Ok(part)
            }
            _ => Err(unavailable(Cause::because(DOING, "there are not as many as the store said"))),
        }
    }
}

impl Blobs {
    /// The bucket, through a client and the credentials it signs with.
    pub fn new(s3: Client, credentials: SharedCredentialsProvider, bucket: impl Into<String>, clock: Clock) -> Self {
        let presigner = Presigner { s3: s3.clone(), credentials };
        Self { s3, presigner, bucket: bucket.into(), clock }
    }

    /// The same bucket, with upload URLs signed by a principal that may do nothing but upload.
    #[must_use]
    pub fn presigning_with(self, s3: Client, credentials: SharedCredentialsProvider) -> Self {
        Self { presigner: Presigner { s3, credentials }, ..self }
    }

    /// Makes the bucket, unless it is there. On AWS the template makes it.
    pub async fn create_bucket(&self) -> Result<()> {
        match self.s3.create_bucket().bucket(&self.bucket).send().await {
            Ok(_) => Ok(()),
            Err(e) if matches!(e.code(), Some("BucketAlreadyOwnedByYou" | "BucketAlreadyExists")) => Ok(()),
            Err(e) => Err(failed("creating the bucket", e)),
        }
    }

    /// Whether the store answers.
    pub async fn ready(&self) -> Result<()> {
        // No object has this key. A bucket that may not be listed answers 403 for it, which is an answer.
        match self.s3.head_object().bucket(&self.bucket).key("staging/-").send().await {
            Ok(_) => Ok(()),
            Err(e) if matches!(status(&e), Some(403 | 404)) => Ok(()),
            Err(e) => Err(failed("asking the store whether it is there", e)),
        }
    }

    /// A URL for uploading the file, good for 900 s or as long as the credentials that sign it.
    ///
    /// It binds key, type, length and, when declared, the checksum. Nothing else is signed: the SDK signs every header
    /// that is set, and a client that sends only `Content-Type` must succeed.
    pub async fn presign_put(&self, file: &File) -> Result<PresignedPut> {
        let now = self.clock.now();
        let life = self.url_life(now).await?;
        let config = PresigningConfig::builder()
            .start_time(now.into())
            .expires_in(life)
            .build()
            .map_err(|e| Error::Internal(Cause::new("presigning", &e)))?;
        let length = i64::try_from(file.size.bytes()).expect("an upload is at most 100 MB");
        let signed = self
            .presigner
            .s3
            .put_object()
            .bucket(&self.bucket)
            .key(file.staging_key().to_string())
            .content_type(file.content_type.declared())
            .content_length(length)
            .set_checksum_sha256(file.checksum.map(|c| c.to_string()))
            .presigned(config)
            .await
            .map_err(|e| Error::Internal(Cause::new("presigning", &e)))?;
        let added_by_http =
            |name: &str| name.eq_ignore_ascii_case("content-length") || name.eq_ignore_ascii_case("host");
        let headers = signed.headers().filter(|(name, _)| !added_by_http(name));
        Ok(PresignedPut {
            url: signed.uri().to_owned(),
            headers: headers.map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
            expires_at: now + life,
            life,
        })
    }

    async fn url_life(&self, now: Timestamp) -> Result<Duration> {
        let doing = "reading the signing credentials";
        let credentials = self
            .presigner
            .credentials
            .provide_credentials()
            .await
            .map_err(|e| Error::Internal(Cause::new(doing, &e)))?;
        let Some(end) = credentials.expiry() else {
            return Ok(UPLOAD_URL_LIFE);
        };
        let left = Timestamp::from(end).since(now).saturating_sub(CREDENTIALS_MARGIN);
        let whole_seconds = Duration::from_secs(left.as_secs());
        if whole_seconds.is_zero() {
            let source = Cause::because(doing, "they end within seconds and were not refreshed");
            return Err(Error::Unavailable { retry_after: CREDENTIALS_MARGIN, source });
        }
        Ok(whole_seconds.min(UPLOAD_URL_LIFE))
    }

    /// Looks at an upload: one ranged read tells size, type, ETag and first bytes of one and the same object, and nearly
    /// always enough of them. `None`: nothing was put.
    pub async fn inspect(&self, key: &ObjectKey) -> Result<Option<Upload>> {
        let range = format!("bytes=0-{}", HEAD_BYTES - 1);
        let get = self.s3.get_object().bucket(&self.bucket).key(key.to_string()).range(range);
        let object = match get.send().await {
            Ok(object) => object,
            // Without the right to list the bucket, S3 answers 403 for a key that does not exist.
            Err(e) if matches!(status(&e), Some(404 | 403)) => return Ok(None),
            // No range can be satisfied of an object without bytes.
            Err(e) if status(&e) == Some(416) => return self.inspect_empty(key).await,
            Err(e) => return Err(failed("inspecting an upload", e)),
        };
        let size = full_size(&object).ok_or_else(|| {
            Error::Internal(Cause::because("inspecting an upload", "the store did not tell the size"))
        })?;
        let etag = object.e_tag.clone().unwrap_or_default();
        let content_type = object.content_type.clone().unwrap_or_default();
        let mut head = read(object.body).await?;
        if size > HEAD_BYTES && sniff::wants_more(&head) {
            head.extend(self.read_on(key, &etag).await?);
        }
        Ok(Some(Upload { etag, size, content_type, head }))
    }

    /// Looks at an object that had no bytes a moment ago. `None`: it is gone, or has bytes by now, and will be looked at
    /// when it is confirmed again.
    async fn inspect_empty(&self, key: &ObjectKey) -> Result<Option<Upload>> {
        let head = self.s3.head_object().bucket(&self.bucket).key(key.to_string());
        match head.send().await {
            Ok(object) if object.content_length == Some(0) => Ok(Some(Upload {
                etag: object.e_tag.unwrap_or_default(),
                size: 0,
                content_type: object.content_type.unwrap_or_default(),
                head: Vec::new(),
            })),
            Ok(_) => Ok(None),
            Err(e) if matches!(status(&e), Some(404 | 403)) => Ok(None),
            Err(e) => Err(failed("inspecting an upload", e)),
        }
    }

    /// What comes after the head of the object with this ETag. Nothing, if it is another one by now.
    async fn read_on(&self, key: &ObjectKey, etag: &str) -> Result<Vec<u8>> {
        let range = format!("bytes={HEAD_BYTES}-{}", LONG_HEAD_BYTES - 1);
        let get = self.s3.get_object().bucket(&self.bucket).key(key.to_string()).range(range);
        match get.if_match(etag).send().await {
            Ok(object) => read(object.body).await,
            Err(e) if matches!(status(&e), Some(404 | 403 | 412)) => Ok(Vec::new()),
            Err(e) => Err(failed("inspecting an upload", e)),
        }
    }

    /// Copies the staged object with this ETag to the file's place, with our own metadata and nothing of the client's,
    /// and only if nothing is there. All tries use the same ETag, so two can never publish different bytes.
    pub async fn publish(&self, file: &File, etag: &str) -> Result<Copied> {
        self.copy(file, &file.staging_key(), &file.original_key(), etag).await
    }

    /// Copies the published object to where readers of another visibility find it.
    pub async fn move_to(&self, file: &File, visibility: Visibility, etag: &str) -> Result<Copied> {
        self.copy(file, &file.original_key(), &file.original_key_at(visibility), etag).await
    }

    async fn copy(&self, file: &File, source: &ObjectKey, target: &ObjectKey, etag: &str) -> Result<Copied> {
        let headers = PublishedHeaders::of(file, target);
        let copied = self
            .s3
            .copy_object()
            .bucket(&self.bucket)
            .key(target.to_string())
            .copy_source(format!("{}/{source}", self.bucket))
            .copy_source_if_match(etag)
            .if_none_match("*")
            .metadata_directive(MetadataDirective::Replace)
            .content_type(headers.content_type)
            .cache_control(headers.cache_control)
            .set_content_disposition(headers.content_disposition.map(str::to_owned))
            .send()
            .await;
        match copied {
            Ok(copied) => {
                let copied = copied.copy_object_result.and_then(|copied| copied.e_tag);
                Ok(Copied::Yes { etag: copied.unwrap_or_else(|| etag.to_owned()) })
            }
            // Either the source is another object or gone, or the target is there: done before, if it is ours.
            Err(e) if matches!(status(&e), Some(404 | 403 | 409 | 412)) => match self.head(target).await? {
                Some((found, size)) if found == etag && size == file.size.bytes() => Ok(Copied::Yes { etag: found }),
                Some(_) => Ok(Copied::Occupied),
                None if status(&e) == Some(409) => Err(failed("copying an object", e)),
                None => Ok(Copied::SourceChanged),
            },
            Err(e) => Err(failed("copying an object", e)),
        }
    }

    /// The next thousand keys of the bucket after this one, in the order of their bytes. On AWS this needs the right to
    /// list the bucket, which only the cleanup has.
    pub async fn list(&self, after: &str) -> Result<KeyPage> {
        let request = self.s3.list_objects_v2().bucket(&self.bucket);
        let request = request.set_start_after((!after.is_empty()).then(|| after.to_owned()));
        let page = request.send().await.map_err(|e| failed("listing the bucket", e))?;
        let keys: Vec<String> = page.contents().iter().filter_map(|object| object.key().map(str::to_owned)).collect();
        let next = if page.is_truncated == Some(true) { keys.last().cloned() } else { None };
        Ok(KeyPage { keys, next })
    }

    /// Begins to read an object. `None`: it does not exist.
    pub async fn open(&self, key: &ObjectKey) -> Result<Option<Reading>> {
        match self.s3.get_object().bucket(&self.bucket).key(key.to_string()).send().await {
            Ok(object) => {
                let length = object.content_length.and_then(|length| u64::try_from(length).ok());
                let length = length.ok_or_else(|| {
                    Error::Internal(Cause::because("reading an object", "the store did not tell its length"))
                })?;
                Ok(Some(Reading { length, left: length, body: object.body }))
            }
            Err(e) if matches!(status(&e), Some(404 | 403)) => Ok(None),
            Err(e) => Err(failed("reading an object", e)),
        }
    }

    /// Stores a variant under the media type and cache headers that its key implies, unless it is there: the same
    /// picture is made of the same bytes, so that the first stays.
    pub async fn put_variant(
        &self,
        key: &ObjectKey,
        format: ImageFormat,
        bytes: impl Into<ByteStream>,
    ) -> Result<StoredVariant> {
        let put = self
            .s3
            .put_object()
            .bucket(&self.bucket)
            .key(key.to_string())
            .content_type(format.mime())
            .cache_control(key.cache_control())
            .if_none_match("*")
            .body(bytes.into())
            .send()
            .await;
        match put {
            Ok(stored) => Ok(StoredVariant::New { etag: stored.e_tag }),
            // 409: another worker is storing the same bytes at this moment.
            Err(e) if matches!(status(&e), Some(409 | 412)) => Ok(StoredVariant::Before),
            Err(e) => Err(failed("storing a variant", e)),
        }
    }

    /// Deletes objects, at most 1,000. Those that do not exist are no error.
    pub async fn delete(&self, keys: impl IntoIterator<Item = ObjectKey>) -> Result<()> {
        let answer = self.deletion(keys).send().await.map_err(|e| failed("deleting objects", e))?;
        all_deleted(&answer)
    }

    /// Deletes objects like [`Blobs::delete`], and says whether an attempt may still be under way: for places where
    /// something may be put again.
    pub async fn delete_once(&self, keys: impl IntoIterator<Item = ObjectKey>) -> Result<Deletion> {
        let once = aws_sdk_s3::config::Builder::new().retry_config(RetryConfig::disabled());
        let request = self.deletion(keys);
        let mut deletion = Deletion::Sent;
        for attempt in 1.. {
            // In a box, because a request with its own configuration is several times as large on the stack as others.
            let sent = Box::pin(request.clone().customize().config_override(once.clone()).send());
            let error = match sent.await {
                Ok(answer) => return all_deleted(&answer).map(|()| deletion),
                Err(error) => error,
            };
            // A store that is busy says so before it does anything.
            if !matches!(status(&error), Some(429 | 503)) {
                deletion = Deletion::MayBeRepeated;
            }
            let error = failed("deleting objects", error);
            if attempt == DELETION_ATTEMPTS || !matches!(error, Error::Unavailable { .. }) {
                return Err(error);
            }
            tokio::time::sleep(DELETION_PAUSE * attempt).await;
        }
        unreachable!("the loop ends by its last attempt")
    }

    fn deletion(&self, keys: impl IntoIterator<Item = ObjectKey>) -> DeleteObjectsFluentBuilder {
        let name = |key: ObjectKey| ObjectIdentifier::builder().key(key.to_string()).build().expect("the key is set");
        let keys: Vec<_> = keys.into_iter().map(name).collect();
        let delete = Delete::builder().set_objects(Some(keys)).quiet(true).build().expect("objects are set");
        self.s3.delete_objects().bucket(&self.bucket).delete(delete)
    }

    /// An object's ETag and size. `None`: it does not exist.
    pub async fn head(&self, key: &ObjectKey) -> Result<Option<(String, u64)>> {
        match self.presence(key).await? {
            Presence::There { etag, size } => Ok(Some((etag, size))),
            Presence::Absent => Ok(None),
            Presence::Lost | Presence::Damaged => {
                Err(unavailable(Cause::because("looking for an object", "its bytes are damaged on the store's disk")))
            }
        }
    }

    /// As [`Blobs::head`], for a caller that wants to know of damage rather than fail because of it.
    pub async fn presence(&self, key: &ObjectKey) -> Result<Presence> {
        match self.s3.head_object().bucket(&self.bucket).key(key.to_string()).send().await {
            Ok(head) => {
                let size = head.content_length.and_then(|n| u64::try_from(n).ok()).unwrap_or(0);
                Ok(Presence::There { etag: head.e_tag.unwrap_or_default(), size })
            }
            Err(e) if matches!(status(&e), Some(404 | 403)) => Ok(Presence::Absent),
            Err(e) => match e.raw_response().and_then(|response| response.headers().get(DAMAGE_HEADER)) {
                Some(DAMAGE_MISSING) => Ok(Presence::Lost),
                Some(_) => Ok(Presence::Damaged),
                None => Err(failed("looking for an object", e)),
            },
        }
    }
}

fn all_deleted(answer: &DeleteObjectsOutput) -> Result<()> {
    match answer.errors().first() {
        None => Ok(()),
        Some(error) => {
            let code = error.code().unwrap_or("unknown").to_owned();
            let source = Cause::because("deleting objects", code);
            Err(unavailable(source))
        }
    }
}

/// So that no browser opens a document where it could do harm, or shows an empty page in the place of one.
fn disposition(content_type: &ContentType) -> Option<&'static str> {
    content_type.is_attachment().then_some("attachment")
}

/// The size of the whole object that a ranged read is a part of: the number after the slash of `Content-Range`.
fn full_size(object: &GetObjectOutput) -> Option<u64> {
    match object.content_range() {
        Some(range) => range.rsplit_once('/')?.1.parse().ok(),
        None => u64::try_from(object.content_length?).ok(),
    }
}

async fn read(body: ByteStream) -> Result<Vec<u8>> {
    match body.collect().await {
        // The SDK's own `to_vec` goes byte by byte.
        Ok(bytes) => Ok(bytes.into_bytes().into()),
        Err(e) => Err(unavailable(Cause::new("reading an object's bytes", &e))),
    }
}

/// The error of a request whose failure S3 may report with two more statuses: 409, when another request is under way for
/// the same key, and 200, when a copy fails after the answer has begun and the error is in its body.
fn failed<E>(doing: &'static str, error: SdkError<E>) -> Error
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    match status(&error) {
        Some(200 | 409) => unavailable(Cause::new(doing, &error)),
        _ => fault::failed(doing, error),
    }
}
