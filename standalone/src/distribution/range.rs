//! Step 5: which part of an object the viewer wants, and whether it already has the object. A pure function of the
//! request headers and the object's headers.

use std::ops::RangeInclusive;

use aws_sdk_s3::primitives::{DateTime, DateTimeFormat};
use http::{
    HeaderMap, HeaderName, Method,
    header::{ETAG, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, LAST_MODIFIED, RANGE},
};

use super::origin::Object;

/// The bytes `first..=last` of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ByteRange {
    pub(super) first: u64,
    /// The last byte (inclusive).
    pub(super) last: u64,
}

impl ByteRange {
    pub(super) fn length(self) -> u64 {
        self.last - self.first + 1
    }

    /// The range as indices of bytes in memory.
    pub(super) fn indices(self) -> RangeInclusive<usize> {
        let index = |at| usize::try_from(at).expect("a part of bytes in memory has indices");
        index(self.first)..=index(self.last)
    }
}

/// The kind of response for an existing object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Selection {
    /// 200 with the whole object.
    Whole,
    /// 206 with a range.
    Part(ByteRange),
    /// 304: the viewer has the current version.
    NotModified,
    /// 416: the range is outside the object.
    Unsatisfiable,
}

/// Evaluates conditions in the order of RFC 9110. Only a GET has ranges; a request for several ranges gets the whole
/// object, which the RFC allows.
pub(super) fn select(method: &Method, request: &HeaderMap, object: &Object) -> Selection {
    if is_unmodified(request, object) {
        return Selection::NotModified;
    }
    match text(request, &RANGE).filter(|_| method == Method::GET && range_applies(request, object)) {
        Some(range) => parse(range, object.length),
        None => Selection::Whole,
    }
}

fn is_unmodified(request: &HeaderMap, object: &Object) -> bool {
    if let Some(candidates) = text(request, &IF_NONE_MATCH) {
        let Some(etag) = text(&object.headers, &ETAG) else { return false };
        let weak = |tag: &str| tag.trim().trim_start_matches("W/").to_owned();
        return candidates.trim() == "*" || candidates.split(',').any(|candidate| weak(candidate) == weak(etag));
    }
    let since = text(request, &IF_MODIFIED_SINCE).and_then(http_date);
    let modified = text(&object.headers, &LAST_MODIFIED).and_then(http_date);
    since.zip(modified).is_some_and(|(since, modified)| modified <= since)
}

/// `If-Range` requests the whole object if the viewer's part is of another version.
fn range_applies(request: &HeaderMap, object: &Object) -> bool {
    let Some(version) = text(request, &IF_RANGE).map(str::trim) else { return true };
    if version.starts_with('"') {
        return text(&object.headers, &ETAG) == Some(version);
    }
    let modified = text(&object.headers, &LAST_MODIFIED).and_then(http_date);
    http_date(version).is_some_and(|version| Some(version) == modified)
}

fn parse(range: &str, length: u64) -> Selection {
    let Some((first, last)) = range.strip_prefix("bytes=").and_then(|range| range.trim().split_once('-')) else {
        return Selection::Whole;
    };
    let number = |text: &str| text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse::<u64>().ok()).flatten();
    let range = match (number(first), number(last)) {
        (Some(first), Some(last)) if first > last => return Selection::Whole,
        (Some(first), Some(last)) => ByteRange { first, last: last.min(length.saturating_sub(1)) },
        (Some(first), None) if last.is_empty() => ByteRange { first, last: length.saturating_sub(1) },
        (None, Some(0)) if first.is_empty() => return Selection::Unsatisfiable,
        (None, Some(suffix)) if first.is_empty() => {
            ByteRange { first: length.saturating_sub(suffix), last: length.saturating_sub(1) }
        }
        _ => return Selection::Whole,
    };
    if range.first < length { Selection::Part(range) } else { Selection::Unsatisfiable }
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

