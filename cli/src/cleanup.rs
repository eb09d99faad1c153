//! `xf cleanup`: the scheduled cleanup by hand, on a data directory on which no server runs.

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use serde_json::{Value, json};
use xfiles_core::{file::File, lifecycle::Sweep};
use xfiles_standalone::{Data, Stack, StackOptions, StartError, open_catalog};

use crate::{
    args::DataArgs,
    failure::{Exit, Failure},
    output::Console,
    units::Bytes,
    wait,
};

/// Finish what was begun and never finished: expired uploads, interrupted publications and deletions
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  xf cleanup --dry-run
  xf cleanup --data /var/lib/xfiles

A running server does this by itself every minute and holds its data directory; this is for a stopped one.")]
pub(crate) struct CleanupArgs {
    /// Only show what is overdue
    #[arg(long)]
    dry_run: bool,
    /// Print the report as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    data: DataArgs,
}

/// How many overdue records a dry run shows.
const SHOWN: usize = 1000;
/// How many records a run tries, and how long it takes on new ones: about what a person waits for.
const TRIED: u64 = 100_000;
const TIME: Duration = Duration::from_secs(60);

pub(crate) fn run(args: &CleanupArgs, console: &mut Console<'_>) -> Result<Exit, Failure> {
    wait(async {
        let stack = start(args).await?;
        let ended = if args.dry_run { show(args, &stack, console).await } else { clean(args, &stack, console).await };
        stack.stop().await;
        ended
    })
}

/// The stack on ports that nobody is told.
async fn start(args: &CleanupArgs) -> Result<Stack, Failure> {
    let data = &args.data.data;
    // A start would make whatever is missing; a mistyped directory must not become a data directory.
    drop(open_catalog(data).await?);
    let options = StackOptions {
        listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        cleanup_every: None,
        ..StackOptions::new(Data::Directory(data.clone()))
    };
    Stack::start(options).await.map_err(|error| match error {
        StartError::Locked { .. } => Failure::new(Exit::Unavailable, format!("{} is in use", data.display()))
            .or_hint("a running server cleans up by itself every minute; stop it to do so by hand"),
        other => other.into(),
    })
}

async fn clean(args: &CleanupArgs, stack: &Stack, console: &mut Console<'_>) -> Result<Exit, Failure> {
    let Sweep { settled, failed, more } = stack.files().sweep(TRIED, TIME).await?;
    if args.json {
        console.json(&json!({"settled": settled, "failed": failed, "more": more}))?;
    } else {
        console.result(format_args!("{settled} finished, {} failed", failed.len()))?;
    }
    if more {
        console.note("there is more to do: run it again");
    }
    Ok(if failed.is_empty() { Exit::Ok } else { Exit::Failed })
}

async fn show(args: &CleanupArgs, stack: &Stack, console: &mut Console<'_>) -> Result<Exit, Failure> {
    let overdue = stack.files().overdue(SHOWN).await?;
    if args.json {
        console.json(&overdue.iter().map(to_json).collect())?;
        return Ok(Exit::Ok);
    }
    for file in &overdue {
        console.result(format_args!("{}  {}  {}", file.id, file.state.as_str(), Bytes(file.size.bytes())))?;
    }
    let more = if overdue.len() == SHOWN { " or more" } else { "" };
    console.note(format_args!("{}{more} overdue; nothing was changed", overdue.len()));
    Ok(Exit::Ok)
}

fn to_json(file: &File) -> Value {
    json!({"id": file.id, "projectId": file.project, "state": file.state.as_str(), "size": file.size.bytes(),
        "dueAt": file.due})
}
