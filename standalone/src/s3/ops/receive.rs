//! Taking in the body of an upload.

use std::io;

use bytes::Bytes;
use futures::StreamExt as _;
use s3s::{S3Result, StdError, dto::StreamingBlob};
use tokio::task::JoinHandle;

use super::{
    Operations, blocking,
    faults::{Fault, broken_body, no_such_bucket},
};
use crate::s3::{
    blob::{BlobWriter, Expected, FinishedBlob},
    checksum::Declared,
};

/// The chunk size for hashing and writing an upload. Two chunks per upload are in memory.
const WRITE_BYTES: usize = 512 * 1024;

impl Operations {
    /// Receives a body for a bucket: bytes are written as they arrive, and are verified before this returns.
    pub(super) async fn receive(
        &self,
        bucket: &str,
        mut body: StreamingBlob,
        upload: Upload,
    ) -> S3Result<FinishedBlob> {
        let Upload { size, md5, declared, trailers } = upload;
        let algorithm = declared.algorithm();
        let (readers, blobs, bucket) = (self.index.readers().clone(), self.blobs.clone(), bucket.to_owned());
        let room = self.room.clone();
        // Dropped when the body has been received or has ended early.
        let claim = blocking(move || {
            let claim = room.get().map(|room| room.claim(size).ok_or_else(|| io::ErrorKind::StorageFull.into()));
            claim.transpose().map_err(Fault::Disk)
        });
        let _claim = match claim.await {
            Ok(claim) => claim,
            Err(full) => {
                discard_body(&mut body).await;
                return Err(full.into());
            }
        };
        let mut writing: JoinHandle<S3Result<BlobWriter>> = tokio::task::spawn_blocking(move || {
            let exists = readers.read(|rows| rows.has_bucket(&bucket)).map_err(Fault::from)?;
            if exists { Ok(blobs.create(size, algorithm).map_err(Fault::from)?) } else { Err(no_such_bucket()) }
        });
        loop {
            // While a chunk is written, the next one is read from the network.
            let piece = next_piece(&mut body).await.map_err(|e| broken_body(&e))?;
            let mut writer = writing.await.map_err(Fault::from)??;
            let write = move || -> S3Result<BlobWriter> {
                piece.chunks.iter().try_for_each(|chunk| writer.write(chunk))?;
                Ok(writer)
            };
            if piece.last {
                let expected = Expected { md5, checksum: declared.after_body(trailers.as_ref())? };
                let finish = move || Ok(write()?.finish(&expected)?);
                return tokio::task::spawn_blocking(finish).await.map_err(Fault::from)?;
            }
            writing = tokio::task::spawn_blocking(write);
        }
    }
}

/// The headers of an upload.
pub(super) struct Upload {
    pub(super) size: u64,
    pub(super) md5: Option<[u8; 16]>,
    pub(super) declared: Declared,
    pub(super) trailers: Option<s3s::TrailingHeaders>,
}

struct Piece {
    chunks: Vec<Bytes>,
    last: bool,
}

async fn next_piece(body: &mut StreamingBlob) -> Result<Piece, StdError> {
    let (mut chunks, mut length) = (Vec::new(), 0);
    while length < WRITE_BYTES {
        match body.next().await {
            Some(chunk) => {
                let chunk = chunk?;
                length += chunk.len();
                chunks.push(chunk);
            }
            None => return Ok(Piece { chunks, last: true }),
        }
    }
    Ok(Piece { chunks, last: false })
}

/// The largest part of a refused body that is read. A client that is still sending when the connection is closed does
/// not see the response.
const DISCARDED_BYTES: usize = 16 * 1024 * 1024;

/// Reads and discards a refused body.
async fn discard_body(body: &mut StreamingBlob) {
    let mut read = 0;
    while read < DISCARDED_BYTES
        && let Ok(piece) = next_piece(body).await
        && !piece.last
    {
        read += piece.chunks.iter().map(Bytes::len).sum::<usize>();
    }
}
