//! The keys that one machine signs with: S3 credentials and the CDN's key pair. Made at first start, in a file that
//! only its owner can read.

use std::{
    fmt, fs, io,
    io::Write as _,
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use xfiles_core::cdn::{KeyPairId, SigningKey};

use crate::s3::S3Credentials;

/// The keys.
pub struct Secrets {
    /// What the embedded object store accepts.
    pub s3: S3Credentials,
    /// What private URLs are signed with.
    pub signing_key: SigningKey,
    /// The public keys of earlier signing keys: what they signed is good until it expires.
    pub retired_keys: Vec<(KeyPairId, String)>,
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secrets(redacted)")
    }
}

/// Why the keys could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum SecretsError {
    /// The file system refused.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
    /// The file is not what was written.
    #[error(
        "{path} is damaged; restore it from a backup, or remove it to make new keys and make all signed URLs invalid"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Stored {
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

const FILE: &str = "secrets.json";

impl Secrets {
    /// The keys in the data directory, made there if there are none.
    pub fn load_or_create(data: &Path) -> Result<Self, SecretsError> {
        let path = data.join(FILE);
        match fs::read(&path) {
            Ok(bytes) => Self::parse(&bytes).ok_or(SecretsError::Damaged { path }),
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                let (secrets, stored) = Self::generate();
                write_private(&path, &stored).map_err(|source| SecretsError::Io { path, source })?;
                Ok(secrets)
            }
            Err(source) => Err(SecretsError::Io { path, source }),
        }
    }

    /// Replaces the key that private URLs are signed with. The old one's public key stays trusted.
    pub fn rotate_signing_key(self, data: &Path) -> Result<Self, SecretsError> {
        let (signing_key, pem) = SigningKey::generate_p256(KeyPairId::mint());
        let mut retired_keys = self.retired_keys;
        retired_keys.push((self.signing_key.id().clone(), self.signing_key.public_key_pem()));
        let rotated = Self { signing_key, retired_keys, ..self };
        let path = data.join(FILE);
        write_private(&path, &rotated.to_bytes(pem.reveal())).map_err(|source| SecretsError::Io { path, source })?;
        Ok(rotated)
    }

    fn generate() -> (Self, Vec<u8>) {
        let s3 = S3Credentials::new(format!("XF{}", random_hex::<9>().to_uppercase()), random_hex::<20>());
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

/// The id of the object store's key in a file of keys, which stays what it was at the first start. `None`: the file is
/// damaged.
pub(crate) fn access_key_id(bytes: &[u8]) -> Option<String> {
    Secrets::parse(bytes).map(|secrets| secrets.s3.access_key_id().to_owned())
}

fn random_hex<const BYTES: usize>() -> String {
    let mut bytes = [0; BYTES];
    getrandom::fill(&mut bytes).expect("the operating system has random bytes");
    hex::encode(bytes)
}

/// Writes a file that only its owner can read, whole or not at all.
pub fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let partial = path.with_extension("partial");
    let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&partial)?;
    // The mode above is for a new file; one left behind by a crash may have another.
    file.set_permissions(fs::Permissions::from_mode(0o600))?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&partial, path)
}
