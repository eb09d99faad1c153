//! Damaged blobs: missing, truncated, longer, or with a changed byte. No read serves them, they are reported, and they
//! are served again once repaired.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use aws_sdk_s3::primitives::ByteStream;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;
use xfiles_core::clock::Clock;
use xfiles_standalone::{
    BUCKET, Data,
    s3::{Damage, scrub},
};
use xfiles_tests::{TEXT, World, WorldOptions, fixture, id_of};

/// A damage of a blob's file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Harm {
    Delete,
    Truncate,
    Extend,
    Flip,
}

impl Harm {
    const ALL: [Self; 4] = [Self::Delete, Self::Truncate, Self::Extend, Self::Flip];

    fn befall(self, path: &Path) {
        let mut bytes = fs::read(path).unwrap();
        let middle = bytes.len() / 2;
        match self {
            Self::Delete => return fs::remove_file(path).unwrap(),
            Self::Truncate => bytes.truncate(bytes.len() - 1),
            Self::Extend => bytes.push(0),
            Self::Flip => bytes[middle] ^= 1,
        }
        fs::write(path, bytes).unwrap();
    }

    fn damage(self) -> Damage {
        match self {
            Self::Delete => Damage::Missing,
            Self::Truncate | Self::Extend => Damage::WrongSize,
            Self::Flip => Damage::WrongBytes,
        }
    }
}

/// A world on a disk.
struct Machine {
    world: World,
    folder: TempDir,
}

impl Machine {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let data = Data::Directory(folder.path().join("data"));
        let world = World::with(WorldOptions { data, ..WorldOptions::default() }).await;
        Self { world, folder }
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn blobs(&self) -> BTreeSet<PathBuf> {
        let files = |folder: PathBuf| fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        files(self.data().join("objects/blobs")).flat_map(files).collect()
    }

    /// Uploads a file; returns it with its blob.
    async fn upload(&self, (name, kind, bytes): (&str, &str, &[u8]), more: Value) -> (Value, PathBuf) {
        let before = self.blobs();
        let file = self.world.client.upload((name, kind, bytes), more).await;
        let mut new: Vec<PathBuf> = self.blobs().difference(&before).cloned().collect();
        assert_eq!(new.len(), 1, "one upload is one blob");
        (file, new.remove(0))
    }

    async fn key_of(&self, file: &Value) -> String {
        self.world.objects().await.into_keys().find(|key| key.contains(id_of(file))).unwrap()
    }

    /// The object's bytes from the store, if it serves them.
    async fn get(&self, key: &str, range: Option<&str>) -> Option<Vec<u8>> {
        let get = self.world.stack.s3_client().get_object().bucket(BUCKET).key(key).set_range(range.map(Into::into));
        let object = get.send().await.ok()?;
        object.body.collect().await.ok().map(|bytes| bytes.to_vec())
    }

    /// Invalidates everything in the CDN stand-in.
    async fn forget(&self, reference: &str) {
        self.world.files().inspect().cdn.invalidate(reference, vec!["/files/*".to_owned()]).await.unwrap();
    }

    /// Waits until the index has this number of damaged blobs.
    async fn noted(&self, blobs: u64) {
        let noted = async {
            while self.world.stack.integrity().await.damaged_blobs != Some(blobs) {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), noted).await.expect("damage is noted");
    }

    async fn report(&self) -> Value {
        self.world.client.post("/api/v1/cleanup", &json!({"report": true})).await.ok()["report"].clone()
    }
}

/// A text of this many bytes without repetitions.
fn text(size: usize) -> Vec<u8> {
    (0_u32..).flat_map(|i| format!("{i:08x}").into_bytes()).take(size).collect()
}

