//! The `xf` command as a client of a running stack: its output and its exit codes.

use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use xfiles_cli::{Console, Exit};
use xfiles_core::api_key::Scope;
use xfiles_standalone::Data;
use xfiles_tests::{TEXT, World, WorldOptions, fixture, id_of};

/// The result of a run of the command.
struct Ran {
    exit: Exit,
    out: String,
    err: String,
}

impl Ran {
    /// The output of a run that succeeded without warnings.
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

/// Runs `xf` with these arguments and without a terminal.
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

/// A directory with files to upload.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a folder"))
    }

    /// Writes a file and returns its path.
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

    assert_eq!(xf_in(&world, &["rm", "--yes", &id]).await.ok(), format!("deleted {id}\n"));
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
    let printed: Vec<&str> = elements.iter().map(|element| element["path"].as_str().unwrap()).collect();
    assert_eq!(printed, paths);
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
async fn a_file_that_is_sent_with_expect_continue_arrives_complete() {
    let (world, folder) = (World::start().await, Folder::new());
    let bytes: Vec<u8> =
        (0..3_000_000_u32).map(|i| b"0123456789abcdef"[(i.wrapping_mul(2_654_435_761) >> 28) as usize]).collect();
    let path = folder.file("large.txt", &bytes);
    let uploaded = xf_in(&world, &["upload", "--public", "--json", &path]).await.json();
    assert_eq!(world.get(uploaded[0]["url"].as_str().unwrap()).await.bytes().await.unwrap(), bytes);
    world.end().await;
}

