//! Authorisation: the store has one pair of keys, which may do everything; all other requests are refused.
//!
//! `s3s` verifies signatures; this module adds the other checks of S3. It never reads a body.

use std::{borrow::Cow, fmt, time::Duration};

use http::{HeaderMap, Uri, header::AUTHORIZATION};
use percent_encoding::percent_decode_str;
use s3s::{
    S3Result,
    access::{S3Access, S3AccessContext},
    auth::{S3Auth, SecretKey},
    s3_error,
};
use time::{PrimitiveDateTime, format_description::BorrowedFormatItem, macros::format_description};
use xfiles_core::clock::{Clock, Timestamp};

/// The maximum difference between a request's time and ours.
const MAX_SKEW: Duration = Duration::from_secs(15 * 60);
/// The maximum lifetime of a presigned URL in S3.
const MAX_LIFE: Duration = Duration::from_secs(7 * 24 * 3600);

const AMZ_DATE: &[BorrowedFormatItem<'_>] = format_description!("[year][month][day]T[hour][minute][second]Z");

/// Prefixes of headers for features that this store does not support. They are refused, not ignored.
const UNSUPPORTED: [&str; 6] = [
    "x-amz-tagging",
    "x-amz-server-side-encryption",
    "x-amz-object-lock-",
    "x-amz-website-redirect-location",
    "x-amz-write-offset-bytes",
    "x-amz-copy-source-server-side-encryption",
];

/// The pair of keys of the store. `Debug` does not show the secret.
#[derive(Clone)]
pub struct S3Credentials {
    access_key_id: String,
    secret_access_key: String,
}

impl S3Credentials {
    /// A pair of keys.
    pub fn new(access_key_id: impl Into<String>, secret_access_key: impl Into<String>) -> Self {
        Self { access_key_id: access_key_id.into(), secret_access_key: secret_access_key.into() }
    }

    /// The id of the pair, which appears in signed URLs.
    pub fn access_key_id(&self) -> &str {
        &self.access_key_id
    }

    /// The secret with which requests are signed.
    pub fn secret_access_key(&self) -> &str {
        &self.secret_access_key
    }
}

impl fmt::Debug for S3Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("S3Credentials(redacted)")
    }
}

#[async_trait::async_trait]
impl S3Auth for S3Credentials {
    async fn get_secret_key(&self, access_key: &str) -> S3Result<SecretKey> {
        if access_key == self.access_key_id {
            Ok(self.secret_access_key.as_str().into())
        } else {
            Err(s3_error!(InvalidAccessKeyId, "The AWS Access Key Id you provided does not exist in our records."))
        }
    }
}

/// The checks after the signature has been verified.
#[derive(Clone, Debug)]
pub(super) struct Access {
    pub(super) clock: Clock,
    pub(super) region: String,
}

#[async_trait::async_trait]
impl S3Access for Access {
    async fn check(&self, request: &mut S3AccessContext<'_>) -> S3Result {
        if request.credentials().is_none() {
            return Err(s3_error!(AccessDenied, "Access Denied"));
        }
        let signature = Signature::of(request.uri(), request.headers())?;
        signature.check_time(self.clock.now())?;
        signature.check_region(&self.region)?;
        signature.check_headers(request.headers())?;
        refuse_unsupported(request.headers())
    }
}

/// The contents of a verified SigV4 signature.
#[derive(Debug, PartialEq, Eq)]
struct Signature {
    kind: Kind,
    signed_at: Timestamp,
    region: String,
    headers: Vec<String>,
}

#[derive(Debug, PartialEq, Eq)]
enum Kind {
    Header,
    Presigned { life: Duration },
}

