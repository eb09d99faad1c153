//! The Lambda function behind the schedule.

use lambda_runtime::{LambdaEvent, service_fn};
use serde_json::Value;
use xfiles_cleanup_cron::{Bounds, run};
use xfiles_core::{aws, config::Config};

#[tokio::main]
async fn main() -> Result<(), lambda_runtime::Error> {
    lambda_runtime::tracing::init_default_subscriber();
    let files = aws::connect(Config::from_env()?).await;
    let files = &files;
    lambda_runtime::run(service_fn(|_: LambdaEvent<Value>| async move {
        run(files, Bounds::default()).await.map_err(lambda_runtime::Error::from)
    }))
    .await
}
