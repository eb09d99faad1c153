//! The fields of requests and answers: parsed, checked, and written as S3 writes them.

use std::collections::BTreeMap;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{CACHE_CONTROL, ETAG, LAST_MODIFIED},
};
use s3s::{
    S3Error, S3ErrorCode, S3Result,
    dto::{self, ETag, ETagCondition, TimestampFormat},
    s3_error,
};
use xfiles_core::clock::Timestamp;

use super::MAX_KEYS;
use crate::s3::{
    conditions::{ReadConditions, Unmet, precondition_failed},
    index::{Entry, Object},
};

/// The largest object that one PUT may create, as on S3.
const MAX_OBJECT_BYTES: u64 = 5 << 30;
/// The largest user metadata of an object, as on S3: names and values together.
const MAX_METADATA_BYTES: usize = 2 << 10;

pub(super) fn readable(object: &Object, conditions: &ReadConditions) -> S3Result {
    match conditions.check(&object.md5, object.modified) {
        Ok(()) => Ok(()),
        Err(Unmet::Failed) => Err(precondition_failed()),
        Err(Unmet::NotModified) => {
            let mut answer = S3Error::new(S3ErrorCode::NotModified);
            answer.set_headers(validators(object));
            Err(answer)
        }
    }
}

/// The headers that RFC 9110 requires in a 304.
pub(super) fn validators(object: &Object) -> HeaderMap {
    let headers = [
        (ETAG, HeaderValue::try_from(format!("\"{}\"", object.md5)).ok()),
        (LAST_MODIFIED, http_date(object.modified)),
        (CACHE_CONTROL, object.facts.headers.cache_control.as_ref().and_then(|value| value.parse().ok())),
    ];
    headers.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
}

/// A time in the format of HTTP headers.
pub(in crate::s3) fn http_date(time: Timestamp) -> Option<HeaderValue> {
    let mut text = Vec::new();
    date(time).format(TimestampFormat::HttpDate, &mut text).ok()?;
    HeaderValue::try_from(text).ok()
}

pub(super) fn etag(md5: &str) -> ETag {
    ETag::Strong(md5.to_owned())
}

pub(super) fn date(time: Timestamp) -> dto::Timestamp {
    std::time::SystemTime::from(time).into()
}

pub(super) fn metadata(sent: Option<dto::Metadata>) -> S3Result<BTreeMap<String, String>> {
    let metadata: BTreeMap<_, _> = sent.unwrap_or_default().into_iter().collect();
    let size: usize = metadata.iter().map(|(name, value)| name.len() + value.len()).sum();
    if size > MAX_METADATA_BYTES {
        return Err(s3_error!(MetadataTooLarge, "Your metadata headers exceed the maximum allowed metadata size"));
    }
    Ok(metadata)
}

/// `aws-chunked` describes the framing of the request, not the object.
pub(super) fn content_encoding(sent: Option<String>) -> Option<String> {
    let sent = sent?;
    let kept: Vec<_> = sent.split(',').map(str::trim).filter(|coding| *coding != "aws-chunked").collect();
    Some(kept.join(",")).filter(|kept| !kept.is_empty())
}

pub(super) fn object_size(content_length: Option<i64>) -> S3Result<u64> {
    let length = content_length.ok_or_else(|| s3_error!(MissingContentLength, "You must provide Content-Length."))?;
    match u64::try_from(length) {
        Ok(size) if size <= MAX_OBJECT_BYTES => Ok(size),
        Ok(_) => Err(s3_error!(EntityTooLarge, "Your proposed upload exceeds the maximum allowed size")),
        Err(_) => Err(s3_error!(InvalidArgument, "Content-Length cannot be negative.")),
    }
}

pub(super) fn content_md5(base64: &str) -> S3Result<[u8; 16]> {
    let digest = BASE64_STANDARD.decode(base64).ok().and_then(|digest| digest.try_into().ok());
    digest.ok_or_else(|| s3_error!(InvalidDigest, "The Content-MD5 you specified is not valid."))
}

/// Versions and parts are not supported.
pub(super) fn whole_current_object(version: Option<&str>, part: Option<i32>) -> S3Result {
    match (version, part) {
        (None | Some("null"), None) => Ok(()),
        (Some(_), _) => Err(s3_error!(NotImplemented, "Versions are not supported")),
        (None, Some(_)) => Err(s3_error!(NotImplemented, "Parts are not supported")),
    }
}

pub(super) fn condition(headers: &HeaderMap, name: HeaderName) -> S3Result<Option<ETagCondition>> {
    let parse = |value: &HeaderValue| {
        ETagCondition::parse_http_header(value.as_bytes())
            .map_err(|_| s3_error!(InvalidArgument, "{name} is not valid"))
    };
    headers.get(&name).map(parse).transpose()
}

/// How keys are encoded in a listing: unchanged, or URL-encoded so that XML can contain any key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encoding {
    Plain,
    Url,
}

impl Encoding {
    pub(super) fn of(asked: Option<&dto::EncodingType>) -> S3Result<Self> {
        match asked.map(dto::EncodingType::as_str) {
            None => Ok(Self::Plain),
            Some(dto::EncodingType::URL) => Ok(Self::Url),
            Some(_) => Err(s3_error!(InvalidArgument, "Invalid Encoding Method specified in Request")),
        }
    }

    pub(super) fn apply(self, key: String) -> String {
        use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
        const KEPT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'/').remove(b'-').remove(b'_').remove(b'.').remove(b'~');
        match self {
            Self::Plain => key,
            Self::Url => utf8_percent_encode(&key, KEPT).to_string(),
        }
    }
}

/// The number of entries on a page, and the page size in the response.
pub(super) fn page_size(asked: Option<i32>) -> S3Result<(usize, i32)> {
    let asked = asked.unwrap_or(1000);
    match usize::try_from(asked) {
        Ok(limit) if limit <= MAX_KEYS => Ok((limit, asked)),
        Ok(_) => Ok((MAX_KEYS, 1000)),
        Err(_) => Err(s3_error!(InvalidArgument, "max-keys cannot be negative")),
    }
}

pub(super) fn listed(entry: Entry, encoding: Encoding) -> dto::Object {
    dto::Object {
        key: Some(encoding.apply(entry.key)),
        e_tag: Some(etag(&entry.md5)),
        size: i64::try_from(entry.size).ok(),
        last_modified: Some(date(entry.modified)),
        storage_class: Some(dto::ObjectStorageClass::from_static(dto::ObjectStorageClass::STANDARD)),
        ..Default::default()
    }
}

pub(super) fn common_prefixes(prefixes: Vec<String>, encoding: Encoding) -> Vec<dto::CommonPrefix> {
    prefixes.into_iter().map(|prefix| dto::CommonPrefix { prefix: Some(encoding.apply(prefix)) }).collect()
}
