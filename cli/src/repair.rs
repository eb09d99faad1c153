//! `xf repair`: repairs a data directory that `xf serve` refuses. It uses no server, and none may run on the directory.

use std::path::PathBuf;

use serde_json::json;
use xfiles_standalone::custody::{
    CustodyError,
    repair::{Repair, RepairError, Report},
};

use crate::{
    failure::{Exit, Failure},
    output::{Console, printable},
    wait,
};

/// Repair a stopped data directory that `xf serve` refuses; on a terminal it asks first
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  xf repair --dry-run
  xf repair --data /var/lib/xfiles --yes

If you have a backup, prefer `xf restore`, which loses only the changes after it. A repair uses the remaining parts. It \
rebuilds a lost object index from the records and the bytes, and lost records from the index; it can accept an outdated \
part, and create new keys. It reports what cannot be recovered. Variants are rendered again on request.

It deletes nothing. Replaced files are moved to `set-aside/`, and bytes that no record refers to are moved to \
`objects/unclaimed/`, both in the data directory; remove them when you no longer need them.")]
pub(crate) struct RepairArgs {
    /// The data directory of `xf serve`
    #[arg(long, value_name = "DIR", default_value = "./.xfiles")]
    data: PathBuf,
    /// Only show what would be done and what would be lost
    #[arg(long)]
    dry_run: bool,
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
    /// Print the report as JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &RepairArgs, console: &mut Console<'_>) -> Result<Exit, Failure> {
    let repair = Repair::plan(&args.data)?;
    if args.dry_run || repair.is_needless() {
        show(repair.report(), args, false, console)?;
        return Ok(Exit::Ok);
    }
    if !args.yes {
        // The report is shown before the question; with --json, standard output contains only one value.
        console.note(text(repair.report(), false));
    }
    console.agree(args.yes, "Do this?", "nothing was changed")?;
    let report = wait(async { Ok(repair.carry_out().await?) })?;
    show(&report, args, true, console)?;
    Ok(Exit::Ok)
}

fn show(report: &Report, args: &RepairArgs, done: bool, console: &mut Console<'_>) -> Result<(), Failure> {
    if args.json {
        let ids: Vec<&str> = report.without_bytes.iter().map(|id| id.as_str()).collect();
        return console.json(&json!({
            "found": report.found, "steps": report.steps, "lost": report.lost, "done": done,
            "filesWithoutBytes": ids, "unclaimedBlobs": report.unclaimed, "readmittedFiles": report.readmitted,
        }));
    }
    console.result(text(report, done))
}

fn text(report: &Report, done: bool) -> String {
    if report.found.is_empty() {
        return "the data directory is complete: nothing to repair".to_owned();
    }
    let ids = report.without_bytes.iter().map(ToString::to_string).collect();
    let lists = [
        ("found", &report.found),
        (if done { "done" } else { "to do" }, &report.steps),
        (if done { "lost" } else { "would be lost, or is lost already" }, &report.lost),
        ("published files without bytes", &ids),
    ];
    let mut lines = Vec::new();
    for (heading, items) in lists.into_iter().filter(|(_, items)| !items.is_empty()) {
        lines.push(format!("{heading}:"));
        lines.extend(items.iter().map(|item| format!("  - {}", printable(item))));
    }
    lines.join("\n")
}

impl From<RepairError> for Failure {
    fn from(error: RepairError) -> Self {
        let exit = match error {
            RepairError::Custody(CustodyError::Locked { .. } | CustodyError::Io { .. })
            | RepairError::NoData(_)
            | RepairError::Failed(..) => Exit::Unavailable,
            RepairError::Custody(_) | RepairError::Hopeless(_) | RepairError::Records(_) => Exit::Failed,
        };
        Self::new(exit, crate::failure::without_os_number(&error.to_string()))
    }
}
