//! What an application asks for when it begins an upload. All of it is checked here, before anything is stored.

use std::{fmt, str::FromStr, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use deunicode::deunicode;

use crate::{content_type::ContentType, id::random_text, visibility::Visibility};

/// How long an upload URL works, unless the credentials that sign it end sooner.
pub const UPLOAD_URL_LIFE: Duration = Duration::from_secs(900);

/// An upload that may begin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UploadIntent {
    /// The name that the file had where it came from, kept as it was.
    pub original_filename: OriginalFilename,
    /// What the bytes will be.
    pub content_type: ContentType,
    /// How many bytes there will be.
    pub size: ByteSize,
    /// Who may read the original.
    pub visibility: Visibility,
    /// The application's user to whom the file belongs.
    pub owner: Option<OwnerId>,
    /// The application's thing to which the file is attached.
    pub entity: Option<Entity>,
    /// Whether variants are made, and who may read them.
    pub variants: VariantPolicy,
    /// The SHA-256 that the bytes must have.
    pub checksum: Option<Sha256Checksum>,
}

/// Whether variants are made of an image, and who may read them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VariantPolicy {
    /// Whether the worker makes any.
    pub enabled: bool,
    /// Who may read them, whatever the visibility of the original is.
    pub visibility: Visibility,
}

impl Default for VariantPolicy {
    fn default() -> Self {
        Self { enabled: false, visibility: Visibility::Private }
    }
}

/// A size in bytes that an upload may have: 0..=104,857,600.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteSize(u64);

impl ByteSize {
    /// The largest upload: 100 MB.
    pub const MAX: Self = Self(100 * 1024 * 1024);

    /// Checks the bounds.
    pub const fn new(bytes: u64) -> Option<Self> {
        if bytes <= Self::MAX.0 { Some(Self(bytes)) } else { None }
    }

    /// Bytes.
    pub const fn bytes(self) -> u64 {
        self.0
    }
}

macro_rules! text {
    ($(#[$doc:meta])* $name:ident, $max:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash)]
        pub struct $name(String);

        impl $name {
            /// The longest, in characters.
            pub const MAX_CHARS: usize = $max;

            /// Checks the length.
            pub fn new(text: impl Into<String>) -> Option<Self> {
                let text = text.into();
                // A character is at least one byte, so the byte length alone refuses the absurd without a count.
                let fits = !text.is_empty() && text.len() <= 4 * $max && text.chars().count() <= $max;
                fits.then_some(Self(text))
            }

            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
    };
}

text!(
    /// The name a file had on the client, 1..=1024 characters. Shown to people, never used in a path, never logged.
    OriginalFilename, 1024
);
text!(
    /// The application's id of a user, 1..=256 characters.
    OwnerId, 256
);
text!(
    /// One of the words that name an application's thing: its type, its id, or a file's role there. 1..=256 characters.
    EntityWord, 256
);

impl fmt::Debug for OriginalFilename {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OriginalFilename(redacted)")
    }
}

impl fmt::Debug for OwnerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for EntityWord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The application's thing to which a file is attached, and where among its files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entity {
    /// The kind of thing, such as `listing`.
    pub kind: EntityWord,
    /// Which one.
    pub id: EntityWord,
    /// What the file is to it, such as `cover`.
    pub role: Option<EntityWord>,
    /// Its place in the order, from 0.
    pub position: Position,
}

/// A place in an entity's order: 0..=4,294,967,295.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position(pub u32);

/// A SHA-256 over the whole object, in the base64 that S3 uses.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Sha256Checksum([u8; 32]);

impl Sha256Checksum {
    /// The digest of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        use sha2::Digest as _;
        Self(sha2::Sha256::digest(bytes).into())
    }
}

impl fmt::Display for Sha256Checksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&BASE64.encode(self.0))
    }
}

impl fmt::Debug for Sha256Checksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A text that is not the base64 of 32 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a SHA-256 checksum is 32 bytes in base64, 44 characters")]
pub struct InvalidChecksum;

impl FromStr for Sha256Checksum {
    type Err = InvalidChecksum;

    fn from_str(text: &str) -> Result<Self, InvalidChecksum> {
        let bytes = BASE64.decode(text).map_err(|_| InvalidChecksum)?;
        bytes.try_into().map(Self).map_err(|_| InvalidChecksum)
    }
}

/// The stored name of a file: a [`Stem`], a dot, and an extension of 1..=10 characters of `[a-z0-9]`.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Filename {
    stem: Stem,
    extension: String,
}

/// A stored name without its extension: `[a-z0-9-]`, at most 100 characters, then `-` and six random characters.
/// It has no underscore, so `_w400` after it can only be a width.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Stem(String);

const MAX_BASE: usize = 100;
const SUFFIX: usize = 6;
const MAX_EXTENSION: usize = 10;

