//! Tests of the `xf` binary as a process: the printed block can be pasted, the server stops on request, and failed
//! starts have clear messages. Commands that need no separate process are tested in the workspace's suite.
#![cfg(test)]

mod backup;
mod connections;
mod data;
mod disk;
mod interrupted;
mod killed;

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpListener,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Output, Stdio},
};

use serde_json::Value;

const SERVE: [&str; 5] = ["serve", "--listen", "127.0.0.1:0", "--ready-file", "ready.json"];

const PHOTO: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures/portrait-exif6.jpg");

/// A running `xf serve` on free ports, with its data in its working directory.
struct Server {
    child: Child,
    stdout: BufReader<ChildStdout>,
    /// Its output when it was ready.
    said: String,
    ready: Value,
    ready_file: PathBuf,
}

impl Server {
    fn start(folder: &Path) -> Self {
        Self::start_with(folder, &[])
    }

    fn start_with(folder: &Path, flags: &[&str]) -> Self {
        Self::run(xf(folder).args(SERVE).args(flags), folder)
    }

    /// Runs a command that becomes the server, and waits until it is ready.
    fn run(command: &mut Command, folder: &Path) -> Self {
        Self::run_logging(command, folder, Stdio::null())
    }

    fn run_logging(command: &mut Command, folder: &Path, log: impl Into<Stdio>) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(log).spawn().expect("the binary runs");
        let mut stdout = BufReader::new(child.stdout.take().expect("it is piped"));
        let mut said = String::new();
        // The last line of its output is a command to type.
        while !said.contains("upload --public") && !said.contains("--admin") {
            assert_ne!(
                stdout.read_line(&mut said).expect("the output is UTF-8"),
                0,
                "the server ended: {:?}",
                child.wait()
            );
        }
        let ready_file = folder.join("ready.json");
        let ready = fs::read(&ready_file).expect("it is ready");
        let ready = serde_json::from_slice(&ready).expect("the ready file is JSON");
        Self { child, stdout, said, ready, ready_file }
    }

    fn text(&self, field: &str) -> &str {
        self.ready[field].as_str().expect("a text")
    }

    /// Kills the process.
    fn kill(mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it ends");
    }

    /// Stops the process and returns its exit code.
    fn terminate(self) -> Option<i32> {
        self.signal("-TERM");
        self.wait()
    }

    fn signal(&self, signal: &str) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args([signal, &id]).status().expect("kill runs").success());
    }

    /// Waits until it ends and returns its exit code.
    fn wait(mut self) -> Option<i32> {
        self.stdout.read_to_string(&mut self.said).expect("the output is UTF-8");
        let code = self.child.wait().expect("it ends").code();
        assert!(!self.ready_file.exists(), "the ready file is removed when the server stops");
        code
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // After `terminate` there is nothing to kill; after a failed assertion there is.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// A client of a server's API, and of its CDN.
#[derive(Clone)]
struct Client {
    agent: ureq::Agent,
    url: String,
    key: String,
}

/// A response; status 0 means that there was none.
struct Answer {
    status: u16,
    body: Vec<u8>,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    fn code(&self) -> String {
        self.json()["code"].as_str().unwrap_or_default().to_owned()
    }
}

impl Client {
    fn of(server: &Server, key: &str) -> Self {
        let config = ureq::config::Config::builder().http_status_as_error(false);
        let agent = config.timeout_global(Some(std::time::Duration::from_secs(20))).build().new_agent();
        Self { agent, url: server.text("url").to_owned(), key: key.to_owned() }
    }

    fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> Answer {
        let url = if path.starts_with('/') { format!("{}{path}", self.url) } else { path.to_owned() };
        let request = http_request(method, &url).header("authorization", format!("Bearer {}", self.key));
        let body = body.map(Value::to_string).unwrap_or_default();
        self.answer(request.header("content-type", "application/json").body(body).expect("a request"))
    }

    /// PUTs to an upload URL.
    fn put(&self, url: &str, bytes: &[u8]) -> u16 {
        let request = http_request("PUT", url).header("content-type", "text/plain");
        self.answer(request.body(bytes.to_vec()).expect("a request")).status
    }

    /// Reads a path of the CDN.
    fn read(&self, path: &str) -> Answer {
        self.read_url(&format!("{}{path}", self.url))
    }

    fn read_url(&self, url: &str) -> Answer {
        self.answer(http_request("GET", url).body(()).expect("a request"))
    }

    fn answer(&self, request: ureq::http::Request<impl ureq::AsSendBody>) -> Answer {
        let answered = self.agent.run(request).and_then(|mut answer| {
            let body = answer.body_mut().with_config().limit(64 << 20).read_to_vec()?;
            Ok(Answer { status: answer.status().as_u16(), body })
        });
        answered.unwrap_or(Answer { status: 0, body: Vec::new() })
    }

    /// Begins an upload of a public text.
    fn intent(&self, name: &str, size: usize) -> Answer {
        let intent = serde_json::json!({
            "filename": name, "contentType": "text/plain", "size": size, "visibility": "public",
        });
        self.ask("POST", "/api/v1/files/upload-intent", Some(&intent))
    }

    fn confirm(&self, id: &str) -> Answer {
        self.ask("POST", "/api/v1/files/confirm", Some(&serde_json::json!({ "fileId": id })))
    }
}

fn http_request(method: &str, url: &str) -> ureq::http::request::Builder {
    ureq::http::Request::builder().method(method).uri(url)
}

fn xf(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_xf"));
    command.current_dir(folder).env_remove("XFILES_URL").env_remove("XFILES_API_KEY").env("RUST_BACKTRACE", "1");
    command
}

fn run(command: &mut Command) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = command.output().expect("the binary runs");
    let text = |bytes| String::from_utf8(bytes).expect("the output is UTF-8");
    (status.code(), text(stdout), text(stderr))
}

