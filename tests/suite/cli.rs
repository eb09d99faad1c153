//! The `xf` command as a client of a running stack: what it prints, and how it ends.

use serde_json::{Value, json};
use xfiles_cli::{Console, Exit};
use xfiles_core::api_key::Scope;
use xfiles_standalone::Data;
use xfiles_tests::{TEXT, World, WorldOptions, fixture, id_of};

/// What a run of the command left.
struct Ran {
    exit: Exit,
    out: String,
    err: String,
}

impl Ran {
    /// The result of a run that did everything and complained of nothing.
    #[track_caller]
    fn ok(self) -> String {
        assert_eq!((self.exit, self.err.as_str()), (Exit::Ok, ""), "{}", self.out);
        self.out
    }

    #[track_caller]
    fn json(self) -> Value {
        serde_json::from_str(&self.ok()).expect("JSON")
    }
}

/// Runs `xf` with these arguments and no terminal.
async fn xf(arguments: &[&str]) -> Ran {
    let arguments: Vec<_> = ["xf"].iter().chain(arguments).map(Into::into).collect();
    let run = move || {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let exit = xfiles_cli::run(arguments, &mut Console::new(&mut out, &mut err));
        let text = |bytes| String::from_utf8(bytes).expect("text");
        Ran { exit, out: text(out), err: text(err) }
    };
    tokio::task::spawn_blocking(run).await.expect("it returns")
}

/// Runs `xf` against a world with its key.
async fn xf_in(world: &World, arguments: &[&str]) -> Ran {
    let connection = ["--url", world.stack.url().as_str(), "--api-key", world.client.key()];
    xf(&[arguments, &connection].concat()).await
}

/// A folder with files to upload.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a folder"))
    }

    /// Puts a file there and gives its path.
    fn file(&self, name: &str, bytes: &[u8]) -> String {
        let path = self.0.path().join(name);
        std::fs::write(&path, bytes).expect("a file");
        path.to_str().expect("UTF-8").to_owned()
    }

    fn data(&self) -> (Data, String) {
        let path = self.0.path().join("data");
        let text = path.to_str().expect("UTF-8").to_owned();
        (Data::Directory(path), text)
    }
}

#[tokio::test]
async fn an_uploaded_photo_is_shown_listed_read_and_deleted() {
    let (world, folder) = (World::start().await, Folder::new());
    let photo = fixture("portrait-exif6.jpg");
    let path = folder.file("Portrait (1).JPG", &photo);

    let shown =
        xf_in(&world, &["upload", "--public", "--variants", "--entity", "listing:42:cover:3", &path]).await.ok();
    assert!(shown.starts_with("Portrait (1).JPG\n") && shown.contains("listing 42, cover, position 3"), "{shown}");
    let line = |label: &str| {
        let found = shown.lines().find_map(|line| line.trim().strip_prefix(label));
        found.unwrap_or_else(|| panic!("{label}: {shown}")).trim().to_owned()
    };
    assert_eq!(world.get(&line("url")).await.bytes().await.unwrap(), photo);
    assert_eq!(world.get(&line("400 px")).await.headers()["content-type"], "image/webp");

    let id = line("id");
    let listed = xf_in(&world, &["ls", "--entity", "listing:42", "--quiet"]).await.ok();
    let row = listed.lines().nth(1).unwrap();
    assert!(row.starts_with(&id) && row.ends_with("Portrait (1).JPG") && row.contains("just now"), "{listed}");
    let got = xf_in(&world, &["get", "--json", &id]).await.json();
    assert_eq!((got["file"]["size"].as_u64(), id_of(&got["file"])), (Some(photo.len() as u64), id.as_str()));
    assert_eq!(xf_in(&world, &["url", &id]).await.ok().trim(), line("url"));
    assert_eq!(xf_in(&world, &["url", "--width", "400", &id]).await.ok().trim(), line("400 px"));

    assert_eq!(xf_in(&world, &["rm", &id]).await.ok(), format!("deleted {id}\n"));
    let gone = xf_in(&world, &["get", &id]).await;
    assert_eq!(gone.exit, Exit::NotFound);
    assert!(gone.err.contains("request id: "), "{}", gone.err);
    world.end().await;
}

