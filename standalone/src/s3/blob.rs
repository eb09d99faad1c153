//! The bytes of objects: immutable files in `blobs/` with random names, written once.
//!
//! This module does not know buckets, keys, or which blobs are in use; the index does. A blob without a row in the
//! index is garbage, whatever the state of its file, so that nothing is visible before the index refers to it.

use std::{
    fmt,
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Seek as _, SeekFrom, Write as _},
    ops::Range,
    path::{Path, PathBuf},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use futures::Stream;
use s3s::{
    StdError,
    crypto::{Checksum as _, Md5},
    stream::{ByteStream, RemainingLength},
};
use tokio::task::JoinHandle;
use xfiles_core::{clock::Timestamp, random};

use super::{
    checksum::{Algorithm, Checksum, Hasher},
    damage::Damage,
    hold::Hold,
};

/// The hex digits of a blob's name that identify the run of the process that wrote it.
const RUN_DIGITS: usize = 8;
const NAME_DIGITS: usize = 32;
/// One directory per last digit of the name: few enough to create at once, and enough to list a million blobs in parts.
const SHARDS: &str = "0123456789abcdef";
/// The directories of blobs, relative to the root.
pub(crate) fn shards() -> impl Iterator<Item = String> {
    SHARDS.chars().map(String::from)
}

/// The chunk size for reads. Two chunks per download are in memory.
const READ_BYTES: u64 = 256 * 1024;
/// Up to this size, a blob that is read completely is hashed before its first byte is returned. This covers objects
/// that the CDN stand-in caches, and nearly every image. For larger blobs, reading twice would be too expensive: the
/// hash is computed while reading, and the last chunk is returned only if it matches.
const VERIFIED_FIRST: u64 = 8 * 1024 * 1024;

/// A blob's name: 32 hex digits, of which the first eight identify the run that wrote it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct BlobId(String);

impl BlobId {
    fn mint(run: &str) -> Self {
        Self(format!("{run}{}", random::hex::<{ (NAME_DIGITS - RUN_DIGITS) / 2 }>()))
    }

    pub(super) fn parse(text: &str) -> Option<Self> {
        let well_formed = text.len() == NAME_DIGITS && text.bytes().all(|b| SHARDS.as_bytes().contains(&b));
        well_formed.then(|| Self(text.to_owned()))
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    fn shard(&self) -> &str {
        &self.0[NAME_DIGITS - 1..]
    }

    /// The path of its file, relative to the directory of blobs.
    pub(super) fn path(&self) -> PathBuf {
        Path::new(self.shard()).join(self.as_str())
    }
}

#[derive(Clone, Debug)]
pub(super) struct Blobs(Arc<Directory>);

#[derive(Debug)]
struct Directory {
    root: PathBuf,
    durable: bool,
    run: String,
}

impl Blobs {
    /// Opens the directory, creating it and its shards if necessary. With `durable`, finished blobs are synced.
    pub(super) fn open(root: PathBuf, durable: bool) -> io::Result<Self> {
        for shard in shards() {
            fs::create_dir_all(root.join(shard))?;
        }
        if durable {
            sync_directory(&root)?;
        }
        Ok(Self::at(root, durable))
    }

    /// Opens an existing directory for a process that only reads it.
    pub(super) fn at(root: PathBuf, durable: bool) -> Self {
        Self(Arc::new(Directory { root, durable, run: random::hex::<{ RUN_DIGITS / 2 }>() }))
    }

    /// The lock with which a backup prevents the removal of blobs.
    pub(super) fn hold(&self) -> Hold {
        Hold::of(&self.0.root)
    }

    /// Starts a blob of exactly `size` bytes.
    pub(super) fn create(&self, size: u64, algorithm: Option<Algorithm>) -> io::Result<BlobWriter> {
        let id = BlobId::mint(&self.0.run);
        let file = OpenOptions::new().write(true).create_new(true).open(self.path(&id))?;
        Ok(BlobWriter {
            file,
            blob: FreshBlob { blobs: self.clone(), id, adopted: false },
            size,
            written: 0,
            md5: Md5::new(),
            checksum: algorithm.map(Hasher::new),
        })
    }