impl Signature {
    /// Parses the signature that `s3s` verified. `s3s` looks for version 2 before version 4, and in the URL before the
    /// headers. A request with more than one kind is refused, so that this function cannot parse a different one.
    fn of(uri: &Uri, headers: &HeaderMap) -> S3Result<Self> {
        let query = Query::parse(uri.query().unwrap_or_default());
        let authorization = headers.get(AUTHORIZATION).map(|value| value.to_str().unwrap_or_default());
        if query.has("Signature") {
            return Err(not_version_4());
        }
        match (query.has("X-Amz-Signature"), authorization) {
            (true, Some(_)) => Err(s3_error!(InvalidArgument, "Only one auth mechanism allowed")),
            (true, None) => Self::of_query(&query).ok_or_else(|| {
                s3_error!(AuthorizationQueryParametersError, "The signature's query parameters are not valid.")
            }),
            (false, Some(text)) => {
                let fields = text.strip_prefix("AWS4-HMAC-SHA256 ").ok_or_else(not_version_4)?;
                Self::of_header(fields, headers)
                    .ok_or_else(|| s3_error!(AuthorizationHeaderMalformed, "The authorization header is malformed."))
            }
            (false, None) => Err(not_version_4()),
        }
    }

    fn of_query(query: &Query<'_>) -> Option<Self> {
        let life = Duration::from_secs(query.only("X-Amz-Expires")?.parse().ok()?);
        Some(Self {
            kind: Kind::Presigned { life: Some(life).filter(|life| *life <= MAX_LIFE)? },
            signed_at: amz_date(query.only("X-Amz-Date")?)?,
            region: region(query.only("X-Amz-Credential")?)?,
            headers: names(query.only("X-Amz-SignedHeaders")?),
        })
    }

    fn of_header(fields: &str, headers: &HeaderMap) -> Option<Self> {
        let field = |name: &str| fields.split(',').find_map(|f| f.trim().strip_prefix(name)?.strip_prefix('='));
        Some(Self {
            kind: Kind::Header,
            signed_at: amz_date(headers.get("x-amz-date")?.to_str().ok()?)?,
            region: region(field("Credential")?)?,
            headers: names(field("SignedHeaders")?),
        })
    }

    fn check_time(&self, now: Timestamp) -> S3Result {
        if let Kind::Presigned { life } = self.kind
            && now > self.signed_at + life
        {
            return Err(s3_error!(AccessDenied, "Request has expired"));
        }
        let late = self.kind == Kind::Header && now > self.signed_at + MAX_SKEW;
        if late || self.signed_at > now + MAX_SKEW {
            let message = "The difference between the request time and the current time is too large.";
            return Err(s3_error!(RequestTimeTooSkewed, "{message}"));
        }
        Ok(())
    }

    fn check_region(&self, expected: &str) -> S3Result {
        if self.region == expected {
            return Ok(());
        }
        match self.kind {
            Kind::Header => Err(s3_error!(AuthorizationHeaderMalformed, "The region is wrong; expecting '{expected}'")),
            Kind::Presigned { .. } => {
                Err(s3_error!(AuthorizationQueryParametersError, "The region is wrong; expecting '{expected}'"))
            }
        }
    }

    /// Every `x-amz-*` header must be signed, or the holder of a URL could change its meaning.
    fn check_headers(&self, headers: &HeaderMap) -> S3Result {
        let signed = |name: &str| self.headers.iter().any(|h| h == name);
        if headers.keys().any(|name| name.as_str().starts_with("x-amz-") && !signed(name.as_str())) {
            return Err(s3_error!(AccessDenied, "There were headers present in the request which were not signed"));
        }
        Ok(())
    }
}

fn not_version_4() -> s3s::S3Error {
    let message = "The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256.";
    s3_error!(InvalidRequest, "{message}")
}

