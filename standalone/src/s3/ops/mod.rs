//! The S3 operations of this store, on the index and the blobs.
//!
//! Other operations return `NotImplemented`. Authorisation is checked elsewhere, and nothing becomes visible except
//! through a change of the index.

mod faults;
mod fields;
mod receive;

use std::{
    ops::Range,
    sync::{Arc, OnceLock, atomic::Ordering},
};

use http::{
    HeaderValue, StatusCode,
    header::{CONTENT_RANGE, CONTENT_TYPE, IF_MATCH, IF_NONE_MATCH},
};
use s3s::{
    S3, S3Request, S3Response, S3Result,
    dto::{self, CopySource, StreamingBlob},
    s3_error,
};
use tokio::sync::mpsc::Sender;
use xfiles_core::clock::{Clock, Timestamp};

pub(super) use self::{faults::Fault, fields::http_date};
use self::{
    faults::no_such_bucket,
    fields::{
        Encoding, common_prefixes, condition, content_encoding, content_md5, date, etag, listed, metadata, object_size,
        page_size, readable, whole_current_object,
    },
    receive::Upload,
};
use super::{
    Integrity,
    blob::{BlobId, BlobReader, Blobs, FinishedBlob, ReadError},
    checksum::{Checksum, Declared},
    conditions::{ReadConditions, WriteConditions, no_such_key, precondition_failed},
    damage::{Damage, Watch},
    index::{Batch, Bucket, Facts, Headers, Index, Location, Object, Rows, Step},
    listing::{Page, Position, Query},
};
use crate::{lock::Locks, room::Room};

/// Keys per DeleteObjects request; keys and prefixes per page of a listing.
const MAX_KEYS: usize = 1000;
/// The content type of objects that were uploaded without one, as on S3.
const DEFAULT_CONTENT_TYPE: &str = "binary/octet-stream";

/// The operations behind the protocol layer. Clones share the store.
#[derive(Clone, Debug)]
pub(super) struct Operations {
    pub(super) index: Arc<Index>,
    pub(super) blobs: Blobs,
    pub(super) clock: Clock,
    pub(super) region: String,
    /// The listener for new objects.
    pub(super) listener: Arc<OnceLock<Sender<serde_json::Value>>>,
    /// The free space of the disk, if it is monitored.
    pub(super) room: Arc<OnceLock<Room>>,
    pub(super) watch: Watch,
    /// Held until the index, which is dropped before, is closed.
    pub(super) _locks: Arc<Locks>,
}

/// Runs blocking work on the disk.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, Fault> + Send + 'static) -> Result<T, Fault> {
    tokio::task::spawn_blocking(work).await?
}

impl Operations {
    /// The notification that S3 sends for a new object.
    fn created(&self, at: &Location, object: &Object) -> serde_json::Value {
        let key = percent_encoding::utf8_percent_encode(&at.key, percent_encoding::NON_ALPHANUMERIC).to_string();
        serde_json::json!({"Records": [{
            "eventVersion": "2.1",
            "eventSource": "aws:s3",
            "awsRegion": self.region,
            "eventTime": object.modified,
            "eventName": "ObjectCreated:Put",
            "s3": {
                "s3SchemaVersion": "1.0",
                "bucket": {"name": at.bucket, "arn": format!("arn:aws:s3:::{}", at.bucket)},
                "object": {"key": key, "size": object.size, "eTag": object.md5},
            },
        }]})
    }

    async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(Rows<'_>) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, Fault> {
        let readers = self.index.readers().clone();
        blocking(move || Ok(readers.read(read)?)).await
    }

    /// Makes a change that may be refused, and waits for its commit.
    async fn change<T: Send + 'static>(
        &self,
        change: impl FnOnce(&mut Batch<'_>) -> rusqlite::Result<S3Result<T>> + Send + 'static,
    ) -> S3Result<T> {
        self.index.change(change).await.map_err(Fault::from)?
    }

    async fn require_bucket(&self, name: &str) -> S3Result {
        let wanted = name.to_owned();
        if self.read(move |rows| rows.has_bucket(&wanted)).await? { Ok(()) } else { Err(no_such_bucket()) }
    }