/// Asserts that a start fails with a readable message.
#[track_caller]
fn assert_refused(command: &mut Command, says: &str) {
    let (code, stdout, stderr) = run(command);
    assert_eq!(code, Some(7), "{stderr}");
    assert!(stderr.starts_with("error: ") && stderr.contains(says), "{stderr}");
    assert!(!stderr.contains("panicked") && !stderr.contains("backtrace") && !stderr.contains("os error"), "{stderr}");
    assert_eq!(stdout, "");
}

#[test]
fn the_printed_block_pasted_into_a_shell_publishes_a_photo_and_its_variants() {
    if Command::new("curl").arg("--version").output().is_err() {
        eprintln!("SKIPPED: this needs curl, as the block that it pastes does");
        return;
    }
    for has_photo in [true, false] {
        let folder = tempfile::tempdir().unwrap();
        if has_photo {
            fs::copy(PHOTO, folder.path().join("photo.jpg")).unwrap();
        }
        paste_the_block_in(folder.path());
    }
}

fn paste_the_block_in(folder: &Path) {
    let server = Server::start_with(folder, &["--print-key"]);
    let block: Vec<&str> = server.said.lines().skip_while(|line| !line.starts_with("export ")).collect();
    let block = block.join("\n").split("\n\nWith the variables").next().unwrap().to_owned() + "\n";

    let mut shell =
        Command::new("sh").current_dir(folder).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    shell.stdin.take().unwrap().write_all(block.as_bytes()).unwrap();
    let said = String::from_utf8(shell.wait_with_output().unwrap().stdout).unwrap();

    let address = said.lines().last().unwrap().strip_prefix("Open ").unwrap();
    assert!(address.starts_with(server.text("cdnUrl")) && address.ends_with("_w400.webp"), "{said}");
    let mut variant = ureq::get(address).call().unwrap();
    assert_eq!(variant.headers()["content-type"], "image/webp");
    assert_eq!(&variant.body_mut().read_to_vec().unwrap()[8..12], b"WEBP");
    assert_eq!(server.terminate(), Some(0));
}

