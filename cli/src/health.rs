//! `xf health`: whether a server is ready, for the health check of a container without other programs.

use crate::{
    args::ServerUrl,
    client::is_ready,
    failure::{Exit, Failure},
    output::Console,
};

/// Ask a server whether it is ready; it needs no key
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  xf health
  xf health --url https://files.example.com && echo ready

It reads /readyz. The exit code is 0 if the server and its stores answer, 1 if they do not, 3 without an answer.")]
pub(crate) struct HealthArgs {
    /// The server's address
    #[arg(long, env = "XFILES_URL", value_name = "URL", default_value = "http://127.0.0.1:8787")]
    url: ServerUrl,
}

pub(crate) fn run(args: &HealthArgs, console: &mut Console<'_>) -> Result<Exit, Failure> {
    is_ready(&args.url)?;
    console.result("ready")?;
    Ok(Exit::Ok)
}
