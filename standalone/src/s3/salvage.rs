//! The store's files without the store: reading an index that may be damaged, and writing a new one, for a repair. The
//! decisions are made elsewhere.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use md5::{Digest as _, Md5};
use ring::digest::{Context, SHA256};
use rusqlite::{Connection, params};
use xfiles_core::{
    blobs::PublishedHeaders, clock::Timestamp, file::File as Record, intent::Sha256Checksum, object_key::ObjectKey,
    random,
};

use super::{
    blob::{BlobId, shards},
    checksum::{Algorithm, Checksum},
    index::{Facts, Headers, SCHEMA},
};
use crate::custody::INDEX_SCHEMA;

/// A row of the index: an object in a bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) bucket: String,
    pub(crate) key: String,
    pub(crate) blob: String,
    pub(crate) size: u64,
    /// The MD5 of its bytes in hex.
    pub(crate) md5: String,
    pub(crate) modified: Timestamp,
    /// The headers that are returned with the bytes, as JSON.
    facts: String,
}

/// The content of an index.
#[derive(Debug, Default)]
pub(crate) struct Rows {
    /// The buckets and their creation times.
    pub(crate) buckets: BTreeMap<String, i64>,
    pub(crate) objects: Vec<Row>,
}

impl Rows {
    /// Reads all rows. An unreadable row is an error: the index is damaged.
    pub(crate) fn read(index: &Connection) -> Result<Self, String> {
        let said = |error: rusqlite::Error| error.to_string();
        let mut select = index.prepare("SELECT name, created FROM buckets").map_err(said)?;
        let buckets = select.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).map_err(said)?;
        let buckets = buckets.collect::<rusqlite::Result<_>>().map_err(said)?;
        let mut select =
            index.prepare("SELECT bucket, key, blob, size, md5, modified, facts FROM objects").map_err(said)?;
        let mut rows = select.query([]).map_err(said)?;
        let mut objects = Vec::new();
        while let Some(row) = rows.next().map_err(said)? {
            let key: Vec<u8> = row.get(1).map_err(said)?;
            let found = Row {
                bucket: row.get(0).map_err(said)?,
                key: String::from_utf8(key).map_err(|e| e.to_string())?,
                blob: row.get(2).map_err(said)?,
                size: row.get::<_, i64>(3).map_err(said)?.try_into().map_err(|_| "a size is negative".to_owned())?,
                md5: row.get(4).map_err(said)?,
                modified: Timestamp::from_millis(row.get(5).map_err(said)?),
                facts: row.get(6).map_err(said)?,
            };
            if BlobId::parse(&found.blob).is_none() || serde_json::from_str::<Facts>(&found.facts).is_err() {
                return Err(format!("the row of {}", found.key));
            }
            objects.push(found);
        }
        Ok(Self { buckets, objects })
    }

    /// Writes an index with these rows to a file that does not exist, and syncs it.
    pub(crate) fn write(&self, path: &Path) -> Result<(), String> {
        let said = |error: rusqlite::Error| error.to_string();
        let mut index = Connection::open(path).map_err(said)?;
        index.pragma_update(None, "synchronous", "full").map_err(said)?;
        let rows = index.transaction().map_err(said)?;
        rows.execute_batch(SCHEMA).map_err(said)?;
        rows.pragma_update(None, "user_version", INDEX_SCHEMA).map_err(said)?;
        for (name, created) in &self.buckets {
            rows.execute("INSERT INTO buckets (name, created) VALUES (?, ?)", params![name, created]).map_err(said)?;
        }
        for row in &self.objects {
            let size = i64::try_from(row.size).expect("an object is smaller than 2^63 bytes");
            let mut insert = rows
                .prepare_cached(
                    "INSERT OR REPLACE INTO objects (bucket, key, blob, size, md5, modified, facts)
                     VALUES (?, ?, ?, ?, ?, ?, ?)",
                )
                .map_err(said)?;
            let modified = row.modified.as_millis();
            insert
                .execute(params![row.bucket, row.key.as_bytes(), row.blob, size, row.md5, modified, row.facts])
                .map_err(said)?;
        }
        rows.commit().map_err(said)
    }
}

