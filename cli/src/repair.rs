//! `xf repair`: makes a data directory whole that `xf serve` refuses. It asks no server, and none may run on it.

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

/// Make a stopped data directory whole again that `xf serve` refuses; on a terminal it asks first
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  xf repair --dry-run
  xf repair --data /var/lib/xfiles --yes

Prefer a backup if you have one: `xf restore` loses only what came after it. A repair uses what is left. It makes a lost \
object index again from the records and from the bytes themselves, and lost records again from the index; it can accept \
a part of an earlier time, and make new keys. It says what cannot be recovered. Variants are made again when they are \
asked for.

It deletes nothing. What it replaces is in `set-aside/` afterwards, and bytes that nothing claims are in \
`objects/unclaimed/`, both in the data directory; remove them when you are sure.")]
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
        // What is agreed to is seen before; with --json, standard output has one value only.
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
        return "the data directory is whole: nothing to repair".to_owned();
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