#[tokio::test]
async fn no_read_serves_damaged_bytes_and_repaired_bytes_are_served_again() {
    let machine = Machine::start().await;
    // Read in one chunk; in several after hashing; and in several with hashing along the way.
    for size in [13, 1 << 20, 9 << 20] {
        let bytes = text(size);
        for harm in Harm::ALL {
            let public = json!({"visibility": "public"});
            let (file, blob) = machine.upload(("note.txt", "text/plain", &bytes), public).await;
            let key = machine.key_of(&file).await;
            harm.befall(&blob);
            let context = format!("{harm:?} of {size}");

            let refused_before = machine.world.stack.integrity().await.refused_reads;
            let path = format!("/{key}");
            if harm == Harm::Flip {
                // Only a read of the whole object can detect the damage; afterwards every read is refused.
                assert_eq!(machine.get(&key, None).await, None, "{context}");
                machine.noted(1).await;
            }
            assert_eq!(machine.get(&key, Some("bytes=0-3")).await, None, "{context}");
            assert_eq!(machine.get(&key, None).await, None, "{context}");
            let head = machine.world.stack.s3_client().head_object().bucket(BUCKET).key(&key).send().await;
            assert_eq!(head.unwrap_err().raw_response().unwrap().status().as_u16(), 500, "{context}");
            for range in [None, Some("bytes=0-3")] {
                let request = machine.world.request(Method::GET, &path);
                let request = range.map_or(request.try_clone().unwrap(), |range| request.header("range", range));
                let answer = request.send().await.unwrap();
                assert_eq!(answer.status(), StatusCode::BAD_GATEWAY, "{context}");
                assert_eq!(answer.headers()["cache-control"], "no-store", "{context}");
            }
            machine.noted(1).await;
            assert!(machine.world.stack.integrity().await.refused_reads > refused_before, "{context}");

            // It can still be made private, and is damaged there as well.
            let patched = format!("/api/v1/files/{}", id_of(&file));
            let patch = machine.world.client.request(Method::PATCH, &patched).json(&json!({"visibility": "private"}));
            assert_eq!(patch.send().await.unwrap().status(), StatusCode::OK, "{context}");
            let signed = machine.world.client.get(&patched).await.ok()["url"].as_str().unwrap().to_owned();
            assert_eq!(machine.world.get(&signed).await.status(), StatusCode::BAD_GATEWAY, "{context}");
            assert_eq!(machine.world.get(&path).await.status(), StatusCode::NOT_FOUND, "{context}");

            let report = machine.report().await;
            let (missing, damaged) = match harm {
                Harm::Delete => (json!([id_of(&file)]), json!([])),
                Harm::Truncate | Harm::Extend | Harm::Flip => (json!([]), json!([id_of(&file)])),
            };
            assert_eq!((&report["missing"], &report["damaged"]), (&missing, &damaged), "{context}");
            let found = scrub(&machine.data(), &Clock::system(), |_, _| {}).unwrap();
            let damages: Vec<_> = found.damaged.iter().map(|blob| (blob.damage, blob.keys.len())).collect();
            assert_eq!((damages, found.healed), (vec![(harm.damage(), 1)], 0), "{context}");
            assert_eq!(machine.data().join(&found.damaged[0].path), blob, "{context}");

            fs::write(&blob, &bytes).unwrap();
            let found = scrub(&machine.data(), &Clock::system(), |_, _| {}).unwrap();
            assert_eq!((found.damaged.len(), found.healed), (0, 1), "{context}");
            let answer = machine.world.get(&signed).await;
            assert_eq!(answer.status(), StatusCode::OK, "{context}");
            assert!(answer.bytes().await.unwrap() == bytes, "{context}");
            let report = machine.report().await;
            assert_eq!((&report["missing"], &report["damaged"]), (&json!([]), &json!([])), "{context}");
            machine.world.client.delete(&patched).await.ok();
        }
    }
    machine.world.end().await;
}

