//! The bytes of objects: immutable files in `blobs/`, each under a random name, written once and never changed.
//!
//! Nothing here knows buckets, keys or which blobs are in use; the index does. A blob without a row in the index is
//! garbage, whatever state its file is in, so that nothing becomes visible before the index says so.

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
use xfiles_core::clock::Timestamp;

use super::{
    checksum::{Algorithm, Checksum, Hasher},
    damage::Damage,
    hold::Hold,
};

/// Hex digits of a blob's name that tell which run of the process wrote it.
const RUN_DIGITS: usize = 8;
const NAME_DIGITS: usize = 32;
/// A directory per last digit of the name: few enough to make at once, enough to list a million blobs piece by piece.
const SHARDS: &str = "0123456789abcdef";
/// The directories of blobs, below the root of all.
pub(crate) fn shards() -> impl Iterator<Item = String> {
    SHARDS.chars().map(String::from)
}

/// How much is read from the disk at once. Two pieces per download are in memory.
const READ_BYTES: u64 = 256 * 1024;
/// Up to this size, a blob that is read whole is hashed before its first byte is handed out: what the CDN's stand-in
/// holds in memory, and nearly every picture. Beyond it, reading twice costs more than it is worth: the hash is computed
/// along the way, and the last piece is handed out only if it is right.
const VERIFIED_FIRST: u64 = 8 * 1024 * 1024;

/// A blob's name: 32 hex digits, the first eight of which name the run that wrote it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct BlobId(String);

impl BlobId {
    fn mint(run: &str) -> Self {
        Self(format!("{run}{}", random_hex::<{ (NAME_DIGITS - RUN_DIGITS) / 2 }>()))
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

    /// Where its file is, below the directory of blobs.
    pub(super) fn path(&self) -> PathBuf {
        Path::new(self.shard()).join(self.as_str())
    }
}

fn random_hex<const BYTES: usize>() -> String {
    let mut raw = [0; BYTES];
    getrandom::fill(&mut raw).expect("the operating system has random bytes");
    hex::encode(raw)
}

/// The directory of blobs.
#[derive(Clone, Debug)]
pub(super) struct Blobs(Arc<Directory>);

#[derive(Debug)]
struct Directory {
    root: PathBuf,
    durable: bool,
    run: String,
}

impl Blobs {
    /// Opens the directory, making it and its shards if they are not there. `durable`: a finished blob is on the disk.
    pub(super) fn open(root: PathBuf, durable: bool) -> io::Result<Self> {
        for shard in shards() {
            fs::create_dir_all(root.join(shard))?;
        }
        if durable {
            sync_directory(&root)?;
        }
        Ok(Self::at(root, durable))
    }

    /// The directory as it is, for a process that only reads it.
    pub(super) fn at(root: PathBuf, durable: bool) -> Self {
        Self(Arc::new(Directory { root, durable, run: random_hex::<{ RUN_DIGITS / 2 }>() }))
    }

    /// What keeps the blobs where they are while a backup copies them.
    pub(super) fn hold(&self) -> Hold {
        Hold::of(&self.0.root)
    }

    /// Begins a blob of exactly `size` bytes.
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

    /// Opens a range of a blob of this size and MD5, in hex, and reads its beginning, so that a small one takes a single
    /// call. A file of another length gives no byte, and a blob that is read whole no byte that its MD5 does not vouch
    /// for, as far as [`VERIFIED_FIRST`].
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

    /// Fails if a blob's file is missing or has another length.
    pub(super) fn stat(&self, id: &BlobId, size: u64) -> Result<(), ReadError> {
        match fs::metadata(self.path(id))?.len() == size {
            true => Ok(()),
            false => Err(ReadError::Damaged(Damage::WrongSize)),
        }
    }

    /// Removes a blob; one that is not there is no error. A download that has it open goes on.
    pub(super) fn remove(&self, id: &BlobId) -> io::Result<()> {
        match fs::remove_file(self.path(id)) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// Calls `visit` with each shard's blobs that earlier runs wrote. What this run writes is never among them, so that
    /// a search for garbage cannot meet an upload in progress.
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

    /// When a blob was written last. `None`: it is not there.
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

/// Makes a directory's entries survive a power failure.
pub(super) fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// A blob that no row refers to yet. Its file goes with it unless the index adopts it.
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

    /// Leaves the file alone from now on.
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

/// A blob being written.
pub(super) struct BlobWriter {
    file: File,
    blob: FreshBlob,
    size: u64,
    written: u64,
    md5: Md5,
    checksum: Option<Hasher>,
}

/// What the bytes of a blob must be.
#[derive(Clone, Debug, Default)]
pub(super) struct Expected {
    pub(super) md5: Option<[u8; 16]>,
    pub(super) checksum: Option<Checksum>,
}

/// A blob that is complete, verified and, if the store is durable, on the disk.
#[derive(Debug)]
pub(super) struct FinishedBlob {
    pub(super) blob: FreshBlob,
    pub(super) md5: [u8; 16],
    pub(super) checksum: Option<Checksum>,
}

/// Why a blob was not written.
#[derive(Debug)]
pub(super) enum WriteError {
    /// There were more or fewer bytes than were announced.
    WrongSize,
    /// The bytes have another MD5 than was declared.
    WrongMd5,
    /// The bytes have another checksum than was declared.
    WrongChecksum(Algorithm),
    /// The disk refused.
    Disk(io::Error),
}

impl From<io::Error> for WriteError {
    fn from(error: io::Error) -> Self {
        Self::Disk(error)
    }
}

impl BlobWriter {
    /// Appends bytes.
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

    /// Verifies everything and only then waits for the disk.
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

/// Why a blob gives no bytes.
#[derive(Debug)]
pub(super) enum ReadError {
    /// Its file is not what was written.
    Damaged(Damage),
    /// The disk refused.
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

/// The MD5 of what was read so far, and what it must be in the end.
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

/// Reads a whole file for its hash.
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

/// A range of a blob being read: pieces of bounded size, one read ahead.
pub(super) struct BlobReader {
    first: Option<Bytes>,
    /// Bytes that are not yet read from the disk.
    remaining: u64,
    next: Next,
    report: Option<Report>,
}

/// Who is to know of damage that shows only while a blob is read.
type Report = Box<dyn FnOnce(Damage) + Send + Sync>;

/// A piece that was read, with the file and the hash to go on with.
type PieceRead = Result<(File, Bytes, Option<Hash>), ReadError>;

enum Next {
    Idle(File, Option<Hash>),
    Reading(JoinHandle<PieceRead>),
    Over,
}

impl BlobReader {
    /// Everything, if the first read got it all.
    pub(super) fn take_whole(&mut self) -> Option<Bytes> {
        if self.remaining == 0 { self.first.take() } else { None }
    }

    /// Calls this if the blob turns out to be damaged later than at its beginning.
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

/// The next piece. The last one is given only if the hash of all is right.
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

/// Reads the next piece of at most `wanted` bytes; fewer than it should be means that the file was cut.
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
