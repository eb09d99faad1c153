//! Backups of a server under load are killed and restored: every change acknowledged before is present byte for byte,
//! and others are complete or absent.

use std::{
    collections::BTreeSet,
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Stdio},
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;
use xfiles_standalone::{BUCKET, Data, Stack, StackOptions};

use super::{Client, SERVE, Server, assert_refused, killed, run, xf};

/// The number of concurrent clients.
const CLIENTS: usize = 3;

/// Longer than any step of these tests.
const PATIENCE: Duration = Duration::from_secs(120);

/// A file whose confirmation was acknowledged.
#[derive(Clone)]
struct Acknowledged {
    id: String,
    path: String,
    bytes: Vec<u8>,
    deletion: Deletion,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Deletion {
    Never,
    Asked,
    Done,
}

/// The changes that the clients know to be acknowledged.
#[derive(Default)]
struct Ledger(Mutex<Vec<Acknowledged>>);

impl Ledger {
    fn now(&self) -> Vec<Acknowledged> {
        self.0.lock().unwrap().clone()
    }

    fn len(&self) -> usize {
        self.0.lock().unwrap().len()
    }

    fn add(&self, file: Acknowledged) -> usize {
        let mut files = self.0.lock().unwrap();
        files.push(file);
        files.len() - 1
    }

    /// Records that a file's deletion is requested. `None` if another client has requested it.
    fn take_for_deletion(&self, index: usize) -> Option<String> {
        let mut files = self.0.lock().unwrap();
        let file = &mut files[index];
        (file.deletion == Deletion::Never).then(|| {
            file.deletion = Deletion::Asked;
            file.id.clone()
        })
    }

    fn note(&self, index: usize, deletion: Deletion) {
        self.0.lock().unwrap()[index].deletion = deletion;
    }
}

/// Uploads a text, occasionally a large one, and adds it to the ledger.
fn upload(client: &Client, ledger: &Ledger, number: u64) -> usize {
    let parts = if number.is_multiple_of(5) { 50_000 } else { 1 + usize::try_from(number % 97).unwrap() };
    upload_of(client, ledger, number, parts)
}

/// Uploads enough that copying it takes a while.
fn upload_much(client: &Client, ledger: &Ledger) {
    for number in 1_000_000..1_000_006 {
        upload_of(client, ledger, number, 500_000);
    }
}

fn upload_of(client: &Client, ledger: &Ledger, number: u64, parts: usize) -> usize {
    let bytes = format!("number {number}, ").repeat(parts).into_bytes();
    let intent = client.intent(&format!("{number}.txt"), bytes.len());
    assert_eq!(intent.status, 200, "{}", intent.json());
    assert_eq!(client.put(intent.json()["uploadUrl"].as_str().unwrap(), &bytes), 200);
    let id = intent.json()["fileId"].as_str().unwrap().to_owned();
    let confirmed = client.confirm(&id);
    assert_eq!(confirmed.status, 200, "{}", confirmed.json());
    let path = format!("/{}", intent.json()["key"].as_str().unwrap());
    ledger.add(Acknowledged { id, path, bytes, deletion: Deletion::Never })
}

fn work(client: &Client, ledger: &Ledger, serial: &AtomicU64, stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        let number = serial.fetch_add(1, Ordering::Relaxed);
        let index = upload(client, ledger, number);
        // Not always the last one, so that files of every age are deleted.
        if number.is_multiple_of(3) {
            let index = index / 2;
            if let Some(id) = ledger.take_for_deletion(index) {
                let deleted = client.ask("DELETE", &format!("/api/v1/files/{id}"), None);
                assert_eq!(deleted.status, 200, "{}", deleted.json());
                ledger.note(index, Deletion::Done);
            }
        }
    }
}

#[track_caller]
fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < until, "{what}");
        thread::sleep(Duration::from_millis(1));
    }
}

/// Starts a command and kills it as soon as a file is in a directory of blobs.
fn kill_once_it_copies(mut child: Child, blobs: &Path) {
    let copied = || {
        blobs.is_dir() && blobs.read_dir().unwrap().any(|shard| shard.unwrap().path().read_dir().unwrap().count() > 0)
    };
    wait_until("it copies", copied);
    child.kill().unwrap();
    assert_eq!(child.wait().unwrap().code(), None, "it was not over yet");
}

fn backup_args(folder: &Path, arguments: &[&str]) -> (Option<i32>, String, String) {
    run(xf(folder).arg("backup").args(arguments))
}