fn refuse_unsupported(headers: &HeaderMap) -> S3Result {
    let acl = headers.get("x-amz-acl").is_some_and(|acl| acl != "bucket-owner-full-control");
    if acl || headers.keys().any(|name| name.as_str().starts_with("x-amz-grant-")) {
        return Err(s3_error!(AccessControlListNotSupported, "The bucket does not allow ACLs"));
    }
    let class = headers.get("x-amz-storage-class").is_some_and(|class| class != "STANDARD");
    let unsupported = |name: &str| UNSUPPORTED.iter().any(|beginning| name.starts_with(beginning));
    match headers.keys().find(|name| unsupported(name.as_str())) {
        Some(name) => Err(s3_error!(NotImplemented, "The header {name} is not supported")),
        None if class => Err(s3_error!(InvalidStorageClass, "The only storage class is STANDARD")),
        None => Ok(()),
    }
}

fn amz_date(text: &str) -> Option<Timestamp> {
    let time = PrimitiveDateTime::parse(text, AMZ_DATE).ok()?.assume_utc();
    Some(Timestamp::from_millis(time.unix_timestamp() * 1000))
}

/// The region in `key/date/region/service/aws4_request`.
fn region(credential: &str) -> Option<String> {
    credential.split('/').nth(2).map(str::to_owned)
}

fn names(list: &str) -> Vec<String> {
    list.split(';').map(str::to_owned).collect()
}

/// A decoded query.
struct Query<'u>(Vec<(Cow<'u, str>, Cow<'u, str>)>);

impl<'u> Query<'u> {
    fn parse(query: &'u str) -> Self {
        let pairs = query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        Self(pairs.map(|(name, value)| (decode(name), decode(value))).collect())
    }

    fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(n, _)| n == name)
    }

    fn only(&self, name: &str) -> Option<&str> {
        let mut values = self.0.iter().filter(|(n, _)| n == name).map(|(_, value)| value.as_ref());
        values.next().filter(|_| values.next().is_none())
    }
}

