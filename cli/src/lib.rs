//! The `xf` command: `xf serve` runs XFiles on one machine, the other commands are a client of its API.
//!
//! It is a library so that tests can call [`run`] with arguments and read its output. It owns arguments, exit codes and
//! output. Decisions about files are made by the server.
#![warn(missing_docs)]

mod args;
mod aws;
mod backup;
mod cleanup;
mod client;
mod completions;
mod doctor;
mod download;
mod failure;
mod files;
mod health;
mod keys;
mod media_type;
mod open;
mod output;
mod progress;
mod projects;
mod repair;
mod retry;
mod scrub;
mod serve;
mod unfinished;
mod units;
mod update;
mod upload;
mod webhooks;

use std::{
    ffi::{OsStr, OsString},
    path::Path,
    time::Duration,
};

use clap::{CommandFactory as _, FromArgMatches as _, Parser as _};
use tokio::runtime::Runtime;

use crate::{
    args::{Cli, Command},
    failure::{Failure, os_text},
    output::shell_word,
};
pub use crate::{failure::Exit, output::Console};

/// Runs the command of `arguments`, whose first item is the program's name, and returns its exit code. All output goes
/// to `console`, except progress bars and the server's log, which go to the process's terminal.
pub fn run(arguments: impl IntoIterator<Item = OsString>, console: &mut Console<'_>) -> Exit {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let cli = match parse(&arguments) {
        Ok(Ok(cli)) => cli,
        Ok(Err(answer)) => return console.usage(&answer),
        Err(failure) => {
            console.failure(&failure, None);
            return failure.exit();
        }
    };
    console.set_quiet(cli.quiet);
    let program = arguments.first().map_or_else(|| "xf".to_owned(), |name| callable(name));
    match carry_out(cli.command, &program, console) {
        Ok(exit) => exit,
        Err(failure) => {
            console.failure(&failure, None);
            failure.exit()
        }
    }
}

/// The command line, with what the configuration file of a server adds to it.
fn parse(arguments: &[OsString]) -> Result<Result<Cli, clap::Error>, Failure> {
    let matches = match Cli::command().try_get_matches_from(arguments) {
        Ok(matches) => matches,
        Err(answer) => return Ok(Err(answer)),
    };
    let added = match matches.subcommand() {
        Some(("serve", serve)) => serve::config::arguments(serve)?,
        _ => Vec::new(),
    };
    if added.is_empty() {
        return Ok(Cli::from_arg_matches(&matches));
    }
    Ok(Cli::try_parse_from(arguments.iter().cloned().chain(added)))
}

/// The command by which this program can be called from any directory, as one word for a shell.
fn callable(name: &OsStr) -> String {
    let on_path = Path::new(name).components().count() == 1;
    let path = std::env::current_exe().ok().filter(|_| !on_path);
    shell_word(&path.map_or_else(|| name.to_string_lossy().into_owned(), |path| path.to_string_lossy().into_owned()))
}

fn carry_out(command: Command, program: &str, console: &mut Console<'_>) -> Result<Exit, Failure> {
    match command {
        Command::Serve(args) => serve::run(&args, program, console),
        Command::Upload(args) => upload::run(&args, console),
        Command::Ls(args) => files::list(&args, console),
        Command::Get(args) => files::get(&args, console),
        Command::Download(args) => download::run(&args, console),
        Command::Url(args) => files::url(&args, console),
        Command::Open(args) => open::run(&args, console),
        Command::Update(args) => update::run(&args, console),
        Command::Rm(args) => files::remove(&args, console),
        Command::Usage(args) => projects::usage(&args, console),
        Command::Projects(args) => projects::run(&args, console),
        Command::Keys(args) => keys::run(&args, console),
        Command::Webhooks(args) => webhooks::run(&args, console),
        Command::Cleanup(args) => cleanup::run(&args, console),
        Command::Backup(args) => backup::run(&args, console),
        Command::Restore(args) => backup::restore(&args, console),
        Command::Scrub(args) => scrub::run(&args, console),
        Command::Health(args) => health::run(&args, console),
        Command::Doctor(args) => doctor::run(&args, console),
        Command::Repair(args) => repair::run(&args, console),
        Command::Deploy(args) => aws::deploy(&args, console),
        Command::Status(args) => aws::status(&args, console),
        Command::Destroy(args) => aws::destroy(&args, console),
        Command::Completions(args) => completions::print(&args, console),
    }
}

/// Runs asynchronous work. Tasks that it leaves running are dropped a second later.
fn wait<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = Runtime::new();
    let runtime =
        runtime.map_err(|error| Failure::new(Exit::Unavailable, format!("no threads: {}", os_text(&error))))?;
    let done = runtime.block_on(work);
    runtime.shutdown_timeout(Duration::from_secs(1));
    done
}
