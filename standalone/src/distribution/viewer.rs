//! Step 2, for private behaviours: whether the viewer's URL has a valid signature by a trusted key for this path at
//! this time. Signed cookies, which CloudFront also accepts, are ignored.

use std::{collections::HashMap, net::IpAddr};

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use p256::{
    ecdsa::{DerSignature, VerifyingKey, signature::hazmat::PrehashVerifier as _},
    pkcs8::{DecodePublicKey as _, Document, ObjectIdentifier, SubjectPublicKeyInfoRef},
};
use ring::signature::{
    ECDSA_P256_SHA256_ASN1, RSA_PKCS1_2048_8192_SHA1_FOR_LEGACY_USE_ONLY, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey,
};
use sha1::{Digest as _, Sha1};
use xfiles_core::{
    cdn::{BaseUrl, KeyPairId},
    clock::Timestamp,
};

use super::policy::{Policy, Verdict, is_before};

const RSA_ENCRYPTION: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");

/// CloudFront's own query parameters. All others are part of the signed URL.
const PARAMETERS: [&str; 5] = ["Expires", "Policy", "Signature", "Key-Pair-Id", "Hash-Algorithm"];

/// A public key that is trusted for private paths.
#[derive(Clone, Debug)]
pub struct TrustedKey {
    id: KeyPairId,
    key: PublicKey,
}

#[derive(Clone, Debug)]
enum PublicKey {
    P256(VerifyingKey),
    /// The key in PKCS#1.
    Rsa(Vec<u8>),
}

impl TrustedKey {
    /// Parses a PEM `PUBLIC KEY` of ECDSA P-256 or RSA; URLs refer to it by `id`.
    pub fn from_pem(id: KeyPairId, pem: &str) -> Result<Self, InvalidTrustedKey> {
        let (_, document) = Document::from_pem(pem).map_err(|_| InvalidTrustedKey)?;
        let key = if let Ok(key) = VerifyingKey::from_public_key_der(document.as_bytes()) {
            PublicKey::P256(key)
        } else {
            let info: SubjectPublicKeyInfoRef<'_> = document.decode_msg().map_err(|_| InvalidTrustedKey)?;
            let pkcs1 = info.subject_public_key.as_bytes().filter(|_| info.algorithm.oid == RSA_ENCRYPTION);
            PublicKey::Rsa(pkcs1.ok_or(InvalidTrustedKey)?.to_vec())
        };
        Ok(Self { id, key })
    }
}

/// The text is not a public key of a kind that CloudFront accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a trusted key is a PEM `PUBLIC KEY` of ECDSA P-256 or RSA")]
pub struct InvalidTrustedKey;

/// Checks the signatures of viewers' URLs.
pub(super) struct Gate {
    base: BaseUrl,
    trusted: HashMap<String, PublicKey>,
}

/// The reason why a viewer is refused, with CloudFront's distinctions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Denial {
    MissingKey,
    UnknownKey,
    MissingSignature,
    MissingPolicy,
    MalformedSignature,
    MalformedPolicy,
    PeerUnknown,
    AccessDenied,
}

impl Gate {
    /// A gate for the distribution at `base`, the address that is signed.
    pub(super) fn new(base: BaseUrl, trusted: Vec<TrustedKey>) -> Self {
        let trusted = trusted.into_iter().map(|TrustedKey { id, key }| (id.to_string(), key)).collect();
        Self { base, trusted }
    }

    /// Checks whether `peer` may read the path with this query now.
    pub(super) fn admit(
        &self,
        path: &str,
        query: Option<&str>,
        peer: Option<IpAddr>,
        now: Timestamp,
    ) -> Result<(), Denial> {
        let signed = Signed::parse(query.unwrap_or_default())?;
        let key = self.trusted.get(signed.key_pair_id).ok_or(Denial::UnknownKey)?;
        // The host that the viewer used is ignored: one process may have several names.
        let url = signed.url(&self.base, path);
        match &signed.grant {
            Grant::Canned { expires } => {
                let policy = canned_policy(&url, expires);
                let ends = expires.parse().map_err(|_| Denial::AccessDenied)?;
                let admitted = key.verifies(signed.hash, policy.as_bytes(), &signed.signature) && is_before(now, ends);
                if admitted { Ok(()) } else { Err(Denial::AccessDenied) }
            }
            Grant::Custom { policy } => {
                // The signature is checked before the policy is parsed, because an unsigned policy is untrusted input.
                if !key.verifies(signed.hash, policy, &signed.signature) {
                    return Err(Denial::AccessDenied);
                }
                match Policy::parse(policy).ok_or(Denial::MalformedPolicy)?.judge(&url, peer, now) {
                    Verdict::Allowed => Ok(()),
                    Verdict::Refused => Err(Denial::AccessDenied),
                    Verdict::PeerUnknown => Err(Denial::PeerUnknown),
                }
            }
        }
    }
}