/// As in a form, a plus is a space.
fn decode(text: &str) -> Cow<'_, str> {
    match text.contains('+') {
        true => Cow::Owned(percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned()),
        false => percent_decode_str(text).decode_utf8_lossy(),
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    const SIGNED_AT: &str = "20251009T085320Z";

    fn presigned(extra: &str) -> Uri {
        let query = format!(
            "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AK%2F20251009%2Feu-west-1%2Fs3%2Faws4_request\
             &X-Amz-Date={SIGNED_AT}&X-Amz-Expires=900&X-Amz-SignedHeaders=host%3Bx-amz-meta-a&X-Amz-Signature=0{extra}"
        );
        format!("/bucket/key?{query}").parse().unwrap()
    }

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(n, v)| (HeaderName::from_static(n), HeaderValue::from_static(v))).collect()
    }

    fn refusal<T: fmt::Debug>(result: S3Result<T>) -> String {
        result.unwrap_err().code().as_str().to_owned()
    }

    fn signed_at() -> Timestamp {
        amz_date(SIGNED_AT).unwrap()
    }

    #[test]
    fn a_presigned_url_is_parsed_into_headers_lifetime_and_region() {
        let signature = Signature::of(&presigned(""), &HeaderMap::new()).unwrap();
        assert_eq!(signature.kind, Kind::Presigned { life: Duration::from_secs(900) });
        assert_eq!(signature.signed_at.to_string(), "2025-10-09T08:53:20.000Z");
        assert_eq!((signature.region.as_str(), signature.headers.len()), ("eu-west-1", 2));
    }

    #[test]
    fn an_authorization_header_is_parsed_into_headers_time_and_region() {
        let authorization = "AWS4-HMAC-SHA256 Credential=AK/20251009/eu-west-1/s3/aws4_request, \
                             SignedHeaders=host;x-amz-date,Signature=0";
        let headers = headers(&[("authorization", authorization), ("x-amz-date", SIGNED_AT)]);
        let signature = Signature::of(&Uri::from_static("/bucket"), &headers).unwrap();
        assert_eq!((signature.kind, signature.signed_at), (Kind::Header, signed_at()));
        assert_eq!((signature.region.as_str(), signature.headers[1].as_str()), ("eu-west-1", "x-amz-date"));
    }

    #[test]
    fn version_2_and_two_mechanisms_at_once_are_refused() {
        let none = HeaderMap::new();
        let v2 = Uri::from_static("/b/k?AWSAccessKeyId=AK&Expires=1&Signature=x");
        assert_eq!(refusal(Signature::of(&v2, &none)), "InvalidRequest");
        assert_eq!(refusal(Signature::of(&presigned("&%53ignature=x"), &none)), "InvalidRequest");
        let v2 = headers(&[("authorization", "AWS AK:x")]);
        assert_eq!(refusal(Signature::of(&Uri::from_static("/b/k"), &v2)), "InvalidRequest");
        let v4 = headers(&[("authorization", "AWS4-HMAC-SHA256 x")]);
        assert_eq!(refusal(Signature::of(&presigned(""), &v4)), "InvalidArgument");
        assert_eq!(refusal(Signature::of(&presigned("&X-Amz-Expires=9"), &none)), "AuthorizationQueryParametersError");
    }

    #[test]
    fn a_presigned_url_is_valid_exactly_for_its_lifetime() {
        let signature = Signature::of(&presigned(""), &HeaderMap::new()).unwrap();
        let life = Duration::from_secs(900);
        assert!(signature.check_time(signed_at()).is_ok());
        assert!(signature.check_time(signed_at() + life).is_ok());
        let expired = signature.check_time(signed_at() + life + Duration::from_millis(1)).unwrap_err();
        assert_eq!((expired.code().as_str(), expired.message()), ("AccessDenied", Some("Request has expired")));
    }

    #[test]
    fn a_request_from_too_far_away_in_time_is_refused() {
        let minutes = |n: i64| Timestamp::from_millis(signed_at().as_millis() + n * 60_000);
        let presigned = Signature::of(&presigned(""), &HeaderMap::new()).unwrap();
        assert!(presigned.check_time(minutes(-15)).is_ok());
        assert_eq!(refusal(presigned.check_time(minutes(-16))), "RequestTimeTooSkewed");
        let by_header = Signature { kind: Kind::Header, ..presigned };
        assert!(by_header.check_time(minutes(15)).is_ok());
        assert_eq!(refusal(by_header.check_time(minutes(16))), "RequestTimeTooSkewed");
        assert_eq!(refusal(by_header.check_time(minutes(-16))), "RequestTimeTooSkewed");
    }

    #[test]
    fn every_amz_header_must_be_signed_and_no_other_needs_to_be() {
        let signature = Signature::of(&presigned(""), &HeaderMap::new()).unwrap();
        let allowed = headers(&[("x-amz-meta-a", "1"), ("content-encoding", "gzip"), ("x-amzn-trace-id", "1")]);
        assert!(signature.check_headers(&allowed).is_ok());
        assert_eq!(refusal(signature.check_headers(&headers(&[("x-amz-meta-b", "1")]))), "AccessDenied");
        assert_eq!(refusal(signature.check_headers(&headers(&[("x-amz-acl", "private")]))), "AccessDenied");
    }

    #[test]
    fn headers_for_unsupported_features_are_refused() {
        let code = |pairs| refusal(refuse_unsupported(&headers(pairs)));
        assert_eq!(code(&[("x-amz-acl", "public-read")]), "AccessControlListNotSupported");
        assert_eq!(code(&[("x-amz-tagging", "a=b")]), "NotImplemented");
        assert_eq!(code(&[("x-amz-server-side-encryption-customer-key", "k")]), "NotImplemented");
        assert_eq!(code(&[("x-amz-storage-class", "GLACIER")]), "InvalidStorageClass");
        assert!(refuse_unsupported(&headers(&[("x-amz-acl", "bucket-owner-full-control")])).is_ok());
    }

    #[test]
    fn debug_does_not_show_the_secret() {
        assert!(!format!("{:?}", S3Credentials::new("AK", "secret")).contains("secret"));
    }
}
