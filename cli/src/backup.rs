//! `xf backup` and `xf restore`.

use std::{num::NonZeroUsize, path::PathBuf};

use serde_json::json;
use xfiles_core::clock::Clock;
use xfiles_standalone::backup::{
    BackupError, LostBlob, Progress, back_up, restore as restore_snapshot, snapshots, verify,
};

use crate::{
    failure::{Exit, Failure, os_text},
    output::{Console, printable_line, table},
    progress::{Bar, Bars},
    units::Bytes,
};

/// Back up a data directory, served or stopped, or verify a backup
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  xf backup /mnt/backup --data /var/lib/xfiles
  xf backup /mnt/backup --data /var/lib/xfiles --keep 14
  xf backup --list /mnt/backup
  xf backup --verify /mnt/backup

It needs no key and no server, only the data directory; a server may be running on it. A backup contains one consistent \
instant, with every change acknowledged before the start. Files that an earlier backup in the same directory contains are \
not copied again; every copy is compared with its hash and read back. An interrupted backup leaves the earlier ones \
unchanged. Bytes that the store itself has lost are listed, and the exit code is then 1.")]
pub(crate) struct BackupArgs {
    /// The directory of the backups, on another disk; created if it does not exist
    #[arg(value_name = "DEST")]
    destination: PathBuf,
    /// The data directory of `xf serve`
    #[arg(long, value_name = "DIR", default_value = "./.xfiles", conflicts_with_all = ["verify", "list"])]
    data: PathBuf,
    /// After the backup, keep only the newest N [default: all]
    #[arg(long, value_name = "N", conflicts_with_all = ["verify", "list"])]
    keep: Option<NonZeroUsize>,
    /// Make no backup: read all backups in DEST and compare every byte with its hash
    #[arg(long, conflicts_with = "list")]
    verify: bool,
    /// Make no backup: list the backups in DEST
    #[arg(long)]
    list: bool,
    /// With --verify, only this backup, by its name or number
    #[arg(long, value_name = "NAME", requires = "verify")]
    snapshot: Option<String>,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

/// Restore a backup into a data directory
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  xf restore /mnt/backup --data /var/lib/xfiles
  xf restore /mnt/backup --snapshot 000012-20261127T030000Z --data ./restored
  xf serve --data ./restored

Every byte is compared with its hash. The data directory must be empty or must not exist. If a restore is interrupted, \
run the same command again; no server starts on an incomplete restore.")]
pub(crate) struct RestoreArgs {
    /// The directory of the backups
    #[arg(value_name = "DEST")]
    destination: PathBuf,
    /// The data directory to create
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// The backup to restore, by its name or number [default: the newest]
    #[arg(long, value_name = "NAME")]
    snapshot: Option<String>,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &BackupArgs, console: &mut Console<'_>) -> Result<Exit, Failure> {
    match (args.list, args.verify) {
        (true, _) => list(args, console),
        (false, true) => check(args, console),
        (false, false) => make(args, console),
    }
}

fn make(args: &BackupArgs, console: &mut Console<'_>) -> Result<Exit, Failure> {
    let bar = bar(console, "backup", "copying");
    let made = back_up(&args.data, &args.destination, args.keep, &Clock::system(), |at| show(&bar, at));
    drop(bar);
    let made = made.map_err(|error| failure(&error))?;
    if args.json {
        console.json(&json!({
            "snapshot": made.snapshot, "blobs": made.blobs, "bytes": made.bytes, "copiedBlobs": made.copied_blobs,
            "copiedBytes": made.copied_bytes, "lost": lost_json(&made.lost), "removedSnapshots": made.removed_snapshots,
        }))?;
    } else {
        console.result(&made.snapshot)?;
        console.note(format_args!(
            "{} blobs, {}; {} copied, {}",
            made.blobs,
            Bytes(made.bytes),
            made.copied_blobs,
            Bytes(made.copied_bytes)
        ));
        if made.removed_snapshots > 0 {
            console.note(format_args!("{} older backups removed", made.removed_snapshots));
        }
    }
    Ok(report_lost(
        &made.lost,
        "the store has lost these, so the backup does not contain them; see `xf scrub`",
        console,
    ))
}

fn check(args: &BackupArgs, console: &mut Console<'_>) -> Result<Exit, Failure> {
    let bar = bar(console, "backup", "reading");
    let checked = verify(&args.destination, args.snapshot.as_deref(), |at| show(&bar, at));
    drop(bar);
    let checked = checked.map_err(|error| failure(&error))?;
    if args.json {
        let fault = |fault: &xfiles_standalone::backup::Fault| json!({"snapshot": fault.snapshot, "path": fault.path.to_string_lossy(), "reason": fault.reason});
        console.json(&json!({
            "snapshots": checked.snapshots, "blobs": checked.blobs, "bytes": checked.bytes, "lost": checked.lost,
            "faults": checked.faults.iter().map(fault).collect::<Vec<_>>(),
        }))?;
    } else {
        for fault in &checked.faults {
            let (path, snapshot) = (fault.path.to_string_lossy(), printable_line(&fault.snapshot));
            console.result(format_args!("{snapshot}: {}: {}", printable_line(&path), printable_line(&fault.reason)))?;
        }
        console.note(format_args!(
            "{} backups read, {} blobs, {}; {} damaged",
            checked.snapshots,
            checked.blobs,
            Bytes(checked.bytes),
            checked.faults.len()
        ));
        if checked.lost > 0 {
            console.note(format_args!("{} blobs had been lost before they were backed up", checked.lost));
        }
    }
    Ok(if checked.faults.is_empty() { Exit::Ok } else { Exit::Failed })
}

fn list(args: &BackupArgs, console: &mut Console<'_>) -> Result<Exit, Failure> {
    let found = snapshots(&args.destination).map_err(|error| failure(&error))?;
    if args.json {
        let snapshot = |s: &xfiles_standalone::backup::Snapshot| json!({"name": s.name, "takenAt": s.taken_at, "blobs": s.blobs, "bytes": s.bytes, "lost": s.lost});
        console.json(&found.iter().map(snapshot).collect())?;
    } else if found.is_empty() {
        console.note("no backups");
    } else {
        let rows: Vec<_> = found
            .iter()
            .map(|s| {
                let (name, at) = (printable_line(&s.name), printable_line(&s.taken_at));
                [name, at, s.blobs.to_string(), Bytes(s.bytes).to_string()]
            })
            .collect();
        console.result(table(["NAME", "TAKEN", "BLOBS", "SIZE"], &rows))?;
    }
    Ok(Exit::Ok)
}

pub(crate) fn restore(args: &RestoreArgs, console: &mut Console<'_>) -> Result<Exit, Failure> {
    let bar = bar(console, "restore", "copying");
    let restored = restore_snapshot(&args.destination, args.snapshot.as_deref(), &args.data, |at| show(&bar, at));
    drop(bar);
    let restored = restored.map_err(|error| failure(&error))?;
    if args.json {
        console.json(&json!({
            "snapshot": restored.snapshot, "takenAt": restored.taken_at, "blobs": restored.blobs,
            "bytes": restored.bytes, "lost": lost_json(&restored.lost),
        }))?;
    } else {
        console.result(&restored.snapshot)?;
        console.note(format_args!("{} blobs, {}", restored.blobs, Bytes(restored.bytes)));
    }
    Ok(report_lost(&restored.lost, "the backup does not contain these; requests for their files will fail", console))
}

fn bar(console: &Console<'_>, name: &str, phase: &'static str) -> Bar {
    let bar = Bars::new(console.shows_progress()).start(name, 0);
    bar.phase(phase);
    bar
}

fn show(bar: &Bar, Progress { done, total }: Progress) {
    bar.reach(done, total);
}

/// Lost blobs are a failure, so that scripts notice them.
fn report_lost(lost: &[LostBlob], what: &str, console: &mut Console<'_>) -> Exit {
    if lost.is_empty() {
        return Exit::Ok;
    }
    for blob in lost {
        console.note(format_args!("{}: {}", printable_line(&blob.blob), printable_line(&blob.damage)));
    }
    console.failure(&Failure::new(Exit::Failed, format!("{} blobs: {what}", lost.len())), None);
    Exit::Failed
}

fn lost_json(lost: &[LostBlob]) -> serde_json::Value {
    lost.iter().map(|blob| json!({"blob": blob.blob, "damage": blob.damage})).collect()
}

fn failure(error: &BackupError) -> Failure {
    match error {
        BackupError::Refused(_) => Failure::new(Exit::Unavailable, error.to_string()),
        BackupError::NoSnapshot(_) => Failure::new(Exit::NotFound, error.to_string()),
        BackupError::Damaged { .. } => Failure::new(Exit::Failed, error.to_string()),
        BackupError::Disk { path, source } => {
            Failure::new(Exit::Unavailable, format!("{}: {}", path.display(), os_text(source)))
        }
    }
}