#[tokio::test]
async fn bytes_are_verified_before_the_cdn_caches_them() {
    let machine = Machine::start().await;
    for harm in Harm::ALL {
        let (file, blob) = machine.upload(TEXT, json!({"visibility": "public"})).await;
        let path = format!("/{}", machine.key_of(&file).await);
        assert_eq!(machine.world.get(&path).await.bytes().await.unwrap(), TEXT.2);
        harm.befall(&blob);
        assert_eq!(machine.world.get(&path).await.bytes().await.unwrap(), TEXT.2, "{harm:?}: wrong bytes");
        machine.forget(&format!("{harm:?}")).await;
        assert_eq!(machine.world.get(&path).await.status(), StatusCode::BAD_GATEWAY, "{harm:?}");
    }
    machine.world.stack.stop().await;
}

#[tokio::test]
async fn no_variant_is_rendered_from_a_damaged_original() {
    let pictures =
        json!({"visibility": "public", "transformations": {"image": {"enabled": true, "visibility": "public"}}});
    let machine = Machine::start().await;
    let photo = fixture("portrait-exif6.jpg");
    for harm in Harm::ALL {
        let (file, blob) = machine.upload(("p.jpg", "image/jpeg", &photo), pictures.clone()).await;
        let shown = machine.world.client.get(&format!("/api/v1/files/{}", id_of(&file))).await.ok();
        let variant = shown["variants"][2]["url"].as_str().unwrap().to_owned();
        harm.befall(&blob);
        let objects = machine.world.objects().await;
        let answer = machine.world.get(&variant).await;
        assert!(answer.status().is_server_error(), "{harm:?}: {}", answer.status());
        assert_eq!(answer.headers()["cache-control"], "no-store");
        assert_eq!(machine.world.objects().await, objects, "{harm:?}: nothing is stored");

        fs::write(&blob, &photo).unwrap();
        scrub(&machine.data(), &Clock::system(), |_, _| {}).unwrap();
        assert_eq!(machine.world.get(&variant).await.status(), StatusCode::OK, "{harm:?}");
    }
    machine.world.end().await;
}

#[tokio::test]
async fn a_damaged_variant_is_rendered_again_and_replaces_the_stored_one() {
    let pictures =
        json!({"visibility": "public", "transformations": {"image": {"enabled": true, "visibility": "public"}}});
    let machine = Machine::start().await;
    let photo = fixture("portrait-exif6.jpg");
    for harm in Harm::ALL {
        let (file, _) = machine.upload(("p.jpg", "image/jpeg", &photo), pictures.clone()).await;
        let shown = machine.world.client.get(&format!("/api/v1/files/{}", id_of(&file))).await.ok();
        let variant = shown["variants"][2]["url"].as_str().unwrap().to_owned();
        let before = machine.blobs();
        let first = machine.world.get(&variant).await.bytes().await.unwrap();
        let stored: Vec<PathBuf> = machine.blobs().difference(&before).cloned().collect();
        assert_eq!(stored.len(), 1, "one variant is one blob");
        harm.befall(&stored[0]);

        machine.forget(&format!("{harm:?} 1")).await;
        assert!(machine.world.get(&variant).await.bytes().await.unwrap() == first, "{harm:?}");
        assert_eq!(machine.world.stack.integrity().await.damaged_blobs, Some(0), "{harm:?}: it was replaced");
        machine.forget(&format!("{harm:?} 2")).await;
        assert!(machine.world.get(&variant).await.bytes().await.unwrap() == first, "{harm:?}");
        assert_eq!(scrub(&machine.data(), &Clock::system(), |_, _| {}).unwrap().damaged, [], "{harm:?}");
    }
    machine.world.end().await;
}

