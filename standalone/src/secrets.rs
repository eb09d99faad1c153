//! The keys of one machine: S3 credentials and the CDN's key pair. Created at the first start, in a file that only its
//! owner can read.

use std::{
    fmt, fs, io,
    io::Write as _,
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use ring::digest::SHA256;
use serde::{Deserialize, Serialize};
use xfiles_core::{
    cdn::{KeyPairId, SigningKey},
    random,
};

use crate::s3::S3Credentials;

/// The keys.
pub struct Secrets {
    /// The credentials of the embedded object store.
    pub s3: S3Credentials,
    /// The key that signs private URLs.
    pub signing_key: SigningKey,
    /// The public keys of earlier signing keys, whose URLs remain valid until they expire.
    pub retired_keys: Vec<(KeyPairId, String)>,
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secrets(redacted)")
    }
}

/// The reason why the keys could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum SecretsError {
    /// The operating system returned an error.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
    /// The file is damaged.
    #[error("{path} is damaged; restore it from a backup")]
    Damaged {
        /// The file.
        path: PathBuf,
    },
    /// The file was written by a newer version.
    #[error("{path} was written by a newer version of this program")]
    Newer {
        /// The file.
        path: PathBuf,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Stored {
    /// The version of the format. Earlier programs did not write one.
    #[serde(default)]
    version: u64,
    s3_access_key_id: String,
    s3_secret_access_key: String,
    cdn_key_pair_id: String,
    cdn_private_key: String,
    #[serde(default)]
    cdn_retired_keys: Vec<RetiredKey>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct RetiredKey {
    key_pair_id: String,
    public_key: String,
}

/// The name of the file in the data directory.
pub(crate) const FILE: &str = "secrets.json";

/// The version of the file that this program writes, and the highest that it reads.
const VERSION: u64 = 1;

impl Secrets {
    /// The keys in the data directory, with the digest of the file; `None` if the file does not exist.
    pub(crate) fn load(data: &Path) -> Result<Option<(Self, String)>, SecretsError> {
        let path = data.join(FILE);
        match fs::read(&path) {
            Ok(bytes) if version_of(&bytes).is_some_and(|version| version > VERSION) => {
                Err(SecretsError::Newer { path })
            }
            Ok(bytes) => {
                let secrets = Self::parse(&bytes).ok_or(SecretsError::Damaged { path })?;
                Ok(Some((secrets, digest(&bytes))))
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(SecretsError::Io { path, source }),
        }
    }

    /// Writes the file of [`Secrets::generate`] or [`Secrets::rotated`] to the data directory.
    pub(crate) fn write(data: &Path, bytes: &[u8]) -> Result<(), SecretsError> {
        let path = data.join(FILE);
        write_private(&path, bytes).map_err(|source| SecretsError::Io { path, source })
    }

    /// The keys with a new signing key, and their file. The old public key stays trusted.
    pub(crate) fn rotated(self) -> (Self, Vec<u8>) {
        let (signing_key, pem) = SigningKey::generate_p256(KeyPairId::mint());
        let mut retired_keys = self.retired_keys;
        retired_keys.push((self.signing_key.id().clone(), self.signing_key.public_key_pem()));
        let rotated = Self { signing_key, retired_keys, ..self };
        let bytes = rotated.to_bytes(pem.reveal());
        (rotated, bytes)
    }

    /// New keys and their file.
    pub(crate) fn generate() -> (Self, Vec<u8>) {
        let s3 = S3Credentials::new(format!("XF{}", random::hex::<9>().to_uppercase()), random::hex::<20>());
        let (signing_key, pem) = SigningKey::generate_p256(KeyPairId::mint());
        let secrets = Self { s3, signing_key, retired_keys: Vec::new() };
        let bytes = secrets.to_bytes(pem.reveal());
        (secrets, bytes)
    }

    fn to_bytes(&self, private_key_pem: &str) -> Vec<u8> {
        let retired = |(id, pem): &(KeyPairId, String)| RetiredKey {
            key_pair_id: id.as_str().to_owned(),
            public_key: pem.clone(),
        };
        let stored = Stored {
            version: VERSION,
            s3_access_key_id: self.s3.access_key_id().to_owned(),
            s3_secret_access_key: self.s3.secret_access_key().to_owned(),
            cdn_key_pair_id: self.signing_key.id().as_str().to_owned(),
            cdn_private_key: private_key_pem.to_owned(),
            cdn_retired_keys: self.retired_keys.iter().map(retired).collect(),
        };
        serde_json::to_vec_pretty(&stored).expect("texts are JSON")
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let stored: Stored = serde_json::from_slice(bytes).ok()?;
        let id: KeyPairId = stored.cdn_key_pair_id.parse().ok()?;
        let retired =
            stored.cdn_retired_keys.into_iter().map(|key| Some((key.key_pair_id.parse().ok()?, key.public_key)));
        Some(Self {
            s3: S3Credentials::new(stored.s3_access_key_id, stored.s3_secret_access_key),
            signing_key: SigningKey::from_pem(id, &stored.cdn_private_key).ok()?,
            retired_keys: retired.collect::<Option<_>>()?,
        })
    }
}

/// The id of the object store's key in a key file, which never changes after the first start. `None` if the file is
/// damaged.
pub(crate) fn access_key_id(bytes: &[u8]) -> Option<String> {
    Secrets::parse(bytes).map(|secrets| secrets.s3.access_key_id().to_owned())
}

fn version_of(bytes: &[u8]) -> Option<u64> {
    serde_json::from_slice::<serde_json::Value>(bytes).ok()?.get("version")?.as_u64()
}

/// The SHA-256 of the file in hex.
pub(crate) fn digest(bytes: &[u8]) -> String {
    hex::encode(ring::digest::digest(&SHA256, bytes))
}

/// Atomically writes a file that only its owner can read, and syncs it.
pub fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let partial = path.with_extension("partial");
    let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&partial)?;
    // The mode above applies to a new file; one that a crash left behind may have another.
    file.set_permissions(fs::Permissions::from_mode(0o600))?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&partial, path)?;
    // The name is an entry of the directory.
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    fs::File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}
