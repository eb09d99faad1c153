//! API keys. The raw key exists in the caller's hands and in one answer; everything else sees its hash.

use std::{fmt, str::FromStr};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use sha2::{Digest, Sha256};

use crate::{
    id::{derived_text, random_text},
    random,
};

const PREFIX: &str = "xf_";
const SECRET_LENGTH: usize = 32;
const ALPHABET: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

/// A raw API key: `xf_` and 32 characters of `[A-Za-z0-9]`, about 190 random bits.
///
/// It has no `Display` and no `Serialize`, and `Debug` redacts it; [`ApiKey::reveal`] is the one way to show it.
#[derive(Clone, PartialEq, Eq)]
pub struct ApiKey(String);

impl ApiKey {
    /// A new key from the operating system's random source.
    pub fn mint() -> Self {
        let secret = random_text::<SECRET_LENGTH>(ALPHABET);
        Self(format!("{PREFIX}{}", String::from_utf8_lossy(&secret)))
    }

    /// The key that follows from the seed of a request that is carried out once, and from the key of its caller:
    /// always the same one. Who can read the seed in the table cannot compute it without the caller's key.
    pub fn derived(seed: &[u8; 16], caller: &Self) -> Self {
        let seed = Sha256::new().chain_update(seed).chain_update(caller.0.as_bytes()).finalize();
        let secret = derived_text::<SECRET_LENGTH>(ALPHABET, "an api key", &seed, 0);
        Self(format!("{PREFIX}{}", String::from_utf8_lossy(&secret)))
    }

    /// The raw key, for the one answer that hands it out.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// The last four characters, by which a person recognises the key in a list.
    pub fn last_four(&self) -> &str {
        &self.0[self.0.len() - 4..]
    }

    /// What the catalog stores and looks up.
    pub fn hash(&self) -> KeyHash {
        KeyHash(hex::encode(Sha256::digest(self.0.as_bytes())))
    }

    /// A text that nobody can read without the raw key: what must be stored and shown to its holder alone.
    pub fn seal(&self, text: &str) -> String {
        let nonce: [u8; NONCE_LEN] = random::bytes();
        let mut sealed = text.as_bytes().to_vec();
        self.sealing_key()
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::empty(), &mut sealed)
            .expect("a text is shorter than the cipher's 64 GB");
        BASE64_STANDARD.encode([&nonce, sealed.as_slice()].concat())
    }

    /// What this key sealed. `None`: it sealed something else.
    pub fn unseal(&self, sealed: &str) -> Option<String> {
        let bytes = BASE64_STANDARD.decode(sealed).ok()?;
        let (nonce, sealed) = bytes.split_first_chunk::<NONCE_LEN>()?;
        let mut text = sealed.to_vec();
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let length = self.sealing_key().open_in_place(nonce, Aad::empty(), &mut text).ok()?.len();
        text.truncate(length);
        String::from_utf8(text).ok()
    }

    /// Not the digest that is stored: another one, of which nothing can be learnt from that.
    fn sealing_key(&self) -> LessSafeKey {
        let key = Sha256::new().chain_update("xfiles seal\n").chain_update(self.0.as_bytes()).finalize();
        LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &key).expect("a SHA-256 has the key's 32 bytes"))
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiKey(redacted)")
    }
}

/// A text that does not have the shape of an API key. It does not repeat the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an API key is `xf_` followed by 32 letters or digits")]
pub struct MalformedKey;

impl FromStr for ApiKey {
    type Err = MalformedKey;

    fn from_str(text: &str) -> Result<Self, MalformedKey> {
        let secret = text.strip_prefix(PREFIX).ok_or(MalformedKey)?;
        let well_formed = secret.len() == SECRET_LENGTH && secret.bytes().all(|b| b.is_ascii_alphanumeric());
        if well_formed { Ok(Self(text.to_owned())) } else { Err(MalformedKey) }
    }
}

/// The SHA-256 of an API key, in lower-case hex. Only this is stored.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct KeyHash(String);

impl KeyHash {
    /// The 64 hex digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// A hash that the catalog stored before.
    pub(crate) fn from_stored(hex: String) -> Self {
        Self(hex)
    }
}

/// What a key may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// List and read files, make URLs.
    Read,
    /// Begin, confirm and change uploads.
    Write,
    /// Delete files.
    Delete,
    /// Manage keys and projects.
    Admin,
}

impl Scope {
    /// Every scope, least first.
    pub const ALL: [Self; 4] = [Self::Read, Self::Write, Self::Delete, Self::Admin];
    /// What a key gets when nothing else is asked for.
    pub const DEFAULT: [Self; 3] = [Self::Read, Self::Write, Self::Delete];

    /// The scope's name in requests and in the catalog.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Delete => "delete",
            Self::Admin => "admin",
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A word that names no scope.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a scope is one of read, write, delete, admin")]
pub struct UnknownScope;

impl FromStr for Scope {
    type Err = UnknownScope;

    fn from_str(text: &str) -> Result<Self, UnknownScope> {
        Self::ALL.into_iter().find(|s| s.as_str() == text).ok_or(UnknownScope)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minted_key_has_the_published_shape_and_parses_back() {
        let key = ApiKey::mint();
        assert_eq!(key.reveal().len(), 35);
        assert_eq!(key.reveal().parse::<ApiKey>().unwrap().hash(), key.hash());
    }

    #[test]
    fn debug_does_not_show_the_key() {
        let key = ApiKey::mint();
        assert!(!format!("{key:?}").contains(key.last_four()));
    }

    #[test]
    fn what_a_key_seals_only_that_key_unseals() {
        let (key, other) = (ApiKey::mint(), ApiKey::mint());
        let sealed = key.seal("geheim");
        assert!(!sealed.contains("geheim"));
        assert_ne!(key.seal("geheim"), sealed, "no two are alike");
        assert_eq!((key.unseal(&sealed).as_deref(), other.unseal(&sealed)), (Some("geheim"), None));
        for damaged in ["", "AAAA", &sealed[4..], &sealed[..sealed.len() - 4]] {
            assert_eq!(key.unseal(damaged), None);
        }
    }

    #[test]
    fn a_malformed_key_is_refused() {
        for text in
            ["", "xf_", "xf_short", "XF_aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "xf_aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!"]
        {
            assert_eq!(text.parse::<ApiKey>(), Err(MalformedKey), "{text}");
        }
    }
}