impl Denial {
    /// CloudFront's error code and message. Neither repeats any part of the URL.
    pub(super) const fn code_and_message(self) -> (&'static str, &'static str) {
        match self {
            Self::MissingKey => ("MissingKey", "Missing Key-Pair-Id query parameter or cookie value"),
            Self::UnknownKey => ("InvalidKey", "Unknown Key"),
            Self::MissingSignature => ("MissingSignature", "Missing Signature query parameter or cookie value"),
            Self::MissingPolicy => ("MissingPolicy", "Missing Expires or Policy query parameter or cookie value"),
            Self::MalformedSignature => ("MalformedSignature", "Could not unencode Signature"),
            Self::MalformedPolicy => ("MalformedPolicy", "Malformed Policy"),
            Self::PeerUnknown => {
                ("AccessDenied", "The policy has an address condition, and the viewer's address is unknown")
            }
            Self::AccessDenied => ("AccessDenied", "Access denied"),
        }
    }
}

/// A parsed query.
struct Signed<'a> {
    key_pair_id: &'a str,
    signature: Vec<u8>,
    hash: Hash,
    grant: Grant<'a>,
    /// The parameters that are not CloudFront's, unchanged.
    others: Vec<&'a str>,
}

enum Grant<'a> {
    Canned { expires: &'a str },
    Custom { policy: Vec<u8> },
}

#[derive(Clone, Copy)]
enum Hash {
    Sha1,
    Sha256,
}

impl<'a> Signed<'a> {
    fn parse(query: &'a str) -> Result<Self, Denial> {
        let mut found = [None; PARAMETERS.len()];
        let mut others = Vec::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            match PARAMETERS.iter().position(|parameter| *parameter == name) {
                None => others.push(pair),
                Some(at) if found[at].is_none() => found[at] = Some(value),
                Some(_) => return Err(Denial::AccessDenied),
            }
        }
        let [expires, policy, signature, key_pair_id, hash] = found;
        let key_pair_id = key_pair_id.filter(|id| !id.is_empty()).ok_or(Denial::MissingKey)?;
        let signature = signature.filter(|text| !text.is_empty()).ok_or(Denial::MissingSignature)?;
        let signature = decode(signature).ok_or(Denial::MalformedSignature)?;
        let grant = match (expires, policy) {
            (Some(expires), None) => Grant::Canned { expires },
            (None, Some(policy)) => Grant::Custom { policy: decode(policy).ok_or(Denial::MalformedPolicy)? },
            (None, None) => return Err(Denial::MissingPolicy),
            (Some(_), Some(_)) => return Err(Denial::AccessDenied),
        };
        let hash = match hash {
            None | Some("SHA1") => Hash::Sha1,
            Some("SHA256") => Hash::Sha256,
            Some(_) => return Err(Denial::AccessDenied),
        };
        Ok(Self { key_pair_id, signature, hash, grant, others })
    }

    /// The URL before it was signed.
    fn url(&self, base: &BaseUrl, path: &str) -> String {
        let separator = if self.others.is_empty() { "" } else { "?" };
        format!("{base}{path}{separator}{}", self.others.join("&"))
    }
}

