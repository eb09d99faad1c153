//! The table of a deployment as [`Projects`]: the core's own SDK client, whose requests are sent by the AWS CLI. Both
//! use the same JSON for DynamoDB's requests and responses.

use std::io::{self, Write as _};

use aws_sdk_dynamodb::config::{BehaviorVersion, Credentials, Region};
use aws_smithy_runtime_api::client::{
    http::{HttpConnector, HttpConnectorFuture, SharedHttpConnector, http_client_fn},
    orchestrator::{HttpRequest, HttpResponse},
    result::ConnectorError,
};
use aws_smithy_types::body::SdkBody;
use xfiles_core::{catalog::Catalog, clock::Clock, operations::Projects};

use super::command::Command;

/// The projects in this table.
pub(super) fn projects(table: &str) -> Projects {
    let connector = SharedHttpConnector::new(AwsCli);
    let config = aws_sdk_dynamodb::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        // Neither is used: the AWS CLI has its own region and credentials.
        .region(Region::from_static("us-east-1"))
        .credentials_provider(Credentials::new("cli", "cli", None, None, "aws-cli"))
        .http_client(http_client_fn(move |_, _| connector.clone()))
        .retry_config(aws_sdk_dynamodb::config::retry::RetryConfig::disabled())
        .build();
    Projects::new(Catalog::new(aws_sdk_dynamodb::Client::from_conf(config), table), Clock::system())
}

#[derive(Debug)]
struct AwsCli;

impl HttpConnector for AwsCli {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        HttpConnectorFuture::ready(carry(&request))
    }
}

fn carry(request: &HttpRequest) -> Result<HttpResponse, ConnectorError> {
    let operation = request.headers().get("x-amz-target").and_then(|target| target.rsplit('.').next());
    let body = request.body().bytes().and_then(|bytes| std::str::from_utf8(bytes).ok());
    let (Some(operation), Some(body)) = (operation, body) else {
        return Err(ConnectorError::user("not a request to DynamoDB".into()));
    };
    // A file instead of standard input, because the AWS CLI reads it twice.
    let unwritten = |error: io::Error| ConnectorError::user(error.into());
    let mut input = tempfile::NamedTempFile::new().map_err(unwritten)?;
    input.write_all(body.as_bytes()).map_err(unwritten)?;
    let command = Command::aws(["dynamodb", &kebab(operation)]).and([
        "--no-paginate",
        "--cli-input-json",
        &format!("file://{}", input.path().display()),
    ]);
    let answer = command.text().map_err(|failure| ConnectorError::user(failure.detail().to_owned().into()))?;
    let answer = if answer.is_empty() { "{}".to_owned() } else { answer };
    Ok(HttpResponse::new(200.try_into().expect("a status"), SdkBody::from(answer)))
}

/// Converts `TransactWriteItems` to the AWS CLI's spelling.
fn kebab(operation: &str) -> String {
    let mut text = String::new();
    for c in operation.chars() {
        if c.is_ascii_uppercase() && !text.is_empty() {
            text.push('-');
        }
        text.push(c.to_ascii_lowercase());
    }
    text
}

#[cfg(test)]
mod tests {
    #[test]
    fn operations_are_spelt_as_in_the_aws_cli() {
        assert_eq!(super::kebab("TransactWriteItems"), "transact-write-items");
        assert_eq!(super::kebab("Query"), "query");
    }
}