    /// Opens an object's bytes in their current version.
    async fn open(&self, at: Location, conditions: ReadConditions, range: Option<dto::Range>) -> S3Result<Opened> {
        self.look(at, conditions, range, |blobs, object, slice| {
            blobs.read(&object.blob, object.size, &object.md5, slice.bytes.clone())
        })
        .await
        .map(|(at, object, slice, reader)| {
            let (index, watch, clock, blob) =
                (Arc::downgrade(&self.index), self.watch.clone(), self.clock.clone(), object.blob.clone());
            let reader = reader.reporting(move |damage| {
                if let Some(index) = index.upgrade() {
                    watch.report(&index, &blob, &at.key, damage, clock.now());
                }
            });
            Opened { object, slice, reader }
        })
    }

    /// Finds a readable object and its blob.
    async fn look<T: Send + 'static>(
        &self,
        at: Location,
        conditions: ReadConditions,
        range: Option<dto::Range>,
        read: impl Fn(&Blobs, &Object, &Slice) -> Result<T, ReadError> + Send + 'static,
    ) -> S3Result<(Location, Object, Slice, T)> {
        let Self { index, blobs, watch, clock, .. } = self.clone();
        let looked = blocking(move || {
            let mut seen: Option<(BlobId, Damage)> = None;
            loop {
                let found = index.readers().read(|rows| {
                    let found = find(rows, &at)?;
                    let damage = found.as_ref().map_or(Ok(None), |object| rows.damage(&object.blob))?;
                    Ok(found.map(|object| (object, damage)))
                });
                let (object, damage) = match found? {
                    Ok(found) => found,
                    Err(refusal) => return Ok(Err(refusal)),
                };
                let slice = match readable(&object, &conditions).and_then(|()| Slice::of(range, object.size)) {
                    Ok(slice) => slice,
                    Err(refusal) => return Ok(Err(refusal)),
                };
                if let Some(damage) = damage {
                    watch.refuse();
                    return Err(Fault::Damaged(damage));
                }
                match read(&blobs, &object, &slice) {
                    Ok(value) => return Ok(Ok((at, object, slice, value))),
                    Err(ReadError::Disk(error)) => return Err(error.into()),
                    // If the file is missing, the object may have been replaced since its row was read, so the row is
                    // read again. If it names the same blob, the blob is damaged.
                    Err(ReadError::Damaged(damage)) => {
                        if seen.as_ref().is_some_and(|(blob, _)| *blob == object.blob) {
                            watch.report(&index, &object.blob, &at.key, damage, clock.now());
                            return Err(Fault::Damaged(damage));
                        }
                        seen = Some((object.blob, damage));
                    }
                }
            }
        });
        looked.await?
    }

    /// The current integrity counters.
    pub(super) async fn integrity(&self) -> Integrity {
        let known = self.read(|rows| Ok((rows.damaged_blobs()?, rows.last_pass()?))).await;
        let (damaged_blobs, last_pass) = known.map_or((None, None), |(blobs, pass)| (Some(blobs), pass));
        let counters = self.watch.counters();
        Integrity {
            damaged_blobs,
            last_pass,
            refused_reads: counters.refused.load(Ordering::Relaxed),
            scrubbed_blobs: counters.scrubbed_blobs.load(Ordering::Relaxed),
            scrubbed_bytes: counters.scrubbed_bytes.load(Ordering::Relaxed),
        }
    }

    async fn page(&self, query: Query) -> S3Result<Page> {
        let page = self.read(move |rows| match rows.has_bucket(&query.bucket)? {
            true => query.run(rows).map(Some),
            false => Ok(None),
        });
        page.await?.ok_or_else(no_such_bucket)
    }

    /// Removes at most a page of objects under a prefix that were last modified before a time.
    pub(super) async fn expire(&self, bucket: String, prefix: String, before: Timestamp) -> Result<usize, Fault> {
        let scanned = bucket.clone();
        let old = self.read(move |rows| {
            let mut old = Vec::new();
            rows.walk(&scanned, &prefix, &[], |entry| {
                if entry.modified < before {
                    old.push(entry.key);
                }
                if old.len() < MAX_KEYS { Step::Next } else { Step::Stop }
            })?;
            Ok(old)
        });
        let old = old.await?;
        if old.is_empty() {
            return Ok(0);
        }
        let removed = self.index.change(move |batch| {
            let mut removed = 0;
            for key in old {
                let at = Location { bucket: bucket.clone(), key };
                // It may have been replaced since.
                if batch.rows().object(&at)?.is_some_and(|object| object.modified < before) {
                    batch.remove(&at)?;
                    removed += 1;
                }
            }
            Ok(removed)
        });
        Ok(removed.await?)
    }
}

