//! `xf serve`: runs all of XFiles in this process until a signal ends it.

pub(crate) mod config;
mod origin;
mod ready;
mod welcome;

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    num::{NonZeroU32, NonZeroUsize},
    path::PathBuf,
    time::Duration,
};

use clap::builder::{FalseyValueParser, PossibleValuesParser, TypedValueParser};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing_subscriber::EnvFilter;
use xfiles_core::{api_key::ApiKey, catalog::UploadLimits, cdn::BaseUrl, variant::Colour, webhook::Reach};
use xfiles_standalone::{
    ApiOptions, BUCKET, Data, MetricsListen, Placeholders, REGION, Stack, StackOptions,
    s3::LOG_DIRECTIVE,
    secrets::write_private,
    server::{AddressRange, ConnectionLimits},
};

use self::{
    origin::Origin,
    ready::{Ready, ReadyFile, ReadyStore},
    welcome::Running,
};
use crate::{
    failure::{Exit, Failure, os_text},
    output::Console,
    units::{Bytes, InvalidSize},
    wait,
};

/// Run XFiles on this machine: API, CDN, image worker, object store and cleanup in one process
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  xf serve
  xf serve --data /var/lib/xfiles --quota 200GiB
  xf serve --listen 0.0.0.0:8787 \\
    --public-url https://files.example.com --s3-public-url https://store.example.com
  xf serve --rate-limit 50 --allow-origin https://app.example.com
  xf serve --metrics-listen 10.0.0.5:9187 --proxy 10.0.0.4 --max-connections 2000
  xf serve --ephemeral --listen 127.0.0.1:0 --ready-file ready.json
  xf serve --print-config > xfiles.toml && xf serve --config xfiles.toml

