//! Identifiers of projects and files: random, lower-case, of one fixed length each, safe in a path as they stand.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest as _, Sha256};

use crate::random;
#[cfg(feature = "simulation")]
pub use crate::random::simulation;

const ALPHABET: &[u8; 36] = b"abcdefghijklmnopqrstuvwxyz0123456789";

/// Fills `out` with characters of `alphabet`, drawn evenly from the operating system's random source.
pub(crate) fn random_text<const N: usize>(alphabet: &[u8]) -> [u8; N] {
    let mut out = [0; N];
    let mut filled = 0;
    // Bytes past the largest multiple of the alphabet's length would favour its first characters.
    let limit = 256 - 256 % alphabet.len();
    while filled < N {
        let raw: [u8; 64] = random::bytes();
        for byte in raw.into_iter().map(usize::from).filter(|b| *b < limit) {
            if filled == N {
                break;
            }
            out[filled] = alphabet[byte % alphabet.len()];
            filled += 1;
        }
    }
    out
}

/// Characters of `alphabet` that follow from a seed, for one purpose and place. As even as [`random_text`], and as hard
/// to guess as the seed.
pub(crate) fn derived_text<const N: usize>(alphabet: &[u8], purpose: &str, seed: &[u8], nth: u32) -> [u8; N] {
    let mut out = [0; N];
    let mut filled = 0;
    let limit = 256 - 256 % alphabet.len();
    for block in 0_u32.. {
        let block = Sha256::new()
            .chain_update(format!("xfiles {purpose}\n"))
            .chain_update(block.to_be_bytes())
            .chain_update(nth.to_be_bytes())
            .chain_update(seed)
            .finalize();
        for byte in block.into_iter().map(usize::from).filter(|b| *b < limit) {
            if filled == N {
                return out;
            }
            out[filled] = alphabet[byte % alphabet.len()];
            filled += 1;
        }
    }
    out
}

/// Twelve characters that tell one run of something from every other.
pub(crate) fn random_mark() -> String {
    String::from_utf8_lossy(&random_text::<12>(ALPHABET)).into_owned()
}

/// A text that is not the identifier it should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} must be {length} characters of a-z and 0-9")]
pub struct InvalidId {
    what: &'static str,
    length: usize,
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $what:literal, $length:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; $length]);

        impl $name {
            /// A new identifier that nobody has seen before.
            pub fn mint() -> Self {
                Self(random_text(ALPHABET))
            }

            /// The identifier that follows from a secret seed and a place: always the same one.
            pub fn derived(seed: &[u8; 16], nth: u32) -> Self {
                Self(derived_text(ALPHABET, $what, seed, nth))
            }

            /// The identifier as text.
            pub fn as_str(&self) -> &str {
                std::str::from_utf8(&self.0).expect("an identifier is ASCII")
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                let invalid = InvalidId { what: $what, length: $length };
                let bytes: [u8; $length] = text.as_bytes().try_into().map_err(|_| invalid.clone())?;
                if bytes.iter().all(|b| ALPHABET.contains(b)) { Ok(Self(bytes)) } else { Err(invalid) }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

id!(
    /// A project: the owner of files, keys and a quota. Twelve characters.
    ProjectId, "a project id", 12
);
id!(
    /// A file. Twenty characters, about 103 random bits.
    FileId, "a file id", 20
);
id!(
    /// An API key's public name, by which it is listed and revoked. Ten characters.
    KeyId, "a key id", 10
);
id!(
    /// A webhook's endpoint. Twelve characters.
    EndpointId, "an endpoint id", 12
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minted_id_parses_back() {
        let id = FileId::mint();
        assert_eq!(id.to_string().parse(), Ok(id));
    }

    #[test]
    fn wrong_length_or_alphabet_is_refused() {
        for text in ["", "abc", "ABCDEFGHIJKLMNOPQRST", "abcdefghijklmnopqrs-", "abcdefghijklmnopqrstu"] {
            assert!(text.parse::<FileId>().is_err(), "{text}");
        }
    }
}
