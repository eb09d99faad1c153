//! `xf` on files: what is downloaded is whole, what is uploaded is what was shown before, and nothing is deleted without
//! an answer.

use std::fs;

use serde_json::{Value, json};
use xfiles_cli::{Console, Exit};
use xfiles_tests::{TEXT, World, fixture, id_of};

/// What a run of the command left.
struct Ran {
    exit: Exit,
    out: Vec<u8>,
    err: String,
}

impl Ran {
    #[track_caller]
    fn ok(self) -> String {
        assert_eq!((self.exit, self.err.as_str()), (Exit::Ok, ""));
        String::from_utf8(self.out).expect("text")
    }
}

/// Runs `xf` against a world with its key, without a terminal.
async fn xf(world: &World, arguments: &[&str]) -> Ran {
    let connection = ["--url", world.stack.url().as_str(), "--api-key", world.client.key()];
    let arguments: Vec<_> = ["xf"].iter().chain(arguments).chain(&connection).map(Into::into).collect();
    let run = move || {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let exit = xfiles_cli::run(arguments, &mut Console::new(&mut out, &mut err));
        Ran { exit, out, err: String::from_utf8(err).expect("text") }
    };
    tokio::task::spawn_blocking(run).await.expect("it returns")
}

fn path_in(folder: &tempfile::TempDir, name: &str) -> String {
    folder.path().join(name).to_str().expect("UTF-8").to_owned()
}

#[tokio::test]
async fn nothing_is_deleted_without_an_answer() {
    let world = World::start().await;
    let file = world.client.upload(TEXT, json!({})).await;
    let project = world.project().await;
    let hook = ["webhooks", "create", "https://app.example/hook", "--json"];
    let hook: Value = serde_json::from_str(&xf(&world, &hook).await.ok()).unwrap();
    let hook = hook["webhook"]["id"].as_str().unwrap();
    for arguments in [
        &["rm", id_of(&file)][..],
        &["delete", id_of(&file)],
        &["rm", "--erase", id_of(&file)],
        &["projects", "delete", project.id.as_str()],
        &["projects", "rm", project.id.as_str()],
        &["projects", "empty", project.id.as_str()],
        &["webhooks", "delete", hook],
    ] {
        let ran = xf(&world, arguments).await;
        assert_eq!((ran.exit, ran.out), (Exit::Usage, Vec::new()), "{arguments:?}");
        assert!(ran.err.contains("nothing was deleted") && ran.err.contains("give --yes"), "{}", ran.err);
    }
    world.client.get(&format!("/api/v1/files/{}", id_of(&file))).await.ok();
    xf(&world, &["rm", "--yes", id_of(&file)]).await.ok();
    world.client.get(&format!("/api/v1/files/{}", id_of(&file))).await.refused(404, "file_not_found");
    world.end().await;
}

#[tokio::test]
async fn a_download_is_whole_goes_on_where_it_stopped_and_replaces_nothing() {
    let (world, folder) = (World::start().await, tempfile::tempdir().unwrap());
    let photo = fixture("photo-baseline.jpg");
    let source = path_in(&folder, "Photo.jpg");
    fs::write(&source, &photo).unwrap();
    let uploaded: Value =
        serde_json::from_str(&xf(&world, &["upload", "--json", "--variants", &source]).await.ok()).unwrap();
    let id = uploaded[0]["file"]["id"].as_str().unwrap();

    let target = path_in(&folder, "copy.jpg");
    assert_eq!(xf(&world, &["download", "-o", &target, id]).await.ok(), format!("{target}\n"));
    assert_eq!(fs::read(&target).unwrap(), photo);
    let again = xf(&world, &["download", "-o", &target, id]).await;
    assert_eq!(again.exit, Exit::Failed);
    assert!(again.err.contains("exists") && again.err.contains("--force"), "{}", again.err);

    // An earlier download stopped in the middle; the bytes that are there already are not asked for again.
    fs::remove_file(&target).unwrap();
    let part = path_in(&folder, &format!(".copy.jpg.{id}.part"));
    fs::write(&part, &photo[..9_000]).unwrap();
    xf(&world, &["download", "-o", &target, id]).await.ok();
    assert_eq!(fs::read(&target).unwrap(), photo);
    assert!(!fs::exists(&part).unwrap());

    // Bytes that are not the file's own are found, and are no beginning for the next try.
    fs::remove_file(&target).unwrap();
    fs::write(&part, vec![0; 9_000]).unwrap();
    let wrong = xf(&world, &["download", "-o", &target, id]).await;
    assert_eq!(wrong.exit, Exit::Failed);
    assert!(wrong.err.contains("SHA-256"), "{}", wrong.err);
    assert!(!fs::exists(&target).unwrap() && !fs::exists(&part).unwrap());
    xf(&world, &["download", "-o", &target, "--force", id]).await.ok();

    // Into a directory it has its own name, and to standard output it has none.
    let inside = folder.path().join("inside");
    fs::create_dir(&inside).unwrap();
    xf(&world, &["download", "-o", inside.to_str().unwrap(), id]).await.ok();
    assert_eq!(fs::read(inside.join("Photo.jpg")).unwrap(), photo);
    let printed = xf(&world, &["download", "-o", "-", id]).await;
    assert!(printed.exit == Exit::Ok && printed.out == photo);
    let small = xf(&world, &["download", "-o", "-", "--width", "100", "--format", "png", id]).await;
    assert_eq!(small.out.get(1..4), Some(&b"PNG"[..]), "{}", small.err);

    let unknown = xf(&world, &["download", "-o", "-", "aaaaaaaaaaaaaaaaaaaa"]).await;
    assert_eq!(unknown.exit, Exit::NotFound);
    world.end().await;
}