/// An object and the requested range of its bytes.
struct Opened {
    object: Object,
    slice: Slice,
    reader: BlobReader,
}

/// The range of an object's bytes in a response.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Slice {
    bytes: Range<u64>,
    /// `Content-Range`, if the request had a range.
    content_range: Option<String>,
}

impl Slice {
    fn of(range: Option<dto::Range>, size: u64) -> S3Result<Self> {
        let Some(range) = range else {
            return Ok(Self { bytes: 0..size, content_range: None });
        };
        match range.check(size) {
            Ok(bytes) if !bytes.is_empty() => {
                let content_range = format!("bytes {}-{}/{size}", bytes.start, bytes.end - 1);
                Ok(Self { bytes, content_range: Some(content_range) })
            }
            Ok(_) | Err(_) => {
                let mut refusal = s3_error!(InvalidRange, "The requested range is not satisfiable");
                let total = HeaderValue::try_from(format!("bytes */{size}")).expect("digits are visible ASCII");
                let xml = HeaderValue::from_static("application/xml");
                refusal.set_headers([(CONTENT_RANGE, total), (CONTENT_TYPE, xml)].into_iter().collect());
                Err(refusal)
            }
        }
    }

    fn length(&self) -> i64 {
        i64::try_from(self.bytes.end - self.bytes.start).expect("an object is smaller than 2^63 bytes")
    }
}

/// Finds an object, or returns the error for a missing one.
fn find(rows: Rows<'_>, at: &Location) -> rusqlite::Result<S3Result<Object>> {
    match rows.object(at)? {
        Some(object) => Ok(Ok(object)),
        None if rows.has_bucket(&at.bucket)? => Ok(Err(no_such_key())),
        None => Ok(Err(no_such_bucket())),
    }
}

/// The object to which the conditions of a write apply. A damaged one counts as missing, so that a client that has the
/// bytes, such as the worker, can replace it.
fn replaceable(rows: Rows<'_>, at: &Location) -> rusqlite::Result<Option<Object>> {
    match rows.object(at)? {
        Some(object) if rows.damage(&object.blob)?.is_some() => Ok(None),
        found => Ok(found),
    }
}

/// The headers to store, from the input of PutObject or CopyObject, which have the same field names but no common type.
macro_rules! headers_of {
    ($input:ident) => {
        Headers {
            content_type: $input.content_type,
            content_encoding: content_encoding($input.content_encoding),
            content_disposition: $input.content_disposition,
            content_language: $input.content_language,
            cache_control: $input.cache_control,
            expires: $input.expires.map(|at| time::OffsetDateTime::from(at).unix_timestamp()),
            metadata: metadata($input.metadata)?,
        }
    };
}

/// The conditions of GetObject or HeadObject, which have the same field names but no common type.
macro_rules! read_conditions_of {
    ($input:ident) => {
        ReadConditions {
            if_match: $input.if_match,
            if_none_match: $input.if_none_match,
            modified_since: $input.if_modified_since,
            unmodified_since: $input.if_unmodified_since,
        }
    };
}

/// An object in the output of GetObject or HeadObject, which have the same field names but no common type.
macro_rules! present {
    ($output:ident, $object:ident, $slice:ident, $checksum_mode:expr) => {{
        let Facts { headers, checksum } = $object.facts;
        // A checksum applies to the whole object.
        let checksum = checksum.filter(|_| $checksum_mode.is_some() && $slice.content_range.is_none());
        let checksum = checksum.map(Checksum::into_fields).unwrap_or_default();
        dto::$output {
            accept_ranges: Some("bytes".to_owned()),
            content_length: Some($slice.length()),
            content_range: $slice.content_range,
            e_tag: Some(etag(&$object.md5)),
            last_modified: Some(date($object.modified)),
            content_type: Some(headers.content_type.unwrap_or_else(|| DEFAULT_CONTENT_TYPE.to_owned())),
            content_encoding: headers.content_encoding,
            content_disposition: headers.content_disposition,
            content_language: headers.content_language,
            cache_control: headers.cache_control,
            expires: headers.expires.map(|secs| date(Timestamp::from_millis(secs.saturating_mul(1000)))),
            metadata: Some(headers.metadata.into_iter().collect()),
            checksum_crc32: checksum.checksum_crc32,
            checksum_crc32c: checksum.checksum_crc32c,
            checksum_crc64nvme: checksum.checksum_crc64nvme,
            checksum_sha1: checksum.checksum_sha1,
            checksum_sha256: checksum.checksum_sha256,
            checksum_type: checksum.checksum_type,
            ..Default::default()
        }
    }};
}

