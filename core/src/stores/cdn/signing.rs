//! The private key with which URLs are signed: ECDSA P-256 or RSA-2048, which are the two that CloudFront accepts,
//! over SHA-256. The key leaves this file only as a [`PrivateKeyPem`] at its birth; no error repeats a part of it.

use std::{fmt, str::FromStr};

use p256::{
    SecretKey,
    ecdsa::{self, DerSignature, signature::Signer as _},
    pkcs8::{
        DecodePrivateKey as _, EncodePrivateKey as _, EncodePublicKey as _, LineEnding, ObjectIdentifier,
        SecretDocument, SubjectPublicKeyInfoRef,
        der::{
            EncodePem as _,
            asn1::{AnyRef, BitStringRef},
        },
        spki::AlgorithmIdentifierRef,
    },
};
use ring::{
    rand::SystemRandom,
    signature::{KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair},
};

use crate::{id::random_text, random};

const RSA_ENCRYPTION: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const RSA_2048_BYTES: usize = 256;

/// A private key and the id under which the CDN knows its public key.
pub struct SigningKey {
    id: KeyPairId,
    secret: Secret,
}

enum Secret {
    P256(ecdsa::SigningKey),
    Rsa2048(Box<RsaKeyPair>),
}

impl SigningKey {
    /// A new ECDSA P-256 key from the operating system's random source, and the PEM that brings it back.
    pub fn generate_p256(id: KeyPairId) -> (Self, PrivateKeyPem) {
        let secret = loop {
            let scalar: [u8; 32] = random::bytes();
            // Zero and numbers beyond the curve's order are no keys; one draw in 2^32 is such a number.
            if let Ok(secret) = SecretKey::from_slice(&scalar) {
                break secret;
            }
        };
        let pem = secret.to_pkcs8_pem(LineEnding::LF).expect("a P-256 key has an encoding");
        let key = Self { id, secret: Secret::P256(secret.into()) };
        (key, PrivateKeyPem(pem.to_string()))
    }

    /// Reads a key that is not encrypted, from a PEM with lines of 64 characters as OpenSSL writes it: PKCS#8
    /// (`PRIVATE KEY`), SEC 1 (`EC PRIVATE KEY`) or PKCS#1 (`RSA PRIVATE KEY`).
    pub fn from_pem(id: KeyPairId, pem: &str) -> Result<Self, InvalidSigningKey> {
        let (label, der) = SecretDocument::from_pem(private_block(pem)?).map_err(|_| InvalidSigningKey::NotPem)?;
        let der = der.as_bytes();
        let secret = match label {
            "PRIVATE KEY" => SecretKey::from_pkcs8_der(der)
                .map(Secret::from)
                .ok()
                .or_else(|| RsaKeyPair::from_pkcs8(der).ok().and_then(Secret::rsa_2048)),
            "EC PRIVATE KEY" => SecretKey::from_sec1_der(der).map(Secret::from).ok(),
            "RSA PRIVATE KEY" => RsaKeyPair::from_der(der).ok().and_then(Secret::rsa_2048),
            _ => return Err(InvalidSigningKey::NotPem),
        };
        Ok(Self { id, secret: secret.ok_or(InvalidSigningKey::Unsupported)? })
    }

    /// The id under which the CDN knows the public key.
    pub fn id(&self) -> &KeyPairId {
        &self.id
    }

    /// The public key that the CDN must trust: a PEM `PUBLIC KEY`, as CloudFront takes it.
    pub fn public_key_pem(&self) -> String {
        match &self.secret {
            Secret::P256(key) => {
                key.verifying_key().to_public_key_pem(LineEnding::LF).expect("a P-256 public key has an encoding")
            }
            Secret::Rsa2048(key) => rsa_public_key_pem(key.public_key().as_ref()),
        }
    }

    /// Whether this PEM is of its public key, however its lines are broken.
    pub fn is_of(&self, public_key_pem: &str) -> bool {
        let text = |pem: &str| pem.split_ascii_whitespace().collect::<String>();
        text(&self.public_key_pem()) == text(public_key_pem)
    }

    /// The signature over SHA-256 of `message`: ASN.1 DER for ECDSA, PKCS#1 v1.5 for RSA. Both are deterministic.
    pub(super) fn sign(&self, message: &[u8]) -> Vec<u8> {
        match &self.secret {
            Secret::P256(key) => {
                let signature: DerSignature = key.sign(message);
                signature.as_bytes().to_vec()
            }
            Secret::Rsa2048(key) => {
                let mut signature = vec![0; RSA_2048_BYTES];
                key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message, &mut signature)
                    .expect("the buffer has the length of the modulus");
                signature
            }
        }
    }
}

impl Secret {
    fn rsa_2048(key: RsaKeyPair) -> Option<Self> {
        (key.public().modulus_len() == RSA_2048_BYTES).then(|| Self::Rsa2048(Box::new(key)))
    }
}

impl From<SecretKey> for Secret {
    fn from(key: SecretKey) -> Self {
        Self::P256(key.into())
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey").field("id", &self.id).finish_non_exhaustive()
    }
}

/// From the private key's first line on: OpenSSL may write the curve's parameters as a block before it.
fn private_block(pem: &str) -> Result<&str, InvalidSigningKey> {
    let begins = |line: &str| line.starts_with("-----BEGIN ") && line.trim_end().ends_with("PRIVATE KEY-----");
    let mut start = 0;
    for line in pem.split_inclusive('\n') {
        if begins(line) {
            return Ok(&pem[start..]);
        }
        start += line.len();
    }
    Err(InvalidSigningKey::NotPem)
}

