//! Invalidations of an Amazon CloudFront distribution.

use aws_sdk_cloudfront::{
    Client,
    error::{ProvideErrorMetadata as _, SdkError},
    operation::create_invalidation::CreateInvalidationError,
    types::{InvalidationBatch, Paths},
};

use super::{Invalidate, InvalidateError, InvalidateFuture};
use crate::stores::fault::Fault;

/// The codes with which AWS asks for patience. CloudFront runs at most 15 wildcard invalidations at a time.
const BUSY: [&str; 4] =
    ["TooManyInvalidationsInProgress", "Throttling", "ThrottlingException", "TooManyRequestsException"];

/// A CloudFront distribution, as far as it forgets.
#[derive(Clone, Debug)]
pub struct CloudFrontInvalidations {
    client: Client,
    distribution_id: String,
}

impl CloudFrontInvalidations {
    /// The distribution of that id.
    pub fn new(client: Client, distribution_id: impl Into<String>) -> Self {
        Self { client, distribution_id: distribution_id.into() }
    }
}

impl Invalidate for CloudFrontInvalidations {
    fn invalidate<'a>(&'a self, caller_reference: &'a str, paths: Vec<String>) -> InvalidateFuture<'a> {
        Box::pin(async move {
            let batch = batch(caller_reference, paths).map_err(|e| InvalidateError::Refused(e.into()))?;
            let request = self.client.create_invalidation().distribution_id(&self.distribution_id);
            request.invalidation_batch(batch).send().await.map(drop).map_err(classify)
        })
    }
}

fn batch(
    caller_reference: &str,
    paths: Vec<String>,
) -> Result<InvalidationBatch, aws_sdk_cloudfront::error::BuildError> {
    let quantity = i32::try_from(paths.len()).unwrap_or(i32::MAX);
    let paths = Paths::builder().quantity(quantity).set_items(Some(paths)).build()?;
    InvalidationBatch::builder().caller_reference(caller_reference).paths(paths).build()
}

fn classify(error: SdkError<CreateInvalidationError>) -> InvalidateError {
    match Fault::of(&error) {
        _ if error.code().is_some_and(|code| BUSY.contains(&code)) => InvalidateError::Busy,
        Fault::Passing | Fault::StorageFull => InvalidateError::Unreachable(error.into()),
        Fault::Lasting => InvalidateError::Refused(error.into()),
    }
}