#[tokio::test]
async fn an_upload_that_is_damaged_before_its_confirmation_is_not_published() {
    let machine = Machine::start().await;
    for harm in Harm::ALL {
        let before = machine.blobs();
        let intent = machine.world.client.intent(TEXT.0, TEXT.1, TEXT.2.len(), json!({})).await.ok();
        assert_eq!(machine.world.client.put(&intent, TEXT.1, TEXT.2).await, StatusCode::OK);
        let blob = machine.blobs().difference(&before).next().unwrap().clone();
        harm.befall(&blob);
        let published = machine.world.objects().await.into_keys().filter(|key| key.starts_with("files/")).count();
        machine.world.client.confirm(id_of(&intent)).await.refused(503, "unavailable");
        let after = machine.world.objects().await.into_keys().filter(|key| key.starts_with("files/")).count();
        assert_eq!(after, published, "{harm:?}");

        fs::write(&blob, TEXT.2).unwrap();
        machine.noted(1).await;
        scrub(&machine.data(), &Clock::system(), |_, _| {}).unwrap();
        machine.world.client.confirm(id_of(&intent)).await.ok();
    }
    machine.world.end().await;
}

#[tokio::test]
async fn a_put_replaces_a_damaged_object_as_if_it_did_not_exist() {
    let machine = Machine::start().await;
    let s3 = machine.world.stack.s3_client();
    let put = |body: &'static [u8]| {
        s3.put_object().bucket(BUCKET).key("k").if_none_match("*").body(ByteStream::from_static(body)).send()
    };
    put(b"first").await.unwrap();
    assert!(put(b"second").await.is_err(), "something is there");
    Harm::Truncate.befall(machine.blobs().first().unwrap());
    assert_eq!(machine.get("k", None).await, None);
    machine.noted(1).await;
    put(b"third").await.unwrap();
    assert_eq!(machine.get("k", None).await.as_deref(), Some(&b"third"[..]));
    machine.noted(0).await;
    machine.world.stack.stop().await;
}

#[tokio::test]
async fn the_command_finds_damage_in_a_stopped_directory_and_prints_the_path() {
    let machine = Machine::start().await;
    let (file, blob) = machine.upload(TEXT, json!({"visibility": "public"})).await;
    let data = machine.data().to_str().unwrap().to_owned();
    machine.world.stack.stop().await;
    let run = |arguments: &[&str]| {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let arguments = ["xf", "scrub", "--data"].iter().chain(arguments).map(Into::into);
        let exit = xfiles_cli::run(arguments, &mut xfiles_cli::Console::new(&mut out, &mut err));
        (exit, String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap())
    };
    assert_eq!(run(&[&data]), (xfiles_cli::Exit::Ok, String::new(), "1 blobs read, 13 B; 0 damaged\n".to_owned()));
    Harm::Flip.befall(&blob);
    let (exit, out, _) = run(&[&data]);
    assert_eq!(exit, xfiles_cli::Exit::Failed);
    assert!(out.contains(id_of(&file)) && out.contains("other bytes"), "{out}");
    let (_, out, _) = run(&[&data, "--json"]);
    let report: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(report["damaged"][0]["damage"], "wrong-bytes");
    assert!(Path::new(&data).join(report["damaged"][0]["path"].as_str().unwrap()) == blob);
    let (exit, _, err) = run(&[&format!("{data}-not-there")]);
    assert!(exit == xfiles_cli::Exit::Unavailable && err.contains("has no object store"), "{err}");
}

#[tokio::test]
async fn the_store_reports_damage_and_scrub_progress_as_prometheus_metrics() {
    let machine = Machine::start().await;
    let (file, blob) = machine.upload(TEXT, json!({})).await;
    let key = machine.key_of(&file).await;
    fs::remove_file(&blob).unwrap();
    machine.get(&key, None).await;
    machine.noted(1).await;
    scrub(&machine.data(), &Clock::system(), |_, _| {}).unwrap();
    let text = machine.world.stack.integrity().await.to_prometheus();
    for line in [
        "xfiles_store_damaged_blobs 1",
        "xfiles_store_refused_reads_total 1",
        "# TYPE xfiles_store_damaged_blobs gauge",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}: {text}");
    }
    assert!(text.contains("\nxfiles_store_scrub_last_pass_timestamp_seconds "), "{text}");
    machine.world.stack.stop().await;
}