impl Row {
    /// The row of a file's object, with the headers of the publication or of the upload.
    pub(crate) fn of_record(bucket: &str, record: &Record, key: &ObjectKey, blob: &Blob, md5: &str) -> Self {
        let headers = match key {
            ObjectKey::Staging { .. } => {
                Headers { content_type: Some(record.content_type.as_str().to_owned()), ..Headers::default() }
            }
            ObjectKey::Original { .. } | ObjectKey::Variant { .. } => {
                let published = PublishedHeaders::of(record, key);
                Headers {
                    content_type: Some(published.content_type.to_owned()),
                    cache_control: Some(published.cache_control.to_owned()),
                    content_disposition: published.content_disposition.map(str::to_owned),
                    ..Headers::default()
                }
            }
        };
        let sha256 = |sum: Sha256Checksum| Checksum { algorithm: Algorithm::Sha256, base64: sum.to_string() };
        let facts = Facts { headers, checksum: record.checksum.map(sha256) };
        Self {
            bucket: bucket.to_owned(),
            key: key.to_string(),
            blob: blob.name.clone(),
            size: blob.size,
            md5: md5.to_owned(),
            modified: blob.modified,
            facts: serde_json::to_string(&facts).expect("facts are plain data"),
        }
    }

    /// The media type of the object.
    pub(crate) fn content_type(&self) -> Option<String> {
        self.facts().headers.content_type
    }

    /// The SHA-256 that the upload declared, if any.
    pub(crate) fn sha256(&self) -> Option<Sha256Checksum> {
        let checksum = self.facts().checksum.filter(|checksum| checksum.algorithm == Algorithm::Sha256)?;
        checksum.base64.parse().ok()
    }

    fn facts(&self) -> Facts {
        serde_json::from_str(&self.facts).unwrap_or_default()
    }
}

/// The file of a blob.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Blob {
    pub(crate) name: String,
    pub(crate) size: u64,
    pub(crate) modified: Timestamp,
}

impl Blob {
    /// A blob with a new name that no file has: the row of an object whose bytes are lost, so that reading it fails.
    pub(crate) fn gone(size: u64, modified: Timestamp) -> Self {
        Self { name: random::hex::<16>(), size, modified }
    }

    /// The path of its file, relative to the root of all blobs.
    pub(crate) fn path(&self, root: &Path) -> PathBuf {
        root.join(&self.name[self.name.len() - 1..]).join(&self.name)
    }

    /// The MD5 in hex and the SHA-256 of its bytes.
    pub(crate) fn digests(&self, root: &Path) -> io::Result<(String, [u8; 32])> {
        let mut file = File::open(self.path(root))?;
        let (mut md5, mut sha256) = (Md5::new(), Context::new(&SHA256));
        let mut piece = vec![0; 1 << 20];
        loop {
            match file.read(&mut piece)? {
                0 => break,
                read => {
                    md5.update(&piece[..read]);
                    sha256.update(&piece[..read]);
                }
            }
        }
        let sha256 = sha256.finish().as_ref().try_into().expect("a SHA-256 has 32 bytes");
        Ok((hex::encode(md5.finalize()), sha256))
    }

    /// Its first bytes, at most this many.
    pub(crate) fn head(&self, root: &Path, bytes: u64) -> io::Result<Vec<u8>> {
        let mut head = Vec::new();
        File::open(self.path(root))?.take(bytes).read_to_end(&mut head)?;
        Ok(head)
    }
}

/// All blobs by name. Missing directories are ignored.
pub(crate) fn blobs(root: &Path) -> io::Result<BTreeMap<String, Blob>> {
    let mut found = BTreeMap::new();
    for shard in shards() {
        let entries = match fs::read_dir(root.join(shard)) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        for entry in entries {
            let entry = entry?;
            let Some(name) = entry.file_name().to_str().filter(|name| BlobId::parse(name).is_some()).map(str::to_owned)
            else {
                continue;
            };
            let about = entry.metadata()?;
            if about.is_file() {
                let modified = about.modified()?.into();
                found.insert(name.clone(), Blob { name, size: about.len(), modified });
            }
        }
    }
    Ok(found)
}
