//! What is signed: CloudFront's policy statements, byte for byte as CloudFront rebuilds or reads them, and the query
//! that carries them. Only policies of one resource and one expiry are made here.

use std::{fmt, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use futures::future::BoxFuture;
use tokio::sync::OnceCell;

use super::{Expiry, SigningKey};
use crate::{clock::Timestamp, error::Result};

/// How long a signed URL works at the least.
pub const URL_LIFE: Duration = Duration::from_secs(300);

/// Expiries are rounded up to the end of this window, so that everybody who asks within it gets the same URL.
const WINDOW: Duration = Duration::from_secs(60);

/// Signs URLs with the current key. To rotate, start with a new key and let the CDN trust the old public key for
/// as long as the old URLs live.
pub struct Signer {
    key: OnceCell<SigningKey>,
    read: Box<ReadKey>,
    life: Duration,
}

type ReadKey = dyn Fn() -> BoxFuture<'static, Result<SigningKey>> + Send + Sync;

impl Signer {
    /// A signer whose URLs work for `life`, in whole seconds, and up to a minute more.
    pub fn new(key: SigningKey, life: Duration) -> Self {
        let signer = Self::reading(|| unreachable!("the key is held"), life);
        Self { key: OnceCell::new_with(Some(key)), ..signer }
    }

    /// The same, whose key is read when a URL is signed for the first time. Concurrent callers wait for that one
    /// reading; after one that failed the next to ask reads again.
    pub fn reading(
        read: impl Fn() -> BoxFuture<'static, Result<SigningKey>> + Send + Sync + 'static,
        life: Duration,
    ) -> Self {
        Self { key: OnceCell::new(), read: Box::new(read), life: Duration::from_secs(life.as_secs()) }
    }

    /// The key, read if it was not.
    pub(super) async fn key(&self) -> Result<&SigningKey> {
        self.key.get_or_try_init(&self.read).await
    }

    /// When a URL that is signed `now` stops working.
    pub(super) fn expiry(&self, now: Timestamp) -> Expiry {
        let window = i64::try_from(WINDOW.as_millis()).expect("a window is short");
        let window_end = Timestamp::from_millis((now.as_millis().div_euclid(window) + 1).saturating_mul(window));
        Expiry { at: window_end + self.life, at_least: self.life }
    }

    /// The query that opens exactly `url`. CloudFront rebuilds the canned policy from the URL and `Expires`.
    pub(super) async fn sign_url(&self, url: &str, expiry: Expiry) -> Result<String> {
        let expires = expiry.at.as_secs();
        let signature = self.sign(&policy(url, expires)).await?;
        Ok(format!("Expires={expires}&{signature}"))
    }

    /// The query that opens every URL that `resource` matches, where `*` stands for any characters and `?` for one.
    pub(super) async fn sign_wildcard(&self, resource: &str, expiry: Expiry) -> Result<String> {
        let policy = policy(resource, expiry.at.as_secs());
        let signature = self.sign(&policy).await?;
        Ok(format!("Policy={}&{signature}", url_safe_base64(policy.as_bytes())))
    }

    async fn sign(&self, policy: &str) -> Result<String> {
        let key = self.key().await?;
        let signature = url_safe_base64(&key.sign(policy.as_bytes()));
        // CloudFront assumes SHA-1 where the algorithm is not named.
        Ok(format!("Signature={signature}&Key-Pair-Id={}&Hash-Algorithm=SHA256", key.id()))
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signer").field("key", &self.key).field("life", &self.life).finish_non_exhaustive()
    }
}

/// The policy statement, without white space and in this order, as CloudFront rebuilds a canned one. Nothing needs
/// escaping: a base URL and an object key consist of characters that JSON takes as they stand.
fn policy(resource: &str, expires: i64) -> String {
    format!(
        r#"{{"Statement":[{{"Resource":"{resource}","Condition":{{"DateLessThan":{{"AWS:EpochTime":{expires}}}}}}}]}}"#
    )
}

/// Base64 with CloudFront's replacements for the characters that a query cannot hold.
fn url_safe_base64(bytes: &[u8]) -> String {
    let replace = |c| match c {
        '+' => '-',
        '=' => '_',
        '/' => '~',
        other => other,
    };
    BASE64.encode(bytes).chars().map(replace).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_has_no_character_that_a_query_cannot_hold() {
        assert_eq!(url_safe_base64(&[0xfb, 0xff, 0xbf, 0xff]), "-~-~~w__");
    }
}
