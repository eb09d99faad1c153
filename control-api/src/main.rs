//! The Lambda function behind the HTTP API.

use xfiles_control_api::{Api, ApiOptions, router};
use xfiles_core::{aws::Connection, config::ApiConfig};

#[tokio::main]
async fn main() -> Result<(), lambda_http::Error> {
    lambda_http::tracing::init_default_subscriber();
    let ApiConfig { cleanup, signing_key, presign_role, api_origins, requests_per_second, upload_limits } =
        ApiConfig::from_env()?;
    let files = Connection::open().await.api_files(cleanup, signing_key, presign_role).await;
    let files = files.with_upload_limits(upload_limits);
    let options = ApiOptions { requests_per_second, allowed_origins: api_origins, ..ApiOptions::default() };
    lambda_http::run(router(Api::new(files, options))).await
}
