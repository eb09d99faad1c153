//! What can go wrong with a file, in the words of the domain. `control-api` alone turns these into HTTP.

use std::{error::Error as StdError, fmt, time::Duration};

/// The result of an operation on files.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why an operation did not happen. Nothing was changed, unless a variant says otherwise.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file is missing, belongs to another project, is not confirmed, or is being deleted: nobody learns which.
    #[error("no such file")]
    FileNotFound,
    /// The project does not exist.
    #[error("no such project")]
    ProjectNotFound,
    /// The project has no such key.
    #[error("no such API key")]
    KeyNotFound,
    /// The project has no such webhook.
    #[error("no such webhook")]
    EndpointNotFound,
    /// The project has as many webhooks as it may.
    #[error("the project has {limit} webhooks, and none has more")]
    TooManyEndpoints {
        /// How many it may have.
        limit: usize,
    },
    /// The endpoint has no such delivery, or no longer.
    #[error("no such delivery")]
    DeliveryNotFound,
    /// The bytes have not arrived.
    #[error("the file has not been uploaded; PUT it to the upload URL first")]
    NotUploaded,
    /// The bytes are not what was declared. The upload is refused for good and its quota given back.
    #[error("the uploaded bytes are not {declared}")]
    ContentTypeMismatch {
        /// The declared media type.
        declared: String,
    },
    /// The project has no room.
    #[error(
        "the project has {free} bytes left, and the upload needs {size}; {reserved} bytes are held by {pending} pending \
         uploads"
    )]
    QuotaExceeded {
        /// What the upload needs, in bytes.
        size: u64,
        /// What the project has, in bytes.
        free: u64,
        /// What its pending uploads hold, in bytes.
        reserved: u64,
        /// How many pending uploads it has.
        pending: u64,
    },
    /// The project, or the API key, has as many pending uploads as it may.
    #[error("{of} has {pending} pending uploads, and the limit is {limit}")]
    TooManyPending {
        /// Whose limit it is.
        of: PendingOf,
        /// How many there are.
        pending: u64,
        /// How many there may be.
        limit: u32,
    },
    /// Too many uploads of the project ended while their URLs still work.
    #[error(
        "upload URLs of {late} bytes still work although their uploads have ended; the limit is {limit} bytes, and each \
         URL expires 15 minutes after it was made"
    )]
    TooManyLateBytes {
        /// How many bytes these URLs admit.
        late: u64,
        /// How many they may admit.
        limit: u64,
    },
    /// The upload is finished already.
    #[error("the file is confirmed; only a pending upload has an upload URL")]
    NotPending,
    /// The file is attached to nothing, so it has no place in an order.
    #[error("the file has no entity, so it has no position")]
    NoEntity,
    /// The file is not the version that the caller knows.
    #[error("the file has changed since; its ETag is another")]
    PreconditionFailed,
    /// A numbered page that would count or skip too much.
    #[error("a numbered page reaches {ceiling} entries deep; use `cursor` to go on")]
    TooDeep {
        /// How many index entries it may count and skip.
        ceiling: usize,
    },
    /// The quota would be less than what the project holds.
    #[error("the project holds {used} bytes, which is more than that quota")]
    QuotaBelowUsage {
        /// What it holds or reserves, in bytes.
        used: u64,
    },
    /// Somebody else changed the record at the same time.
    #[error("the file changed at the same time; read it and try again")]
    Conflict,
    /// A store is throttled or does not answer; the same call may succeed later.
    #[error("a store is busy")]
    Unavailable {
        /// How long to wait before the next try.
        retry_after: Duration,
        /// What the store said, for the log.
        source: Cause,
    },
    /// The disk of a store has no room. Nothing was changed; reads and deletions still work.
    #[error("the disk is full; delete files, or have the operator make room")]
    StorageFull(#[source] Cause),
    /// A store refused what it should not, or holds what it should not.
    #[error("internal error")]
    Internal(#[source] Cause),
}

/// Whose pending uploads are limited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PendingOf {
    /// A project's.
    Project,
    /// An API key's.
    Key,
}

impl fmt::Display for PendingOf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Project => "the project",
            Self::Key => "the API key",
        })
    }
}

/// The reason behind an error, for the log and never for a client.
#[derive(Debug)]
pub struct Cause {
    doing: &'static str,
    message: String,
}

impl Cause {
    /// What was being done, and what was said, with all sources.
    pub fn new(doing: &'static str, error: &(dyn StdError + 'static)) -> Self {
        let mut message = error.to_string();
        let mut source = error.source();
        while let Some(error) = source {
            message.push_str(": ");
            message.push_str(&error.to_string());
            source = error.source();
        }
        Self { doing, message }
    }

    /// What was being done: the part that says nothing of what was said.
    pub const fn doing(&self) -> &'static str {
        self.doing
    }

    /// What was being done, and what was wrong with it.
    pub fn because(doing: &'static str, message: impl Into<String>) -> Self {
        Self { doing, message: message.into() }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.doing, self.message)
    }
}

impl StdError for Cause {}
