//! The Lambda function behind the CDN, and behind the rule for published images.
// The future of `main` nests those of the AWS SDK deeper than the compiler follows by default.
#![recursion_limit = "256"]

use lambda_http::{Adapter, LambdaEvent, Service as _, lambda_runtime, request::LambdaRequest, service_fn};
use xfiles_core::{aws::Connection, config::WorkerConfig, error::Cause, event::published_picture};
use xfiles_edge_variants::{Invocation, Invocations, Worker};

/// What the function takes besides its one image: the program, its connections, and a reply in base64.
const REST_MEGABYTES: u64 = 256;

#[tokio::main]
async fn main() -> Result<(), lambda_http::Error> {
    lambda_http::tracing::init_default_subscriber();
    let WorkerConfig { stores, jpeg_background, function_megabytes } = WorkerConfig::from_env()?;
    let memory = function_megabytes.map(|all| all.saturating_sub(REST_MEGABYTES) << 20);
    let memory = memory.unwrap_or(Worker::RENDER_MEMORY).max(Worker::LEAST_RENDER_MEMORY);
    let aws = Connection::open().await;
    let metrics = aws.metrics(stores.metrics_namespace.clone());
    // A function has one request at a time.
    let worker = Worker::new(aws.variants(stores), 1).flattening_on(jpeg_background);
    let worker = &worker.rendering_in(memory).counting(metrics);
    let viewers = &Adapter::from(worker.clone().router());
    let invocations = &Invocations::of(worker.clone());
    lambda_runtime::run(service_fn(|event: LambdaEvent<Invocation<LambdaRequest>>| async move {
        let answer = async {
            match event.payload {
                Invocation::Asked(request) => {
                    let request = LambdaEvent::new(request, event.context);
                    Ok::<_, lambda_http::Error>(Some(viewers.clone().call(request).await?))
                }
                Invocation::Told(body) => match published_picture(&body) {
                    // Lambda retries an invocation that ends with an error.
                    Some(file) => worker.note_placeholder(file).await.map(|()| None).map_err(|error| {
                        tracing::warn!(cause = %Cause::new("making a placeholder", &error), "it is tried again");
                        lambda_http::Error::from(error)
                    }),
                    None => Ok(None),
                },
            }
        };
        invocations.run(answer).await
    }))
    .await
}
