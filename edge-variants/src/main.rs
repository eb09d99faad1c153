//! The Lambda function behind the CDN.

use xfiles_core::{aws, config::Config};
use xfiles_edge_variants::Worker;

#[tokio::main]
async fn main() -> Result<(), lambda_http::Error> {
    lambda_http::tracing::init_default_subscriber();
    let files = aws::connect(Config::from_env()?).await;
    // A function has one request at a time.
    lambda_http::run(Worker::new(files, 1).router()).await
}