The first start creates a project and shows its API key, once, with a block to paste into a shell: on a terminal, \
otherwise only in the ready file, because a log keeps what is printed. \
Later starts say how to create another key. SIGTERM and Ctrl-C close idle connections and wait at most 20 seconds for \
requests in progress; a second signal does not wait. A data directory with a missing or outdated part is refused: see \
`xf repair --help`.")]
pub(crate) struct ServeArgs {
    /// The data directory; created if it does not exist
    #[arg(long, env = "XFILES_DATA", value_name = "DIR", default_value = "./.xfiles")]
    data: PathBuf,
    /// Keep nothing: start empty and delete everything at the end
    #[arg(long, env = "XFILES_EPHEMERAL", conflicts_with = "data", value_parser = FalseyValueParser::new())]
    ephemeral: bool,
    /// The address of the API and the CDN; port 0 selects a free one
    #[arg(long, env = "XFILES_LISTEN", value_name = "ADDR", default_value_t = SocketAddr::from((Ipv4Addr::LOCALHOST, StackOptions::DEFAULT_PORT)))]
    listen: SocketAddr,
    /// The address of the object store [default: the next port]
    #[arg(long, env = "XFILES_S3_LISTEN", value_name = "ADDR")]
    s3_listen: Option<SocketAddr>,
    /// The address of GET /metrics for Prometheus, or off [default: loopback, at the API's port plus two]
    #[arg(long, env = "XFILES_METRICS_LISTEN", value_name = "ADDR|off", value_parser = metrics_listen)]
    metrics_listen: Option<MetricsListen>,
    /// The limit of open connections, over both ports [default: what the limit of open files allows, at most 4096]
    #[arg(long, env = "XFILES_MAX_CONNECTIONS", value_name = "N")]
    max_connections: Option<NonZeroUsize>,
    /// The limit for one client address; an IPv6 /64 network counts as one [default: a quarter]
    #[arg(long, env = "XFILES_MAX_CONNECTIONS_PER_ADDRESS", value_name = "N")]
    max_connections_per_address: Option<NonZeroUsize>,
    /// The address or network of a reverse proxy, such as 172.16.0.0/12, which has no limit of connections, like
    /// loopback; may be given several times
    #[arg(long, env = "XFILES_PROXY", value_name = "ADDR", value_delimiter = ',')]
    proxy: Vec<AddressRange>,
    /// The public URL of the API and the CDN [default: their address]
    #[arg(long, env = "XFILES_PUBLIC_URL", value_name = "URL")]
    public_url: Option<BaseUrl>,
    /// The public URL of the object store [default: its address]
    #[arg(long, env = "XFILES_S3_PUBLIC_URL", value_name = "URL")]
    s3_public_url: Option<BaseUrl>,
    /// The quota of the project that the first start creates
    #[arg(long, env = "XFILES_QUOTA", value_name = "SIZE", default_value = "10GiB")]
    quota: Bytes,
    /// The rate limit of one API key in requests per second, with bursts of twice as many [default: no limit]
    #[arg(long, env = "XFILES_RATE_LIMIT", value_name = "N")]
    rate_limit: Option<NonZeroU32>,
    /// The limit on pending uploads of one project: begun, and neither confirmed nor ended
    #[arg(long, env = "XFILES_PENDING_UPLOADS", value_name = "N", default_value_t = UploadLimits::DEFAULT_PER_PROJECT)]
    pending_uploads: NonZeroU32,
    /// The limit on pending uploads that one API key began
    #[arg(long, env = "XFILES_PENDING_UPLOADS_PER_KEY", value_name = "N", default_value_t = UploadLimits::DEFAULT_PER_KEY)]
    pending_uploads_per_key: NonZeroU32,
    /// Allow web pages of this origin to call the API; may be given several times. Everyone who opens such a page can
    /// read the API key in it
    #[arg(long, env = "XFILES_ALLOW_ORIGIN", value_name = "URL", value_delimiter = ',')]
    allow_origin: Vec<Origin>,
    /// Sign URLs with a new key from now on; URLs signed with the present one work until they expire
    #[arg(long, env = "XFILES_ROTATE_SIGNING_KEY", conflicts_with = "ephemeral", value_parser = FalseyValueParser::new())]
    rotate_signing_key: bool,
    /// Confirm an upload as soon as its bytes have arrived, without a call by the client; the first PUT then counts
    #[arg(long, env = "XFILES_AUTO_CONFIRM", value_parser = FalseyValueParser::new())]
    auto_confirm: bool,
    /// When the blurred placeholder of an image is made: soon after its confirmation, or with its first variant
    #[arg(long, env = "XFILES_PLACEHOLDERS", value_name = "WHEN", default_value = Placeholders::OnConfirm.as_str(), value_parser = placeholders())]
    placeholders: Placeholders,
    /// The background of JPEG variants of transparent images, as #rgb or #rrggbb; stored variants are not changed
    #[arg(long, env = "XFILES_JPEG_BACKGROUND", value_name = "COLOUR", default_value_t = Colour::WHITE)]
    jpeg_background: Colour,
    /// The memory limit of all images that are rendered at the same time; an image that needs more has no variants. The
    /// rest of the program takes up to 256 MiB more
    #[arg(long, env = "XFILES_RENDER_MEMORY", value_name = "SIZE", default_value = "512MiB", value_parser = render_memory)]
    render_memory: Bytes,
    /// Read all stored bytes and compare them with what was uploaded once in this many days, in the background; 0:
    /// never
    #[arg(long, env = "XFILES_SCRUB_DAYS", value_name = "DAYS", default_value_t = default_scrub_days())]
    scrub_days: u16,
    /// Allow webhooks to any address, also by http: on this machine, in this network
    #[arg(long, env = "XFILES_WEBHOOKS_ANYWHERE", value_parser = FalseyValueParser::new())]
    webhooks_anywhere: bool,
    /// Write the log as JSON lines
    #[arg(long, env = "XFILES_JSON_LOGS", value_parser = FalseyValueParser::new())]
    json_logs: bool,
    /// Print the first API key even where standard output is no terminal, as in a container's log
    #[arg(long, env = "XFILES_PRINT_KEY", value_parser = FalseyValueParser::new())]
    print_key: bool,
    /// Take settings from this TOML file; arguments and the environment go before it
    #[arg(long, env = "XFILES_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print a configuration file with every setting and what it means, and start nothing
    #[arg(long)]
    print_config: bool,
    /// While ready, keep a JSON file here with addresses and keys, readable by its owner only
    #[arg(long, env = "XFILES_READY_FILE", value_name = "PATH")]
    ready_file: Option<PathBuf>,
}

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// `program` is the command by which this program can be called from any directory.
pub(crate) fn run(args: &ServeArgs, program: &str, console: &mut Console<'_>) -> Result<Exit, Failure> {
    if args.print_config {
        console.result(config::template().trim_end())?;
        return Ok(Exit::Ok);
    }
    let addresses = Addresses::of(args)?;
    for warning in addresses.warnings() {
        console.note(format_args!("warning: {warning}"));
    }
    start_log(args.json_logs, console);
    wait(serve(args, program, console)).map(|()| Exit::Ok)
}

