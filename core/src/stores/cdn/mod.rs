//! The CDN: URLs of published files, their signatures, and invalidations.
//!
//! Owns the form of every URL that a client reads bytes from. It never does IO but for [`Cdn::invalidate`] and the first
//! signature's key, never makes a URL of a staging key, and never shows a private key or a signed URL in a log.

mod policy;
mod save_as;
mod signing;

mod invalidation;

#[cfg(feature = "cloudfront")]
mod cloudfront;

use std::{fmt, str::FromStr, sync::Arc, time::Duration};

#[cfg(feature = "cloudfront")]
pub use cloudfront::CloudFrontInvalidations;
pub use invalidation::{Invalidate, InvalidateError, InvalidateFuture};
pub use policy::{Signer, URL_LIFE};
pub use save_as::disposition;
pub use signing::{InvalidKeyPairId, InvalidSigningKey, KeyPairId, PrivateKeyPem, SigningKey};

use crate::{
    clock::Timestamp,
    error::{Cause, Error, Result},
    id::{FileId, ProjectId},
    intent::Stem,
    object_key::{ObjectKey, Visibility},
    variant::{ImageFormat, VariantSpec, Width},
};

/// The CDN in front of the bucket: CloudFront, or its stand-in on one machine.
#[derive(Clone)]
pub struct Cdn {
    base: BaseUrl,
    signer: Arc<Signer>,
    invalidations: Arc<dyn Invalidate>,
}

impl Cdn {
    /// The CDN at `base`, which trusts the public key of `signer`.
    pub fn new(base: BaseUrl, signer: impl Into<Arc<Signer>>, invalidations: Arc<dyn Invalidate>) -> Self {
        Self { base, signer: signer.into(), invalidations }
    }

    /// When a URL that is signed now stops working, unless its maker asks for something else: in five to six minutes,
    /// the same moment for everybody who asks within a minute.
    pub fn expiry(&self, now: Timestamp) -> Expiry {
        self.signer.expiry(now)
    }

    /// Where the CDN is.
    pub fn base_url(&self) -> &BaseUrl {
        &self.base
    }

    /// The URL from which a client reads the object: permanent for a public one, signed for a private one.
    ///
    /// Signed URLs of one object that are made in one calendar minute are identical, so that a browser's cache works.
    /// A variant is signed by the policy of [`Cdn::variant_urls`], an original by a canned policy of its own.
    pub async fn url(&self, key: &ObjectKey, expiry: Expiry) -> Result<CdnUrl> {
        let url = format!("{}/{key}", self.base);
        match key {
            ObjectKey::Staging { .. } => Err(not_served()),
            ObjectKey::Original { visibility: Visibility::Public, .. }
            | ObjectKey::Variant { visibility: Visibility::Public, .. } => Ok(CdnUrl::permanent(url)),
            ObjectKey::Original { visibility: Visibility::Private, .. } => {
                let query = self.signer.sign_url(&url, expiry).await?;
                Ok(CdnUrl::signed(url, &query, expiry))
            }
            ObjectKey::Variant { visibility: Visibility::Private, project, file, .. } => {
                let query = self.sign_variants(*project, *file, expiry).await?;
                Ok(CdnUrl::signed(url, &query, expiry))
            }
        }
    }

    /// The URL at which a browser saves the original under this name, or under the stored extension if it has another.
    pub async fn download_url(&self, key: &ObjectKey, name: &str, expiry: Expiry) -> Result<CdnUrl> {
        let url = format!("{}/{key}?{}", self.base, save_as::query(name));
        match key {
            ObjectKey::Original { visibility: Visibility::Public, .. } => Ok(CdnUrl::permanent(url)),
            ObjectKey::Original { visibility: Visibility::Private, .. } => {
                let query = self.signer.sign_url(&url, expiry).await?;
                Ok(CdnUrl::signed(url, &query, expiry))
            }
            ObjectKey::Staging { .. } | ObjectKey::Variant { .. } => Err(not_served()),
        }
    }