    /// Opens a range of a blob of this size and MD5 (in hex), and reads its first chunk, so that a small blob takes a
    /// single call. No bytes are returned of a file of another length, nor of a complete read up to [`VERIFIED_FIRST`]
    /// whose MD5 does not match.
    pub(super) fn read(&self, id: &BlobId, size: u64, md5: &str, range: Range<u64>) -> Result<BlobReader, ReadError> {
        let mut file = File::open(self.path(id))?;
        if file.metadata()?.len() != size {
            return Err(ReadError::Damaged(Damage::WrongSize));
        }
        let whole = range == (0..size);
        if whole && size > READ_BYTES && size <= VERIFIED_FIRST {
            file = hash_all(file, size, md5)?;
        }
        file.seek(SeekFrom::Start(range.start))?;
        let wanted = range.end - range.start;
        let (file, first) = read_piece(file, wanted)?;
        let remaining = wanted - first.len() as u64;
        let mut hash = None;
        if whole && (remaining == 0 || size > VERIFIED_FIRST) {
            let mut begun = Hash { md5: Md5::new(), expected: md5.to_owned() };
            begun.md5.update(&first);
            if remaining == 0 { begun.check()? } else { hash = Some(begun) }
        }
        Ok(BlobReader { first: Some(first), remaining, next: Next::Idle(file, hash), report: None })
    }

    /// Returns an error if a blob's file is missing or has another length.
    pub(super) fn stat(&self, id: &BlobId, size: u64) -> Result<(), ReadError> {
        match fs::metadata(self.path(id))?.len() == size {
            true => Ok(()),
            false => Err(ReadError::Damaged(Damage::WrongSize)),
        }
    }

    /// Removes a blob if it exists. A download that has it open continues.
    pub(super) fn remove(&self, id: &BlobId) -> io::Result<()> {
        match fs::remove_file(self.path(id)) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// Calls `visit` with the blobs of each shard that earlier runs wrote. Blobs of this run are excluded, so that the
    /// search for garbage never finds an upload in progress.
    pub(super) fn of_earlier_runs(&self, mut visit: impl FnMut(Vec<BlobId>)) -> io::Result<()> {
        for shard in SHARDS.chars() {
            let mut blobs = Vec::new();
            for entry in fs::read_dir(self.0.root.join(shard.to_string()))? {
                let name = entry?.file_name();
                let id = name.to_str().and_then(BlobId::parse);
                blobs.extend(id.filter(|id| !id.0.starts_with(&self.0.run)));
            }
            visit(blobs);
        }
        Ok(())
    }

    /// The time of the last write; `None` if the blob does not exist.
    pub(super) fn modified(&self, id: &BlobId) -> io::Result<Option<Timestamp>> {
        match fs::metadata(self.path(id)).and_then(|found| found.modified()) {
            Ok(time) => Ok(Some(time.into())),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e),
        }
    }

    fn path(&self, id: &BlobId) -> PathBuf {
        self.0.root.join(id.path())
    }
}

/// Syncs a directory, so that its entries survive a power failure.
pub(super) fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// A blob without a row. Dropping it removes its file unless the index adopts it.
#[derive(Debug)]
pub(super) struct FreshBlob {
    blobs: Blobs,
    id: BlobId,
    adopted: bool,
}

impl FreshBlob {
    pub(super) fn id(&self) -> &BlobId {
        &self.id
    }

    /// Keeps the file.
    pub(super) fn adopt(mut self) {
        self.adopted = true;
    }
}

impl Drop for FreshBlob {
    fn drop(&mut self) {
        if !self.adopted
            && let Err(error) = self.blobs.remove(&self.id)
        {
            tracing::warn!(%error, "could not remove an abandoned upload; the next start will");
        }
    }
}

/// A blob that is being written.
pub(super) struct BlobWriter {
    file: File,
    blob: FreshBlob,
    size: u64,
    written: u64,
    md5: Md5,
    checksum: Option<Hasher>,
}

/// The expected size and hashes of a blob.
#[derive(Clone, Debug, Default)]
pub(super) struct Expected {
    pub(super) md5: Option<[u8; 16]>,
    pub(super) checksum: Option<Checksum>,
}

/// A blob that is complete, verified and, in a durable store, synced.
#[derive(Debug)]
pub(super) struct FinishedBlob {
    pub(super) blob: FreshBlob,
    pub(super) md5: [u8; 16],
    pub(super) checksum: Option<Checksum>,
}

/// The reason why a blob was not written.
#[derive(Debug)]
pub(super) enum WriteError {
    /// The body was longer or shorter than declared.
    WrongSize,
    /// The MD5 does not match the declared one.
    WrongMd5,
    /// The checksum does not match the declared one.
    WrongChecksum(Algorithm),
    /// The operating system returned an error.
    Disk(io::Error),
}

impl From<io::Error> for WriteError {
    fn from(error: io::Error) -> Self {
        Self::Disk(error)
    }
}

impl BlobWriter {
    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<(), WriteError> {
        self.written += bytes.len() as u64;
        if self.written > self.size {
            return Err(WriteError::WrongSize);
        }
        self.md5.update(bytes);
        if let Some(hasher) = &mut self.checksum {
            hasher.update(bytes);
        }
        Ok(self.file.write_all(bytes)?)
    }

