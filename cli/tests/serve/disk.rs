//! Tests of a full disk and a read-only disk: clear refusals, no loss, and normal operation once there is space again.
//!
//! The disk is a small one in memory, mounted so that only the test's own processes see it. Where this is not
//! permitted, the tests print that they are skipped.

use std::{
    io::{Read as _, Write as _},
    process::{Child, Command, Stdio},
};

use tempfile::TempDir;

use super::{Answer, Client, SERVE, Server, http_request};

/// A directory with a small disk mounted at `data`.
struct SmallDisk {
    folder: TempDir,
    /// Keeps the disk mounted while its input is open.
    holder: Child,
    /// Whether the disk is used by another user than the one that runs the test.
    mapped: bool,
}

/// The size of the disk.
const SIZE: &str = "64m";

impl SmallDisk {
    /// `None` if this machine permits no mounts.
    fn mount() -> Option<Self> {
        let mounted = [&["--mount"][..], &["--user", "--map-root-user", "--mount"]].into_iter().find_map(|how| {
            let folder = tempfile::tempdir().expect("a folder");
            let script = format!("mkdir data && mount -t tmpfs -o size={SIZE} tmpfs data && echo mounted && exec cat");
            let mut unshare = Command::new("unshare");
            unshare.args(how).args(["sh", "-c", &script]).current_dir(&folder);
            let piped = unshare.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
            let mut holder = piped.spawn().ok()?;
            let mut said = [0; 8];
            let mounted = holder.stdout.as_mut().expect("it is piped").read_exact(&mut said).is_ok();
            let disk = Self { folder, holder, mapped: how.len() > 1 };
            (mounted && &said == b"mounted\n").then_some(disk)
        });
        if mounted.is_none() {
            let said = writeln!(
                std::io::stderr(),
                "SKIPPED: this machine does not permit mounting a small disk (unshare --mount)"
            );
            said.expect("a test can say something");
        }
        mounted
    }

    /// A command that sees the disk.
    fn inside(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--target", &self.holder.id().to_string(), "--mount"]);
        if self.mapped {
            command.args(["--user", "--preserve-credentials"]);
        }
        command.args(["sh", "-c", "cd \"$0\" && exec \"$@\""]).arg(self.folder.path()).arg(program);
        command.env_remove("XFILES_URL").env_remove("XFILES_API_KEY");
        command
    }

    fn shell(&self, script: &str) {
        let done = self.inside("sh").args(["-c", script]).stderr(Stdio::null()).status().expect("a shell runs");
        assert!(done.success(), "{script}");
    }

    fn serve(&self) -> Server {
        // The ready file is on another disk.
        let mut command = self.inside(env!("CARGO_BIN_EXE_xf"));
        Server::run(command.args(SERVE).args(["--data", "data"]), self.folder.path())
    }

    /// Fills the disk completely.
    fn fill(&self) {
        self.shell("cat /dev/zero > data/filler; test -s data/filler");
    }

    /// Fills the disk completely again.
    fn fill_more(&self) {
        self.shell("cat /dev/zero >> data/filler; test -s data/filler");
    }

    fn empty(&self) {
        self.shell("rm data/filler");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        drop(self.holder.kill());
        drop(self.holder.wait());
    }
}

/// A confirmed file: its id, and its path on the CDN.
struct Uploaded {
    id: String,
    path: String,
}

/// Uploads a public text of this size.
fn upload(client: &Client, name: &str, size: usize) -> Uploaded {
    let intent = client.intent(name, size);
    assert_eq!(intent.status, 200, "{}", intent.json());
    assert_eq!(client.put(intent.json()["uploadUrl"].as_str().unwrap(), &vec![b'a'; size]), 200);
    let id = intent.json()["fileId"].as_str().unwrap().to_owned();
    let confirmed = client.confirm(&id);
    assert_eq!(confirmed.status, 200, "{}", confirmed.json());
    Uploaded { id, path: format!("/{}", intent.json()["key"].as_str().unwrap()) }
}

/// Asserts that a response is a success or the error of a server with a full disk.
#[track_caller]
fn assert_honest(what: &str, answer: &Answer) {
    let refused = answer.status == 507 && answer.code() == "storage_full";
    assert!(answer.status == 200 || refused, "{what}: {} {}", answer.status, answer.json());
}

/// Begins uploads until one is refused, and returns the others.
fn begin_until_refused(client: &Client, size: usize) -> Vec<Answer> {
    let mut begun = Vec::new();
    loop {
        let intent = client.intent("a.txt", size);
        assert_honest("an intent", &intent);
        if intent.status != 200 {
            return begun;
        }
        begun.push(intent);
        assert!(begun.len() < 5_000, "a full disk accepts {} records", begun.len());
    }
}

