//! From a configuration to [`Files`] on AWS.

use std::{fmt, sync::Arc, time::Duration};

use aws_config::{BehaviorVersion, SdkConfig, sts::AssumeRoleProvider};
use aws_sdk_s3::config::{RequestChecksumCalculation, SharedCredentialsProvider, timeout::TimeoutConfig};
use aws_smithy_http_client::tls;
use futures::future::BoxFuture;

use crate::{
    blobs::Blobs,
    catalog::Catalog,
    cdn::{BaseUrl, Cdn, CloudFrontInvalidations, KeyPairId, Signer, SigningKey, URL_LIFE},
    clock::Clock,
    config::{CleanupConfig, SigningKeySource, SigningSecret, StoreConfig},
    error::{Cause, Error, Result},
    metrics::Metrics,
    operations::{Files, Variants},
    stores::fault::failed,
};

/// How long a store may take to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// How long one attempt may take until its answer begins; a copy of 100 MB takes a few seconds.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(8);

/// How long all attempts may take together. An HTTP API gives up after 30 s, and a caller who is told to come back is
/// better off than one who is told nothing.
const OPERATION_TIMEOUT: Duration = Duration::from_secs(12);

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

    /// The files as the image worker needs them.
    pub fn variants(&self, config: StoreConfig) -> Variants {
        let own = self.own_credentials();
        let blobs = Blobs::new(self.s3(&own), own, config.bucket, self.clock.clone());
        let catalog = Catalog::new(aws_sdk_dynamodb::Client::new(&self.sdk), config.table);
        Variants::new(catalog, blobs, self.clock.clone())
    }

    /// Files for the cleanup, which shows no URL to anybody: it signs with a key that no CDN trusts, rather than have
    /// the right to read the one that they do.
    pub fn files(&self, config: CleanupConfig) -> Files {
        let (untrusted, _) = SigningKey::generate_p256(KeyPairId::mint());
        let cdn = self.cdn(config.cdn_url, Signer::new(untrusted, URL_LIFE), config.distribution_id);
        let (catalog, blobs) = self.variants(config.stores).into_stores();
        Files::new(catalog, blobs, cdn, self.clock.clone())
    }

    /// Files for the API, with the key that signs private URLs and the role that signs upload URLs. Neither is asked for
    /// before a request needs it.
    pub async fn api_files(
        &self,
        config: CleanupConfig,
        signing_key: SigningKeySource,
        presign_role: Option<String>,
    ) -> Files {
        let CleanupConfig { stores, cdn_url, distribution_id } = config;
        let signer = match signing_key {
            SigningKeySource::Given(key) => Signer::new(key, URL_LIFE),
            SigningKeySource::Secret(secret) => self.signer(secret),
        };
        let (catalog, mut blobs) = self.variants(stores).into_stores();
        if let Some(role) = presign_role {
            let role = AssumeRoleProvider::builder(role).session_name("xfiles-presign").configure(&self.sdk);
            let credentials = SharedCredentialsProvider::new(role.build().await);
            blobs = blobs.presigning_with(self.s3(&credentials), credentials);
        }
        Files::new(catalog, blobs, self.cdn(cdn_url, signer, distribution_id), self.clock.clone())
    }

    fn signer(&self, secret: SigningSecret) -> Signer {
        let keeper = Arc::new(Keeper { secrets: aws_sdk_secretsmanager::Client::new(&self.sdk), secret });
        let read = move || -> BoxFuture<'static, _> {
            let keeper = keeper.clone();
            Box::pin(async move { keeper.key().await })
        };
        Signer::reading(read, URL_LIFE)
    }

    fn cdn(&self, base: BaseUrl, signer: Signer, distribution_id: String) -> Cdn {
        let invalidations = CloudFrontInvalidations::new(aws_sdk_cloudfront::Client::new(&self.sdk), distribution_id);
        Cdn::new(base, signer, Arc::new(invalidations))
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

/// Who keeps the signing key: Secrets Manager. No error repeats anything of it.
struct Keeper {
    secrets: aws_sdk_secretsmanager::Client,
    secret: SigningSecret,
}

impl Keeper {
    /// The key that belongs to the public one. While a rotation is under way that is the version before the current.
    async fn key(&self) -> Result<SigningKey> {
        let current = self.version("AWSCURRENT").await;
        if !matches!(current, Err(Error::Internal(_))) {
            return current;
        }
        match self.version("AWSPREVIOUS").await {
            Err(Error::Internal(_)) => current,
            previous => previous,
        }
    }

    async fn version(&self, stage: &str) -> Result<SigningKey> {
        let SigningSecret { id, public_key, secret } = &self.secret;
        let read = self.secrets.get_secret_value().secret_id(secret).version_stage(stage).send().await;
        let value = read.map_err(|error| failed(READING, error))?;
        let wrong = |reason: &str| Error::Internal(Cause::because(READING, format!("the secret's {stage} {reason}")));
        let pem = value.secret_string().ok_or_else(|| wrong("holds no text"))?;
        let key = SigningKey::from_pem(id.clone(), pem).map_err(|fault| wrong(&format!("is no such key: {fault}")))?;
        if key.is_of(public_key) { Ok(key) } else { Err(wrong("is the key of another public key than the active one")) }
    }
}

const READING: &str = "reading the signing key";