#[async_trait::async_trait]
impl S3 for Operations {
    async fn create_bucket(
        &self,
        request: S3Request<dto::CreateBucketInput>,
    ) -> S3Result<S3Response<dto::CreateBucketOutput>> {
        let dto::CreateBucketInput { bucket, create_bucket_configuration, .. } = request.input;
        let place = create_bucket_configuration.and_then(|c| c.location_constraint);
        if place.is_some_and(|place| place.as_str() != self.region) {
            return Err(s3_error!(IllegalLocationConstraintException, "The only region is {}", self.region));
        }
        let location = Some(format!("/{bucket}"));
        let new = Bucket { name: bucket, created: self.clock.now() };
        let made = self.change(move |batch| {
            if batch.rows().has_bucket(&new.name)? {
                return Ok(Err(s3_error!(BucketAlreadyOwnedByYou, "The bucket exists, and you own it.")));
            }
            batch.create_bucket(&new).map(Ok)
        });
        made.await?;
        Ok(S3Response::new(dto::CreateBucketOutput { location }))
    }

    async fn head_bucket(
        &self,
        request: S3Request<dto::HeadBucketInput>,
    ) -> S3Result<S3Response<dto::HeadBucketOutput>> {
        self.require_bucket(&request.input.bucket).await?;
        Ok(S3Response::new(dto::HeadBucketOutput { bucket_region: Some(self.region.clone()), ..Default::default() }))
    }

    async fn get_bucket_location(
        &self,
        request: S3Request<dto::GetBucketLocationInput>,
    ) -> S3Result<S3Response<dto::GetBucketLocationOutput>> {
        self.require_bucket(&request.input.bucket).await?;
        // For S3's oldest region the response has no name.
        let name = Some(self.region.clone()).filter(|region| region != "us-east-1");
        let location_constraint = name.map(dto::BucketLocationConstraint::from);
        Ok(S3Response::new(dto::GetBucketLocationOutput { location_constraint }))
    }

    async fn list_buckets(&self, _: S3Request<dto::ListBucketsInput>) -> S3Result<S3Response<dto::ListBucketsOutput>> {
        let buckets = self.read(|rows| rows.buckets()).await?;
        let buckets = buckets.into_iter().map(|Bucket { name, created }| dto::Bucket {
            name: Some(name),
            creation_date: Some(date(created)),
            ..Default::default()
        });
        Ok(S3Response::new(dto::ListBucketsOutput { buckets: Some(buckets.collect()), ..Default::default() }))
    }

    async fn delete_bucket(
        &self,
        request: S3Request<dto::DeleteBucketInput>,
    ) -> S3Result<S3Response<dto::DeleteBucketOutput>> {
        let bucket = request.input.bucket;
        let gone = self.change(move |batch| {
            if !batch.rows().has_bucket(&bucket)? {
                return Ok(Err(no_such_bucket()));
            }
            if !batch.rows().is_empty(&bucket)? {
                return Ok(Err(s3_error!(BucketNotEmpty, "The bucket you tried to delete is not empty")));
            }
            batch.delete_bucket(&bucket).map(Ok)
        });
        gone.await?;
        Ok(S3Response::new(dto::DeleteBucketOutput {}))
    }

