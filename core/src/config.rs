//! What a deployment is told about its surroundings. The only place that reads the environment.

use std::{fmt, num::NonZeroU32, str::FromStr};

use crate::{
    catalog::UploadLimits,
    cdn::{BaseUrl, KeyPairId, SigningKey},
    operations::Reconciling,
    variant::Colour,
};

/// The names of [`StoreConfig`].
pub const STORE_VARIABLES: [&str; 3] = ["XFILES_BUCKET", "XFILES_TABLE", "XFILES_METRICS_NAMESPACE"];
/// The name that [`WorkerConfig::from_env`] reads beside them.
pub const WORKER_VARIABLES: [&str; 1] = ["XFILES_JPEG_BACKGROUND"];
/// The names that [`CronConfig::from_env`] reads beside those of the stores.
pub const CDN_VARIABLES: [&str; 2] = ["XFILES_CDN_URL", "XFILES_DISTRIBUTION_ID"];
/// The names that [`CronConfig::from_env`] reads beside those.
pub const EVENT_VARIABLES: [&str; 2] = ["XFILES_EVENT_BUS", "XFILES_RECONCILIATION"];
/// The names that [`ApiConfig::from_env`] reads beside all but that one.
pub const API_VARIABLES: [&str; 9] = [
    "XFILES_SIGNING_KEY_ID",
    "XFILES_SIGNING_KEY",
    "XFILES_SIGNING_KEY_SECRET",
    "XFILES_SIGNING_PUBLIC_KEY",
    "XFILES_PRESIGN_ROLE",
    "XFILES_API_ORIGINS",
    "XFILES_REQUESTS_PER_SECOND",
    "XFILES_PENDING_UPLOADS",
    "XFILES_PENDING_UPLOADS_PER_KEY",
];

/// Where records and bytes are: what every function needs.
#[derive(Debug)]
pub struct StoreConfig {
    /// The bucket's name.
    pub bucket: String,
    /// The table's name.
    pub table: String,
    /// The CloudWatch namespace for metrics. `None`: none are written.
    pub metrics_namespace: Option<String>,
}

/// What the image worker needs: the stores, and how pictures shall look.
#[derive(Debug)]
pub struct WorkerConfig {
    /// The stores.
    pub stores: StoreConfig,
    /// What JPEG shows where a picture is transparent.
    pub jpeg_background: Colour,
    /// The memory of the function, in megabytes, if it is one.
    pub function_megabytes: Option<u64>,
}

/// What the cleanup needs: the stores, and the distribution that must forget.
#[derive(Debug)]
pub struct CleanupConfig {
    /// The stores.
    pub stores: StoreConfig,
    /// The distribution's base URL.
    pub cdn_url: BaseUrl,
    /// The distribution's id, for invalidations.
    pub distribution_id: String,
}

/// What the cleanup is told beside that, on its schedule.
#[derive(Debug)]
pub struct CronConfig {
    /// The stores and the distribution.
    pub cleanup: CleanupConfig,
    /// The name or ARN of the EventBridge bus on which events are put as well. `None`: on none.
    pub event_bus: Option<String>,
    /// What the reconciliation may do with what it finds.
    pub reconciling: Reconciling,
}

/// What the HTTP API needs: all of that, and what makes URLs.
#[derive(Debug)]
pub struct ApiConfig {
    /// The stores and the distribution.
    pub cleanup: CleanupConfig,
    /// The key that signs private URLs.
    pub signing_key: SigningKeySource,
    /// The role whose credentials sign upload URLs. `None`: the function's own.
    pub presign_role: Option<String>,
    /// The origins whose pages may call the API.
    pub api_origins: Vec<String>,
    /// How many requests a second one key may make of one process. `None`: any number.
    pub requests_per_second: Option<NonZeroU32>,
    /// How many uploads may be pending.
    pub upload_limits: UploadLimits,
}

/// Where the private key is.
#[derive(Debug)]
pub enum SigningKeySource {
    /// Here.
    Given(SigningKey),
    /// In a secret.
    Secret(SigningSecret),
}