/// Restores a backup and starts a server on it, which must have the files in `known`.
fn restore_and_check(folder: &Path, key: &str, snapshot: &str, known: &[Acknowledged], later: &[Acknowledged]) {
    let restored = folder.join(format!("restored-{snapshot}"));
    let data = restored.to_str().unwrap();
    let (code, out, err) = run(xf(folder).args(["restore", "backup", "--snapshot", snapshot, "--data", data]));
    assert_eq!((code, out.trim()), (Some(0), snapshot), "{err}");

    // Before the cleanup runs.
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let free = SocketAddr::from(([127, 0, 0, 1], 0));
        let options = StackOptions::new(Data::Directory(restored.clone()));
        let stack = Stack::start(StackOptions { listen: free, cleanup_every: None, ..options }).await.unwrap();
        killed::check_accounts(&stack).await;
        let mut etags = BTreeSet::new();
        let mut pages = stack.s3_client().list_objects_v2().bucket(BUCKET).into_paginator().send();
        while let Some(page) = pages.next().await {
            etags.extend(page.unwrap().contents().iter().map(|object| object.e_tag().unwrap().to_owned()));
        }
        assert_eq!(killed::count_files(&restored.join("objects/blobs")), etags.len(), "every blob and no other");
        stack.stop().await;
    });

    let server = Server::run(xf(folder).args(SERVE).args(["--data", data]), folder);
    let client = Client::of(&server, key);
    let mut there = 0;
    for file in known {
        let read = client.read(&file.path);
        // A change that was requested after the backup had started may be before or after its instant.
        let now = later.iter().find(|later| later.id == file.id).map_or(file.deletion, |later| later.deletion);
        match (file.deletion, now) {
            (Deletion::Done, _) => assert_eq!(read.status, 404, "{}", file.path),
            (Deletion::Never, Deletion::Never) => {
                assert!(read.status == 200 && read.body == file.bytes, "{}: {}", file.path, read.status);
                there += 1;
            }
            (Deletion::Never | Deletion::Asked, _) => {
                assert!(read.status == 404 || read.body == file.bytes, "{}: {}", file.path, read.status);
            }
        }
    }
    assert!(there > 0, "something was kept");
    for file in later.iter().filter(|file| known.iter().all(|known| known.id != file.id)) {
        let read = client.read(&file.path);
        assert!(read.status == 404 || read.body == file.bytes, "{}: {}", file.path, read.status);
    }
    // The restored server accepts uploads.
    let ledger = Ledger::default();
    upload(&client, &ledger, 1);
    assert_eq!(client.read(&ledger.now()[0].path).body, ledger.now()[0].bytes);
    assert_eq!(server.terminate(), Some(0));
}

#[test]
fn a_backup_under_load_resumes_after_a_kill_and_has_every_change_acknowledged_before_it() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path());
    let key = server.text("apiKey").to_owned();
    let client = Client::of(&server, &key);
    let (ledger, serial, stop) = (Ledger::default(), AtomicU64::new(0), AtomicBool::new(false));
    upload_much(&client, &ledger);
    let (first, second) = thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(|| work(&client, &ledger, &serial, &stop))).collect();
        wait_until("the server works", || ledger.len() >= 30);

        let mut killed = xf(folder.path());
        killed.args(["backup", "backup"]).stdout(Stdio::null()).stderr(Stdio::null());
        kill_once_it_copies(killed.spawn().unwrap(), &folder.path().join("backup/blobs"));
        let (code, out, err) = backup_args(folder.path(), &["--list", "backup"]);
        assert_eq!(
            (code, out.as_str(), err.as_str()),
            (Some(0), "", "no backups\n"),
            "an incomplete backup is not listed"
        );

        let backed_up = || {
            let (known, number) = (ledger.now(), ledger.len());
            let (code, out, err) = backup_args(folder.path(), &["backup", "--json"]);
            assert_eq!(code, Some(0), "{err}");
            wait_until("the server continues", || ledger.len() > number);
            (known, serde_json::from_str::<Value>(&out).unwrap(), ledger.now())
        };
        let first = backed_up();
        wait_until("the server continues to work", || ledger.len() >= first.2.len() + 10);
        let second = backed_up();
        stop.store(true, Ordering::Relaxed);
        clients.into_iter().for_each(|client| client.join().unwrap());
        (first, second)
    });
    assert_eq!(server.terminate(), Some(0));

    let count = |report: &Value, field: &str| report[field].as_u64().unwrap();
    assert!(
        count(&second.1, "copiedBlobs") < count(&second.1, "blobs"),
        "existing blobs are not copied again: {second:?}",
        second = second.1
    );
    let (code, _, err) = backup_args(folder.path(), &["--verify", "backup"]);
    assert_eq!(code, Some(0), "{err}");
    for (known, report, later) in [&first, &second] {
        restore_and_check(folder.path(), &key, report["snapshot"].as_str().unwrap(), known, later);
    }

    // Also of a stopped directory, and only this one is kept.
    let (code, out, err) = backup_args(folder.path(), &["backup", "--keep", "1"]);
    assert_eq!(code, Some(0), "{err}");
    let known = ledger.now();
    restore_and_check(folder.path(), &key, out.trim(), &known, &known);
    let (_, list, _) = backup_args(folder.path(), &["--list", "backup", "--json"]);
    let list: Value = serde_json::from_str(&list).unwrap();
    assert_eq!(list.as_array().unwrap().len(), 1, "{list}");
    let kept = killed::count_files(&folder.path().join("backup/blobs")) as u64;
    assert_eq!(Some(kept), list[0]["blobs"].as_u64(), "blobs that no backup needs are gone");
    let (code, _, err) = backup_args(folder.path(), &["--verify", "backup"]);
    assert_eq!(code, Some(0), "{err}");
}