fn rsa_public_key_pem(pkcs1: &[u8]) -> String {
    SubjectPublicKeyInfoRef {
        algorithm: AlgorithmIdentifierRef { oid: RSA_ENCRYPTION, parameters: Some(AnyRef::NULL) },
        subject_public_key: BitStringRef::from_bytes(pkcs1).expect("a public key is whole bytes"),
    }
    .to_pem(LineEnding::LF)
    .expect("an RSA public key has an encoding")
}

/// Why a text is no signing key. It never repeats the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSigningKey {
    /// Not a PEM of a private key, or a damaged or encrypted one.
    #[error("a signing key must be an unencrypted PEM: `PRIVATE KEY`, `EC PRIVATE KEY` or `RSA PRIVATE KEY`")]
    NotPem,
    /// A PEM that holds something else.
    #[error("a signing key must be ECDSA P-256 or RSA of 2048 bits, which CloudFront accepts")]
    Unsupported,
}

/// The PEM of a private key, to be written where only its owner reads. `Debug` redacts it.
pub struct PrivateKeyPem(String);

impl PrivateKeyPem {
    /// The PEM, for the one file that keeps it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for PrivateKeyPem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PrivateKeyPem(redacted)")
    }
}

/// The public name of a key pair, as it stands in a URL: 1..=64 letters, digits, `-` and `_`. CloudFront's are `K` and
/// thirteen capitals and digits.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct KeyPairId(String);

impl KeyPairId {
    /// A new id of CloudFront's shape.
    pub fn mint() -> Self {
        let random = random_text::<13>(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789");
        Self(format!("K{}", String::from_utf8_lossy(&random)))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for KeyPairId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A text that is not the id of a key pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a key pair id is 1 to 64 letters, digits, hyphens and underscores")]
pub struct InvalidKeyPairId;

impl FromStr for KeyPairId {
    type Err = InvalidKeyPairId;

    fn from_str(text: &str) -> Result<Self, InvalidKeyPairId> {
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
        if (1..=64).contains(&text.len()) && text.bytes().all(plain) {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidKeyPairId)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pem: &str) -> Result<SigningKey, InvalidSigningKey> {
        SigningKey::from_pem(KeyPairId::mint(), pem)
    }

    #[test]
    fn a_generated_key_comes_back_from_its_pem_and_signs_the_same() {
        let (key, pem) = SigningKey::generate_p256(KeyPairId::mint());
        let again = read(pem.reveal()).unwrap();
        assert_eq!(key.sign(b"message"), again.sign(b"message"));
        assert_eq!(key.public_key_pem(), again.public_key_pem());
        assert!(key.public_key_pem().starts_with("-----BEGIN PUBLIC KEY-----\n"));
    }

    #[test]
    fn a_key_knows_its_own_public_key_however_its_lines_are_broken() {
        let ((key, _), (other, _)) =
            (SigningKey::generate_p256(KeyPairId::mint()), SigningKey::generate_p256(KeyPairId::mint()));
        let pem = key.public_key_pem();
        assert!(key.is_of(&pem) && key.is_of(pem.trim_end()) && key.is_of(&pem.replace('\n', "\r\n")));
        assert!(!key.is_of(&other.public_key_pem()) && !key.is_of(""));
    }

    #[test]
    fn an_ecdsa_signature_is_rfc_6979s() {
        // RFC 6979, A.2.5: P-256, SHA-256, message "sample".
        let scalar = hex::decode("C9AFA9D845BA75166B5C215767B1D6934E50C3DB36E89B127B8A622B120F6721").unwrap();
        let secret = Secret::from(SecretKey::from_slice(&scalar).unwrap());
        let key = SigningKey { id: KeyPairId::mint(), secret };
        assert_eq!(
            hex::encode_upper(key.sign(b"sample")),
            "3046022100EFD48B2AACB6A8FD1140DD9CD45E81D69D2C877B56AAF991C34D0EA84EAF3716\
             022100F7CB1C942D657C41D436C7A1B6E29F65F3E900DBB9AFF4064DC4AB2F843ACDA8"
        );
    }

    #[test]
    fn a_garbled_pem_is_refused_without_repeating_it() {
        let (_, pem) = SigningKey::generate_p256(KeyPairId::mint());
        let garbled = pem.reveal().replacen("MIG", "!!!", 1);
        let other = "-----BEGIN PRIVATE KEY-----\nMAA=\n-----END PRIVATE KEY-----\n";
        for (text, reason) in [
            ("", InvalidSigningKey::NotPem),
            ("secret", InvalidSigningKey::NotPem),
            (&garbled, InvalidSigningKey::NotPem),
            (&pem.reveal()[..100], InvalidSigningKey::NotPem),
            (&pem.reveal().replace("PRIVATE", "ENCRYPTED PRIVATE"), InvalidSigningKey::NotPem),
            (&pem.reveal().replace("PRIVATE", "PUBLIC"), InvalidSigningKey::NotPem),
            (&pem.reveal().replace("PRIVATE", "RSA PRIVATE"), InvalidSigningKey::Unsupported),
            (other, InvalidSigningKey::Unsupported),
        ] {
            let refused = read(text).err().unwrap();
            assert_eq!(refused, reason, "{text}");
        }
    }

    #[test]
    fn debug_does_not_show_a_private_key() {
        let (key, pem) = SigningKey::generate_p256("K1".parse().unwrap());
        assert_eq!(format!("{key:?} {pem:?}"), "SigningKey { id: KeyPairId(\"K1\"), .. } PrivateKeyPem(redacted)");
    }

    #[test]
    fn a_key_pair_id_needs_no_escaping_in_a_url() {
        assert!(KeyPairId::mint().as_str().parse::<KeyPairId>().is_ok());
        for text in ["", "K&Policy=x", "K 1", "K%41", &"K".repeat(65)] {
            assert_eq!(text.parse::<KeyPairId>(), Err(InvalidKeyPairId), "{text}");
        }
    }
}