impl Filename {
    /// A stored name made from the client's: other scripts transliterated to ASCII, lower-case, spaces to hyphens,
    /// special characters removed, a random suffix against collisions and guesses, the extension kept.
    pub fn mint(original: &str, content_type: &ContentType) -> Self {
        let (base, extension) = match original.rsplit_once('.') {
            Some((base, extension)) if Self::is_extension(&extension.to_ascii_lowercase()) => {
                (base, extension.to_ascii_lowercase())
            }
            _ => (original, content_type.default_extension().to_owned()),
        };
        Self { stem: Stem::mint(base), extension }
    }

    /// The name without its extension.
    pub fn stem(&self) -> &Stem {
        &self.stem
    }

    fn is_extension(text: &str) -> bool {
        (1..=MAX_EXTENSION).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
    }
}

impl Stem {
    fn mint(base: &str) -> Self {
        let mut clean = String::new();
        // Some characters become several words; what is cut off below need not be transliterated.
        let ascii = deunicode(&base.chars().take(OriginalFilename::MAX_CHARS).collect::<String>());
        for c in ascii.to_lowercase().chars() {
            if c.is_ascii_lowercase() || c.is_ascii_digit() {
                clean.push(c);
            } else if (c.is_whitespace() || c == '-') && !clean.is_empty() && !clean.ends_with('-') {
                clean.push('-');
            }
        }
        clean.truncate(MAX_BASE);
        let base = clean.trim_end_matches('-');
        let base = if base.is_empty() { "file" } else { base };
        let suffix = random_text::<SUFFIX>(b"abcdefghijklmnopqrstuvwxyz0123456789");
        Self(format!("{base}-{}", String::from_utf8_lossy(&suffix)))
    }
}

/// A text that is not a stored name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a stored file name")]
pub struct InvalidFilename;

impl FromStr for Filename {
    type Err = InvalidFilename;

    fn from_str(text: &str) -> Result<Self, InvalidFilename> {
        let (stem, extension) = text.split_once('.').ok_or(InvalidFilename)?;
        let stem = stem.parse()?;
        if !Self::is_extension(extension) {
            return Err(InvalidFilename);
        }
        Ok(Self { stem, extension: extension.to_owned() })
    }
}

impl FromStr for Stem {
    type Err = InvalidFilename;

    fn from_str(text: &str) -> Result<Self, InvalidFilename> {
        let (base, suffix) = text.rsplit_once('-').ok_or(InvalidFilename)?;
        let alphanumeric = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        let suffix_ok = suffix.len() == SUFFIX && suffix.bytes().all(alphanumeric);
        let base_ok = (1..=MAX_BASE).contains(&base.len()) && base.bytes().all(|b| alphanumeric(b) || b == b'-');
        if suffix_ok && base_ok { Ok(Self(text.to_owned())) } else { Err(InvalidFilename) }
    }
}

impl fmt::Display for Filename {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.stem, self.extension)
    }
}

impl fmt::Debug for Filename {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Stem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Stem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{prop_assert_eq, proptest};

    use super::*;

    fn minted(original: &str) -> (String, String) {
        let name = Filename::mint(original, &"image/jpeg".parse().unwrap());
        let base = name.stem().0.rsplit_once('-').unwrap().0.to_owned();
        (base, name.extension)
    }

    #[test]
    fn a_name_is_sanitised_and_keeps_its_extension() {
        for (original, base, extension) in [
            ("Best Ever Photo (2024).JPG", "best-ever-photo-2024", "jpg"),
            ("  a  --  b .png", "a-b", "png"),
            ("no_underscore_ever.webp", "nounderscoreever", "webp"),
            ("archive.tar.gz", "archivetar", "gz"),
            ("noextension", "noextension", "jpg"),
            ("..", "file", "jpg"),
            ("ünïcödé.jpg", "unicode", "jpg"),
            ("Größe.png", "grosse", "png"),
            ("日本.png", "ri-ben", "png"),
            ("🦀.png", "crab", "png"),
            ("x.thisisnotanextension", "xthisisnotanextension", "jpg"),
            ("../../etc/passwd", "etcpasswd", "jpg"),
            ("a\r\nSet-Cookie: x.jpg", "a-set-cookie-x", "jpg"),
        ] {
            assert_eq!(minted(original), (base.to_owned(), extension.to_owned()), "{original:?}");
        }
        assert_eq!(minted(&"x".repeat(500)).0.len(), 100);
    }

    proptest! {
        #[test]
        fn every_minted_name_parses_back(original in ".{0,300}") {
            let name = Filename::mint(&original, &"image/png".parse().unwrap());
            prop_assert_eq!(name.to_string().parse(), Ok(name));
        }
    }

    #[test]
    fn a_checksum_is_the_base64_of_thirty_two_bytes() {
        let checksum = Sha256Checksum::of(b"abc");
        assert_eq!(checksum.to_string(), "ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=");
        assert_eq!(checksum.to_string().parse(), Ok(checksum));
        assert_eq!("ungWv48=".parse::<Sha256Checksum>(), Err(InvalidChecksum));
    }
}