/// A directory with some files that was served and is now stopped.
fn stopped(folder: &Path) -> (String, Vec<Acknowledged>) {
    let server = Server::start(folder);
    let key = server.text("apiKey").to_owned();
    let (client, ledger) = (Client::of(&server, &key), Ledger::default());
    for number in 0..12 {
        upload(&client, &ledger, number);
    }
    assert_eq!(server.terminate(), Some(0));
    (key, ledger.now())
}

/// The files of all blobs below a directory.
fn blobs(folder: &Path) -> Vec<PathBuf> {
    let files = |folder: PathBuf| folder.read_dir().unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> = files(folder.to_owned()).flat_map(files).collect();
    files.sort();
    files
}

fn flip(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(path, bytes).unwrap();
}

#[test]
fn a_killed_restore_is_not_served_and_can_be_run_again() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path());
    let (key, ledger) = (server.text("apiKey").to_owned(), Ledger::default());
    upload_much(&Client::of(&server, &key), &ledger);
    assert_eq!(server.terminate(), Some(0));
    let known = ledger.now();
    let (code, snapshot, err) = backup_args(folder.path(), &["backup"]);
    assert_eq!(code, Some(0), "{err}");
    let snapshot = snapshot.trim();
    let mut restoring = xf(folder.path());
    restoring.args(["restore", "backup", "--data", &format!("restored-{snapshot}")]);
    let restored = folder.path().join(format!("restored-{snapshot}"));
    let child = restoring.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    kill_once_it_copies(child, &restored.join("objects/blobs"));
    let data = restored.to_str().unwrap();
    assert_refused(xf(folder.path()).args(SERVE).args(["--data", data]), "has an incomplete restore");
    restore_and_check(folder.path(), &key, snapshot, &known, &known);
    assert_refused(xf(folder.path()).args(["restore", "backup", "--data", data]), "is not empty");
}