/// The policy that a canned signature signs. Written independently of the signer's, so that each verifies the other.
fn canned_policy(url: &str, expires: &str) -> String {
    format!(r#"{{"Statement":[{{"Resource":"{url}","Condition":{{"DateLessThan":{{"AWS:EpochTime":{expires}}}}}}}]}}"#)
}

/// Base64 with `-`, `_` and `~` instead of `+`, `=` and `/`.
fn decode(text: &str) -> Option<Vec<u8>> {
    let restore = |byte| match byte {
        b'-' => Some(b'+'),
        b'_' => Some(b'='),
        b'~' => Some(b'/'),
        b'+' | b'=' | b'/' => None,
        other => Some(other),
    };
    BASE64.decode(text.bytes().map(restore).collect::<Option<Vec<u8>>>()?).ok()
}

impl PublicKey {
    fn verifies(&self, hash: Hash, message: &[u8], signature: &[u8]) -> bool {
        match (self, hash) {
            (Self::P256(key), Hash::Sha256) => {
                let point = key.to_encoded_point(false);
                UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, point).verify(message, signature).is_ok()
            }
            (Self::P256(key), Hash::Sha1) => DerSignature::try_from(signature)
                .is_ok_and(|signature| key.verify_prehash(&Sha1::digest(message), &signature).is_ok()),
            (Self::Rsa(key), Hash::Sha256) => {
                UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, key).verify(message, signature).is_ok()
            }
            (Self::Rsa(key), Hash::Sha1) => {
                let algorithm = &RSA_PKCS1_2048_8192_SHA1_FOR_LEGACY_USE_ONLY;
                UnparsedPublicKey::new(algorithm, key).verify(message, signature).is_ok()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use futures::FutureExt as _;
    use p256::ecdsa::{SigningKey as P256, signature::hazmat::PrehashSigner as _};
    use proptest::prelude::{prop_assert_eq, proptest};
    use xfiles_core::{
        cdn::{Cdn, Invalidate, InvalidateFuture, Signer, SigningKey, URL_LIFE},
        object_key::ObjectKey,
    };

    use super::*;

    const BASE: &str = "https://cdn.example.com";
    const PATH: &str = "/files/originals/private/aaaaaaaaaaaa/bbbbbbbbbbbbbbbbbbbb/photo-a1b2c3.jpg";
    const VARIANT: &str = "/files/variants/private/aaaaaaaaaaaa/bbbbbbbbbbbbbbbbbbbb/photo-a1b2c3_w400.webp";
    const NOW: Timestamp = Timestamp::from_millis(1_767_290_412_345);

    struct NoCdn;

    impl Invalidate for NoCdn {
        fn invalidate<'a>(&'a self, _: &'a str, _: Vec<String>) -> InvalidateFuture<'a> {
            Box::pin(async { Ok(()) })
        }
    }

    fn key_pair() -> (SigningKey, TrustedKey) {
        let (key, _) = SigningKey::generate_p256(KeyPairId::mint());
        let trusted = TrustedKey::from_pem(key.id().clone(), &key.public_key_pem()).unwrap();
        (key, trusted)
    }

    fn gate(trusted: Vec<TrustedKey>) -> Gate {
        Gate::new(BASE.parse().unwrap(), trusted)
    }

    fn query(key: SigningKey, path: &str) -> String {
        let cdn = Cdn::new(BASE.parse().unwrap(), Signer::new(key, URL_LIFE), Arc::new(NoCdn));
        let key = path[1..].parse::<ObjectKey>().unwrap();
        let url = cdn.url(&key, cdn.expiry(NOW)).now_or_never().expect("a held key signs at once").unwrap();
        url.as_str().split_once('?').unwrap().1.to_owned()
    }

    #[test]
    fn a_url_that_we_signed_opens_its_path_until_it_expires() {
        let (key, trusted) = key_pair();
        let gate = gate(vec![trusted]);
        let query = query(key, PATH);
        assert_eq!(gate.admit(PATH, Some(&query), None, NOW), Ok(()));
        assert_eq!(gate.admit(PATH, Some(&query), None, NOW + URL_LIFE), Ok(()));
        let later = NOW + URL_LIFE + Duration::from_secs(60);
        assert_eq!(gate.admit(PATH, Some(&query), None, later), Err(Denial::AccessDenied));
    }

    #[test]
    fn a_canned_signature_opens_no_other_path() {
        let (key, trusted) = key_pair();
        let gate = gate(vec![trusted]);
        let query = query(key, PATH);
        for other in [PATH.replace('a', "c"), PATH.replace("bbb/", "bbc/"), VARIANT.to_owned(), format!("{PATH}x")] {
            assert_eq!(gate.admit(&other, Some(&query), None, NOW), Err(Denial::AccessDenied), "{other}");
        }
    }

    #[test]
    fn a_variants_signature_opens_every_variant_of_its_file_and_nothing_else() {
        let (key, trusted) = key_pair();
        let gate = gate(vec![trusted]);
        let query = query(key, VARIANT);
        for path in [VARIANT.to_owned(), VARIANT.replace("_w400", "_w1200"), VARIANT.replace(".webp", ".jpeg")] {
            assert_eq!(gate.admit(&path, Some(&query), None, NOW), Ok(()), "{path}");
        }
        for path in [
            VARIANT.replace("bbb/", "bbc/"),
            VARIANT.replace("bbb/", "bbb1/"),
            VARIANT.replace("aaa/", "aac/"),
            PATH.to_owned(),
        ] {
            assert_eq!(gate.admit(&path, Some(&query), None, NOW), Err(Denial::AccessDenied), "{path}");
        }
    }

    #[test]
    fn the_old_key_works_beside_the_new_one_and_an_untrusted_one_never() {
        let ((old_key, old), (new_key, new), (stranger, _)) = (key_pair(), key_pair(), key_pair());
        let gate = gate(vec![old, new]);
        assert_eq!(gate.admit(PATH, Some(&query(old_key, PATH)), None, NOW), Ok(()));
        assert_eq!(gate.admit(PATH, Some(&query(new_key, PATH)), None, NOW), Ok(()));
        assert_eq!(gate.admit(PATH, Some(&query(stranger, PATH)), None, NOW), Err(Denial::UnknownKey));
    }

    #[test]
    fn a_missing_parameter_is_named() {
        let (key, trusted) = key_pair();
        let gate = gate(vec![trusted]);
        let query = query(key, PATH);
        let without =
            |name: &str| query.split('&').filter(|pair| !pair.starts_with(name)).collect::<Vec<_>>().join("&");
        assert_eq!(gate.admit(PATH, None, None, NOW), Err(Denial::MissingKey));
        assert_eq!(gate.admit(PATH, Some(&without("Key-Pair-Id")), None, NOW), Err(Denial::MissingKey));
        assert_eq!(gate.admit(PATH, Some(&without("Signature")), None, NOW), Err(Denial::MissingSignature));
        assert_eq!(gate.admit(PATH, Some(&without("Expires")), None, NOW), Err(Denial::MissingPolicy));
        // Without the parameter the algorithm is SHA-1, which was not used here.
        assert_eq!(gate.admit(PATH, Some(&without("Hash-Algorithm")), None, NOW), Err(Denial::AccessDenied));
    }

    #[test]
    fn a_repeated_or_foreign_parameter_opens_nothing() {
        let (key, trusted) = key_pair();
        let gate = gate(vec![trusted]);
        let query = query(key, PATH);
        for added in ["Expires=99999999999", "Policy=e30_", "Hash-Algorithm=SHA256", "response-content-type=text/html"]
        {
            let query = format!("{query}&{added}");
            assert_eq!(gate.admit(PATH, Some(&query), None, NOW), Err(Denial::AccessDenied), "{added}");
        }
    }

    #[test]
    fn ecdsa_over_sha1_is_accepted_where_no_algorithm_is_named() {
        let scalar = [7; 32];
        let secret = P256::from_slice(&scalar).unwrap();
        let trusted = TrustedKey { id: "K1".parse().unwrap(), key: PublicKey::P256(*secret.verifying_key()) };
        let policy = canned_policy(&format!("{BASE}{PATH}"), "1767290700");
        let signature: DerSignature = secret.sign_prehash(&Sha1::digest(policy.as_bytes())).unwrap();
        let encoded = BASE64.encode(signature.as_bytes()).replace('+', "-").replace('=', "_").replace('/', "~");
        let query = format!("Expires=1767290700&Signature={encoded}&Key-Pair-Id=K1");
        let gate = gate(vec![trusted]);
        assert_eq!(gate.admit(PATH, Some(&query), None, NOW), Ok(()));
        let sha256 = format!("{query}&Hash-Algorithm=SHA256");
        assert_eq!(gate.admit(PATH, Some(&sha256), None, NOW), Err(Denial::AccessDenied));
    }

    #[test]
    fn a_trusted_key_is_a_public_one() {
        let (key, pem) = SigningKey::generate_p256(KeyPairId::mint());
        let id = key.id().clone();
        for text in ["", pem.reveal(), &key.public_key_pem().replacen('M', "N", 1)] {
            assert!(TrustedKey::from_pem(id.clone(), text).is_err(), "{text}");
        }
    }

    proptest! {
        #![proptest_config(proptest::test_runner::Config::with_cases(64))]

        #[test]
        fn one_changed_byte_opens_nothing(at in 0_usize..1000, byte in "[A-Za-z0-9~_-]") {
            let (key, trusted) = key_pair();
            let query = query(key, PATH);
            let at = at % query.len();
            let changed = format!("{}{byte}{}", &query[..at], &query[at + 1..]);
            let opened = gate(vec![trusted]).admit(PATH, Some(&changed), None, NOW).is_ok();
            prop_assert_eq!(opened, changed == query);
        }
    }
}