/// A secret of Secrets Manager, whose text is the PEM of the private key.
#[derive(Debug)]
pub struct SigningSecret {
    /// The id under which the CDN knows the public key.
    pub id: KeyPairId,
    /// The public key itself, as a PEM: the secret may have changed before the CDN has.
    pub public_key: String,
    /// The secret's name or ARN.
    pub secret: String,
}

/// Everything that is wrong with the environment, at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidEnvironment(Vec<String>);

impl fmt::Display for InvalidEnvironment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the environment is incomplete: {}", self.0.join("; "))
    }
}

impl std::error::Error for InvalidEnvironment {}

impl WorkerConfig {
    /// Reads what [`StoreConfig`] is made of: `XFILES_BUCKET` and `XFILES_TABLE`, and `XFILES_METRICS_NAMESPACE` if it
    /// is there; `XFILES_JPEG_BACKGROUND`, which is white if it is not there; and `AWS_LAMBDA_FUNCTION_MEMORY_SIZE`, which
    /// Lambda sets.
    pub fn from_env() -> Result<Self, InvalidEnvironment> {
        let mut env = Environment::of_process();
        let config = Self::read(&mut env);
        env.finish(config)
    }

    fn read(env: &mut Environment<'_>) -> Option<Self> {
        let stores = StoreConfig::read(env);
        let jpeg_background = env.maybe("XFILES_JPEG_BACKGROUND").unwrap_or(Colour::WHITE);
        let function_megabytes = env.maybe("AWS_LAMBDA_FUNCTION_MEMORY_SIZE");
        stores.map(|stores| Self { stores, jpeg_background, function_megabytes })
    }
}

impl StoreConfig {
    fn read(env: &mut Environment<'_>) -> Option<Self> {
        let (bucket, table) = (env.need("XFILES_BUCKET"), env.need("XFILES_TABLE"));
        let metrics_namespace = env.maybe("XFILES_METRICS_NAMESPACE");
        bucket.zip(table).map(|(bucket, table)| Self { bucket, table, metrics_namespace })
    }
}

impl CronConfig {
    /// Reads what [`CleanupConfig`] is made of: what [`StoreConfig`] reads, `XFILES_CDN_URL` and
    /// `XFILES_DISTRIBUTION_ID`; and `XFILES_EVENT_BUS` and `XFILES_RECONCILIATION` if they are there.
    pub fn from_env() -> Result<Self, InvalidEnvironment> {
        let mut env = Environment::of_process();
        let cleanup = CleanupConfig::read(&mut env);
        let event_bus = env.maybe("XFILES_EVENT_BUS");
        let reconciling = env.maybe("XFILES_RECONCILIATION").unwrap_or(Reconciling::Repair);
        env.finish(cleanup.map(|cleanup| Self { cleanup, event_bus, reconciling }))
    }
}

impl CleanupConfig {
    fn read(env: &mut Environment<'_>) -> Option<Self> {
        let stores = StoreConfig::read(env);
        let cdn = env.need("XFILES_CDN_URL").zip(env.need("XFILES_DISTRIBUTION_ID"));
        stores.zip(cdn).map(|(stores, (cdn_url, distribution_id))| Self { stores, cdn_url, distribution_id })
    }
}

impl ApiConfig {
    /// Reads what [`CleanupConfig`] is made of; `XFILES_SIGNING_KEY_ID` with `XFILES_SIGNING_KEY_SECRET` and
    /// `XFILES_SIGNING_PUBLIC_KEY` (PEM), or with `XFILES_SIGNING_KEY` (PEM); and `XFILES_PRESIGN_ROLE`,
    /// `XFILES_API_ORIGINS` (separated by commas), `XFILES_REQUESTS_PER_SECOND`, `XFILES_PENDING_UPLOADS` (of a project)
    /// and `XFILES_PENDING_UPLOADS_PER_KEY` if they are there.
    pub fn from_env() -> Result<Self, InvalidEnvironment> {
        let mut env = Environment::of_process();
        let config = Self::read(&mut env);
        env.finish(config)
    }

