//! `xf cleanup`: runs the cleanup by hand.

use std::collections::BTreeSet;

use serde_json::json;
use xfiles_api_types::running::CleanupDone;

use crate::{
    args::ServerArgs,
    client::Client,
    failure::{Exit, Failure},
    output::{Console, printable_line},
    retry::with_retries,
    units::Bytes,
};

/// Let the server finish interrupted work: expired uploads, publications and deletions
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  xf cleanup --dry-run
  xf cleanup --report
  xf cleanup
  xf cleanup --json | jq .settled

A running server does this every minute by itself. The command needs a running server and a key with the scope admin, and \
covers all projects.")]
pub(crate) struct CleanupArgs {
    /// Only show what is overdue
    #[arg(long)]
    dry_run: bool,
    /// Only compare the bucket with the records and the records with the quota
    #[arg(long, conflicts_with = "dry_run")]
    report: bool,
    /// Print the report as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerArgs,
}

pub(crate) fn run(args: &CleanupArgs, console: &mut Console<'_>) -> Result<Exit, Failure> {
    let client = Client::new(&args.server)?;
    match (args.report, args.dry_run) {
        (true, _) => compare(args, &client, console),
        (false, true) => show(args, &client, console),
        (false, false) => clean(args, &client, console),
    }
}

fn clean(args: &CleanupArgs, client: &Client, console: &mut Console<'_>) -> Result<Exit, Failure> {
    let (settled, failed, more) = in_rounds(|| with_retries(|| client.clean_up()))?;
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

/// Sweeps until nothing is left to do: how many records were settled, which were not, and whether there is more.
fn in_rounds(
    mut sweep: impl FnMut() -> Result<CleanupDone, Failure>,
) -> Result<(u64, BTreeSet<String>, bool), Failure> {
    let (mut settled, mut failed) = (0, BTreeSet::new());
    loop {
        let round = sweep()?;
        settled += round.settled;
        // Failed records remain overdue and would fail in every further round.
        let stuck = round.settled == 0 && !round.failed.is_empty();
        failed.extend(round.failed);
        if !round.more || stuck {
            return Ok((settled, failed, round.more));
        }
    }
}

/// Exits with a failure if there are differences, so that scripts notice them.
fn compare(args: &CleanupArgs, client: &Client, console: &mut Console<'_>) -> Result<Exit, Failure> {
    let answer = with_retries(|| client.reconciliation())?;
    let report = &answer.value.report;
    if args.json {
        console.json(&answer.raw)?;
    } else {
        for orphan in &report.orphans {
            console.result(format_args!("no record refers to {}", printable_line(&orphan.key)))?;
        }
        for id in &report.missing {
            console.result(format_args!("file {} has no bytes", printable_line(id)))?;
        }
        for id in &report.damaged {
            console.result(format_args!("the bytes of file {} are damaged", printable_line(id)))?;
        }
        for drift in &report.drifts {
            let project = printable_line(&drift.project_id);
            console.result(format_args!("project {project} has {} bytes too few free", drift.missing_bytes))?;
        }
        let more = if report.more { ", and there are more" } else { "" };
        console.note(format_args!(
            "{} objects and {} files checked{more}; nothing was changed",
            report.objects, report.records
        ));
    }
    let bytes_agree = report.orphans.is_empty() && report.missing.is_empty() && report.damaged.is_empty();
    let agrees = bytes_agree && report.drifts.is_empty();
    Ok(if agrees { Exit::Ok } else { Exit::Failed })
}

fn show(args: &CleanupArgs, client: &Client, console: &mut Console<'_>) -> Result<Exit, Failure> {
    let answer = with_retries(|| client.overdue())?;
    if args.json {
        console.json(&answer.raw)?;
        return Ok(Exit::Ok);
    }
    let overdue = &answer.value.overdue;
    for file in overdue {
        let (id, state) = (printable_line(file.id.as_str()), printable_line(file.state.as_str()));
        console.result(format_args!("{id}  {state}  {}", Bytes(file.size)))?;
    }
    let more = if answer.value.more { " or more" } else { "" };
    console.note(format_args!("{}{more} overdue; nothing was changed", overdue.len()));
    Ok(Exit::Ok)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(rounds: &[(u64, &[&str], bool)]) -> (u64, Vec<String>, bool) {
        let mut rounds = rounds.iter().copied();
        let swept = in_rounds(|| {
            let (settled, failed, more) = rounds.next().expect("another round");
            Ok(CleanupDone { settled, failed: failed.iter().map(|id| (*id).to_owned()).collect(), more })
        });
        assert!(rounds.next().is_none(), "it stopped early");
        let (settled, failed, more) = swept.unwrap_or_else(|failure| panic!("{}", failure.detail()));
        (settled, failed.into_iter().collect(), more)
    }

    #[test]
    fn it_repeats_while_there_is_more_and_sums_the_reports() {
        assert_eq!(run(&[(0, &[], false)]), (0, vec![], false));
        let rounds: &[(u64, &[&str], bool)] = &[(1000, &["a"], true), (0, &[], true), (5, &["a", "b"], false)];
        assert_eq!(run(rounds), (1005, vec!["a".to_owned(), "b".to_owned()], false));
    }

    #[test]
    fn it_stops_when_all_remaining_records_fail() {
        assert_eq!(run(&[(1, &[], true), (0, &["a"], true)]), (1, vec!["a".to_owned()], true));
    }
}