    /// The URLs of a file's variants in one format, narrowest first. Private ones share one signature, which is good
    /// for every variant of this file and for nothing else.
    pub async fn variant_urls(
        &self,
        visibility: Visibility,
        project: ProjectId,
        file: FileId,
        stem: &Stem,
        format: ImageFormat,
        expiry: Expiry,
    ) -> Result<[(Width, CdnUrl); Width::ALL.len()]> {
        let query = match visibility {
            Visibility::Public => None,
            Visibility::Private => Some(self.sign_variants(project, file, expiry).await?),
        };
        Ok(Width::ALL.map(|width| {
            let spec = VariantSpec { width, format };
            let url =
                format!("{}/{}", self.base, ObjectKey::Variant { visibility, project, file, stem: stem.clone(), spec });
            let url = match &query {
                None => CdnUrl::permanent(url),
                Some(query) => CdnUrl::signed(url, query, expiry),
            };
            (width, url)
        }))
    }

    /// Whether URLs can be signed.
    pub async fn ready(&self) -> Result<()> {
        self.signer.key().await.map(drop)
    }

    /// Whether anything is cached under a path that may end with `*`. `None`: the CDN cannot be asked.
    pub fn holds(&self, path: &str) -> Option<bool> {
        self.invalidations.holds(path)
    }

    /// Makes the CDN forget the paths, each starting with `/` and optionally ending with `*`, as
    /// [`ObjectKey::original_paths`] and [`ObjectKey::variant_paths`] make them. One reference stands for one request, however often it is repeated.
    pub fn invalidate<'a>(&'a self, caller_reference: &'a str, paths: Vec<String>) -> InvalidateFuture<'a> {
        self.invalidations.invalidate(caller_reference, paths)
    }

    async fn sign_variants(&self, project: ProjectId, file: FileId, expiry: Expiry) -> Result<String> {
        // The slash before the wildcard is what keeps one file's signature from a file whose id begins alike.
        let resource = format!("{}/files/variants/{}/{project}/{file}/*", self.base, Visibility::Private);
        self.signer.sign_wildcard(&resource, expiry).await
    }
}

impl fmt::Debug for Cdn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cdn").field("base", &self.base).finish_non_exhaustive()
    }
}

/// Nothing reads staging through the CDN, and only an original is saved under a name.
fn not_served() -> Error {
    Error::Internal(Cause::because("making a URL", "the CDN does not serve such a key"))
}

/// A URL from which a client reads bytes. [`CdnUrl::as_str`] is the one way to show it; `Debug` redacts it.
#[derive(Clone, PartialEq, Eq)]
pub struct CdnUrl {
    url: String,
    expiry: Option<Expiry>,
}

/// When a signed URL stops working.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expiry {
    /// The moment from which the URL is refused.
    at: Timestamp,
    /// How long the URL works at the least, from the moment it was made.
    at_least: Duration,
}

impl Expiry {
    /// The longest life that a signed URL can be given.
    pub const MAX_LIFE: Duration = Duration::from_secs(7 * 24 * 60 * 60);

    /// This long from now, to the second.
    pub fn after(now: Timestamp, life: Duration) -> Self {
        let second_begun = Timestamp::from_millis((now.as_secs() + 1).saturating_mul(1000));
        Self { at: second_begun + life, at_least: life }
    }
}

impl CdnUrl {
    fn permanent(url: String) -> Self {
        Self { url, expiry: None }
    }

    fn signed(mut url: String, query: &str, expiry: Expiry) -> Self {
        url.push(if url.contains('?') { '&' } else { '?' });
        url.push_str(query);
        Self { url, expiry: Some(expiry) }
    }

    /// The whole URL, with its signature if it has one.
    pub fn as_str(&self) -> &str {
        &self.url
    }

    /// The whole URL, with its signature if it has one.
    pub fn into_string(self) -> String {
        self.url
    }