#[tokio::test]
async fn a_long_list_says_how_to_continue() {
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
async fn each_kind_of_failure_has_its_exit_code_and_a_remedy() {
    let (world, folder) = (World::with_quota(20).await, Folder::new());
    let (small, other) = (folder.file("a.txt", TEXT.2), folder.file("b.txt", TEXT.2));
    let url = world.stack.url().as_str();
    let reader = world.client_with(&[Scope::Read]).await;
    let unknown = "xf_00000000000000000000000000000000";
    let missing = "abcdefghijklmnopqrst";
    xf_in(&world, &["upload", &small]).await.ok();

    for (arguments, key, exit) in [
        (&["upload", &other][..], world.client.key(), Exit::QuotaExceeded),
        (&["ls", "--page", "0"], world.client.key(), Exit::Usage),
        (&["get", "x"], world.client.key(), Exit::Usage),
        (&["get", missing], world.client.key(), Exit::NotFound),
        (&["ls"], unknown, Exit::Unauthorized),
        (&["ls"], "xf_malformed", Exit::Unauthorized),
        (&["upload", &other], reader.key(), Exit::Unauthorized),
        (&["rm", "--yes", missing], reader.key(), Exit::Unauthorized),
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
async fn a_complete_list_is_read_and_many_files_are_deleted_at_once() {
    let world = World::start().await;
    for i in 0..105 {
        world.client.upload((&format!("{i}.txt"), TEXT.1, TEXT.2), json!({})).await;
    }
    let all = xf_in(&world, &["ls", "--all"]).await;
    assert_eq!((all.exit, all.err.as_str(), all.out.lines().count()), (Exit::Ok, "105 files\n", 1 + 105));
    let listed = xf_in(&world, &["ls", "--all", "--json"]).await.json();
    let mut ids: Vec<&str> = listed["files"].as_array().unwrap().iter().map(id_of).collect();
    assert_eq!(ids.len(), 105);
    let both = xf_in(&world, &["ls", "--all", "--page", "2"]).await;
    assert_eq!(both.exit, Exit::Usage);

    let missing = "abcdefghijklmnopqrst";
    ids.insert(50, missing);
    let removed = xf_in(&world, &[&["rm", "--yes"], ids.as_slice()].concat()).await;
    assert_eq!((removed.exit, removed.out.lines().count()), (Exit::NotFound, 105));
    assert!(removed.err.starts_with(&format!("error: {missing}: no such file\nhint: ")), "{}", removed.err);
    let none = xf_in(&world, &["ls", "--all"]).await;
    assert_eq!((none.out.as_str(), none.err.as_str()), ("", "no files\n"));
    assert_eq!(xf_in(&world, &["ls", "--all", "--json"]).await.json(), json!({"files": []}));
    world.end().await;
}

#[tokio::test]
async fn a_published_file_is_changed_and_its_new_state_is_shown() {
    let (world, folder) = (World::start().await, Folder::new());
    let path = folder.file("photo.jpg", &fixture("portrait-exif6.jpg"));
    let arguments = ["upload", "--json", "--public", "--owner", "u1", "--entity", "listing:42:gallery:3", &path];
    let uploaded = xf_in(&world, &arguments).await.json()[0].clone();
    let (id, old_url) = (id_of(&uploaded["file"]), uploaded["url"].as_str().unwrap());
    let update = async |flags: &[&str]| xf_in(&world, &[&["update", id, "--json"], flags].concat()).await.json();

    let changed = update(&["--private", "--no-owner", "--position", "7", "--variants=public"]).await;
    let file = &changed["file"];
    assert_eq!((&file["visibility"], &file["ownerUserId"]), (&json!("private"), &Value::Null));
    assert_eq!(file["entity"]["position"], 7);
    assert_eq!(file["transformations"]["image"], json!({"enabled": true, "visibility": "public"}));
    assert_eq!(world.get(old_url).await.status(), 404);
    assert_eq!(world.get(changed["url"].as_str().unwrap()).await.status(), 200);

    let changed = update(&["--owner", "u2", "--no-variants"]).await;
    assert_eq!((&changed["file"]["ownerUserId"], &changed["variants"]), (&json!("u2"), &json!([])));
    assert_eq!(changed["file"]["visibility"], "private", "other fields are unchanged");
    let shown = xf_in(&world, &["update", id, "--public"]).await.ok();
    assert!(shown.starts_with("photo.jpg\n") && shown.contains("access   public"), "{shown}");
    assert_eq!(xf_in(&world, &["update", id]).await.exit, Exit::Usage);
    world.pass(std::time::Duration::from_secs(120));
    world.sweep().await;
    world.end().await;
}

/// Forwards connections to a server, but drops the response on the first one.
async fn lossy(server: &str) -> String {
    let server = server.strip_prefix("http://").expect("an address").to_owned();
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = format!("http://{}", listener.local_addr().expect("an address"));
    tokio::spawn(async move {
        for loses in std::iter::once(true).chain(std::iter::repeat(false)) {
            let (mut client, _) = listener.accept().await.expect("a connection");
            let mut upstream = TcpStream::connect(&server).await.expect("the server is there");
            tokio::spawn(async move {
                if loses {
                    let (asked, mut asking) = upstream.split();
                    let answered = tokio::select! {
                        readable = asked.readable() => readable,
                        copied = tokio::io::copy(&mut client, &mut asking) => copied.map(drop),
                    };
                    answered.expect("an answer");
                } else {
                    drop(tokio::io::copy_bidirectional(&mut client, &mut upstream).await);
                }
            });
        }
    });
    address
}

#[tokio::test]
async fn an_upload_whose_response_is_lost_is_retried_and_reserves_once() {
    let (world, folder) = (World::start().await, Folder::new());
    let path = folder.file(TEXT.0, TEXT.2);
    let url = lossy(world.stack.url().as_str()).await;
    xf(&["upload", "--url", &url, "--api-key", world.client.key(), &path]).await.ok();
    let project = world.project().await;
    assert_eq!((project.file_count, project.reserved_bytes), (1, 0));
    world.end().await;
}

#[tokio::test]
async fn projects_are_created_changed_and_deleted_over_the_api() {
    let world = World::start().await;
    let made = xf_in(&world, &["projects", "create", "shop", "--quota", "1MB", "--json"]).await.json();
    let made = &made["project"];
    assert_eq!((&made["name"], &made["usage"]["quotaBytes"]), (&json!("shop"), &json!(1_048_576)));
    let id = id_of(made);
    let again = xf_in(&world, &["projects", "create", "shop"]).await;
    assert_eq!(again.exit, Exit::Failed, "project names are unique");

    let renamed = xf_in(&world, &["projects", "rename", "shop", "store"]).await.ok();
    assert_eq!(renamed, format!("{id}  store  0 B used, 0 B reserved, of 1 MiB\n"));
    let resized = xf_in(&world, &["projects", "quota", id, "2MB", "--json"]).await.json();
    assert_eq!(resized["project"]["usage"]["freeBytes"], 2 * 1_048_576);
    let listed = xf_in(&world, &["projects", "list"]).await.ok();
    let row: Vec<&str> = listed.lines().find(|line| line.starts_with(id)).unwrap().split_whitespace().collect();
    assert_eq!((row[1], row[row.len() - 2], row[row.len() - 1]), ("0", "active", "store"), "{listed}");

    let key = xf_in(&world, &["keys", "create", "--project", "store", "--quiet"]).await.ok();
    let store = world.client.with_key(key.trim());
    store.upload(TEXT, json!({})).await;
    let usage = async || {
        let arguments = ["usage", "--url", world.stack.url().as_str(), "--api-key", key.trim()];
        xf(&arguments).await.ok()
    };
    assert!(usage().await.starts_with("used      13 B, 1 file\nreserved  0 B"), "{}", usage().await);
    let emptied = xf_in(&world, &["projects", "empty", "store", "--quiet", "--yes"]).await.ok();
    assert_eq!(emptied, format!("emptying {id}\n"));
    assert_eq!(xf_in(&world, &["cleanup"]).await.ok(), "1 finished, 0 failed\n");
    assert!(usage().await.starts_with("used      0 B, 0 files\n"));

    let deleted = xf_in(&world, &["projects", "delete", id, "--yes", "--json"]).await.json();
    assert_eq!(deleted, json!({"success": true}));
    xf_in(&world, &["cleanup"]).await.ok();
    let gone = xf_in(&world, &["projects", "quota", id, "1MB"]).await;
    assert_eq!(gone.exit, Exit::NotFound);
    world.end().await;
}

#[tokio::test]
async fn keys_are_created_listed_rotated_and_revoked_over_the_api() {
    let world = World::start().await;
    let url = world.stack.url().as_str();
    let ls = async |key: &str| xf(&["ls", "--quiet", "--url", url, "--api-key", key.trim()]).await.exit;

    let made = xf_in(&world, &["keys", "create"]).await;
    assert!(made.err.contains("of project default, shown this once"), "the only project needs no name: {}", made.err);
    xf_in(&world, &["projects", "create", "shop", "--quiet"]).await.ok();
    let which = xf_in(&world, &["keys", "list"]).await;
    assert_eq!(which.exit, Exit::Usage);
    for said in ["there are 2 projects: ", "default (", "shop (", "--project"] {
        assert!(which.err.contains(said), "{}", which.err);
    }

    let of_shop =
        async |arguments: &[&str]| xf_in(&world, &[&["keys"], arguments, &["--project", "shop"]].concat()).await;
    let made = of_shop(&["create", "--scope", "read", "--name", "web", "--expires-in", "90d", "--json"]).await.json();
    let (id, key) = (id_of(&made["key"]), made["apiKey"].as_str().unwrap());
    assert_eq!(ls(key).await, Exit::Ok);
    let rotated = of_shop(&["rotate", id, "--grace", "1h", "--json"]).await.json();
    let (new_id, new_key) = (id_of(&rotated["key"]), rotated["apiKey"].as_str().unwrap());
    assert_eq!((ls(key).await, ls(new_key).await), (Exit::Ok, Exit::Ok));

    let listed = of_shop(&["list", "--json"]).await.json();
    assert_eq!(listed["keys"].as_array().unwrap().len(), 2);
    assert!(!listed.to_string().contains(key) && !listed.to_string().contains(new_key), "a list never shows a key");
    let table = of_shop(&["list"]).await.ok();
    let ending = format!("xf_…{}", &new_key[new_key.len() - 4..]);
    assert!(table.contains(&ending) && table.lines().all(|line| line.ends_with(" NAME") || line.ends_with(" web")));

    world.pass(std::time::Duration::from_secs(3_700));
    assert_eq!((ls(key).await, ls(new_key).await), (Exit::Unauthorized, Exit::Ok));
    assert_eq!(of_shop(&["revoke", new_id]).await.ok(), format!("revoked {new_id}\n"));
    world.pass(std::time::Duration::from_secs(31));
    assert_eq!(ls(new_key).await, Exit::Unauthorized);
    assert_eq!(of_shop(&["revoke", "aaaaaaaaaa"]).await.exit, Exit::NotFound);
    world.end().await;
}

#[tokio::test]
async fn a_key_can_be_created_in_the_data_directory_of_a_running_server() {
    let folder = Folder::new();
    let (data, directory) = folder.data();
    let never = xf(&["keys", "create", "--data", &directory]).await;
    assert_eq!(never.exit, Exit::Unavailable);
    assert!(!std::path::Path::new(&directory).exists(), "a mistyped directory is not created");

    let world = World::with(WorldOptions { data, ..WorldOptions::default() }).await;
    let made = xf(&["keys", "create", "--admin", "--json", "--data", &directory]).await.json();
    assert_eq!(made["key"]["scopes"], json!(["read", "write", "delete", "admin"]));
    let key = made["apiKey"].as_str().unwrap();
    let listed = xf(&["keys", "list", "--json", "--url", world.stack.url().as_str(), "--api-key", key]).await.json();
    let found = listed["keys"].as_array().unwrap().iter().find(|found| found["id"] == made["key"]["id"]).unwrap();
    let fields = |key: &Value| key.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(fields(found), fields(&made["key"]), "it has the format of the API");

    let plain = xf(&["keys", "create", "--quiet", "--data", &directory]).await.ok();
    let plain = xf(&["projects", "list", "--url", world.stack.url().as_str(), "--api-key", plain.trim()]).await;
    assert_eq!(plain.exit, Exit::Unauthorized, "managing is not a default scope");
    world.end().await;
}

#[tokio::test]
async fn a_manual_cleanup_shows_and_then_settles_overdue_records() {
    let world = World::start().await;
    let none = xf_in(&world, &["cleanup", "--dry-run"]).await;
    assert_eq!((none.out.as_str(), none.err.as_str()), ("", "0 overdue; nothing was changed\n"));
    let intent = world.client.intent(TEXT.0, TEXT.1, TEXT.2.len(), json!({})).await.ok();
    world.pass_expiry();
    let shown = xf_in(&world, &["cleanup", "--dry-run"]).await;
    assert_eq!(shown.err, "1 overdue; nothing was changed\n");
    assert!(shown.out.starts_with(id_of(&intent)) && shown.out.ends_with("  13 B\n"), "{}", shown.out);
    let shown = xf_in(&world, &["cleanup", "--dry-run", "--json"]).await.json();
    assert_eq!(shown["overdue"].as_array().unwrap().len(), 1);

    assert_eq!(xf_in(&world, &["cleanup"]).await.ok(), "1 finished, 0 failed\n");
    let report = xf_in(&world, &["cleanup", "--json"]).await.json();
    assert_eq!(report, json!({"settled": 0, "failed": [], "more": false}));
    let reader = world.client_with(&[Scope::Read]).await;
    let refused = xf(&["cleanup", "--url", world.stack.url().as_str(), "--api-key", reader.key()]).await;
    assert_eq!(refused.exit, Exit::Unauthorized);
    world.end().await;
}
