//! How the CDN is made to forget: a trait, because two CDNs exist in production, CloudFront and the stand-in that runs
//! in the process.

use std::{error::Error as StdError, pin::Pin, time::Duration};

use crate::error::{Cause, Error};

/// What [`Invalidate::invalidate`] returns.
pub type InvalidateFuture<'a> = Pin<Box<dyn Future<Output = Result<(), InvalidateError>> + Send + 'a>>;

/// A CDN that can be made to forget.
pub trait Invalidate: Send + Sync + 'static {
    /// Begins to forget what is cached under the paths, each starting with `/` and optionally ending with `*`.
    ///
    /// The same reference with the same paths is the same request, done once; with other paths it is refused.
    fn invalidate<'a>(&'a self, caller_reference: &'a str, paths: Vec<String>) -> InvalidateFuture<'a>;

    /// Whether anything is cached under a path that may end with `*`. `None`: this CDN cannot be asked.
    fn holds(&self, path: &str) -> Option<bool> {
        let _ = path;
        None
    }
}

/// Why an invalidation was not accepted.
#[derive(Debug, thiserror::Error)]
pub enum InvalidateError {
    /// The CDN throttles, or has as many invalidations in progress as it takes. Repeat later, with the same reference.
    #[error("the CDN takes no more invalidations at the moment")]
    Busy,
    /// No answer, or a failure on the CDN's side. Repeat later, with the same reference.
    #[error("the CDN could not be asked to invalidate")]
    Unreachable(#[source] Box<dyn StdError + Send + Sync>),
    /// Refused for good: wrong paths, a reference used for other paths, no permission.
    #[error("the CDN refused to invalidate")]
    Refused(#[source] Box<dyn StdError + Send + Sync>),
}

impl InvalidateError {
    /// Whether the same request may succeed later.
    pub const fn is_retryable(&self) -> bool {
        match self {
            Self::Busy | Self::Unreachable(_) => true,
            Self::Refused(_) => false,
        }
    }
}

impl From<InvalidateError> for Error {
    fn from(error: InvalidateError) -> Self {
        let source = Cause::new("invalidating cached copies", &error);
        if error.is_retryable() {
            Self::Unavailable { retry_after: Duration::from_secs(5), source }
        } else {
            Self::Internal(source)
        }
    }
}