    /// When it stops working; a public URL never does.
    pub fn expires_at(&self) -> Option<Timestamp> {
        self.expiry.map(|expiry| expiry.at)
    }

    /// How long it works at the least, from the moment it was made; a public URL has no end.
    pub fn expires_in(&self) -> Option<Duration> {
        self.expiry.map(|expiry| expiry.at_least)
    }
}

impl fmt::Debug for CdnUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CdnUrl").field("url", &"redacted").field("expires_at", &self.expires_at()).finish()
    }
}

/// Where a CDN is: `https://` or `http://`, a host and perhaps a port, and nothing after it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct BaseUrl(String);

impl BaseUrl {
    /// The URL, without a slash at its end.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A text that is not the base URL of a CDN.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a CDN's URL is http:// or https://, a host and perhaps a port, without a path; such as https://cdn.example.com"
)]
pub struct InvalidBaseUrl;

impl FromStr for BaseUrl {
    type Err = InvalidBaseUrl;

    /// One slash at the end is tolerated and dropped.
    fn from_str(text: &str) -> Result<Self, InvalidBaseUrl> {
        let text = text.strip_suffix('/').unwrap_or(text).to_ascii_lowercase();
        let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://")).ok_or(InvalidBaseUrl)?;
        // A signed policy repeats this text inside JSON, where `*` and `?` would be wildcards.
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b':' | b'[' | b']');
        if host.is_empty() || !host.bytes().all(plain) {
            return Err(InvalidBaseUrl);
        }
        Ok(Self(text))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
    use futures::{FutureExt as _, future::BoxFuture};
    use p256::{
        ecdsa::{DerSignature, VerifyingKey, signature::Verifier as _},
        pkcs8::DecodePublicKey as _,
    };
    use proptest::prelude::{prop_assert, prop_assert_eq, prop_assert_ne, proptest};

    use super::*;
    use crate::intent::Filename;

    const NOW: Timestamp = Timestamp::from_millis(1_767_290_412_345);

    struct NoCdn;

    impl Invalidate for NoCdn {
        fn invalidate<'a>(&'a self, _: &'a str, _: Vec<String>) -> InvalidateFuture<'a> {
            Box::pin(async { Ok(()) })
        }
    }

    fn cdn(key: SigningKey) -> Cdn {
        Cdn::new("https://cdn.example.com".parse().unwrap(), Signer::new(key, URL_LIFE), Arc::new(NoCdn))
    }

    fn fresh_cdn() -> (Cdn, VerifyingKey) {
        let (key, _) = SigningKey::generate_p256(KeyPairId::mint());
        let public = VerifyingKey::from_public_key_pem(&key.public_key_pem()).unwrap();
        (cdn(key), public)
    }

    fn url_from(cdn: &Cdn, key: &ObjectKey, now: Timestamp) -> Result<CdnUrl> {
        at_once(cdn.url(key, cdn.expiry(now)))
    }

    fn at_once<T>(signed: impl Future<Output = T>) -> T {
        signed.now_or_never().expect("a held key signs at once")
    }

    fn name() -> Filename {
        Filename::mint("Photo.jpg", &"image/jpeg".parse().unwrap())
    }

    fn original(visibility: Visibility) -> ObjectKey {
        ObjectKey::Original { visibility, project: ProjectId::mint(), file: FileId::mint(), name: name() }
    }