    async fn put_object(&self, request: S3Request<dto::PutObjectInput>) -> S3Result<S3Response<dto::PutObjectOutput>> {
        let input = request.input;
        let at = Location { bucket: input.bucket, key: input.key };
        let conditions = WriteConditions::new(input.if_match, input.if_none_match.as_ref())?;
        let upload = Upload {
            size: object_size(input.content_length)?,
            md5: input.content_md5.as_deref().map(content_md5).transpose()?,
            declared: Declared::of(&request.headers)?,
            trailers: request.trailing_headers,
        };
        let headers = headers_of!(input);
        let body = input.body.ok_or_else(|| s3_error!(IncompleteBody, "The request has no body."))?;

        let size = upload.size;
        let FinishedBlob { blob, md5, checksum } = self.receive(&at.bucket, body, upload).await?;
        let object = Object {
            blob: blob.id().clone(),
            size,
            md5: hex::encode(md5),
            modified: self.clock.now(),
            facts: Facts { headers, checksum: checksum.clone() },
        };
        let e_tag = Some(etag(&object.md5));
        let created = self.listener.get().map(|listener| (listener.clone(), self.created(&at, &object)));
        let put = move |batch: &mut Batch<'_>| {
            if !batch.rows().has_bucket(&at.bucket)? {
                return Ok(Err(no_such_bucket()));
            }
            let current = replaceable(batch.rows(), &at)?;
            if let Err(refusal) = conditions.check(current.as_ref().map(|o| o.md5.as_str())) {
                return Ok(Err(refusal));
            }
            batch.put(&at, &object, blob).map(Ok)
        };
        // Sent by the index's thread, so that the listener is notified even if the client disconnects now.
        let tell = move |stored: &S3Result<()>| {
            if let (Ok(()), Some((listener, created))) = (stored, created) {
                // If the stack is stopping or the queue is full, the client's confirmation is needed.
                drop(listener.try_send(created));
            }
        };
        self.index.change_then(put, tell).await.map_err(Fault::from)??;