async fn serve(args: &ServeArgs, program: &str, console: &mut Console<'_>) -> Result<(), Failure> {
    let mut stop = Stop::listen().map_err(|error| unusable("cannot listen to signals", &error))?;
    let stack = tokio::select! {
        started = start(args) => started?,
        () = stop.asked() => return Ok(()),
    };
    let ready_file = args.ready_file.as_ref().map(|path| {
        ReadyFile::write(path, &ready(&stack))
            .map_err(|error| unusable(&format!("cannot write {}", path.display()), &error))
    });
    // Before a failure of the ready file is handled, because a new key is shown nowhere else.
    announce(args, program, &stack, console);
    let ready_file = ready_file.transpose()?;

    stop.asked().await;
    drop(ready_file);
    console.note("stopping; once more to stop at once");
    tokio::select! {
        () = stack.stop() => {}
        () = stop.asked() => {}
    }
    Ok(())
}

/// Starts the stack. A failed start restores the ready file, which may belong to a running server.
async fn start(args: &ServeArgs) -> Result<Stack, Failure> {
    let Some(path) = &args.ready_file else { return Ok(Stack::start(options(args)).await?) };
    let earlier =
        ReadyFile::take(path).map_err(|error| unusable(&format!("cannot remove {}", path.display()), &error))?;
    let started = Stack::start(options(args)).await;
    if let (Err(_), Some(bytes)) = (&started, earlier) {
        // The failure of the start is reported instead.
        drop(write_private(path, &bytes));
    }
    Ok(started?)
}

fn options(args: &ServeArgs) -> StackOptions {
    let data = if args.ephemeral { Data::Ephemeral } else { Data::Directory(args.data.clone()) };
    StackOptions {
        listen: args.listen,
        s3_listen: args.s3_listen,
        metrics_listen: args.metrics_listen.unwrap_or(MetricsListen::Near),
        connections: ConnectionLimits {
            max: args.max_connections,
            max_per_address: args.max_connections_per_address,
            proxies: args.proxy.clone(),
            ..ConnectionLimits::default()
        },
        public_url: args.public_url.clone(),
        s3_public_url: args.s3_public_url.clone(),
        quota_bytes: args.quota.0,
        rotate_signing_key: args.rotate_signing_key,
        auto_confirm: args.auto_confirm,
        placeholders: args.placeholders,
        scrub_every: Some(args.scrub_days).filter(|days| *days > 0).map(|days| DAY * u32::from(days)),
        jpeg_background: args.jpeg_background,
        upload_limits: UploadLimits { per_project: args.pending_uploads, per_key: args.pending_uploads_per_key },
        render_memory: args.render_memory.0,
        api: ApiOptions {
            requests_per_second: args.rate_limit,
            allowed_origins: args.allow_origin.iter().map(Origin::to_string).collect(),
            webhooks: if args.webhooks_anywhere { Reach::Anywhere } else { Reach::Public },
        },
        ..StackOptions::new(data)
    }
}

fn metrics_listen(text: &str) -> Result<MetricsListen, String> {
    if text == "off" {
        return Ok(MetricsListen::Off);
    }
    text.parse().map(MetricsListen::At).map_err(|_| "give an address such as 127.0.0.1:9187, or off".to_owned())
}

/// A memory limit that is sufficient for photographs.
fn render_memory(text: &str) -> Result<Bytes, String> {
    let size: Bytes = text.parse().map_err(|invalid: InvalidSize| invalid.to_string())?;
    let least = Bytes(StackOptions::LEAST_RENDER_MEMORY);
    if size.0 < least.0 { Err(format!("less than {least} is not enough for photographs")) } else { Ok(size) }
}

fn default_scrub_days() -> u16 {
    let days = StackOptions::DEFAULT_SCRUB.as_secs() / DAY.as_secs();
    u16::try_from(days).expect("the default is a few days")
}

/// The two names, for help and completions.
fn placeholders() -> impl TypedValueParser<Value = Placeholders> {
    let named = |name: String| Placeholders::ALL.into_iter().find(|when| when.as_str() == name);
    PossibleValuesParser::new(Placeholders::ALL.map(Placeholders::as_str))
        .map(move |name| named(name).expect("no other name is possible"))
}

