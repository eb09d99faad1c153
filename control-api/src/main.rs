//! The Lambda function behind the HTTP API.

use xfiles_control_api::{Api, ApiOptions, router};
use xfiles_core::{aws, config::Config};

#[tokio::main]
async fn main() -> Result<(), lambda_http::Error> {
    lambda_http::tracing::init_default_subscriber();
    let files = aws::connect(Config::from_env()?).await;
    lambda_http::run(router(Api::new(files, ApiOptions::default()))).await
}