#[test]
fn a_block_whose_key_is_wrong_shows_the_refusal_and_opens_nothing() {
    if Command::new("curl").arg("--version").output().is_err() {
        eprintln!("SKIPPED: this needs curl, as the block that it pastes does");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start_with(folder.path(), &["--print-key"]);
    let block = server.said.lines().skip_while(|line| !line.starts_with("export ")).collect::<Vec<_>>().join("\n");
    let block = block.split("\n\nWith the variables").next().unwrap().replace(server.text("apiKey"), "xf_wrong") + "\n";
    let mut shell =
        Command::new("sh").current_dir(folder.path()).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    shell.stdin.take().unwrap().write_all(block.as_bytes()).unwrap();
    let said = String::from_utf8(shell.wait_with_output().unwrap().stdout).unwrap();
    assert!(said.contains("It stopped at the answer above") && said.contains("\"code\":\"unauthorized\""), "{said}");
    assert!(!said.contains("Open "), "{said}");
}

#[test]
fn the_first_key_is_printed_where_nothing_keeps_it_or_where_it_is_asked_for() {
    for (flags, shown) in [(&[][..], false), (&["--quiet"], false), (&["--print-key"], true)] {
        let folder = tempfile::tempdir().unwrap();
        let mut command = xf(folder.path());
        let mut child = command.args(SERVE).args(flags).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let ready_file = folder.path().join("ready.json");
        while !ready_file.exists() {
            assert!(child.try_wait().unwrap().is_none(), "it ended");
            std::thread::yield_now();
        }
        let ready: Value = serde_json::from_slice(&fs::read(&ready_file).unwrap()).unwrap();
        let id = child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
        let said = String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap();
        assert_eq!(said.contains(ready["apiKey"].as_str().unwrap()), shown, "{flags:?}: {said}");
    }
}

#[test]
fn a_server_for_other_machines_must_know_its_address() {
    let folder = tempfile::tempdir().unwrap();
    let refused = |arguments: &[&str], named: &str| {
        let (code, stdout, stderr) = run(xf(folder.path()).arg("serve").args(arguments));
        assert_eq!((code, stdout.as_str()), (Some(2), ""), "{stderr}");
        assert!(stderr.contains(named) && stderr.contains("hint: give --public-url"), "{stderr}");
    };
    refused(&["--listen", "0.0.0.0:0"], "--public-url is missing");
    refused(&["--listen", "[::]:0"], "--public-url is missing");
    refused(&["--listen", "0.0.0.0:0", "--public-url", "http://files.example"], "--s3-public-url is missing");
    refused(&["--s3-listen", "0.0.0.0:0"], "--s3-public-url is missing");
}

#[test]
fn a_configuration_file_counts_below_the_environment_and_the_arguments() {
    let folder = tempfile::tempdir().unwrap();
    let (code, template, _) = run(xf(folder.path()).args(["serve", "--print-config"]));
    assert_eq!(code, Some(0));
    let file = template.replace("# quota = \"10GiB\"", "quota = \"3GiB\"").replace("# listen =", "listen =");
    fs::write(folder.path().join("xfiles.toml"), file.replace("127.0.0.1:8787", "127.0.0.1:0")).unwrap();
    for (environment, arguments, quota) in
        [(None, &[][..], 3_u64 << 30), (Some("2GiB"), &[], 2 << 30), (Some("2GiB"), &["--quota", "1GiB"], 1 << 30)]
    {
        let home = tempfile::tempdir().unwrap();
        let mut command = xf(home.path());
        command.args(["serve", "--ready-file", "ready.json", "--config"]).arg(folder.path().join("xfiles.toml"));
        command.args(arguments).envs(environment.map(|quota| ("XFILES_QUOTA", quota)));
        let server = Server::run(&mut command, home.path());
        let usage = Client::of(&server, server.text("apiKey")).ask("GET", "/api/v1/usage", None).json();
        assert_eq!(usage["quotaBytes"], quota);
        assert_eq!(server.terminate(), Some(0));
    }
    fs::write(folder.path().join("xfiles.toml"), "quotta = \"1GiB\"\n").unwrap();
    let (code, _, stderr) = run(xf(folder.path()).args(["serve", "--config", "xfiles.toml"]));
    assert_eq!(code, Some(2));
    assert!(stderr.contains("there is no setting `quotta`"), "{stderr}");
}

#[test]
fn a_key_and_the_files_outlive_a_restart_and_the_key_is_told_once() {
    let folder = tempfile::tempdir().unwrap();
    let first = Server::start_with(folder.path(), &["--print-key"]);
    let key = first.text("apiKey").to_owned();
    assert!(first.said.contains(&key));
    let mode = fs::metadata(&first.ready_file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "only the owner reads the ready file");
    let mut upload = xf(folder.path());
    upload.args(["upload", "--url", first.text("url"), "--public", PHOTO]).env("XFILES_API_KEY", &key);
    let (code, stdout, stderr) = run(&mut upload);
    assert_eq!((code, stderr.as_str()), (Some(0), ""), "only the result without a terminal");
    let line = |label: &str| stdout.lines().find_map(|line| line.trim().strip_prefix(label)).unwrap().trim().to_owned();
    let path = line("url").strip_prefix(first.text("cdnUrl")).unwrap().to_owned();
    assert_eq!(first.terminate(), Some(0));

    let second = Server::start(folder.path());
    assert!(second.ready.get("apiKey").is_none() && !second.said.contains("xf_"), "{}", second.said);
    let bytes = ureq::get(format!("{}{path}", second.text("cdnUrl"))).call().unwrap().body_mut().read_to_vec().unwrap();
    assert_eq!(bytes, fs::read(PHOTO).unwrap());
    let mut list = xf(folder.path());
    list.args(["ls", "--url", second.text("url")]).env("XFILES_API_KEY", &key);
    assert!(run(&mut list).1.contains(&line("id")));
    assert_eq!(second.terminate(), Some(0));
}

#[test]
fn a_start_that_rotates_the_signing_key_uses_a_new_one_and_later_starts_keep_it() {
    let folder = tempfile::tempdir().unwrap();
    let (mut key, mut id, mut signers) = (String::new(), String::new(), Vec::new());
    for flags in [&[][..], &["--rotate-signing-key"], &[]] {
        let server = Server::start_with(folder.path(), flags);
        let ask = |arguments: &[&str], key: &str| {
            let mut command = xf(folder.path());
            command.args(arguments).args(["--url", server.text("url")]).env("XFILES_API_KEY", key);
            run(&mut command).1
        };
        if let Some(first) = server.ready["apiKey"].as_str() {
            key = first.to_owned();
            let uploaded: Value = serde_json::from_str(&ask(&["upload", "--json", PHOTO], &key)).unwrap();
            id = uploaded[0]["file"]["id"].as_str().unwrap().to_owned();
        }
        let url = ask(&["url", &id], &key);
        signers.push(url.trim().split_once("Key-Pair-Id=").unwrap().1.to_owned());
        assert_eq!(ureq::get(url.trim()).call().unwrap().status(), 200);
        assert_eq!(server.terminate(), Some(0));
    }
    assert_ne!(signers[0], signers[1]);
    assert_eq!(signers[1], signers[2]);
}

#[test]
fn a_directory_in_use_is_refused_and_the_printed_key_commands_work() {
    let folder = tempfile::tempdir().unwrap();
    Server::start(folder.path()).terminate();
    let server = Server::start(folder.path());
    assert_refused(xf(folder.path()).args(SERVE), ".xfiles is in use by another process");
    assert!(server.ready_file.exists(), "the ready file is still that of the first server");

    let commands: Vec<&str> = server.said.lines().filter(|line| line.contains("keys create")).collect();
    assert_eq!(commands.len(), 2, "{}", server.said);
    let elsewhere = tempfile::tempdir().unwrap();
    for (command, exit) in commands.into_iter().zip([4, 0]) {
        let (code, key, err) = run(Command::new("sh").current_dir(elsewhere.path()).args(["-c", command]));
        assert_eq!(code, Some(0), "{err}");
        let asked = |arguments: &[&str]| {
            let mut asked = xf(folder.path());
            run(asked.args(arguments).args(["--url", server.text("url")]).env("XFILES_API_KEY", key.trim()))
        };
        assert_eq!(asked(&["ls"]), (Some(0), String::new(), "no files\n".to_owned()));
        assert_eq!(asked(&["keys", "list"]).0, Some(exit), "only the second manages keys");
    }
    assert_eq!(server.terminate(), Some(0));
}

#[test]
fn the_rate_limit_and_api_origin_flags_take_effect() {
    let folder = tempfile::tempdir().unwrap();
    let flags = ["--ephemeral", "--rate-limit", "1", "--allow-origin", "https://App.example.com/"];
    let server = Server::start_with(folder.path(), &flags);
    let agent = ureq::Agent::new_with_config(ureq::config::Config::builder().http_status_as_error(false).build());
    let ask = |origin: &str| {
        let request = agent.get(format!("{}/api/v1/usage", server.text("url"))).header("origin", origin);
        request.header("authorization", format!("Bearer {}", server.text("apiKey"))).call().unwrap()
    };
    let allowed = "access-control-allow-origin";
    assert_eq!(ask("https://app.example.com").headers()[allowed], "https://app.example.com");
    assert!(!ask("https://other.example.com").headers().contains_key(allowed));
    assert!((0..10).any(|_| ask("null").status() == 429));
    let refused = xf(folder.path()).args(["serve", "--allow-origin", "*"]).output().unwrap();
    assert_eq!(refused.status.code(), Some(2));
    assert_eq!(server.terminate(), Some(0));
}

#[test]
fn a_server_makes_placeholders_without_a_request_unless_disabled() {
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let servers = [&["--placeholders", "on-view"][..], &[]].map(|flags| {
        let folder = folders[usize::from(flags.is_empty())].path();
        Server::start_with(folder, flags)
    });
    let reads = servers.each_ref().map(|server| {
        let mut upload = xf(folders[0].path());
        upload.args(["upload", "--json", "--url", server.text("url"), PHOTO]);
        let (code, uploaded, err) = run(upload.env("XFILES_API_KEY", server.text("apiKey")));
        assert_eq!(code, Some(0), "{err}");
        let uploaded: Value = serde_json::from_str(&uploaded).unwrap();
        let (client, id) = (Client::of(server, server.text("apiKey")), uploaded[0]["file"]["id"].clone());
        move || client.ask("GET", &format!("/api/v1/files/{}", id.as_str().unwrap()), None).json()["file"].clone()
    });
    let [left_to_viewers, made] = reads;
    let end = std::time::Instant::now() + std::time::Duration::from_secs(30);
    while made()["thumbhash"].is_null() {
        assert!(std::time::Instant::now() < end, "it is made within seconds");
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    // It was uploaded before the other.
    assert!(left_to_viewers()["thumbhash"].is_null() && left_to_viewers()["width"].is_number());
    let (code, _, err) = run(xf(folders[0].path()).args(["serve", "--placeholders", "never"]));
    assert!(code == Some(2) && err.contains("on-confirm, on-view"), "{err}");
    assert!(servers.map(Server::terminate).iter().all(|code| *code == Some(0)));
}

#[test]
fn an_invalid_background_colour_is_refused_with_the_name_of_its_setting() {
    let folder = tempfile::tempdir().unwrap();
    let flag = run(xf(folder.path()).args(["serve", "--ephemeral", "--jpeg-background", "paper"]));
    let variable = run(xf(folder.path()).args(["serve", "--ephemeral"]).env("XFILES_JPEG_BACKGROUND", "#12"));
    for (code, _, says) in [flag, variable] {
        assert_eq!(code, Some(2), "{says}");
        assert!(says.contains("--jpeg-background") && says.contains("three or six hexadecimal digits"), "{says}");
    }
}

#[test]
fn a_port_in_use_is_reported_with_the_flag_that_changes_it() {
    let folder = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    assert_refused(xf(folder.path()).args(["serve", "--ephemeral", "--listen", &address]), "--listen");
    let both = ["serve", "--ephemeral", "--listen", "127.0.0.1:0", "--s3-listen", &address];
    assert_refused(xf(folder.path()).args(both), "--s3-listen");
}

#[test]
fn a_data_directory_that_cannot_be_created_is_named() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("file"), "").unwrap();
    let data = ["serve", "--listen", "127.0.0.1:0", "--data", "file/data"];
    assert_refused(xf(folder.path()).args(data), "cannot use the data directory file/data");
}

#[test]
fn a_first_start_without_disk_space_reports_it() {
    let folder = tempfile::tempdir().unwrap();
    // No file may be larger than a few kilobytes, which the program sees as a full disk with another error.
    let script = "trap '' XFSZ; ulimit -f 16; exec \"$0\" serve --listen 127.0.0.1:0 --data data";
    let mut command = Command::new("sh");
    command.current_dir(folder.path()).args(["-c", script, env!("CARGO_BIN_EXE_xf")]);
    assert_refused(&mut command, "cannot use the data directory data: File too large");
    assert!(!folder.path().join("data/room").exists());
}

#[test]
fn a_directory_that_was_never_served_is_not_a_data_directory() {
    let folder = tempfile::tempdir().unwrap();
    assert_refused(xf(folder.path()).args(["keys", "create", "--data", ".xfiles"]), "it was never used by `xf serve`");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}
