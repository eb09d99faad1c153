//! Tests of the data directory from an operator's perspective: a first start that is killed or raced, a lost part, and
//! `xf repair`.

use std::{
    fs,
    path::Path,
    process::{Child, Stdio},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

use super::{Client, PHOTO, SERVE, Server, assert_refused, run, xf};

/// The number of first starts that are killed, each a few milliseconds later than the one before.
const FIRST_STARTS: u64 = 20;

#[test]
fn a_first_start_that_is_killed_at_any_moment_can_be_repeated() {
    for number in 0..FIRST_STARTS {
        let folder = tempfile::tempdir().unwrap();
        let mut first = silent(folder.path(), "first.json");
        thread::sleep(Duration::from_millis(4 * number));
        first.kill().unwrap();
        first.wait().unwrap();
        let server = Server::start(folder.path());
        let client = Client::of(&server, server.ready["apiKey"].as_str().unwrap_or_default());
        if server.ready.get("apiKey").is_some() {
            assert_eq!(client.ask("GET", "/api/v1/files", None).status, 200);
        }
        assert_eq!(server.terminate(), Some(0), "killed after {} ms", 4 * number);
        Server::start(folder.path()).terminate();
    }
}

#[test]
fn one_of_two_concurrent_first_starts_serves_and_the_other_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let mut racers = ["one.json", "two.json"].map(|ready| silent(folder.path(), ready));
    let until = Instant::now() + Duration::from_secs(60);
    let refused = loop {
        let ended = racers.iter_mut().position(|racer| racer.try_wait().unwrap().is_some());
        if let Some(ended) = ended {
            break ended;
        }
        assert!(Instant::now() < until, "both run");
        thread::sleep(Duration::from_millis(5));
    };
    assert_eq!(racers[refused].wait().unwrap().code(), Some(7));
    assert!(racers[1 - refused].try_wait().unwrap().is_none(), "the other serves");
    racers[1 - refused].kill().unwrap();
    racers[1 - refused].wait().unwrap();
    assert_eq!(Server::start(folder.path()).terminate(), Some(0));
}

fn silent(folder: &Path, ready: &str) -> Child {
    let arguments = ["serve", "--listen", "127.0.0.1:0", "--ready-file", ready];
    xf(folder).args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

#[test]
fn a_lost_index_is_refused_with_a_remedy_and_a_repair_restores_every_file() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path());
    let mut upload = xf(folder.path());
    upload.args(["upload", "--json", "--public", "--url", server.text("url"), PHOTO]);
    let (code, uploaded, said) = run(upload.env("XFILES_API_KEY", server.text("apiKey")));
    assert_eq!(code, Some(0), "{said}");
    let uploaded: Value = serde_json::from_str(&uploaded).unwrap();
    let url = uploaded[0]["file"]["url"].as_str().or_else(|| uploaded[0]["url"].as_str()).unwrap();
    let path = url.strip_prefix(server.text("cdnUrl")).unwrap().to_owned();
    assert_eq!(server.terminate(), Some(0));

    let data = folder.path().join(".xfiles");
    let index = data.join("objects/index.sqlite3");
    assert!(!data.join("objects/index.sqlite3-wal").exists() && !data.join("table.db-wal").exists());
    let needless = run(xf(folder.path()).args(["repair"]));
    assert!(needless.0 == Some(0) && needless.1.contains("nothing to repair"), "{needless:?}");
    let whole = fs::read(&index).unwrap();
    fs::write(&index, b"").unwrap();
    assert_refused(xf(folder.path()).args(SERVE), "objects/index.sqlite3 is empty");
    assert_refused(xf(folder.path()).args(SERVE), "xf repair --data");
    assert_refused(xf(folder.path()).args(["keys", "create", "--data", ".xfiles"]), "is empty");

    let (code, plan, _) = run(xf(folder.path()).args(["repair", "--dry-run"]));
    assert!(code == Some(0) && plan.contains("to do:") && plan.contains("found by their bytes"), "{plan}");
    let (code, _, said) = run(xf(folder.path()).args(["repair"]));
    assert!(code == Some(2) && said.contains("--yes"), "{said}");
    assert_eq!(fs::read(&index).unwrap(), b"");
    let (code, report, said) = run(xf(folder.path()).args(["repair", "--yes", "--json"]));
    assert_eq!(code, Some(0), "{said}");
    let report: Value = serde_json::from_str(&report).unwrap();
    assert_eq!((&report["done"], &report["filesWithoutBytes"]), (&true.into(), &Value::Array(Vec::new())), "{report}");

    let server = Server::start(folder.path());
    let client = Client::of(&server, "");
    let answer = client.read(&path);
    assert!(answer.status == 200 && answer.body == fs::read(PHOTO).unwrap());
    assert_refused(xf(folder.path()).args(["repair", "--yes"]), "in use by another process");
    assert_eq!(server.terminate(), Some(0));
    assert_ne!(fs::read(&index).unwrap(), whole);
}

#[test]
fn a_repair_of_a_directory_without_data_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    assert_refused(xf(folder.path()).args(["repair", "--yes"]), "it was never used by `xf serve`");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}