    fn read(env: &mut Environment<'_>) -> Option<Self> {
        let cleanup = CleanupConfig::read(env);
        let signing_key = SigningKeySource::read(env);
        let presign_role = env.maybe("XFILES_PRESIGN_ROLE");
        let origins: String = env.maybe("XFILES_API_ORIGINS").unwrap_or_default();
        let api_origins =
            origins.split(',').map(str::trim).filter(|origin| !origin.is_empty()).map(str::to_owned).collect();
        let requests_per_second = env.maybe("XFILES_REQUESTS_PER_SECOND");
        let upload_limits = UploadLimits {
            per_project: env.maybe("XFILES_PENDING_UPLOADS").unwrap_or(UploadLimits::DEFAULT_PER_PROJECT),
            per_key: env.maybe("XFILES_PENDING_UPLOADS_PER_KEY").unwrap_or(UploadLimits::DEFAULT_PER_KEY),
        };
        let (cleanup, signing_key) = cleanup.zip(signing_key)?;
        Some(Self { cleanup, signing_key, presign_role, api_origins, requests_per_second, upload_limits })
    }
}

impl SigningKeySource {
    fn read(env: &mut Environment<'_>) -> Option<Self> {
        let id: Option<KeyPairId> = env.need("XFILES_SIGNING_KEY_ID");
        if let Some(secret) = env.maybe("XFILES_SIGNING_KEY_SECRET") {
            let (id, public_key) = id.zip(env.need("XFILES_SIGNING_PUBLIC_KEY"))?;
            return Some(Self::Secret(SigningSecret { id, public_key, secret }));
        }
        let pem: String = env.need("XFILES_SIGNING_KEY")?;
        match SigningKey::from_pem(id?, &pem) {
            Ok(key) => Some(Self::Given(key)),
            Err(e) => env.fault(format!("XFILES_SIGNING_KEY: {e}")),
        }
    }
}

/// Variables, and what was wrong with those that were read.
struct Environment<'a> {
    get: &'a dyn Fn(&str) -> Option<String>,
    faults: Vec<String>,
}

impl<'a> Environment<'a> {
    fn of_process() -> Self {
        #[expect(clippy::disallowed_methods, reason = "this is where the environment enters the system")]
        Self::new(&|name| std::env::var(name).ok())
    }

    fn new(get: &'a dyn Fn(&str) -> Option<String>) -> Self {
        Self { get, faults: Vec::new() }
    }

    fn need<T: FromStr<Err: fmt::Display>>(&mut self, name: &str) -> Option<T> {
        match (self.get)(name).filter(|text| !text.is_empty()) {
            Some(_) => self.maybe(name),
            None => self.fault(format!("{name} is not set")),
        }
    }

    fn maybe<T: FromStr<Err: fmt::Display>>(&mut self, name: &str) -> Option<T> {
        let text = (self.get)(name).filter(|text| !text.is_empty())?;
        match text.parse() {
            Ok(value) => Some(value),
            Err(e) => self.fault(format!("{name}: {e}")),
        }
    }

    fn fault<T>(&mut self, fault: String) -> Option<T> {
        self.faults.push(fault);
        None
    }

    fn finish<T>(self, config: Option<T>) -> Result<T, InvalidEnvironment> {
        config.filter(|_| self.faults.is_empty()).ok_or(InvalidEnvironment(self.faults))
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::RefCell, collections::BTreeSet};

    use super::*;

    fn api(get: &dyn Fn(&str) -> Option<String>) -> Result<ApiConfig, InvalidEnvironment> {
        let mut env = Environment::new(get);
        let config = ApiConfig::read(&mut env);
        env.finish(config)
    }

    fn complete(name: &str) -> Option<String> {
        let value = match name {
            "XFILES_CDN_URL" => "https://cdn.example.com",
            "XFILES_SIGNING_KEY_ID" => "K2JCJMDEHXQW5F",
            "XFILES_SIGNING_KEY_SECRET" => "arn:aws:secretsmanager:eu-central-1:1:secret:xfiles",
            "XFILES_SIGNING_PUBLIC_KEY" => "-----BEGIN PUBLIC KEY-----",
            "XFILES_API_ORIGINS" => "https://a.example.com, https://b.example.com",
            "XFILES_REQUESTS_PER_SECOND" => "50",
            "XFILES_PENDING_UPLOADS" => "700",
            "XFILES_BUCKET" | "XFILES_TABLE" | "XFILES_DISTRIBUTION_ID" => "name",
            _ => return None,
        };
        Some(value.to_owned())
    }

