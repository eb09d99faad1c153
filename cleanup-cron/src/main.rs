//! The Lambda function for the schedule and for the queue of the bucket's notifications.

use lambda_runtime::{LambdaEvent, service_fn};
use serde_json::{Value, json};
use xfiles_cleanup_cron::{Bounds, Courier, EventBus, confirm_messages, deliver, run};
use xfiles_core::{aws::Connection, config::CronConfig, metrics::Metric, webhook::Reach};

#[tokio::main]
async fn main() -> Result<(), lambda_runtime::Error> {
    lambda_runtime::tracing::init_default_subscriber();
    let CronConfig { cleanup, event_bus, reconciling } = CronConfig::from_env()?;
    let aws = Connection::open().await;
    let (metrics, files) = (&aws.metrics(cleanup.stores.metrics_namespace.clone()), &aws.files(cleanup));
    let bus = event_bus.map(|name| EventBus::new(name, aws.sdk())).transpose()?;
    let courier = &Courier::new(Reach::Public).with_bus(bus);
    lambda_runtime::run(service_fn(|event: LambdaEvent<Value>| async move {
        if event.payload["Records"].is_array() {
            let again = Box::pin(confirm_messages(files, &event.payload)).await;
            let again: Vec<Value> = again.into_iter().map(|id| json!({ "itemIdentifier": id })).collect();
            return Ok(json!({ "batchItemFailures": again }));
        }
        // Boxed, because the compiler cannot compute the layout of futures that are nested this deeply.
        let run = Box::pin(run(files, Bounds { reconciling, ..Bounds::default() }));
        let deliver = Box::pin(deliver(files, courier, Bounds::default()));
        let (report, sent) = tokio::join!(run, deliver);
        let report = report?;
        metrics.count(Metric::OverduePlans, report.failed.len() as u64);
        metrics.count(Metric::OldestOverdueSeconds, report.oldest);
        metrics.count(Metric::UnreadableItems, report.unreadable);
        metrics.count(Metric::ReconciliationStopped, u64::from(report.stopped));
        sent?;
        Ok::<_, lambda_runtime::Error>(serde_json::to_value(report)?)
    }))
    .await
}