#[test]
fn damage_in_a_backup_is_found_and_the_next_backup_copies_the_blob_again() {
    let folder = tempfile::tempdir().unwrap();
    let (key, known) = stopped(folder.path());
    let taken = || {
        let (code, out, err) = backup_args(folder.path(), &["backup", "--json"]);
        assert_eq!(code, Some(0), "{err}");
        serde_json::from_str::<Value>(&out).unwrap()
    };
    let first = taken();
    let pool = blobs(&folder.path().join("backup/blobs"));
    flip(&pool[0]);
    fs::remove_file(&pool[1]).unwrap();
    let verify = |arguments: &[&str]| {
        let (code, out, err) = backup_args(folder.path(), &[&["--verify", "backup", "--json"], arguments].concat());
        (code, serde_json::from_str::<Value>(&out).unwrap_or_else(|_| panic!("{out} {err}")))
    };
    let (code, report) = verify(&[]);
    assert_eq!((code, report["faults"].as_array().unwrap().len()), (Some(1), 2), "{report}");
    // If it is restored nevertheless, the missing files are listed.
    let (code, out, err) = run(xf(folder.path()).args(["restore", "backup", "--data", "some", "--json"]));
    assert_eq!(code, Some(1), "{err}");
    assert_eq!(serde_json::from_str::<Value>(&out).unwrap()["lost"].as_array().unwrap().len(), 2);

    let second = taken();
    assert_eq!((&second["copiedBlobs"], &second["blobs"]), (&Value::from(2), &first["blobs"]));
    assert_eq!(verify(&[]).0, Some(0));

    // A snapshot's own files are each compared, and no other snapshot is affected.
    let damaged = folder.path().join("backup/snapshots").join(first["snapshot"].as_str().unwrap());
    flip(&damaged.join("objects/index.sqlite3"));
    let (code, report) = verify(&["--snapshot", "1"]);
    assert_eq!((code, report["faults"].as_array().unwrap().len()), (Some(1), 1), "{report}");
    let (code, _, err) = run(xf(folder.path()).args(["restore", "backup", "--snapshot", "1", "--data", "other"]));
    assert!(code == Some(1) && err.contains("not what was backed up"), "{err}");
    let snapshot = second["snapshot"].as_str().unwrap();
    restore_and_check(folder.path(), &key, snapshot, &known, &known);
}

#[test]
fn lost_blobs_are_listed_and_an_older_copy_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let (key, known) = stopped(folder.path());
    let stored = blobs(&folder.path().join(".xfiles/objects/blobs"));
    flip(&stored[0]);
    let (code, out, err) = backup_args(folder.path(), &["backup", "--json"]);
    assert_eq!(code, Some(1), "{err}");
    let report: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(report["lost"][0]["damage"], "wrong-bytes", "{report}");
    assert_eq!(backup_args(folder.path(), &["--verify", "backup"]).0, Some(0), "the backup matches its manifest");
    flip(&stored[0]);
    assert_eq!(backup_args(folder.path(), &["backup"]).0, Some(0));
    // Lost after it was backed up: the backup still has it.
    fs::remove_file(&stored[0]).unwrap();
    let (code, snapshot, err) = backup_args(folder.path(), &["backup"]);
    assert_eq!(code, Some(0), "{err}");
    restore_and_check(folder.path(), &key, snapshot.trim(), &known, &known);
}

#[test]
fn an_unsuitable_backup_destination_is_refused_with_a_remedy() {
    let folder = tempfile::tempdir().unwrap();
    stopped(folder.path());
    let backup = |arguments: &[&str]| {
        let mut command = xf(folder.path());
        command.arg("backup").args(arguments);
        command
    };
    assert_refused(&mut backup(&["backup", "--data", "nowhere"]), "is not a data directory");
    assert_refused(&mut backup(&[".xfiles/backup"]), "so that the backup is not lost with the data");
    fs::create_dir(folder.path().join("photos")).unwrap();
    fs::write(folder.path().join("photos/holiday.jpg"), "x").unwrap();
    assert_refused(&mut backup(&["photos"]), "is not empty and contains no backup");
    assert_refused(&mut backup(&["--list", "photos"]), "is not a backup");
    assert_refused(&mut backup(&["--verify", "photos"]), "is not a backup");
    assert_refused(xf(folder.path()).args(["restore", "photos", "--data", "new"]), "is not a backup");
    assert!(!folder.path().join("new").exists());
    assert_eq!(fs::read_dir(folder.path().join("photos")).unwrap().count(), 1);

    assert_eq!(run(&mut backup(&["backup"])).0, Some(0));
    let (code, _, err) = run(xf(folder.path()).args(["restore", "backup", "--snapshot", "7", "--data", "new"]));
    assert!(code == Some(5) && err.contains("has no snapshot 7"), "{err}");
    assert_refused(xf(folder.path()).args(["restore", "backup", "--data", "photos"]), "is not empty");

    // Backups of different stores are not mixed.
    let other = tempfile::tempdir().unwrap();
    stopped(other.path());
    let mut mixed = xf(other.path());
    assert_refused(mixed.arg("backup").arg(folder.path().join("backup")), "has the backups of another store");
    // No backup is made of a damaged database.
    let index = other.path().join(".xfiles/objects/index.sqlite3");
    fs::write(&index, "").unwrap();
    let (code, _, err) = run(xf(other.path()).args(["backup", "own"]));
    assert!(code == Some(1) && err.contains("index.sqlite3"), "{err}");
    assert_eq!(run(xf(other.path()).args(["backup", "--list", "own"])).1, "");
}