    #[test]
    fn every_fault_is_named_at_once_and_no_value_is_repeated() {
        let env = |name: &str| match name {
            "XFILES_BUCKET" => Some("bucket".to_owned()),
            "XFILES_CDN_URL" => Some("cdn.example.com/path".to_owned()),
            "XFILES_SIGNING_KEY" => Some("not a key".to_owned()),
            "XFILES_SIGNING_KEY_ID" => Some("K2JCJMDEHXQW5F".to_owned()),
            "XFILES_REQUESTS_PER_SECOND" => Some("0".to_owned()),
            _ => None,
        };
        let fault = api(&env).err().unwrap().to_string();
        for name in [
            "XFILES_TABLE",
            "XFILES_CDN_URL",
            "XFILES_DISTRIBUTION_ID",
            "XFILES_SIGNING_KEY",
            "XFILES_REQUESTS_PER_SECOND",
        ] {
            assert!(fault.contains(name), "{fault}");
        }
        assert!(!fault.contains("XFILES_BUCKET") && !fault.contains("not a key"), "{fault}");
    }

    #[test]
    fn a_secret_comes_before_a_key_and_origins_are_separated_by_commas() {
        let config = api(&complete).unwrap();
        assert!(matches!(config.signing_key, SigningKeySource::Secret(_)));
        assert_eq!(config.api_origins, ["https://a.example.com", "https://b.example.com"]);
        assert_eq!((config.requests_per_second.map(NonZeroU32::get), config.presign_role), (Some(50), None));
        let UploadLimits { per_project, per_key } = config.upload_limits;
        assert_eq!((per_project.get(), per_key), (700, UploadLimits::DEFAULT_PER_KEY));
    }

    #[test]
    fn a_limit_that_is_no_number_is_a_fault_though_it_may_be_absent() {
        let with_limit = |limit: Option<&'static str>| {
            api(&move |name: &str| match name {
                "XFILES_REQUESTS_PER_SECOND" => limit.map(str::to_owned),
                _ => complete(name),
            })
        };
        assert_eq!(with_limit(None).unwrap().requests_per_second, None);
        assert!(with_limit(Some("many")).unwrap_err().to_string().contains("XFILES_REQUESTS_PER_SECOND"));
    }

    #[test]
    fn the_background_of_jpeg_is_white_unless_it_is_told_and_refused_if_it_is_no_colour() {
        let worker = |background: Option<&'static str>| {
            let get = move |name: &str| match name {
                "XFILES_JPEG_BACKGROUND" => background.map(str::to_owned),
                _ => complete(name),
            };
            let mut env = Environment::new(&get);
            let config = WorkerConfig::read(&mut env);
            env.finish(config).map(|config| config.jpeg_background.to_string())
        };
        assert_eq!(worker(None).unwrap(), "#ffffff");
        assert_eq!(worker(Some("#1a2B3c")).unwrap(), "#1a2b3c");
        let fault = worker(Some("rebeccapurple")).unwrap_err().to_string();
        assert!(fault.contains("XFILES_JPEG_BACKGROUND: a colour is #") && !fault.contains("purple"), "{fault}");
    }

    #[test]
    fn exactly_the_listed_variables_are_read() {
        let read = RefCell::new(BTreeSet::new());
        for without in ["", "XFILES_SIGNING_KEY_SECRET"] {
            drop(api(&|name: &str| {
                read.borrow_mut().insert(name.to_owned());
                complete(name).filter(|_| name != without)
            }));
        }
        let listed = STORE_VARIABLES.into_iter().chain(CDN_VARIABLES).chain(API_VARIABLES);
        assert_eq!(read.into_inner(), listed.map(str::to_owned).collect());
    }
}
