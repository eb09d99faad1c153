//! What the store answers when it fails, or when a body is not what was announced.

use std::io;

use http::{HeaderName, HeaderValue, StatusCode, header::CONTENT_TYPE};
use s3s::{S3Error, S3ErrorCode, StdError, s3_error};
use xfiles_core::blobs::DAMAGE_HEADER;

use crate::s3::{blob::WriteError, damage::Damage, index::Unwritten};

/// An internal error of the store. Clients do not see its details.
#[derive(Debug, thiserror::Error)]
pub(in crate::s3) enum Fault {
    #[error("disk error: {0}")]
    Disk(#[from] io::Error),
    #[error("the index could not be read: {0}")]
    Index(#[from] rusqlite::Error),
    #[error(transparent)]
    Unwritten(#[from] Unwritten),
    #[error("a task stopped: {0}")]
    Task(#[from] tokio::task::JoinError),
    #[error("a blob is damaged: {}", .0.describe())]
    Damaged(Damage),
}

impl From<Fault> for S3Error {
    fn from(fault: Fault) -> Self {
        // The damage was reported when it was found, and every request for the object encounters it.
        if let Fault::Damaged(damage) = fault {
            let mut refusal = s3_error!(InternalError, "The object's bytes are damaged on the store's disk.");
            let (name, xml) = (HeaderName::from_static(DAMAGE_HEADER), HeaderValue::from_static("application/xml"));
            let damage = HeaderValue::from_static(damage.as_str());
            refusal.set_headers([(name, damage), (CONTENT_TYPE, xml)].into_iter().collect());
            return refusal;
        }
        tracing::error!(%fault, "the object store failed");
        if let Fault::Disk(error) = &fault
            && error.kind() == io::ErrorKind::StorageFull
        {
            let message = "There is no space left for the object.";
            let mut full = Self::with_message(S3ErrorCode::Custom("InsufficientStorage".into()), message);
            full.set_status_code(StatusCode::INSUFFICIENT_STORAGE);
            return full;
        }
        s3_error!(InternalError, "We encountered an internal error. Please try again.")
    }
}

impl From<WriteError> for S3Error {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::WrongSize => incomplete_body(),
            WriteError::WrongMd5 => {
                s3_error!(BadDigest, "The Content-MD5 you specified did not match what we received.")
            }
            WriteError::WrongChecksum(algorithm) => {
                s3_error!(BadDigest, "The {} you specified did not match what we received.", algorithm.header())
            }
            WriteError::Disk(error) => Fault::from(error).into(),
        }
    }
}

/// The protocol layer verifies the body's hash and signatures while streaming, and does not export its error types.
/// The whole text identifies them; `s3_conformance.rs` fails if it changes.
pub(super) fn broken_body(error: &StdError) -> S3Error {
    let text = error.to_string();
    if text == "UploadStreamError: Sha256Mismatch" {
        let mut refusal = S3Error::with_message(
            S3ErrorCode::Custom("XAmzContentSHA256Mismatch".into()),
            "The provided 'x-amz-content-sha256' header does not match what was computed.",
        );
        refusal.set_status_code(StatusCode::BAD_REQUEST);
        refusal
    } else if text == "AwsChunkedStreamError: SignatureMismatch" {
        s3_error!(SignatureDoesNotMatch, "The signature of a chunk does not match.")
    } else {
        incomplete_body()
    }
}

fn incomplete_body() -> S3Error {
    s3_error!(IncompleteBody, "You did not provide the number of bytes specified by the Content-Length HTTP header")
}

pub(super) fn no_such_bucket() -> S3Error {
    s3_error!(NoSuchBucket, "The specified bucket does not exist")
}