    /// Verifies everything and then syncs.
    pub(super) fn finish(self, expected: &Expected) -> Result<FinishedBlob, WriteError> {
        if self.written != self.size {
            return Err(WriteError::WrongSize);
        }
        let md5 = self.md5.finalize();
        if expected.md5.is_some_and(|declared| declared != md5) {
            return Err(WriteError::WrongMd5);
        }
        let checksum = self.checksum.map(Hasher::finish);
        if let Some(declared) = &expected.checksum
            && checksum.as_ref() != Some(declared)
        {
            return Err(WriteError::WrongChecksum(declared.algorithm));
        }
        let directory = &self.blob.blobs.0;
        if directory.durable {
            self.file.sync_data()?;
            sync_directory(&directory.root.join(self.blob.id.shard()))?;
        }
        Ok(FinishedBlob { blob: self.blob, md5, checksum })
    }
}

/// The reason why a blob cannot be read.
#[derive(Debug)]
pub(super) enum ReadError {
    /// Its file is damaged or missing.
    Damaged(Damage),
    /// The operating system returned an error.
    Disk(io::Error),
}

impl From<io::Error> for ReadError {
    fn from(error: io::Error) -> Self {
        match Damage::of(&error) {
            Some(damage) => Self::Damaged(damage),
            None => Self::Disk(error),
        }
    }
}

/// The MD5 of the bytes read so far, and the expected one.
struct Hash {
    md5: Md5,
    expected: String,
}

impl Hash {
    fn check(self) -> Result<(), ReadError> {
        match hex::encode(self.md5.finalize()) == self.expected {
            true => Ok(()),
            false => Err(ReadError::Damaged(Damage::WrongBytes)),
        }
    }
}

/// Reads a whole file to compute its hash.
fn hash_all(mut file: File, size: u64, md5: &str) -> Result<File, ReadError> {
    let mut hash = Hash { md5: Md5::new(), expected: md5.to_owned() };
    let mut left = size;
    while left > 0 {
        let piece;
        (file, piece) = read_piece(file, left)?;
        hash.md5.update(&piece);
        left -= piece.len() as u64;
    }
    hash.check()?;
    Ok(file)
}

/// A range of a blob that is being read in chunks, with one chunk of read-ahead.
pub(super) struct BlobReader {
    first: Option<Bytes>,
    /// The bytes that have not been read yet.
    remaining: u64,
    next: Next,
    report: Option<Report>,
}

/// Called with damage that is found while a blob is read.
type Report = Box<dyn FnOnce(Damage) + Send + Sync>;

/// A chunk, with the file and the hash for the next one.
type PieceRead = Result<(File, Bytes, Option<Hash>), ReadError>;

enum Next {
    Idle(File, Option<Hash>),
    Reading(JoinHandle<PieceRead>),
    Over,
}

impl BlobReader {
    /// All bytes, if the first chunk contains them.
    pub(super) fn take_whole(&mut self) -> Option<Bytes> {
        if self.remaining == 0 { self.first.take() } else { None }
    }

    /// Sets the callback for damage that is found after the first chunk.
    pub(super) fn reporting(self, report: impl FnOnce(Damage) + Send + Sync + 'static) -> Self {
        Self { report: Some(Box::new(report)), ..self }
    }