fn used(client: &Client) -> (u64, u64) {
    let usage = client.ask("GET", "/api/v1/usage", None).json();
    (usage["usedBytes"].as_u64().unwrap(), usage["files"].as_u64().unwrap())
}

const SMALL: usize = 20_000;

/// Larger than the space that may remain in the index and the log.
const LARGE: usize = 3_000_000;

#[test]
fn a_full_disk_refuses_uploads_and_accepts_them_once_there_is_space() {
    let Some(disk) = SmallDisk::mount() else { return };
    let server = disk.serve();
    let key = server.text("apiKey").to_owned();
    let client = Client::of(&server, &key);
    let kept = upload(&client, "kept.txt", SMALL);
    let waiting = client.intent("waiting.txt", LARGE).json();
    let put = |client: &Client| client.put(waiting["uploadUrl"].as_str().unwrap(), &vec![b'a'; LARGE]);
    let id = waiting["fileId"].as_str().unwrap();

    disk.fill();
    assert_eq!(put(&client), 507);
    assert_eq!(client.confirm(id).code(), "not_uploaded", "no part of it is stored");
    assert_eq!(client.read(&kept.path).body.len(), SMALL, "stored files can be read");
    assert_eq!(client.ask("GET", "/api/v1/files", None).json()["total"], 1);
    let begun = begin_until_refused(&client, 1).len() as u64;
    let owner = serde_json::json!({"ownerUserId": "u"});
    assert_honest("a change", &client.ask("PATCH", &format!("/api/v1/files/{}", kept.id), Some(&owner)));
    // It is killed while the disk is full, and starts again as soon as it can.
    server.kill();
    disk.empty();

    let server = disk.serve();
    let client = Client::of(&server, &key);
    assert_eq!(client.read(&kept.path).body.len(), SMALL);
    let url = client.ask("POST", &format!("/api/v1/files/{id}/resign"), None).json();
    assert_eq!(client.put(url["uploadUrl"].as_str().unwrap(), &vec![b'a'; LARGE]), 200);
    assert_eq!(client.confirm(id).status, 200);
    upload(&client, "more.txt", SMALL);
    assert_eq!(
        used(&client),
        ((2 * SMALL + LARGE) as u64 + begun, 3),
        "each intent that was acknowledged, and no other"
    );
    assert_eq!(server.terminate(), Some(0));
}

#[test]
fn a_disk_that_fills_and_empties_while_the_server_runs_needs_no_restart() {
    let Some(disk) = SmallDisk::mount() else { return };
    let server = disk.serve();
    let client = Client::of(&server, server.text("apiKey"));
    for round in 1..=3 {
        disk.fill();
        for intent in begin_until_refused(&client, LARGE).iter().take(2) {
            assert_eq!(client.put(intent.json()["uploadUrl"].as_str().unwrap(), &vec![b'a'; LARGE]), 507);
        }
        disk.empty();
        upload(&client, "more.txt", SMALL);
        assert_eq!(used(&client).1, round);
    }
    assert_eq!(server.terminate(), Some(0));
}

/// Uploads large files until one does not fit, and returns their ids.
fn upload_until_full(client: &Client) -> Vec<String> {
    let mut files = Vec::new();
    loop {
        let intent = client.intent("large.txt", LARGE).json();
        let id = intent["fileId"].as_str().unwrap().to_owned();
        match client.put(intent["uploadUrl"].as_str().unwrap(), &vec![b'a'; LARGE]) {
            200 => assert_eq!(client.confirm(&id).status, 200),
            refused => {
                assert_eq!((refused, client.confirm(&id).code().as_str()), (507, "not_uploaded"));
                assert_eq!(client.ask("DELETE", &format!("/api/v1/files/{id}"), None).status, 200);
                return files;
            }
        }
        files.push(id);
        assert!(files.len() < 20, "the disk accepts no more than fits on it");
    }
}

/// Operations that must work when nothing can be written.
fn assert_serves(client: &Client, kept: &Uploaded) {
    assert_eq!(client.read(&kept.path).body.len(), SMALL);
    let file = format!("/api/v1/files/{}", kept.id);
    for path in [&file, "/api/v1/files", "/api/v1/files?q=kept", "/api/v1/files?cursor=", "/api/v1/usage", "/readyz"] {
        assert_eq!(client.ask("GET", path, None).status, 200, "{path}");
    }
    // The idempotency key cannot be stored; the request succeeds, because it changes nothing.
    let sign = http_request("POST", &format!("{}{file}/url", client.url)).header("idempotency-key", "sign");
    let sign = sign.header("authorization", format!("Bearer {}", client.key));
    let signed = client.answer(sign.header("content-type", "application/json").body("{}".to_owned()).unwrap());
    assert_eq!(signed.status, 200, "{}", signed.json());
    assert_eq!(client.ask("POST", "/api/v1/cleanup", Some(&serde_json::json!({}))).status, 200);
    assert_eq!(client.ask("GET", "/api/v1/projects", None).status, 200);
}

