//! What a deployment is told about its surroundings. The only place that reads the environment.

use std::{fmt, str::FromStr};

use crate::cdn::{BaseUrl, KeyPairId, SigningKey};

/// What every Lambda function needs to know.
pub struct Config {
    /// The bucket's name.
    pub bucket: String,
    /// The table's name.
    pub table: String,
    /// The distribution's base URL.
    pub cdn_url: BaseUrl,
    /// The distribution's id, for invalidations.
    pub distribution_id: String,
    /// The key that signs private URLs.
    pub signing_key: SigningKey,
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

impl Config {
    /// Reads `XFILES_BUCKET`, `XFILES_TABLE`, `XFILES_CDN_URL`, `XFILES_DISTRIBUTION_ID`, `XFILES_SIGNING_KEY_ID`
    /// and `XFILES_SIGNING_KEY` (PEM).
    #[expect(clippy::disallowed_methods, reason = "this is where the environment enters the system")]
    pub fn from_env() -> Result<Self, InvalidEnvironment> {
        Self::read(|name| std::env::var(name).ok())
    }

    fn read(env: impl Fn(&str) -> Option<String>) -> Result<Self, InvalidEnvironment> {
        let mut faults = Vec::new();
        let bucket = need(&env, "XFILES_BUCKET", &mut faults);
        let table = need(&env, "XFILES_TABLE", &mut faults);
        let cdn_url = need::<BaseUrl>(&env, "XFILES_CDN_URL", &mut faults);
        let distribution_id = need(&env, "XFILES_DISTRIBUTION_ID", &mut faults);
        let key_id = need::<KeyPairId>(&env, "XFILES_SIGNING_KEY_ID", &mut faults);
        let pem = need::<String>(&env, "XFILES_SIGNING_KEY", &mut faults);
        let signing_key = key_id.zip(pem).and_then(|(id, pem)| {
            SigningKey::from_pem(id, &pem).map_err(|e| faults.push(format!("XFILES_SIGNING_KEY: {e}"))).ok()
        });
        match (bucket, table, cdn_url, distribution_id, signing_key) {
            (Some(bucket), Some(table), Some(cdn_url), Some(distribution_id), Some(signing_key)) => {
                Ok(Self { bucket, table, cdn_url, distribution_id, signing_key })
            }
            _ => Err(InvalidEnvironment(faults)),
        }
    }
}

fn need<T>(env: impl Fn(&str) -> Option<String>, name: &str, faults: &mut Vec<String>) -> Option<T>
where
    T: FromStr<Err: fmt::Display>,
{
    let Some(text) = env(name).filter(|text| !text.is_empty()) else {
        faults.push(format!("{name} is not set"));
        return None;
    };
    text.parse().map_err(|e| faults.push(format!("{name}: {e}"))).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_is_named_at_once_and_no_value_is_repeated() {
        let env = |name: &str| match name {
            "XFILES_BUCKET" => Some("bucket".to_owned()),
            "XFILES_CDN_URL" => Some("cdn.example.com/path".to_owned()),
            "XFILES_SIGNING_KEY" => Some("not a key".to_owned()),
            "XFILES_SIGNING_KEY_ID" => Some("K2JCJMDEHXQW5F".to_owned()),
            _ => None,
        };
        let fault = Config::read(env).err().unwrap().to_string();
        for name in ["XFILES_TABLE", "XFILES_CDN_URL", "XFILES_DISTRIBUTION_ID", "XFILES_SIGNING_KEY"] {
            assert!(fault.contains(name), "{fault}");
        }
        assert!(!fault.contains("XFILES_BUCKET") && !fault.contains("not a key"), "{fault}");
    }
}