    fn read_ahead(&mut self) {
        self.next = match std::mem::replace(&mut self.next, Next::Over) {
            Next::Idle(file, hash) if self.remaining > 0 => {
                let wanted = self.remaining;
                Next::Reading(tokio::task::spawn_blocking(move || read_on(file, wanted, hash)))
            }
            Next::Idle(..) | Next::Over => Next::Over,
            reading @ Next::Reading(_) => reading,
        };
    }
}

/// Reads the next chunk. The last one is returned only if the hash matches.
fn read_on(file: File, wanted: u64, hash: Option<Hash>) -> Result<(File, Bytes, Option<Hash>), ReadError> {
    let (file, piece) = read_piece(file, wanted)?;
    let Some(mut hash) = hash else { return Ok((file, piece, None)) };
    hash.md5.update(&piece);
    if piece.len() as u64 == wanted {
        hash.check()?;
        return Ok((file, piece, None));
    }
    Ok((file, piece, Some(hash)))
}

impl Stream for BlobReader {
    type Item = Result<Bytes, StdError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Some(first) = self.first.take() {
            self.read_ahead();
            return Poll::Ready(Some(Ok(first)));
        }
        let Next::Reading(task) = &mut self.next else {
            return Poll::Ready(None);
        };
        let piece = std::task::ready!(Pin::new(task).poll(cx));
        self.next = Next::Over;
        let (file, bytes, hash) = match piece.map_err(|e| ReadError::Disk(io::Error::other(e))).flatten() {
            Ok(read) => read,
            Err(ReadError::Disk(error)) => return Poll::Ready(Some(Err(error.into()))),
            Err(ReadError::Damaged(damage)) => {
                if let Some(report) = self.report.take() {
                    report(damage);
                }
                return Poll::Ready(Some(Err(io::Error::from(io::ErrorKind::InvalidData).into())));
            }
        };
        self.remaining -= bytes.len() as u64;
        self.next = Next::Idle(file, hash);
        self.read_ahead();
        Poll::Ready(Some(Ok(bytes)))
    }
}

impl ByteStream for BlobReader {
    fn remaining_length(&self) -> RemainingLength {
        let buffered = self.first.as_ref().map_or(0, Bytes::len);
        usize::try_from(self.remaining)
            .map_or_else(|_| RemainingLength::unknown(), |n| RemainingLength::new_exact(n + buffered))
    }
}

impl fmt::Debug for BlobReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlobReader").field("remaining", &self.remaining).finish_non_exhaustive()
    }
}