#[tokio::test]
async fn a_name_from_the_server_leads_to_no_other_folder() {
    let (world, folder) = (World::start().await, tempfile::tempdir().unwrap());
    let inside = folder.path().join("inside");
    fs::create_dir(&inside).unwrap();
    for (name, expected) in
        [("../../evil.txt", "evil.txt"), ("..", ""), (".bashrc", "bashrc"), ("a\\..\\b.txt", "b.txt")]
    {
        let file = world.client.upload((name, TEXT.1, TEXT.2), json!({})).await;
        xf(&world, &["download", "-o", inside.to_str().unwrap(), id_of(&file)]).await.ok();
        let expected = if expected.is_empty() { id_of(&file) } else { expected };
        assert_eq!(fs::read(inside.join(expected)).unwrap(), TEXT.2, "{name}");
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    world.end().await;
}

#[tokio::test]
async fn a_directory_is_uploaded_when_asked_and_a_dry_run_sends_nothing() {
    let (world, folder) = (World::start().await, tempfile::tempdir().unwrap());
    let album = folder.path().join("album");
    fs::create_dir_all(album.join("below")).unwrap();
    for name in ["b.txt", "a.txt", "below/c.txt", ".hidden.txt"] {
        fs::write(album.join(name), TEXT.2).unwrap();
    }
    std::os::unix::fs::symlink(&album, album.join("circle")).unwrap();
    let album = album.to_str().unwrap();

    let refused = xf(&world, &["upload", album]).await;
    assert!(refused.exit == Exit::Failed && refused.err.contains("--recursive"), "{}", refused.err);
    let shown = xf(&world, &["upload", "-r", "--dry-run", "--json", album]).await.ok();
    let shown: Value = serde_json::from_str(&shown).unwrap();
    let names: Vec<_> = shown.as_array().unwrap().iter().map(|file| file["filename"].as_str().unwrap()).collect();
    assert_eq!(names, ["a.txt", "b.txt", "c.txt"]);
    assert_eq!(world.project().await.file_count, 0);

    let uploaded: Value = serde_json::from_str(&xf(&world, &["upload", "-r", "--json", album]).await.ok()).unwrap();
    assert_eq!(uploaded.as_array().unwrap().len(), 3);
    assert_eq!(world.project().await.file_count, 3);
    for (arguments, named) in [(&["upload", "-"][..], "--name"), (&["upload", album, "--name", "x"], "--name")] {
        let refused = xf(&world, arguments).await;
        assert!(refused.exit == Exit::Usage && refused.err.contains(named), "{}", refused.err);
    }
    world.end().await;
}

#[tokio::test]
async fn a_list_is_narrowed_by_name_type_and_time_and_every_level_knows_both_words() {
    let world = World::start().await;
    world.client.upload(("invoice-1.txt", TEXT.1, TEXT.2), json!({})).await;
    world.client.upload(("Invoice-2.txt", TEXT.1, TEXT.2), json!({})).await;
    world.client.upload(("photo.jpg", "image/jpeg", &fixture("photo-baseline.jpg")), json!({})).await;
    let count = async |arguments: &[&str]| {
        let listed = xf(&world, &[&["ls", "--json"], arguments].concat()).await.ok();
        serde_json::from_str::<Value>(&listed).unwrap()["files"].as_array().unwrap().len()
    };
    assert_eq!(count(&[]).await, 3);
    assert_eq!(count(&["--type", "image/*"]).await, 1);
    assert_eq!(count(&["--name", "photo"]).await, 1);
    assert_eq!(count(&["--limit", "2"]).await, 2);
    assert_eq!(count(&["--since", "1h"]).await, 3);
    assert_eq!(count(&["--until", "1h"]).await, 0);
    assert_eq!(count(&["--since", "2020-01-31", "--until", "2020-02-01T00:00:00Z"]).await, 0);
    let wrong = xf(&world, &["ls", "--since", "yesterday"]).await;
    assert!(wrong.exit == Exit::Usage && wrong.err.contains("2026-01-31"), "{}", wrong.err);

    for arguments in
        [&["list"][..], &["ls"], &["projects", "list"], &["projects", "ls"], &["keys", "list"], &["keys", "ls"]]
    {
        assert_eq!(xf(&world, arguments).await.exit, Exit::Ok, "{arguments:?}");
    }
    let help = xf(&world, &["help", "upload"]).await;
    // Without a server's arguments the parser prints the help of the command.
    assert!(help.exit == Exit::Usage || String::from_utf8_lossy(&help.out).contains("--recursive"), "{}", help.err);
    world.end().await;
}

#[tokio::test]
async fn a_webhook_is_made_listed_changed_rotated_and_deleted() {
    let world = World::start().await;
    let made = xf(&world, &["webhooks", "create", "https://app.example/hook", "--event", "file.confirmed"]).await;
    assert!(made.exit == Exit::Ok && made.out.starts_with(b"whsec_"), "{}", made.err);
    let listed: Value = serde_json::from_str(&xf(&world, &["webhooks", "ls", "--json"]).await.ok()).unwrap();
    let id = listed["webhooks"][0]["id"].as_str().unwrap();
    assert_eq!(listed["webhooks"][0]["events"], json!(["file.confirmed"]));
    let shown = xf(&world, &["webhooks", "update", id, "--disable", "--all-events"]).await.ok();
    assert!(shown.contains(" off ") && shown.contains(" all "), "{shown}");
    let rotated = xf(&world, &["webhooks", "rotate", id]).await;
    assert!(rotated.out.starts_with(b"whsec_") && rotated.out != made.out, "{}", rotated.err);
    assert_eq!(xf(&world, &["webhooks", "deliveries", id]).await.exit, Exit::Ok);
    assert_eq!(xf(&world, &["webhooks", "replay", id]).await.ok(), "0 deliveries will be tried again\n");
    assert_eq!(xf(&world, &["webhooks", "delete", "--yes", id]).await.ok(), format!("deleted {id}\n"));
    let wrong = xf(&world, &["webhooks", "create", "https://app.example/hook", "--event", "file.confirm"]).await;
    assert!(wrong.exit == Exit::Usage && wrong.err.contains("file.confirmed"), "{}", wrong.err);
    world.end().await;
}

#[tokio::test]
async fn a_health_check_needs_no_key() {
    let world = World::start().await;
    let run = async |url: String| {
        let arguments = ["xf".to_owned(), "health".to_owned(), "--url".to_owned(), url].map(Into::into);
        let run = move || xfiles_cli::run(arguments, &mut Console::new(&mut Vec::new(), &mut Vec::new()));
        tokio::task::spawn_blocking(run).await.expect("it returns")
    };
    let url = world.stack.url().as_str().to_owned();
    assert_eq!(run(url.clone()).await, Exit::Ok);
    assert_eq!(run(format!("{url}/docs")).await, Exit::Failed);
    world.end().await;
    assert_eq!(run(url).await, Exit::Unreachable);
}

/// No name of a client's file and no signed URL is in what is printed about a failure of the network.
#[tokio::test]
async fn a_failure_of_the_network_says_what_failed_and_where() {
    let run = async |url: &str| {
        let arguments = ["xf", "ls", "--url", url, "--api-key", "xf_0123456789abcdefghijABCDEFGHIJ01"].map(Into::into);
        let run = move || {
            let (mut out, mut err) = (Vec::new(), Vec::new());
            let exit = xfiles_cli::run(arguments, &mut Console::new(&mut out, &mut err));
            (exit, String::from_utf8(err).expect("text"))
        };
        tokio::task::spawn_blocking(run).await.expect("it returns")
    };
    let (exit, said) = run("http://no-such-host.invalid").await;
    assert_eq!(exit, Exit::Unreachable);
    assert!(said.contains("no host of this name") && said.contains("no-such-host.invalid"), "{said}");
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (exit, said) = run(&format!("http://{closed}")).await;
    assert!(exit == Exit::Unreachable && said.contains("Connection refused"), "{said}");
}