/// Prints the addresses. A closed standard output does not stop a server.
fn announce(args: &ServeArgs, program: &str, stack: &Stack, console: &mut Console<'_>) {
    let project_id = stack.project().to_string();
    let running = Running {
        url: stack.url().as_str(),
        store_url: stack.s3_url().as_str(),
        metrics_url: stack.metrics_url().map(BaseUrl::as_str),
        bucket: BUCKET,
        data: (!args.ephemeral).then_some(args.data.as_path()),
        project_id: &project_id,
        program,
    };
    let first_key = stack.first_key().map(ApiKey::reveal);
    // What is printed elsewhere than on a terminal ends in a journal. An ephemeral key is worth nothing afterwards, and
    // without a ready file there is no other way to it.
    let shows_key = args.print_key || console.prints_to_terminal() || args.ephemeral && args.ready_file.is_none();
    let printed = match (first_key, console.is_quiet()) {
        (Some(key), true) if shows_key => console.result(key),
        (_, true) => Ok(()),
        (Some(key), false) if shows_key => {
            console.result(format_args!("{}\n\n{}", running.places(), running.first_steps(key)))
        }
        (Some(_), false) => {
            let place = running.place_of_key(args.ready_file.as_deref());
            console.result(format_args!("{}\n\n{place}", running.places()))
        }
        (None, false) => console.result(format_args!("{}\n\n{}", running.places(), running.new_key_hint())),
    };
    // A closed standard output does not stop a server.
    drop(printed);
}

fn ready(stack: &Stack) -> Ready<'_> {
    let credentials = stack.s3_credentials();
    Ready {
        url: stack.url().as_str(),
        cdn_url: stack.url().as_str(),
        metrics_url: stack.metrics_url().map(|url| format!("{url}/metrics")),
        project_id: stack.project(),
        api_key: stack.first_key().map(ApiKey::reveal),
        s3: ReadyStore {
            endpoint: stack.s3_url().as_str(),
            region: REGION,
            bucket: BUCKET,
            access_key_id: credentials.access_key_id(),
            secret_access_key: credentials.secret_access_key(),
        },
    }
}

/// Starts the log on standard error. Only the first call of a process has an effect.
fn start_log(json: bool, console: &Console<'_>) {
    // The SDK wants to close a connection after a failure, and logs that there is none, because the engines are in the
    // process.
    let connectionless = "aws_smithy_runtime::client::http::connection_poisoning=off";
    let filter = EnvFilter::new(format!("info,{connectionless},{LOG_DIRECTIVE}"));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    let started = if json { log.json().try_init() } else { log.with_ansi(console.colours_errors()).try_init() };
    // An error means that there is a log already.
    drop(started);
}

fn unusable(what: &str, error: &io::Error) -> Failure {
    Failure::new(Exit::Unavailable, format!("{what}: {}", os_text(error)))
}

/// Where the server listens and where clients find it, as far as the arguments say.
struct Addresses<'a> {
    listen: SocketAddr,
    s3_listen: SocketAddr,
    public_url: Option<&'a BaseUrl>,
    s3_public_url: Option<&'a BaseUrl>,
}

impl<'a> Addresses<'a> {
    /// Refuses a server that would hand out URLs that work on this machine only, though it listens for others.
    fn of(args: &'a ServeArgs) -> Result<Self, Failure> {
        let addresses = Self {
            listen: args.listen,
            s3_listen: args.s3_listen.unwrap_or(args.listen),
            public_url: args.public_url.as_ref(),
            s3_public_url: args.s3_public_url.as_ref(),
        };
        let Self { listen, s3_listen, public_url, s3_public_url } = addresses;
        let lacks = |address: SocketAddr, url: Option<&BaseUrl>| address.ip().is_unspecified() && url.is_none();
        let flag = match () {
            () if lacks(listen, public_url) => "--public-url",
            () if lacks(s3_listen, s3_public_url) => "--s3-public-url",
            () => return Ok(addresses),
        };
        let text = format!(
            "{flag} is missing: the server listens on all addresses of this machine, and cannot know which of them clients use"
        );
        Err(Failure::new(Exit::Usage, text).or_hint(
            "give --public-url and --s3-public-url, such as http://192.168.1.10:8787 and http://192.168.1.10:8788, or \
             listen on one address",
        ))
    }

    /// What works and is unwise.
    fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        let is_https = |url: &BaseUrl| url.as_str().starts_with("https:");
        if self.public_url.is_some_and(is_https) && self.s3_public_url.is_none_or(|url| !is_https(url)) {
            warnings.push(
                "--public-url is https and --s3-public-url is not: browsers refuse to upload from an https page to http"
                    .to_owned(),
            );
        }
        if !self.listen.ip().is_loopback() && self.public_url.is_none_or(|url| !is_https(url)) {
            warnings.push(format!(
                "the server listens on {} without https: API keys can be read on the way; put a proxy with TLS before it",
                self.listen.ip()
            ));
        }
        warnings
    }
}

/// The signals that ask for an end.
struct Stop {
    terminate: Signal,
    interrupt: Signal,
}

impl Stop {
    /// From here on the signals do not end the process by themselves.
    fn listen() -> io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// Waits for the next signal.
    async fn asked(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