    fn parameter<'a>(url: &'a CdnUrl, name: &str) -> &'a str {
        let (_, query) = url.as_str().split_once('?').unwrap();
        query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('=')).unwrap()
    }

    fn unmask(text: &str) -> Vec<u8> {
        BASE64.decode(text.replace('-', "+").replace('_', "=").replace('~', "/")).unwrap()
    }

    #[test]
    fn a_public_url_is_the_key_under_the_base_and_has_no_end() {
        let key = original(Visibility::Public);
        let url = url_from(&fresh_cdn().0, &key, NOW).unwrap();
        assert_eq!(url.as_str(), format!("https://cdn.example.com/{key}"));
        assert_eq!((url.expires_at(), url.expires_in()), (None, None));
    }

    #[test]
    fn a_staging_key_has_no_url() {
        let key = ObjectKey::Staging { project: ProjectId::mint(), file: FileId::mint(), name: name() };
        assert!(matches!(url_from(&fresh_cdn().0, &key, NOW), Err(Error::Internal(_))));
    }

    #[test]
    fn a_private_original_carries_a_canned_policy_that_its_public_key_verifies() {
        let (cdn, public) = fresh_cdn();
        let key = original(Visibility::Private);
        let url = url_from(&cdn, &key, NOW).unwrap();
        let (base, query) = url.as_str().split_once('?').unwrap();
        let names: Vec<&str> = query.split('&').map(|pair| pair.split_once('=').unwrap().0).collect();
        assert_eq!(names, ["Expires", "Signature", "Key-Pair-Id", "Hash-Algorithm"]);
        assert_eq!(parameter(&url, "Hash-Algorithm"), "SHA256");

        let expires = parameter(&url, "Expires");
        let policy = format!(
            r#"{{"Statement":[{{"Resource":"{base}","Condition":{{"DateLessThan":{{"AWS:EpochTime":{expires}}}}}}}]}}"#
        );
        let signature = DerSignature::try_from(unmask(parameter(&url, "Signature")).as_slice()).unwrap();
        public.verify(policy.as_bytes(), &signature).unwrap();
        assert_eq!(expires, url.expires_at().unwrap().as_secs().to_string());
    }

    #[test]
    fn all_variants_of_a_private_file_share_one_wildcard_signature() {
        let (cdn, public) = fresh_cdn();
        let (project, file, name) = (ProjectId::mint(), FileId::mint(), name());
        let urls =
            cdn.variant_urls(Visibility::Private, project, file, name.stem(), ImageFormat::WebP, cdn.expiry(NOW));
        let urls = at_once(urls).unwrap();
        let (_, first) = &urls[0];
        let policy = unmask(parameter(first, "Policy"));
        let signature = DerSignature::try_from(unmask(parameter(first, "Signature")).as_slice()).unwrap();
        public.verify(&policy, &signature).unwrap();

        let expires = first.expires_at().unwrap().as_secs();
        assert_eq!(
            String::from_utf8(policy).unwrap(),
            format!(
                r#"{{"Statement":[{{"Resource":"https://cdn.example.com/files/variants/private/{project}/{file}/*","Condition":{{"DateLessThan":{{"AWS:EpochTime":{expires}}}}}}}]}}"#
            )
        );
        let query = first.as_str().split_once('?').unwrap().1;
        for (width, url) in &urls {
            let spec = VariantSpec { width: *width, format: ImageFormat::WebP };
            let stem = name.stem().clone();
            let key = ObjectKey::Variant { visibility: Visibility::Private, project, file, stem, spec };
            assert_eq!(url.as_str(), format!("https://cdn.example.com/{key}?{query}"));
            assert_eq!(&url_from(&cdn, &key, NOW).unwrap(), url);
        }
    }

    /// A CDN whose key is read, which fails a number of times; and how often it was.
    fn reading_cdn(failures: usize) -> (Cdn, Arc<AtomicUsize>) {
        let readings = Arc::new(AtomicUsize::new(0));
        let counter = readings.clone();
        let read = move || -> BoxFuture<'static, Result<SigningKey>> {
            let counter = counter.clone();
            Box::pin(async move {
                // Others get their turn while this one reads.
                tokio::task::yield_now().await;
                if counter.fetch_add(1, Ordering::SeqCst) < failures {
                    return Err(Error::Internal(Cause::because("reading the signing key", "a test")));
                }
                Ok(SigningKey::generate_p256(KeyPairId::mint()).0)
            })
        };
        let base = "https://cdn.example.com".parse().unwrap();
        (Cdn::new(base, Signer::reading(read, URL_LIFE), Arc::new(NoCdn)), readings)
    }

    #[tokio::test]
    async fn the_key_is_read_once_and_not_before_a_url_is_signed() {
        let (cdn, readings) = reading_cdn(0);
        url_from(&cdn, &original(Visibility::Public), NOW).unwrap();
        assert_eq!(readings.load(Ordering::SeqCst), 0);
        let key = original(Visibility::Private);
        let signed = futures::future::join_all((0..5).map(|_| cdn.url(&key, cdn.expiry(NOW)))).await;
        let signed: Vec<_> = signed.into_iter().map(Result::unwrap).collect();
        assert!(signed.iter().all(|url| *url == signed[0]), "signed by one key");
        assert_eq!(readings.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn a_key_that_could_not_be_read_is_read_again() {
        let (cdn, readings) = reading_cdn(2);
        let key = original(Visibility::Private);
        assert!(cdn.url(&key, cdn.expiry(NOW)).await.is_err());
        assert!(cdn.ready().await.is_err());
        cdn.url(&key, cdn.expiry(NOW)).await.unwrap();
        cdn.ready().await.unwrap();
        assert_eq!(readings.load(Ordering::SeqCst), 3);
    }

    #[test]
    fn public_variants_are_not_signed() {
        let ((cdn, _), name) = (fresh_cdn(), name());
        let urls = cdn.variant_urls(
            Visibility::Public,
            ProjectId::mint(),
            FileId::mint(),
            name.stem(),
            ImageFormat::Jpeg,
            cdn.expiry(NOW),
        );
        let urls = at_once(urls).unwrap();
        assert!(urls.iter().all(|(width, url)| url.as_str().ends_with(&format!("_w{width}.jpeg"))));
    }

    #[test]
    fn debug_does_not_show_a_signed_url() {
        let url = url_from(&fresh_cdn().0, &original(Visibility::Private), NOW).unwrap();
        let shown = format!("{url:?}");
        assert!(!shown.contains("Signature") && !shown.contains(parameter(&url, "Signature")), "{shown}");
    }

    #[test]
    fn a_base_url_has_a_scheme_and_a_host_and_nothing_else() {
        for (text, base) in [
            ("https://cdn.example.com", "https://cdn.example.com"),
            ("https://CDN.example.com/", "https://cdn.example.com"),
            ("http://127.0.0.1:8787", "http://127.0.0.1:8787"),
            ("http://[::1]:8787", "http://[::1]:8787"),
        ] {
            assert_eq!(text.parse::<BaseUrl>().unwrap().as_str(), base);
        }
        for text in [
            "",
            "cdn.example.com",
            "ftp://a",
            "https://",
            "https:///",
            "https://a/b",
            "https://a?b",
            "https://*.a",
            "https://a\"b",
            "https://u@a",
        ] {
            assert_eq!(text.parse::<BaseUrl>(), Err(InvalidBaseUrl), "{text}");
        }
    }

    proptest! {
        #![proptest_config(proptest::test_runner::Config::with_cases(16))]

        #[test]
        fn a_signed_url_lives_five_to_six_minutes_and_is_the_same_for_the_whole_minute(
            minute in 0_i64..100_000_000, first in 0_i64..60_000, second in 0_i64..60_000,
        ) {
            let (cdn, _) = fresh_cdn();
            let key = original(Visibility::Private);
            let at = |millis: i64| Timestamp::from_millis(minute * 60_000 + millis);
            let url = url_from(&cdn, &key, at(first)).unwrap();
            let life = url.expires_at().unwrap().since(at(first));
            prop_assert!((300..=360).contains(&life.as_secs()), "{life:?}");
            prop_assert!(url.expires_in().unwrap() <= life);
            prop_assert_eq!(&url_from(&cdn, &key, at(second)).unwrap(), &url);
            prop_assert_ne!(&url_from(&cdn, &key, at(60_000)).unwrap(), &url);
        }
    }
}