/// Reads a chunk of at most `wanted` bytes; a shorter one means that the file was truncated.
fn read_piece(mut file: File, wanted: u64) -> io::Result<(File, Bytes)> {
    let size = usize::try_from(wanted.min(READ_BYTES)).expect("a piece fits in memory");
    let mut piece = Vec::with_capacity(size);
    (&mut file).take(size as u64).read_to_end(&mut piece)?;
    if piece.len() < size {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok((file, piece.into()))
}

#[cfg(test)]
mod tests {
    use futures::StreamExt as _;

    use super::*;

    fn blobs() -> (tempfile::TempDir, Blobs) {
        let directory = tempfile::tempdir().unwrap();
        let blobs = Blobs::open(directory.path().join("blobs"), false).unwrap();
        (directory, blobs)
    }

    fn files(blobs: &Blobs) -> usize {
        let shards = fs::read_dir(&blobs.0.root).unwrap();
        shards.map(|shard| fs::read_dir(shard.unwrap().path()).unwrap().count()).sum()
    }

    fn write(blobs: &Blobs, bytes: &[u8]) -> BlobId {
        let mut writer = blobs.create(bytes.len() as u64, None).unwrap();
        writer.write(bytes).unwrap();
        let FinishedBlob { blob, .. } = writer.finish(&Expected::default()).unwrap();
        let id = blob.id().clone();
        blob.adopt();
        id
    }

    #[tokio::test]
    async fn a_blob_longer_than_one_read_streams_back_whole() {
        let (_directory, blobs) = blobs();
        let bytes: Vec<u8> = (0..READ_BYTES * 3 + 7).map(|i| (i % 251) as u8).collect();
        let id = write(&blobs, &bytes);
        let size = bytes.len() as u64;
        for start in [0, 5] {
            let mut reader = blobs.read(&id, size, &md5_of(&bytes), start as u64..size).unwrap();
            assert_eq!(reader.remaining_length().exact(), Some(bytes.len() - start));
            let mut read = Vec::new();
            while let Some(piece) = reader.next().await {
                read.extend_from_slice(&piece.unwrap());
            }
            assert!(read == bytes[start..]);
        }
    }

    fn md5_of(bytes: &[u8]) -> String {
        let mut md5 = Md5::new();
        md5.update(bytes);
        hex::encode(md5.finalize())
    }

    fn change(blobs: &Blobs, id: &BlobId, change: impl FnOnce(&mut Vec<u8>)) {
        let mut bytes = fs::read(blobs.path(id)).unwrap();
        change(&mut bytes);
        fs::write(blobs.path(id), bytes).unwrap();
    }

    #[tokio::test]
    async fn a_missing_file_or_one_of_another_length_returns_no_bytes() {
        let (_directory, blobs) = blobs();
        let id = write(&blobs, b"abcdef");
        let damage = |range: Range<u64>| match blobs.read(&id, 6, &md5_of(b"abcdef"), range) {
            Err(ReadError::Damaged(damage)) => Some(damage),
            Err(ReadError::Disk(error)) => panic!("{error}"),
            Ok(_) => None,
        };
        assert_eq!(damage(0..6), None);
        for length in [0, 5, 7] {
            change(&blobs, &id, |bytes| bytes.resize(length, b'x'));
            assert_eq!(damage(0..6), Some(Damage::WrongSize), "{length}");
            assert_eq!(damage(0..1), Some(Damage::WrongSize), "{length}");
            assert!(blobs.stat(&id, 6).is_err());
        }
        blobs.remove(&id).unwrap();
        assert_eq!(damage(0..1), Some(Damage::Missing));
    }

    #[tokio::test]
    async fn a_damaged_full_read_is_refused_before_its_first_byte_or_cut_off_before_its_last() {
        let (_directory, blobs) = blobs();
        for size in [1, READ_BYTES, READ_BYTES + 1, VERIFIED_FIRST, VERIFIED_FIRST + 1] {
            let bytes: Vec<u8> = (0..size).map(|i| (i % 251) as u8).collect();
            let (id, md5) = (write(&blobs, &bytes), md5_of(&bytes));
            change(&blobs, &id, |bytes| bytes[0] ^= 1);
            let opened = blobs.read(&id, size, &md5, 0..size);
            if size <= VERIFIED_FIRST {
                assert!(matches!(opened, Err(ReadError::Damaged(Damage::WrongBytes))), "{size}");
                continue;
            }
            let (sender, reported) = std::sync::mpsc::channel();
            let mut reader = opened.unwrap().reporting(move |damage| sender.send(damage).unwrap());
            let mut read = 0;
            while let Some(Ok(piece)) = reader.next().await {
                read += piece.len() as u64;
            }
            assert!(read < size);
            assert_eq!(reported.recv().unwrap(), Damage::WrongBytes);
        }
    }

    #[test]
    fn a_blob_that_fails_its_checks_leaves_no_file() {
        let (_directory, blobs) = blobs();
        let wrong_md5 = Expected { md5: Some([0; 16]), checksum: None };
        let mut writer = blobs.create(3, None).unwrap();
        writer.write(b"abc").unwrap();
        assert!(matches!(writer.finish(&wrong_md5), Err(WriteError::WrongMd5)));

        let mut short = blobs.create(4, None).unwrap();
        short.write(b"abc").unwrap();
        assert!(matches!(short.finish(&Expected::default()), Err(WriteError::WrongSize)));

        let mut long = blobs.create(2, None).unwrap();
        assert!(matches!(long.write(b"abc"), Err(WriteError::WrongSize)));
        drop(long);
        assert_eq!(files(&blobs), 0);
    }

    #[test]
    fn only_blobs_of_earlier_runs_are_considered_garbage() {
        let (directory, blobs) = blobs();
        let old = write(&blobs, b"old");
        let reopened = Blobs::open(directory.path().join("blobs"), false).unwrap();
        write(&reopened, b"new");
        let mut seen = Vec::new();
        reopened.of_earlier_runs(|mut ids| seen.append(&mut ids)).unwrap();
        assert_eq!(seen, [old]);
    }
}
