//! The limits that only the API has. Those of a file and its record are in `xfiles-core`, with the types that they bound.

/// How many items a batch of uploads or confirmations has at most.
pub const BATCH: usize = 100;

/// How many files one request deletes by their ids.
pub const DELETED_AT_ONCE: usize = 1_000;

/// How many deliveries a page has.
pub const DELIVERIES_PAGE: usize = 50;

/// The length of a project's or key's name, in characters.
pub const NAME_CHARS: usize = 100;

/// The largest quota, in bytes: the largest whole number that every JSON reader keeps exact.
pub const QUOTA_BYTES: u64 = 1 << 53;

/// The shortest life of a signed URL, in seconds.
pub const MIN_URL_LIFE: u64 = 5;

/// The longest life of a signed URL, in seconds: a week, the most that signature version 4 allows.
pub const MAX_URL_LIFE: u64 = xfiles_core::cdn::Expiry::MAX_LIFE.as_secs();

/// The longest life of an API key, in seconds: ten years.
pub const MAX_KEY_LIFE: u64 = 10 * 365 * 24 * 60 * 60;

/// How long a replaced key or secret may go on working, in seconds: thirty days.
pub const MAX_GRACE: u64 = 30 * 24 * 60 * 60;

/// How long a request may ask to wait for a confirmation, in seconds.
pub const MAX_WAIT: u64 = 30;
