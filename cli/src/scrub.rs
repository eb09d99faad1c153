//! `xf scrub`: compares all bytes in a data directory with what was uploaded.

use std::path::PathBuf;

use serde_json::json;
use xfiles_core::clock::Clock;
use xfiles_standalone::s3::{DamagedBlob, ScrubError, scrub};

use crate::{
    failure::{Exit, Failure, os_text},
    output::{Console, printable_line},
    progress::Bars,
    units::Bytes,
};

/// Read all stored bytes of a data directory and compare them with what was uploaded
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  xf scrub
  xf scrub --data /var/lib/xfiles
  xf scrub --json | jq -r '.damaged[].path'

It needs no key, only the data directory; a server may be running on it. A server does the same slowly in the background \
(`xf serve --scrub-days`). Damaged objects are not served until they are repaired: restore the blob's file from a \
backup to the printed path, and run this command again. The exit code is 1 if anything is damaged.")]
pub(crate) struct ScrubArgs {
    /// The data directory of `xf serve`
    #[arg(long, value_name = "DIR", default_value = "./.xfiles")]
    data: PathBuf,
    /// Print the report as JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &ScrubArgs, console: &mut Console<'_>) -> Result<Exit, Failure> {
    let bars = Bars::new(console.shows_progress());
    let bar = bars.start("scrub", 0);
    bar.phase("reading");
    let report = scrub(&args.data, &Clock::system(), |read, total| bar.reach(read, total));
    drop(bar);
    let report = report.map_err(|error| failure(&error))?;
    if args.json {
        let damaged: Vec<_> = report.damaged.iter().map(as_json).collect();
        console.json(&json!({
            "blobs": report.blobs, "bytes": report.bytes, "damaged": damaged, "healed": report.healed,
        }))?;
    } else {
        for blob in &report.damaged {
            for key in &blob.keys {
                let path = blob.path.to_string_lossy();
                console.result(format_args!(
                    "{}: {} ({}, {})",
                    printable_line(key),
                    blob.damage.describe(),
                    printable_line(&path),
                    Bytes(blob.size)
                ))?;
            }
        }
        if report.healed > 0 {
            console.note(format_args!("{} repaired and served again", report.healed));
        }
        let damaged = report.damaged.len();
        console.note(format_args!("{} blobs read, {}; {damaged} damaged", report.blobs, Bytes(report.bytes)));
    }
    Ok(if report.damaged.is_empty() { Exit::Ok } else { Exit::Failed })
}

fn as_json(blob: &DamagedBlob) -> serde_json::Value {
    json!({
        "blob": blob.blob, "path": blob.path.to_string_lossy(), "damage": blob.damage.as_str(), "size": blob.size,
        "keys": blob.keys,
    })
}

fn failure(error: &ScrubError) -> Failure {
    match error {
        ScrubError::NoStore { .. } | ScrubError::Index(_) | ScrubError::Custody(_) => {
            Failure::new(Exit::Unavailable, error.to_string())
        }
        ScrubError::Disk(source) => {
            Failure::new(Exit::Failed, format!("the object store's files cannot be read: {}", os_text(source)))
        }
    }
}
