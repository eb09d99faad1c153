//! What is signed: CloudFront's policy statements, byte for byte as CloudFront rebuilds or reads them, and the query
//! that carries them. Only policies of one resource and one expiry are made here.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};

use super::{Expiry, SigningKey};
use crate::clock::Timestamp;

/// How long a signed URL works at the least.
pub const URL_LIFE: Duration = Duration::from_secs(300);

/// Expiries are rounded up to the end of this window, so that everybody who asks within it gets the same URL.
const WINDOW: Duration = Duration::from_secs(60);

/// Signs URLs with the current key. To rotate, start with a new key and let the CDN trust the old public key for
/// as long as the old URLs live.
#[derive(Debug)]
pub struct Signer {
    key: SigningKey,
    life: Duration,
}

impl Signer {
    /// A signer whose URLs work for `life`, in whole seconds, and up to a minute more.
    pub fn new(key: SigningKey, life: Duration) -> Self {
        Self { key, life: Duration::from_secs(life.as_secs()) }
    }

    /// When a URL that is signed `now` stops working.
    pub(super) fn expiry(&self, now: Timestamp) -> Expiry {
        let window = i64::try_from(WINDOW.as_millis()).expect("a window is short");
        let window_end = Timestamp::from_millis((now.as_millis().div_euclid(window) + 1).saturating_mul(window));
        Expiry { at: window_end + self.life, at_least: self.life }
    }

    /// The query that opens exactly `url`. CloudFront rebuilds the canned policy from the URL and `Expires`.
    pub(super) fn sign_url(&self, url: &str, expiry: Expiry) -> String {
        let expires = expiry.at.as_secs();
        let signature = self.sign(&policy(url, expires));
        format!("Expires={expires}&{signature}")
    }

    /// The query that opens every URL that `resource` matches, where `*` stands for any characters and `?` for one.
    pub(super) fn sign_wildcard(&self, resource: &str, expiry: Expiry) -> String {
        let policy = policy(resource, expiry.at.as_secs());
        let signature = self.sign(&policy);
        format!("Policy={}&{signature}", url_safe_base64(policy.as_bytes()))
    }

    fn sign(&self, policy: &str) -> String {
        let signature = url_safe_base64(&self.key.sign(policy.as_bytes()));
        // CloudFront assumes SHA-1 where the algorithm is not named.
        format!("Signature={signature}&Key-Pair-Id={}&Hash-Algorithm=SHA256", self.key.id())
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
