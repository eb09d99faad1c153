//! The Lambda function behind the schedule, and behind the queue of the bucket's notifications.

use lambda_runtime::{LambdaEvent, service_fn};
use serde_json::{Value, json};
use xfiles_cleanup_cron::{Bounds, Courier, confirm_messages, deliver, run};
use xfiles_core::{aws::Connection, config::CleanupConfig, metrics::Metric, webhook::Reach};

#[tokio::main]
async fn main() -> Result<(), lambda_runtime::Error> {
    lambda_runtime::tracing::init_default_subscriber();
    let config = CleanupConfig::from_env()?;
    let aws = Connection::open().await;
    let (metrics, files) = (&aws.metrics(config.stores.metrics_namespace.clone()), &aws.files(config));
    let courier = &Courier::new(Reach::Public);
    lambda_runtime::run(service_fn(|event: LambdaEvent<Value>| async move {
        if event.payload["Records"].is_array() {
            let again = Box::pin(confirm_messages(files, &event.payload)).await;
            let again: Vec<Value> = again.into_iter().map(|id| json!({ "itemIdentifier": id })).collect();
            return Ok(json!({ "batchItemFailures": again }));
        }
        // In boxes: the compiler does not compute the layout of futures that are nested this deep.
        let run = Box::pin(run(files, Bounds::default()));
        let deliver = Box::pin(deliver(files, courier, Bounds::default()));
        let (report, sent) = tokio::join!(run, deliver);
        let report = report?;
        metrics.count(Metric::OverduePlans, report.failed.len() as u64);
        sent?;
        Ok::<_, lambda_runtime::Error>(serde_json::to_value(report)?)
    }))
    .await
}
