//! Removes the resources that remain after a stack is deleted. Each resource is looked up first, so that an interrupted
//! removal can be repeated.

use serde_json::Value;

use super::{Account, command::Command, functions::STAGE};
use crate::{
    failure::{Exit, Failure, os_text},
    output::Console,
};

/// A kind of resource that CloudFormation retains, in the order of removal: dependents come before what they use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Distribution,
    Function,
    KeyGroup,
    PublicKey,
    CachePolicy,
    ResponseHeadersPolicy,
    OriginAccessControl,
    SigningKey,
    Bucket,
    Table,
}

impl Kind {
    /// The kind with CloudFormation's type name. A bucket's policy is removed with its bucket.
    pub(super) fn of_type(name: &str) -> Option<Self> {
        Some(match name {
            "AWS::CloudFront::Distribution" => Self::Distribution,
            "AWS::CloudFront::Function" => Self::Function,
            "AWS::CloudFront::KeyGroup" => Self::KeyGroup,
            "AWS::CloudFront::PublicKey" => Self::PublicKey,
            "AWS::CloudFront::CachePolicy" => Self::CachePolicy,
            "AWS::CloudFront::ResponseHeadersPolicy" => Self::ResponseHeadersPolicy,
            "AWS::CloudFront::OriginAccessControl" => Self::OriginAccessControl,
            "AWS::SecretsManager::Secret" => Self::SigningKey,
            "AWS::S3::Bucket" => Self::Bucket,
            "AWS::DynamoDB::Table" => Self::Table,
            _ => return None,
        })
    }

    /// Returns true if it contains files or records, which cannot be restored.
    pub(super) fn is_data(self) -> bool {
        matches!(self, Self::Bucket | Self::Table)
    }
}

/// Removes a resource if it exists.
pub(super) fn remove(kind: Kind, id: &str, account: &Account, console: &mut Console<'_>) -> Result<(), Failure> {
    match kind {
        Kind::Distribution => remove_distribution(id, console),
        // CloudFormation identifies a function by its ARN.
        Kind::Function => {
            let name = ["--name", id.rsplit('/').next().unwrap_or(id)];
            versioned("function", &["describe-function", "--stage", STAGE], name)
        }
        Kind::KeyGroup => versioned("key-group", &["get-key-group"], ["--id", id]),
        Kind::PublicKey => versioned("public-key", &["get-public-key"], ["--id", id]),
        Kind::CachePolicy => versioned("cache-policy", &["get-cache-policy"], ["--id", id]),
        Kind::ResponseHeadersPolicy => {
            versioned("response-headers-policy", &["get-response-headers-policy"], ["--id", id])
        }
        Kind::OriginAccessControl => versioned("origin-access-control", &["get-origin-access-control"], ["--id", id]),
        Kind::SigningKey => {
            // Without a recovery window, because the next installation needs the name.
            let delete = Command::aws(["secretsmanager", "delete-secret", "--secret-id", id]);
            existing(delete.and(["--force-delete-without-recovery"]).text()).map(drop)
        }
        Kind::Bucket => {
            let head = ["s3api", "head-bucket", "--bucket", id, "--expected-bucket-owner", &account.id];
            match existing(Command::aws(head).text())? {
                Some(_) => {
                    console.note(format_args!("emptying the bucket {id}"));
                    Command::aws(["s3", "rb", &format!("s3://{id}"), "--force"]).text().map(drop)
                }
                None => Ok(()),
            }
        }
        Kind::Table => {
            let unprotect =
                Command::aws(["dynamodb", "update-table", "--table-name", id, "--no-deletion-protection-enabled"]);
            if existing(unprotect.text())?.is_some() {
                Command::aws(["dynamodb", "wait", "table-exists", "--table-name", id]).text()?;
                Command::aws(["dynamodb", "delete-table", "--table-name", id]).text()?;
            }
            Ok(())
        }
    }
}

/// Disables the distribution, waits until this is deployed, and deletes it.
fn remove_distribution(id: &str, console: &mut Console<'_>) -> Result<(), Failure> {
    let read = || existing(Command::aws(["cloudfront", "get-distribution-config", "--id", id]).json());
    let Some(mut found) = read()? else { return Ok(()) };
    if found["DistributionConfig"]["Enabled"] != false {
        found["DistributionConfig"]["Enabled"] = false.into();
        let config = tempfile::NamedTempFile::new()
            .and_then(|file| std::fs::write(file.path(), found["DistributionConfig"].to_string()).map(|()| file));
        let config = config.map_err(|error| {
            Failure::new(Exit::Unavailable, format!("cannot write a temporary file: {}", os_text(&error)))
        })?;
        Command::aws(["cloudfront", "update-distribution", "--id", id, "--if-match", etag(&found)])
            .and(["--distribution-config", &format!("file://{}", config.path().display())])
            .text()?;
    }
    console.note(format_args!("waiting until CloudFront has disabled the distribution {id}, which takes some minutes"));
    Command::aws(["cloudfront", "wait", "distribution-deployed", "--id", id]).text()?;
    let Some(disabled) = read()? else { return Ok(()) };
    Command::aws(["cloudfront", "delete-distribution", "--id", id, "--if-match", etag(&disabled)]).text().map(drop)
}

/// Deletes a resource for which CloudFront requires the current ETag.
fn versioned(noun: &str, read: &[&str], by: [&str; 2]) -> Result<(), Failure> {
    let read = Command::aws(["cloudfront"]).and(read.iter().copied()).and(by);
    let Some(found) = existing(read.json())? else { return Ok(()) };
    let delete = Command::aws(["cloudfront", &format!("delete-{noun}")]).and(by);
    existing(delete.and(["--if-match", etag(&found)]).text()).map(drop)
}

fn etag(found: &Value) -> &str {
    found["ETag"].as_str().unwrap_or_default()
}

/// Returns `None` if the resource does not exist.
pub(super) fn existing<T>(answer: Result<T, Failure>) -> Result<Option<T>, Failure> {
    match answer {
        Ok(found) => Ok(Some(found)),
        Err(failure) if is_missing(failure.detail()) => Ok(None),
        Err(failure) => Err(failure),
    }
}

/// Checks the error code, which the AWS CLI puts in parentheses.
fn is_missing(said: &str) -> bool {
    let code = said.split_once("An error occurred (").and_then(|(_, rest)| rest.split_once(')')).map(|(code, _)| code);
    code.is_some_and(|code| code == "404" || code == "ResourceNotFoundException" || code.starts_with("NoSuch"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_resource_is_recognised_by_its_error_code_only() {
        for said in [
            "`aws` failed: An error occurred (NoSuchDistribution) when calling the GetDistributionConfig operation: none",
            "An error occurred (404) when calling the HeadBucket operation: Not Found",
            "An error occurred (ResourceNotFoundException) when calling the UpdateTable operation",
        ] {
            assert!(is_missing(said), "{said}");
        }
        for said in [
            "An error occurred (403) when calling the HeadBucket operation: Forbidden",
            "An error occurred (AccessDenied) when calling the GetKeyGroup operation: role/NoSuch404",
            "Could not connect to the endpoint URL",
        ] {
            assert!(!is_missing(said), "{said}");
        }
    }

    #[test]
    fn dependents_are_removed_before_what_they_use() {
        assert!(Kind::Distribution < Kind::Function && Kind::Distribution < Kind::OriginAccessControl);
        assert!(Kind::Distribution < Kind::KeyGroup && Kind::KeyGroup < Kind::PublicKey);
    }
}
