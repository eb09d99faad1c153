//! The Lambda function behind the CDN.

use xfiles_core::{aws::Connection, config::StoreConfig};
use xfiles_edge_variants::Worker;

#[tokio::main]
async fn main() -> Result<(), lambda_http::Error> {
    lambda_http::tracing::init_default_subscriber();
    let config = StoreConfig::from_env()?;
    let aws = Connection::open().await;
    let metrics = aws.metrics(config.metrics_namespace.clone());
    // A function has one request at a time.
    lambda_http::run(Worker::new(aws.stores(config), 1).counting(metrics).router()).await
}