/// Requests that must be refused with a clear error.
fn assert_refuses(client: &Client, kept: &Uploaded) {
    let change = serde_json::json!({"ownerUserId": "u"});
    for refused in [
        client.intent("a.txt", 1),
        client.ask("PATCH", &format!("/api/v1/files/{}", kept.id), Some(&change)),
        client.ask("POST", "/api/v1/projects", Some(&serde_json::json!({"name": "n", "quotaBytes": 1}))),
    ] {
        assert_eq!((refused.status, refused.code().as_str()), (507, "storage_full"), "{}", refused.json());
    }
}

#[test]
fn a_full_disk_serves_its_files_and_deletions_free_space() {
    let Some(disk) = SmallDisk::mount() else { return };
    let server = disk.serve();
    let key = server.text("apiKey").to_owned();
    let mut client = Client::of(&server, &key);
    let kept = upload(&client, "kept.txt", SMALL);
    let waiting = client.intent("waiting.txt", LARGE).json();
    let mut files = upload_until_full(&client);
    // Another process uses all remaining space.
    disk.fill();
    assert_refuses(&client, &kept);
    assert_eq!(client.put(waiting["uploadUrl"].as_str().unwrap(), &vec![b'a'; LARGE]), 507);
    assert_serves(&client, &kept);

    // The server can be started on the full disk, and files can be deleted.
    let mut servers = vec![server];
    for restart in [false, true] {
        if restart {
            disk.fill_more();
            servers.pop().unwrap().kill();
            servers.push(disk.serve());
            client = Client::of(&servers[0], &key);
            assert_refuses(&client, &kept);
            assert_serves(&client, &kept);
        }
        let gone: Vec<String> = files.drain(..files.len().min(6)).collect();
        for id in &gone {
            let deleted = client.ask("DELETE", &format!("/api/v1/files/{id}"), None);
            assert_eq!(deleted.status, 200, "{}", deleted.json());
        }
        assert!(!gone.is_empty());
        // The bytes are freed in the background, shortly afterwards.
        let begun = (0..2_000).map(|_| client.intent("again.txt", LARGE)).find(|intent| intent.status == 200);
        let intent = begun.expect("there is space again").json();
        assert_eq!(client.put(intent["uploadUrl"].as_str().unwrap(), &vec![b'a'; LARGE]), 200);
        let id = intent["fileId"].as_str().unwrap();
        assert_eq!(client.confirm(id).status, 200);
        files.push(id.to_owned());
    }
    assert_eq!(servers.pop().unwrap().terminate(), Some(0));
}

#[test]
fn a_read_only_disk_is_refused_at_the_start_and_uploads_to_one_are_refused_cleanly() {
    let Some(disk) = SmallDisk::mount() else { return };
    let server = disk.serve();
    let key = server.text("apiKey").to_owned();
    let client = Client::of(&server, &key);
    let kept = upload(&client, "kept.txt", SMALL);

    // The directory of blobs becomes read-only while the server runs.
    disk.shell("mount --bind data/objects/blobs data/objects/blobs && mount -o remount,bind,ro data/objects/blobs");
    let intent = client.intent("refused.txt", SMALL).json();
    let status = client.put(intent["uploadUrl"].as_str().unwrap(), &vec![b'a'; SMALL]);
    assert!((500..600).contains(&status), "{status}");
    assert_eq!(client.confirm(intent["fileId"].as_str().unwrap()).code(), "not_uploaded");
    assert_eq!(client.read(&kept.path).body.len(), SMALL);
    disk.shell("umount data/objects/blobs");
    assert_eq!(client.put(intent["uploadUrl"].as_str().unwrap(), &vec![b'a'; SMALL]), 200);
    assert_eq!(client.confirm(intent["fileId"].as_str().unwrap()).status, 200);
    assert_eq!(server.terminate(), Some(0));

    // The whole disk is read-only before the server starts.
    disk.shell("mount -o remount,ro data");
    super::assert_refused(disk.inside(env!("CARGO_BIN_EXE_xf")).args(SERVE).args(["--data", "data"]), "data");
    disk.shell("mount -o remount,rw data");
    let server = disk.serve();
    let client = Client::of(&server, &key);
    assert_eq!(client.read(&kept.path).body.len(), SMALL);
    assert_eq!(used(&client), (2 * SMALL as u64, 2));
    assert_eq!(server.terminate(), Some(0));
}