#[tokio::test]
async fn a_private_file_opens_with_the_url_that_is_printed_and_not_without_its_signature() {
    let (world, folder) = (World::start().await, Folder::new());
    let path = folder.file(TEXT.0, TEXT.2);
    let id = xf_in(&world, &["upload", "--json", &path]).await.json()[0]["file"]["id"].as_str().unwrap().to_owned();

    let url = xf_in(&world, &["url", &id]).await.ok().trim().to_owned();
    assert_eq!(world.get(&url).await.bytes().await.unwrap(), TEXT.2);
    assert_eq!(world.get(url.split('?').next().unwrap()).await.status(), 403);
    world.end().await;
}

#[tokio::test]
async fn many_files_are_reported_in_the_order_of_the_arguments_and_one_failure_stops_no_other() {
    let (world, folder) = (World::start().await, Folder::new());
    let mut paths: Vec<String> = (0..9).map(|i| folder.file(&format!("{i}.txt"), TEXT.2)).collect();
    paths.insert(4, folder.file("not-a-picture.png", b"hello"));
    paths.insert(7, folder.0.path().join("missing.txt").to_str().unwrap().to_owned());
    let arguments: Vec<&str> = ["upload", "--json"].into_iter().chain(paths.iter().map(String::as_str)).collect();

    let ran = xf_in(&world, &arguments).await;
    assert_eq!(ran.exit, Exit::Failed);
    let elements: Vec<Value> = serde_json::from_str(&ran.out).unwrap();
    let told: Vec<&str> = elements.iter().map(|element| element["path"].as_str().unwrap()).collect();
    assert_eq!(told, paths);
    for (i, element) in elements.iter().enumerate() {
        let failed = matches!(i, 4 | 7);
        assert_eq!((element["error"].is_object(), element["url"].is_string()), (failed, !failed), "{element}");
    }
    assert_eq!(elements[4]["error"]["code"], "content_type_mismatch");
    assert!(ran.err.contains("missing.txt: cannot be read"), "{}", ran.err);
    assert_eq!(xf_in(&world, &["ls", "--json"]).await.json()["total"], 9);
    world.end().await;
}

#[tokio::test]
async fn a_file_that_is_large_enough_to_be_announced_arrives_whole() {
    let (world, folder) = (World::start().await, Folder::new());
    let bytes: Vec<u8> =
        (0..3_000_000_u32).map(|i| b"0123456789abcdef"[(i.wrapping_mul(2_654_435_761) >> 28) as usize]).collect();
    let path = folder.file("large.txt", &bytes);
    let uploaded = xf_in(&world, &["upload", "--public", "--json", &path]).await.json();
    assert_eq!(world.get(uploaded[0]["url"].as_str().unwrap()).await.bytes().await.unwrap(), bytes);
    world.end().await;
}

#[tokio::test]
async fn a_long_list_says_how_to_go_on() {
    let (world, folder) = (World::start().await, Folder::new());
    let paths: Vec<String> = (0..21).map(|i| folder.file(&format!("{i}.txt"), TEXT.2)).collect();
    let arguments: Vec<&str> = ["upload"].into_iter().chain(paths.iter().map(String::as_str)).collect();
    xf_in(&world, &arguments).await.ok();

    let first = xf_in(&world, &["ls"]).await;
    assert_eq!(first.err, "21 files, page 1 of 2; add --page 2 for the next\n");
    assert_eq!(first.out.lines().count(), 1 + 20);
    let second = xf_in(&world, &["ls", "--page", "2"]).await;
    assert_eq!((second.out.lines().count(), second.err.as_str()), (1 + 1, "21 files, page 2 of 2\n"));
    let none = xf_in(&world, &["ls", "--role", "cover"]).await;
    assert_eq!((none.out.as_str(), none.err.as_str()), ("", "no files\n"));
    world.end().await;
}

