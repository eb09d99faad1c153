//! Stands in for the CDN in front of an emulator of AWS: the distribution of `xf serve`, with a real bucket behind it
//! and the worker's function URL, whose requests it signs as CloudFront does. It takes invalidations as CloudFront's
//! API does. It checks no caller of those, so it is for a machine of one's own.

use std::{fs, net::SocketAddr, path::PathBuf, process::ExitCode};

use aws_sdk_s3::config::{BehaviorVersion, Credentials, Region};
use aws_sigv4::{
    http_request::{SignableBody, SignableRequest, SigningSettings, sign},
    sign::v4::SigningParams,
};
use aws_smithy_async::{rt::sleep::TokioSleep, time::TimeSource};
use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    response::{IntoResponse as _, Response},
};
use clap::Parser;
use http::StatusCode;
use tokio::net::TcpListener;
use xfiles_core::{cdn::KeyPairId, clock::Clock};
use xfiles_standalone::distribution::{Bucket, Distribution, Options, TrustedKey};
use xfiles_tests::wire::tcp;

/// How much the cache holds.
const CACHE_BYTES: usize = 64 * 1024 * 1024;

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Stands in for CloudFront in front of an emulator of AWS.
#[derive(Parser)]
#[command(name = "xf-edge")]
struct Arguments {
    /// Addresses of this machine; at the first one viewers find it.
    #[arg(long, required = true)]
    listen: Vec<SocketAddr>,
    /// The emulator.
    #[arg(long, env = "AWS_ENDPOINT_URL")]
    endpoint: String,
    #[arg(long, env = "AWS_REGION")]
    region: String,
    #[arg(long, env = "AWS_ACCESS_KEY_ID", hide_env_values = true)]
    access_key_id: String,
    #[arg(long, env = "AWS_SECRET_ACCESS_KEY", hide_env_values = true)]
    secret_access_key: String,
    /// The bucket.
    #[arg(long)]
    bucket: String,
    /// The worker's function URL.
    #[arg(long)]
    worker: String,
    /// The id under which invalidations name the distribution.
    #[arg(long)]
    distribution: String,
    /// The id of the public key.
    #[arg(long)]
    key_id: KeyPairId,
    /// A file with the public key of private URLs, as PEM.
    #[arg(long)]
    public_key: PathBuf,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("xf-edge: {failure}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> Result<(), Failure> {
    let clock = Clock::system();
    let credentials = Credentials::new(arguments.access_key_id, arguments.secret_access_key, None, None, "xf-edge");
    let bucket = aws_sdk_s3::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .endpoint_url(arguments.endpoint)
        .region(Region::new(arguments.region.clone()))
        .credentials_provider(credentials.clone())
        .force_path_style(true)
        .sleep_impl(TokioSleep::new())
        .http_client(tcp(|body| body))
        .build();
    let public_key = fs::read_to_string(&arguments.public_key)?;
    let mut listeners = Vec::new();
    for address in &arguments.listen {
        listeners.push(TcpListener::bind(address).await?);
    }
    let base_url = format!("http://{}", listeners.first().expect("the parser demands one").local_addr()?);
    let distribution = Distribution::new(Options {
        base_url: base_url.parse()?,
        bucket: Bucket { client: aws_sdk_s3::Client::from_conf(bucket), name: arguments.bucket },
        trusted_keys: vec![TrustedKey::from_pem(arguments.key_id, &public_key)?],
        clock: clock.clone(),
        cache_bytes: CACHE_BYTES,
    });
    let worker = Worker {
        url: arguments.worker.trim_end_matches('/').to_owned(),
        region: arguments.region,
        credentials,
        clock,
        http: reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).no_proxy().build()?,
    };
    let router = distribution.router(Router::new().fallback(ask_worker).with_state(worker));
    let router = router.merge(distribution.rest_api(&arguments.distribution));
    let serving = listeners.into_iter().map(|listener| {
        axum::serve(listener, router.clone().into_make_service_with_connect_info::<SocketAddr>()).into_future()
    });
    futures::future::try_join_all(serving).await?;
    Ok(())
}

/// The worker behind its function URL, which takes signed requests only.
#[derive(Clone)]
struct Worker {
    url: String,
    region: String,
    credentials: Credentials,
    clock: Clock,
    http: reqwest::Client,
}

async fn ask_worker(State(worker): State<Worker>, request: Request) -> Response {
    worker.ask(request.uri().path()).await.unwrap_or_else(|failure| {
        eprintln!("xf-edge: the worker was not reached: {failure}");
        StatusCode::BAD_GATEWAY.into_response()
    })
}

impl Worker {
    async fn ask(&self, path: &str) -> Result<Response, Failure> {
        let mut request = http::Request::get(format!("{}{path}", self.url)).body(reqwest::Body::default())?;
        let identity = self.credentials.clone().into();
        let signing = SigningParams::builder()
            .identity(&identity)
            .region(&self.region)
            .name("lambda")
            .time(TimeSource::now(&self.clock))
            .settings(SigningSettings::default())
            .build()?;
        let url = request.uri().to_string();
        let signable = SignableRequest::new("GET", &url, std::iter::empty(), SignableBody::Bytes(&[]))?;
        let (signature, _) = sign(signable, &signing.into())?.into_parts();
        signature.apply_to_request_http1x(&mut request);
        let answer = self.http.execute(request.try_into()?).await?;
        let mut response = Response::builder().status(answer.status());
        *response.headers_mut().expect("nothing is wrong with it yet") = answer.headers().clone();
        Ok(response.body(Body::from(answer.bytes().await?))?)
    }
}
