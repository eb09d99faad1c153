//! From a configuration to [`Files`] on AWS.

use std::sync::Arc;

use aws_config::BehaviorVersion;
use aws_sdk_s3::config::{RequestChecksumCalculation, SharedCredentialsProvider};

use crate::{
    blobs::Blobs,
    catalog::Catalog,
    cdn::{Cdn, CloudFrontInvalidations, Signer, URL_LIFE},
    clock::Clock,
    config::Config,
    lifecycle::Files,
};

/// Connects with the credentials and the region that the function's environment gives.
///
/// # Panics
/// When the environment has no credentials provider; a Lambda function always has one.
pub async fn connect(config: Config) -> Files {
    let sdk = aws_config::load_defaults(BehaviorVersion::latest()).await;
    let credentials: SharedCredentialsProvider = sdk.credentials_provider().expect("a Lambda function has credentials");
    // Presigned uploads bind exactly the headers that a client sends; a default checksum would be one more.
    let s3 = aws_sdk_s3::config::Builder::from(&sdk)
        .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
        .build();
    let clock = Clock::system();
    let invalidations = CloudFrontInvalidations::new(aws_sdk_cloudfront::Client::new(&sdk), config.distribution_id);
    Files {
        catalog: Catalog::new(aws_sdk_dynamodb::Client::new(&sdk), config.table),
        blobs: Blobs::new(aws_sdk_s3::Client::from_conf(s3), credentials, config.bucket, clock.clone()),
        cdn: Cdn::new(config.cdn_url, Signer::new(config.signing_key, URL_LIFE), Arc::new(invalidations)),
        clock,
    }
}