#[tokio::test]
async fn each_kind_of_failure_has_its_exit_code_and_a_word_on_what_to_do() {
    let (world, folder) = (World::with_quota(20).await, Folder::new());
    let (small, other) = (folder.file("a.txt", TEXT.2), folder.file("b.txt", TEXT.2));
    let url = world.stack.url().as_str();
    let reader = world.client_with(&[Scope::Read]).await;
    let unknown = "xf_00000000000000000000000000000000";
    let nobody = "abcdefghijklmnopqrst";
    xf_in(&world, &["upload", &small]).await.ok();

    for (arguments, key, exit) in [
        (&["upload", &other][..], world.client.key(), Exit::QuotaExceeded),
        (&["ls", "--page", "0"], world.client.key(), Exit::Usage),
        (&["get", "x"], world.client.key(), Exit::Usage),
        (&["get", nobody], world.client.key(), Exit::NotFound),
        (&["ls"], unknown, Exit::Unauthorized),
        (&["ls"], "xf_malformed", Exit::Unauthorized),
        (&["upload", &other], reader.key(), Exit::Unauthorized),
        (&["rm", nobody], reader.key(), Exit::Unauthorized),
    ] {
        let ran = xf(&[arguments, &["--url", url, "--api-key", key]].concat()).await;
        assert_eq!(ran.exit, exit, "{arguments:?}: {}", ran.err);
        assert!(ran.err.starts_with("error: ") && !ran.err.contains(key), "{}", ran.err);
        assert!(ran.err.contains("hint: ") || exit == Exit::Usage, "{arguments:?}: {}", ran.err);
    }
    let nowhere = xf(&["ls", "--url", "http://127.0.0.1:1", "--api-key", unknown]).await;
    assert_eq!(nowhere.exit, Exit::Unreachable);
    assert!(nowhere.err.contains("http://127.0.0.1:1 cannot be reached"), "{}", nowhere.err);
    world.end().await;
}

#[tokio::test]
async fn keys_and_projects_are_made_on_the_data_directory_of_a_running_server() {
    let folder = Folder::new();
    let (data, directory) = folder.data();
    let world = World::with(WorldOptions { data, ..WorldOptions::default() }).await;
    let url = world.stack.url().as_str();
    let ls = async |key: &str| xf(&["ls", "--quiet", "--url", url, "--api-key", key]).await.exit;

    let made = xf(&["projects", "create", "shop", "--quota", "1MB", "--json", "--data", &directory]).await.json();
    assert_eq!((made["name"].as_str(), made["quotaBytes"].as_u64()), (Some("shop"), Some(1_048_576)));
    let again = xf(&["projects", "create", "shop", "--data", &directory]).await;
    assert_eq!(again.exit, Exit::Failed, "two projects of one name could not be told apart");
    let listed = xf(&["projects", "list", "--json", "--data", &directory]).await.json();
    assert_eq!((listed[0]["name"].as_str(), listed[1]["id"].as_str()), (Some("default"), made["id"].as_str()));

    let key =
        xf(&["keys", "create", "--project", "shop", "--scope", "read", "--quiet", "--data", &directory]).await.ok();
    let key = key.trim();
    assert_eq!(ls(key).await, Exit::Ok);
    let keys = xf(&["keys", "list", "--project", "shop", "--json", "--data", &directory]).await.json();
    assert_eq!((&keys[0]["scopes"], &keys[0]["revokedAt"]), (&json!(["read"]), &Value::Null));
    assert!(!keys.to_string().contains(key), "a list never shows a key");

    let id = keys[0]["id"].as_str().unwrap();
    assert_eq!(xf(&["keys", "revoke", id, "--data", &directory]).await.ok(), format!("revoked {id}\n"));
    world.pass(std::time::Duration::from_secs(31));
    assert_eq!(ls(key).await, Exit::Unauthorized);
    let unknown = xf(&["keys", "revoke", "aaaaaaaaaa", "--data", &directory]).await;
    assert_eq!(unknown.exit, Exit::NotFound);
    world.end().await;
}

#[tokio::test]
async fn a_cleanup_by_hand_needs_a_stopped_server_and_a_served_directory() {
    let folder = Folder::new();
    let (data, directory) = folder.data();
    let never = xf(&["cleanup", "--data", &directory]).await;
    assert_eq!(never.exit, Exit::Unavailable);
    assert!(!std::path::Path::new(&directory).exists(), "a mistyped directory is not made");

    let world = World::with(WorldOptions { data, ..WorldOptions::default() }).await;
    let running = xf(&["cleanup", "--dry-run", "--data", &directory]).await;
    assert_eq!(running.exit, Exit::Unavailable);
    assert!(running.err.contains("a running server cleans up by itself"), "{}", running.err);
    world.client.intent(TEXT.0, TEXT.1, TEXT.2.len(), json!({})).await.ok();
    world.end().await;

    let shown = xf(&["cleanup", "--dry-run", "--json", "--data", &directory]).await.json();
    assert_eq!(shown, json!([]), "a fresh upload is not overdue");
    assert_eq!(xf(&["cleanup", "--data", &directory]).await.ok(), "0 finished, 0 failed\n");
}
