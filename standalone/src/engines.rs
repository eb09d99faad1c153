//! The two embedded engines for the SDK: clients that reach them without a socket, and [`Files`] with these clients.
//! Nothing here listens or schedules work.

use aws_sdk_dynamodb::config::{BehaviorVersion, Credentials, Region, SharedCredentialsProvider};
use aws_sdk_s3::config::{RequestChecksumCalculation, StalledStreamProtectionConfig};
use aws_smithy_async::rt::sleep::TokioSleep;
use aws_smithy_runtime_api::client::{
    http::SharedHttpClient,
    interceptors::context::InterceptorContext,
    retries::classifiers::{ClassifyRetry, RetryAction, RetryClassifierPriority},
};
use xfiles_core::{
    blobs::{Blobs, DAMAGE_HEADER},
    catalog::Catalog,
    cdn::{BaseUrl, Cdn},
    clock::Clock,
    operations::Files,
};

use crate::{
    dynamodb::Dynamo,
    s3::{ObjectStore, S3Credentials},
};

/// The region of the embedded store in signatures.
pub const REGION: &str = "us-east-1";
/// The name of the embedded store's bucket.
pub const BUCKET: &str = "xfiles";
/// The name of the embedded store's table.
pub const TABLE: &str = "xfiles";

/// The engines and the credentials for them.
#[derive(Clone)]
pub struct Engines {
    dynamo: Dynamo,
    store: ObjectStore,
    s3_credentials: S3Credentials,
    s3_url: BaseUrl,
    clock: Clock,
}

impl Engines {
    /// Combines engines whose object store clients reach at `s3_url`.
    pub fn new(
        dynamo: Dynamo,
        store: ObjectStore,
        s3_credentials: S3Credentials,
        s3_url: BaseUrl,
        clock: Clock,
    ) -> Self {
        Self { dynamo, store, s3_credentials, s3_url, clock }
    }

    /// The metadata store.
    pub fn dynamo(&self) -> &Dynamo {
        &self.dynamo
    }

    /// The object store.
    pub fn store(&self) -> &ObjectStore {
        &self.store
    }

    /// The credentials that the object store accepts.
    pub fn s3_credentials(&self) -> &S3Credentials {
        &self.s3_credentials
    }

    /// A client of the object store, through a connection wrapped by `wrap`, without signatures.
    pub fn s3_client(&self, wrap: impl Fn(SharedHttpClient) -> SharedHttpClient) -> aws_sdk_s3::Client {
        aws_sdk_s3::Client::from_conf(self.s3_config(&wrap).allow_no_auth().build())
    }

    /// A client that presigns requests for others.
    fn s3_signer(&self, wrap: impl Fn(SharedHttpClient) -> SharedHttpClient) -> aws_sdk_s3::Client {
        let config = self.s3_config(&wrap).credentials_provider(credentials(&self.s3_credentials));
        aws_sdk_s3::Client::from_conf(config.build())
    }

    fn s3_config(&self, wrap: impl Fn(SharedHttpClient) -> SharedHttpClient) -> aws_sdk_s3::config::Builder {
        aws_sdk_s3::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::from_static(REGION))
            .endpoint_url(self.s3_url.as_str())
            .force_path_style(true)
            .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
            .http_client(wrap(self.store.http_client()))
            .retry_classifier(DamageStays)
            .sleep_impl(TokioSleep::new())
            .time_source(self.clock.clone())
    }

    /// A client of the metadata store, through a connection wrapped by `wrap`.
    pub fn dynamodb_client(&self, wrap: impl Fn(SharedHttpClient) -> SharedHttpClient) -> aws_sdk_dynamodb::Client {
        dynamodb_client(wrap(self.dynamo.http_client()), self.clock.clone())
    }

    /// The files on these engines, through connections wrapped by `wrap`.
    pub fn files(&self, cdn: Cdn, wrap: impl Fn(SharedHttpClient) -> SharedHttpClient) -> Files {
        let credentials = credentials(&self.s3_credentials);
        let blobs = Blobs::new(self.s3_client(&wrap), credentials.clone(), BUCKET, self.clock.clone());
        let catalog = Catalog::new(self.dynamodb_client(&wrap), TABLE);
        Files::new(catalog, blobs.presigning_with(self.s3_signer(&wrap), credentials), cdn, self.clock.clone())
    }
}

/// Prevents retries of reads of damaged bytes, which would only delay the error.
#[derive(Debug)]
struct DamageStays;

impl ClassifyRetry for DamageStays {
    fn classify_retry(&self, context: &InterceptorContext) -> RetryAction {
        match context.response().and_then(|response| response.headers().get(DAMAGE_HEADER)) {
            Some(_) => RetryAction::RetryForbidden,
            None => RetryAction::NoActionIndicated,
        }
    }

    fn name(&self) -> &'static str {
        "damaged bytes"
    }

    /// After the SDK's own classifiers, which would retry any 500.
    fn priority(&self) -> RetryClassifierPriority {
        RetryClassifierPriority::run_after(RetryClassifierPriority::transient_error_classifier())
    }
}

fn credentials(s3: &S3Credentials) -> SharedCredentialsProvider {
    let (id, secret) = (s3.access_key_id(), s3.secret_access_key());
    SharedCredentialsProvider::new(Credentials::new(id, secret, None, None, "xfiles-standalone"))
}

/// Requests are not signed, because the engine does not check signatures.
pub(crate) fn dynamodb_client(http: SharedHttpClient, clock: Clock) -> aws_sdk_dynamodb::Client {
    let config = aws_sdk_dynamodb::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::from_static(REGION))
        .endpoint_url("http://dynamodb.invalid")
        .allow_no_auth()
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
        .http_client(http)
        .sleep_impl(TokioSleep::new())
        .time_source(clock)
        .build();
    aws_sdk_dynamodb::Client::from_conf(config)
}