fn http_date(text: &str) -> Option<i64> {
    DateTime::from_str(text, DateTimeFormat::HttpDate).ok().map(|date| date.secs())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;
    use http::HeaderValue;

    use super::*;

    const MODIFIED: &str = "Thu, 01 Jan 2026 10:00:00 GMT";

    fn headers(pairs: &[(HeaderName, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value))).collect()
    }

    fn chosen(request: &[(HeaderName, &'static str)]) -> Selection {
        let mut object = Object::held(Bytes::from_static(b"0123456789"), Duration::ZERO);
        object.headers = headers(&[(ETAG, "\"v1\""), (LAST_MODIFIED, MODIFIED)]);
        select(&Method::GET, &headers(request), &object)
    }

    fn part(first: u64, last: u64) -> Selection {
        Selection::Part(ByteRange { first, last })
    }

    #[test]
    fn a_range_is_one_part_of_the_object() {
        for (range, selection) in [
            ("bytes=0-3", part(0, 3)),
            ("bytes=0-0", part(0, 0)),
            ("bytes=7-", part(7, 9)),
            ("bytes=7-700", part(7, 9)),
            ("bytes=-3", part(7, 9)),
            ("bytes=-300", part(0, 9)),
            ("bytes=10-", Selection::Unsatisfiable),
            ("bytes=10-20", Selection::Unsatisfiable),
            ("bytes=-0", Selection::Unsatisfiable),
            ("bytes=3-2", Selection::Whole),
            ("bytes=0-1,4-5", Selection::Whole),
            ("bytes=-", Selection::Whole),
            ("bytes=a-b", Selection::Whole),
            ("bytes=+1-2", Selection::Whole),
            ("items=0-1", Selection::Whole),
            ("bytes=99999999999999999999-", Selection::Whole),
        ] {
            assert_eq!(chosen(&[(RANGE, range)]), selection, "{range}");
        }
    }

    #[test]
    fn a_viewer_with_the_current_etag_gets_304() {
        for (name, value, selection) in [
            (IF_NONE_MATCH, "\"v1\"", Selection::NotModified),
            (IF_NONE_MATCH, "\"v0\", W/\"v1\"", Selection::NotModified),
            (IF_NONE_MATCH, "*", Selection::NotModified),
            (IF_NONE_MATCH, "\"v0\"", Selection::Whole),
            (IF_MODIFIED_SINCE, MODIFIED, Selection::NotModified),
            (IF_MODIFIED_SINCE, "Thu, 01 Jan 2026 09:59:59 GMT", Selection::Whole),
            (IF_MODIFIED_SINCE, "yesterday", Selection::Whole),
        ] {
            assert_eq!(chosen(&[(name.clone(), value)]), selection, "{name}: {value}");
        }
        assert_eq!(chosen(&[(IF_NONE_MATCH, "\"v0\""), (IF_MODIFIED_SINCE, MODIFIED)]), Selection::Whole);
        assert_eq!(chosen(&[(IF_NONE_MATCH, "\"v1\""), (RANGE, "bytes=0-1")]), Selection::NotModified);
    }

    #[test]
    fn a_range_of_another_version_returns_the_whole_object() {
        for (version, selection) in [
            ("\"v1\"", part(0, 1)),
            (MODIFIED, part(0, 1)),
            ("\"v0\"", Selection::Whole),
            ("W/\"v1\"", Selection::Whole),
            ("Thu, 01 Jan 2026 10:00:01 GMT", Selection::Whole),
        ] {
            assert_eq!(chosen(&[(RANGE, "bytes=0-1"), (IF_RANGE, version)]), selection, "{version}");
        }
    }

    #[test]
    fn a_head_has_no_range() {
        let object = Object::held(Bytes::from_static(b"0123456789"), Duration::ZERO);
        assert_eq!(select(&Method::HEAD, &headers(&[(RANGE, "bytes=0-1")]), &object), Selection::Whole);
    }

    #[test]
    fn an_empty_object_has_no_range() {
        let object = Object::held(Bytes::new(), Duration::ZERO);
        for range in ["bytes=0-", "bytes=-1", "bytes=0-5"] {
            assert_eq!(select(&Method::GET, &headers(&[(RANGE, range)]), &object), Selection::Unsatisfiable, "{range}");
        }
    }
}
