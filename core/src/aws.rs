//! From a configuration to [`Files`] on AWS.

use std::{fmt, sync::Arc, time::Duration};

use aws_config::{BehaviorVersion, SdkConfig, sts::AssumeRoleProvider};
use aws_sdk_s3::config::{RequestChecksumCalculation, SharedCredentialsProvider, timeout::TimeoutConfig};
use aws_smithy_http_client::tls;

use crate::{
    blobs::Blobs,
    catalog::Catalog,
    cdn::{BaseUrl, Cdn, CloudFrontInvalidations, InvalidSigningKey, KeyPairId, Signer, SigningKey, URL_LIFE},
    clock::Clock,
    config::{CleanupConfig, SigningKeySource, StoreConfig},
    error::Cause,
    lifecycle::{Files, Stores},
    metrics::Metrics,
};

/// How long a store may take to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// How long one attempt may take until its answer begins; a copy of 100 MB takes a few seconds.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(8);

/// How long all attempts may take together. An HTTP API gives up after 30 s, and a caller who is told to come back is
/// better off than one who is told nothing.
const OPERATION_TIMEOUT: Duration = Duration::from_secs(12);

/// Why a function cannot start. It repeats nothing of the key.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The secret was not given out.
    #[error("the signing key's secret cannot be read: {0}")]
    Unreadable(Cause),
    /// The secret has no text.
    #[error("the signing key's secret holds no text")]
    Empty,
    /// The secret holds something else.
    #[error("the signing key's secret: {0}")]
    Invalid(#[from] InvalidSigningKey),
}

/// A connection with the credentials and the region that the function's environment gives.
pub struct Connection {
    sdk: SdkConfig,
    clock: Clock,
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").finish_non_exhaustive()
    }
}

impl Connection {
    /// Reads credentials and region.
    pub async fn open() -> Self {
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .operation_attempt_timeout(ATTEMPT_TIMEOUT)
            .operation_timeout(OPERATION_TIMEOUT)
            .build();
        // One pool of connections for all clients, and for what has no client of its own.
        let tls = tls::Provider::Rustls(tls::rustls_provider::CryptoMode::AwsLc);
        let http = aws_smithy_http_client::Builder::new().tls_provider(tls).build_https();
        let sdk =
            aws_config::defaults(BehaviorVersion::latest()).timeout_config(timeouts).http_client(http).load().await;
        Self { sdk, clock: Clock::system() }
    }

    /// How this connection is made, for a service that the core does not use.
    pub fn sdk(&self) -> &SdkConfig {
        &self.sdk
    }

    /// The counts that alarms watch.
    pub fn metrics(&self, namespace: Option<String>) -> Metrics {
        Metrics::new(namespace, self.clock.clone())
    }

    /// The stores alone, for the image worker.
    pub fn stores(&self, config: StoreConfig) -> Stores {
        let own = self.own_credentials();
        let blobs = Blobs::new(self.s3(&own), own, config.bucket, self.clock.clone());
        let catalog = Catalog::new(aws_sdk_dynamodb::Client::new(&self.sdk), config.table);
        Stores { catalog, blobs, clock: self.clock.clone() }
    }

    /// Files for the cleanup, which shows no URL to anybody: it signs with a key that no CDN trusts, rather than have
    /// the right to read the one that they do.
    pub fn files(&self, config: CleanupConfig) -> Files {
        let (untrusted, _) = SigningKey::generate_p256(KeyPairId::mint());
        let cdn = self.cdn(config.cdn_url, untrusted, config.distribution_id);
        let Stores { catalog, blobs, .. } = self.stores(config.stores);
        Files { catalog, blobs, cdn, clock: self.clock.clone() }
    }

    /// Files for the API, with the key that signs private URLs and the role that signs upload URLs.
    pub async fn api_files(
        &self,
        config: CleanupConfig,
        signing_key: SigningKeySource,
        presign_role: Option<String>,
    ) -> Result<Files, ConnectError> {
        let CleanupConfig { stores, cdn_url, distribution_id } = config;
        let key = match signing_key {
            SigningKeySource::Given(key) => key,
            SigningKeySource::Secret { id, secret } => self.read_key(id, &secret).await?,
        };
        let Stores { catalog, mut blobs, .. } = self.stores(stores);
        if let Some(role) = presign_role {
            let role = AssumeRoleProvider::builder(role).session_name("xfiles-presign").configure(&self.sdk);
            let credentials = SharedCredentialsProvider::new(role.build().await);
            blobs = blobs.presigning_with(self.s3(&credentials), credentials);
        }
        Ok(Files { catalog, blobs, cdn: self.cdn(cdn_url, key, distribution_id), clock: self.clock.clone() })
    }

    async fn read_key(&self, id: KeyPairId, secret: &str) -> Result<SigningKey, ConnectError> {
        let secrets = aws_sdk_secretsmanager::Client::new(&self.sdk);
        let read = secrets.get_secret_value().secret_id(secret).send().await;
        let value = read.map_err(|e| ConnectError::Unreadable(Cause::new("reading the signing key", &e)))?;
        Ok(SigningKey::from_pem(id, value.secret_string().ok_or(ConnectError::Empty)?)?)
    }

    fn cdn(&self, base: BaseUrl, key: SigningKey, distribution_id: String) -> Cdn {
        let invalidations = CloudFrontInvalidations::new(aws_sdk_cloudfront::Client::new(&self.sdk), distribution_id);
        Cdn::new(base, Signer::new(key, URL_LIFE), Arc::new(invalidations))
    }

    fn own_credentials(&self) -> SharedCredentialsProvider {
        self.sdk.credentials_provider().expect("the default configuration has a provider")
    }

    fn s3(&self, credentials: &SharedCredentialsProvider) -> aws_sdk_s3::Client {
        // Presigned uploads bind exactly the headers that a client sends; a default checksum would be one more.
        let config = aws_sdk_s3::config::Builder::from(&self.sdk)
            .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
            .credentials_provider(credentials.clone())
            .build();
        aws_sdk_s3::Client::from_conf(config)
    }
}