        let checksum = checksum.map(Checksum::into_fields).unwrap_or_default();
        Ok(S3Response::new(dto::PutObjectOutput {
            e_tag,
            checksum_crc32: checksum.checksum_crc32,
            checksum_crc32c: checksum.checksum_crc32c,
            checksum_crc64nvme: checksum.checksum_crc64nvme,
            checksum_sha1: checksum.checksum_sha1,
            checksum_sha256: checksum.checksum_sha256,
            checksum_type: checksum.checksum_type,
            ..Default::default()
        }))
    }

    async fn get_object(&self, request: S3Request<dto::GetObjectInput>) -> S3Result<S3Response<dto::GetObjectOutput>> {
        let input = request.input;
        whole_current_object(input.version_id.as_deref(), input.part_number)?;
        let at = Location { bucket: input.bucket, key: input.key };
        let Opened { object, slice, mut reader } = self.open(at, read_conditions_of!(input), input.range).await?;
        let body = match reader.take_whole() {
            Some(bytes) => s3s::Body::from(bytes).into(),
            None => StreamingBlob::new(reader),
        };
        let output = present!(GetObjectOutput, object, slice, input.checksum_mode);
        Ok(S3Response::new(dto::GetObjectOutput { body: Some(body), ..output }))
    }

    async fn head_object(
        &self,
        request: S3Request<dto::HeadObjectInput>,
    ) -> S3Result<S3Response<dto::HeadObjectOutput>> {
        let input = request.input;
        whole_current_object(input.version_id.as_deref(), input.part_number)?;
        let at = Location { bucket: input.bucket, key: input.key };
        let stat = |blobs: &Blobs, object: &Object, _: &Slice| blobs.stat(&object.blob, object.size);
        let (_, object, slice, ()) = self.look(at, read_conditions_of!(input), input.range, stat).await?;
        let status = if slice.content_range.is_some() { StatusCode::PARTIAL_CONTENT } else { StatusCode::OK };
        Ok(S3Response::with_status(present!(HeadObjectOutput, object, slice, input.checksum_mode), status))
    }

    async fn delete_object(
        &self,
        request: S3Request<dto::DeleteObjectInput>,
    ) -> S3Result<S3Response<dto::DeleteObjectOutput>> {
        let input = request.input;
        whole_current_object(input.version_id.as_deref(), None)?;
        let at = Location { bucket: input.bucket, key: input.key };
        let conditions = WriteConditions::new(input.if_match, None)?;
        let deleted = self.change(move |batch| match batch.rows().has_bucket(&at.bucket)? {
            true => delete(batch, &at, &conditions),
            false => Ok(Err(no_such_bucket())),
        });
        deleted.await?;
        Ok(S3Response::new(dto::DeleteObjectOutput::default()))
    }

    async fn delete_objects(
        &self,
        request: S3Request<dto::DeleteObjectsInput>,
    ) -> S3Result<S3Response<dto::DeleteObjectsOutput>> {
        let dto::DeleteObjectsInput { bucket, delete: dto::Delete { objects, quiet }, .. } = request.input;
        if objects.is_empty() || objects.len() > MAX_KEYS {
            return Err(s3_error!(MalformedXML, "A request deletes 1 to {MAX_KEYS} objects"));
        }
        for object in &objects {
            whole_current_object(object.version_id.as_deref(), None)?;
        }
        let outcomes = self.change(move |batch| {
            if !batch.rows().has_bucket(&bucket)? {
                return Ok(Err(no_such_bucket()));
            }
            let outcomes = objects.into_iter().map(|object| {
                let at = Location { bucket: bucket.clone(), key: object.key };
                let outcome = delete(batch, &at, &WriteConditions::for_delete(object.e_tag))?;
                Ok((at.key, outcome))
            });
            outcomes.collect::<rusqlite::Result<Vec<_>>>().map(Ok)
        });
        let (mut deleted, mut errors) = (Vec::new(), Vec::new());
        for (key, outcome) in outcomes.await? {
            match outcome {
                Ok(()) => deleted.push(dto::DeletedObject { key: Some(key), ..Default::default() }),
                Err(refusal) => errors.push(dto::Error {
                    code: Some(refusal.code().as_str().to_owned()),
                    message: refusal.message().map(str::to_owned),
                    key: Some(key),
                    version_id: None,
                }),
            }
        }
        let deleted = Some(deleted).filter(|_| quiet != Some(true));
        Ok(S3Response::new(dto::DeleteObjectsOutput { deleted, errors: Some(errors), request_charged: None }))
    }

    async fn copy_object(
        &self,
        request: S3Request<dto::CopyObjectInput>,
    ) -> S3Result<S3Response<dto::CopyObjectOutput>> {
        let input = request.input;
        let CopySource::Bucket { bucket, key, version_id } = input.copy_source else {
            return Err(s3_error!(NotImplemented, "Access points are not supported"));
        };
        whole_current_object(version_id.as_deref(), None)?;
        let from = Location { bucket: bucket.into(), key: key.into() };
        let to = Location { bucket: input.bucket, key: input.key };
        let source_conditions = ReadConditions {
            if_match: input.copy_source_if_match,
            if_none_match: input.copy_source_if_none_match,
            modified_since: input.copy_source_if_modified_since,
            unmodified_since: input.copy_source_if_unmodified_since,
        };
        // The protocol layer does not support conditions on the target of a copy.
        let if_none_match = condition(&request.headers, IF_NONE_MATCH)?;
        let conditions = WriteConditions::new(condition(&request.headers, IF_MATCH)?, if_none_match.as_ref())?;
        let headers = match input.metadata_directive.as_ref().map(dto::MetadataDirective::as_str) {
            Some(dto::MetadataDirective::REPLACE) => Some(headers_of!(input)),
            None | Some(dto::MetadataDirective::COPY) => None,
            Some(_) => return Err(s3_error!(InvalidArgument, "Unknown metadata directive.")),
        };
        if from == to && headers.is_none() {
            let message =
                "This copy request is illegal because it is trying to copy an object to itself without changing it.";
            return Err(s3_error!(InvalidRequest, "{message}"));
        }

        let now = self.clock.now();
        let copied = self.change(move |batch| {
            let source = match find(batch.rows(), &from)? {
                Ok(source) => source,
                Err(refusal) => return Ok(Err(refusal)),
            };
            if source_conditions.check(&source.md5, source.modified).is_err() {
                return Ok(Err(precondition_failed()));
            }
            if !batch.rows().has_bucket(&to.bucket)? {
                return Ok(Err(no_such_bucket()));
            }
            let current = replaceable(batch.rows(), &to)?;
            if let Err(refusal) = conditions.check(current.as_ref().map(|o| o.md5.as_str())) {
                return Ok(Err(refusal));
            }
            let headers = headers.unwrap_or(source.facts.headers);
            let facts = Facts { headers, checksum: source.facts.checksum };
            let copy = Object { modified: now, facts, ..source };
            batch.link(&to, &copy)?;
            Ok(Ok(copy))
        });
        let copy = copied.await?;

        let checksum = copy.facts.checksum.map(Checksum::into_fields).unwrap_or_default();
        let result = dto::CopyObjectResult {
            e_tag: Some(etag(&copy.md5)),
            last_modified: Some(date(copy.modified)),
            checksum_crc32: checksum.checksum_crc32,
            checksum_crc32c: checksum.checksum_crc32c,
            checksum_crc64nvme: checksum.checksum_crc64nvme,
            checksum_sha1: checksum.checksum_sha1,
            checksum_sha256: checksum.checksum_sha256,
            checksum_type: checksum.checksum_type,
        };
        Ok(S3Response::new(dto::CopyObjectOutput { copy_object_result: Some(result), ..Default::default() }))
    }

    async fn list_objects_v2(
        &self,
        request: S3Request<dto::ListObjectsV2Input>,
    ) -> S3Result<S3Response<dto::ListObjectsV2Output>> {
        let input = request.input;
        let encoding = Encoding::of(input.encoding_type.as_ref())?;
        let (prefix, delimiter) = (input.prefix.unwrap_or_default(), input.delimiter);
        let from = match (&input.continuation_token, &input.start_after) {
            (Some(token), _) => Position::from_token(token)
                .ok_or_else(|| s3_error!(InvalidArgument, "The continuation token provided is incorrect"))?,
            (None, Some(key)) => Position::after(key, &prefix, delimiter.as_deref()),
            (None, None) => Position::default(),
        };
        let (limit, max_keys) = page_size(input.max_keys)?;
        let query =
            Query { bucket: input.bucket.clone(), prefix: prefix.clone(), delimiter: delimiter.clone(), from, limit };
        let page = self.page(query).await?;
        let next = page.last.as_deref().map(|last| Position::after(last, &prefix, delimiter.as_deref()).to_token());
        let count = page.entries.len() + page.prefixes.len();
        Ok(S3Response::new(dto::ListObjectsV2Output {
            name: Some(input.bucket),
            prefix: Some(encoding.apply(prefix)),
            delimiter: delimiter.map(|d| encoding.apply(d)),
            max_keys: Some(max_keys),
            key_count: i32::try_from(count).ok(),
            is_truncated: Some(next.is_some()),
            continuation_token: input.continuation_token,
            next_continuation_token: next,
            start_after: input.start_after.map(|key| encoding.apply(key)),
            contents: Some(page.entries.into_iter().map(|entry| listed(entry, encoding)).collect()),
            common_prefixes: Some(common_prefixes(page.prefixes, encoding)),
            encoding_type: input.encoding_type,
            request_charged: None,
        }))
    }

    async fn list_objects(
        &self,
        request: S3Request<dto::ListObjectsInput>,
    ) -> S3Result<S3Response<dto::ListObjectsOutput>> {
        let input = request.input;
        let encoding = Encoding::of(input.encoding_type.as_ref())?;
        let (prefix, delimiter) = (input.prefix.unwrap_or_default(), input.delimiter);
        let marker = input.marker.unwrap_or_default();
        let from = match marker.is_empty() {
            true => Position::default(),
            false => Position::after(&marker, &prefix, delimiter.as_deref()),
        };
        let (limit, max_keys) = page_size(input.max_keys)?;
        let query =
            Query { bucket: input.bucket.clone(), prefix: prefix.clone(), delimiter: delimiter.clone(), from, limit };
        let page = self.page(query).await?;
        Ok(S3Response::new(dto::ListObjectsOutput {
            name: Some(input.bucket),
            prefix: Some(encoding.apply(prefix)),
            marker: Some(encoding.apply(marker)),
            max_keys: Some(max_keys),
            is_truncated: Some(page.last.is_some()),
            contents: Some(page.entries.into_iter().map(|entry| listed(entry, encoding)).collect()),
            common_prefixes: Some(common_prefixes(page.prefixes, encoding)),
            // As on S3, clients use the last key if there is no delimiter.
            next_marker: page.last.filter(|_| delimiter.is_some()).map(|last| encoding.apply(last)),
            delimiter: delimiter.map(|d| encoding.apply(d)),
            encoding_type: input.encoding_type,
            request_charged: None,
        }))
    }
}

/// Deletes an object of an existing bucket. A missing object is not an error unless a condition requires it.
fn delete(batch: &mut Batch<'_>, at: &Location, conditions: &WriteConditions) -> rusqlite::Result<S3Result> {
    let current = batch.rows().object(at)?;
    match conditions.check(current.as_ref().map(|o| o.md5.as_str())) {
        Ok(()) => batch.remove(at).map(Ok),
        Err(refusal) => Ok(Err(refusal)),
    }
}
