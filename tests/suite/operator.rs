//! Random damage: a stopped data directory loses a part, or has one truncated, changed or replaced by an older one, and
//! is started.
//!
//! There are two acceptable outcomes. The server serves every acknowledged file with its exact bytes. Or it refuses to
//! start, says what is wrong and what to do, and changes nothing; `xf repair` then repairs the directory or reports
//! what is lost. Each seed is a separate test, so that `cargo test -p xfiles-tests --test suite operator::seed_07`
//! repeats one.

use std::{
    collections::BTreeMap,
    fs,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::OnceLock,
};

use reqwest::StatusCode;
use serde_json::json;
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;
use xfiles_core::{api_key::Scope, catalog::Consistency, file::File, id::FileId, object_key::Visibility};
use xfiles_standalone::{
    Data, Stack, StackOptions, StartError,
    custody::repair::{Repair, RepairError, Report},
};
use xfiles_tests::{World, WorldOptions, fixture, id_of};

/// A confirmed file, as its client knows it.
#[derive(Clone)]
struct Acknowledged {
    id: FileId,
    visibility: Visibility,
    /// Its path on the CDN.
    path: String,
    bytes: Vec<u8>,
}

/// One data directory at four times, and the acknowledged files at the last.
struct Prepared {
    folder: TempDir,
    files: Vec<Acknowledged>,
    /// Paths on the CDN that must return nothing: of a deleted file, and of one that was made private.
    gone: Vec<String>,
    /// An upload that is not confirmed yet.
    pending: FileId,
}

/// A time of the directory. The earlier two are from the previous start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Moment {
    EarlierKilled,
    EarlierStopped,
    Killed,
    Stopped,
}

impl Prepared {
    fn at(&self, moment: Moment) -> PathBuf {
        self.folder.path().join(format!("{moment:?}"))
    }
}

/// A damage of the directory.
#[derive(Clone, Debug)]
enum Damage {
    /// A part is removed, with its contents.
    Remove(PathBuf),
    /// A file is truncated to this many thousandths.
    Truncate(PathBuf, u64),
    /// A bit of a file is flipped, this many thousandths from its beginning.
    Flip(PathBuf, u64),
    /// A part is replaced by its version at another time.
    Replace(PathBuf, Moment),
}

impl Damage {
    fn happen(&self, data: &Path, prepared: &Prepared) {
        match self {
            Self::Remove(part) => remove(&data.join(part)),
            Self::Truncate(part, thousandths) => {
                let file = fs::File::options().write(true).open(data.join(part)).unwrap();
                file.set_len(file.metadata().unwrap().len() * thousandths / 1000).unwrap();
            }
            Self::Flip(part, thousandths) => {
                let mut bytes = fs::read(data.join(part)).unwrap();
                let length = bytes.len() as u64;
                if length > 0 {
                    let at = usize::try_from((length * thousandths / 1000).min(length - 1)).unwrap();
                    bytes[at] ^= 1 << (thousandths % 8);
                    fs::write(data.join(part), bytes).unwrap();
                }
            }
            Self::Replace(part, moment) => {
                remove(&data.join(part));
                let from = prepared.at(*moment).join(part);
                if from.exists() {
                    copy(&from, &data.join(part));
                }
            }
        }
    }

    /// Returns true if it removes bytes of objects, which cannot be restored.
    fn takes_bytes(&self) -> bool {
        let (Self::Remove(part) | Self::Truncate(part, _) | Self::Flip(part, _) | Self::Replace(part, _)) = self;
        part == Path::new("objects") || part.starts_with("objects/blobs")
    }
}

fn remove(path: &Path) {
    if path.is_dir() {
        fs::remove_dir_all(path).unwrap();
    } else if path.exists() {
        fs::remove_file(path).unwrap();
    }
}

fn copy(from: &Path, to: &Path) {
    if from.is_dir() {
        fs::create_dir_all(to).unwrap();
        for entry in fs::read_dir(from).unwrap() {
            let entry = entry.unwrap();
            copy(&entry.path(), &to.join(entry.file_name()));
        }
    } else {
        fs::copy(from, to).unwrap();
    }
}

/// Every part of a directory as a relative path: files, and directories that may be removed completely.
fn parts(data: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![PathBuf::new()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(data.join(&folder)).unwrap() {
            let part = folder.join(entry.unwrap().file_name());
            if data.join(&part).is_dir() {
                folders.push(part.clone());
            }
            found.push(part);
        }
    }
    found.sort();
    found
}

/// The content of a directory: names and digests. Locks, SQLite's shared index and empty logs are ignored.
fn content(data: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let files = parts(data).into_iter().filter(|part| data.join(part).is_file());
    let says_something = |part: &PathBuf| {
        let name = part.file_name().unwrap().to_str().unwrap();
        let is_empty_log = name.ends_with("-wal") && fs::metadata(data.join(part)).unwrap().len() == 0;
        name != "lock" && !name.ends_with("-shm") && !is_empty_log
    };
    let digest = |part: PathBuf| (part.clone(), Sha256::digest(fs::read(data.join(part)).unwrap()).to_vec());
    files.filter(says_something).map(digest).collect()
}

/// A random number generator with a seed.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % end
    }

    fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[usize::try_from(self.below(from.len() as u64)).unwrap()]
    }

    fn damage(&mut self, data: &Path) -> Damage {
        let parts = parts(data);
        // Half of the damage is to parts that are not blobs.
        let is_blob = |part: &&PathBuf| part.starts_with("objects/blobs") && data.join(part).is_file();
        let (blobs, others): (Vec<_>, Vec<_>) = parts.iter().partition(is_blob);
        let part = if self.below(8) == 0 { *self.pick(&blobs) } else { *self.pick(&others) };
        let is_file = data.join(part).is_file();
        match self.below(if is_file { 6 } else { 2 }) {
            0 => Damage::Remove(part.clone()),
            1 => Damage::Replace(part.clone(), *self.pick(&[Moment::EarlierKilled, Moment::EarlierStopped])),
            2 => Damage::Replace(part.clone(), *self.pick(&[Moment::Killed, Moment::Stopped])),
            3 => Damage::Truncate(part.clone(), 0),
            4 => Damage::Truncate(part.clone(), self.below(1000)),
            // The scrub checks the bytes of objects, not the start.
            _ if part.starts_with("objects/blobs") => Damage::Truncate(part.clone(), 500),
            _ => Damage::Flip(part.clone(), self.below(1000)),
        }
    }
}

fn options(data: &Path) -> StackOptions {
    let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    StackOptions { listen, cleanup_every: None, ..StackOptions::new(Data::Directory(data.to_owned())) }
}

/// The directory of which each seed damages a copy.
fn prepared() -> &'static Prepared {
    static PREPARED: OnceLock<Prepared> = OnceLock::new();
    PREPARED.get_or_init(|| {
        // A runtime cannot be started inside the test's own runtime.
        let prepare = || tokio::runtime::Runtime::new().unwrap().block_on(prepare());
        std::thread::spawn(prepare).join().unwrap()
    })
}

async fn prepare() -> Prepared {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let keep = |moment: Moment| copy(&data, &folder.path().join(format!("{moment:?}")));
    let at = |rotate_signing_key| WorldOptions {
        data: Data::Directory(data.clone()),
        rotate_signing_key,
        ..WorldOptions::default()
    };
    let (mut files, mut gone) = (Vec::new(), Vec::new());

    let world = World::with(at(false)).await;
    let text = |n: usize| format!("text {n} ").repeat(20 + n * 400).into_bytes();
    for n in 0..4 {
        let visibility = if n % 2 == 0 { "public" } else { "private" };
        let bytes = text(n);
        let file = world.client.upload(("a.txt", "text/plain", &bytes), json!({"visibility": visibility})).await;
        files.push(acknowledged(&world, &file, bytes).await);
    }
    let photo = fixture("portrait-exif6.jpg");
    let more = json!({"visibility": "public", "transformations": {"image": {"enabled": true, "visibility": "public"}}});
    let file = world.client.upload(("p.jpg", "image/jpeg", &photo), more).await;
    let shown = world.client.get(&format!("/api/v1/files/{}", id_of(&file))).await.ok();
    assert_eq!(world.get(shown["variants"][0]["url"].as_str().unwrap()).await.status(), StatusCode::OK);
    files.push(acknowledged(&world, &file, photo).await);
    keep(Moment::EarlierKilled);
    world.stack.stop().await;
    keep(Moment::EarlierStopped);

    let world = World::with(at(true)).await;
    let other = world.client_of_another_project().await;
    for n in 4..8 {
        let (client, visibility) = if n % 2 == 0 { (&world.client, "public") } else { (&other, "private") };
        let bytes = text(n);
        let file = client.upload(("b.txt", "text/plain", &bytes), json!({"visibility": visibility})).await;
        files.push(acknowledged(&world, &file, bytes).await);
    }
    let deleted = files.remove(0);
    world.client.delete(&format!("/api/v1/files/{}", deleted.id)).await.ok();
    gone.push(deleted.path);
    let hidden = files.iter_mut().find(|file| file.visibility == Visibility::Public).unwrap();
    let path = format!("/api/v1/files/{}", hidden.id);
    let private = world.client.request(reqwest::Method::PATCH, &path).json(&json!({"visibility": "private"}));
    assert_eq!(private.send().await.unwrap().status(), StatusCode::OK);
    gone.push(hidden.path.clone());
    hidden.path = hidden.path.replace("/public/", "/private/");
    hidden.visibility = Visibility::Private;
    let waiting: &'static [u8] = b"an upload that waits";
    let intent = world.client.intent("w.txt", "text/plain", waiting.len(), json!({})).await.ok();
    assert_eq!(world.client.put(&intent, "text/plain", waiting).await, StatusCode::OK);
    world.client_with(&Scope::ALL).await;
    keep(Moment::Killed);
    world.stack.stop().await;
    keep(Moment::Stopped);
    Prepared { folder, files, gone, pending: id_of(&intent).parse().unwrap() }
}

async fn acknowledged(world: &World, file: &serde_json::Value, bytes: Vec<u8>) -> Acknowledged {
    let file = record(&world.stack, id_of(file).parse().unwrap()).await.unwrap();
    Acknowledged { id: file.id, visibility: file.visibility, path: format!("/{}", file.original_key()), bytes }
}

async fn record(stack: &Stack, id: FileId) -> Option<File> {
    stack.files().inspect().catalog.file(id, Consistency::Strong).await.ok()
}

/// The bytes of a file from the store, if it serves them.
async fn bytes_of(stack: &Stack, id: FileId) -> Option<Vec<u8>> {
    let file = record(stack, id).await.filter(File::is_confirmed)?;
    let mut reading = stack.files().inspect().blobs.open(&file.original_key()).await.ok()??;
    let mut bytes = Vec::new();
    while let Some(part) = reading.next().await.ok()? {
        bytes.extend_from_slice(&part);
    }
    Some(bytes)
}

/// The acknowledged files that are not served; served bytes must be right.
async fn missing(stack: &Stack, prepared: &Prepared, context: &str) -> Vec<FileId> {
    let mut missing = Vec::new();
    for file in &prepared.files {
        let served = bytes_of(stack, file.id).await;
        match served {
            Some(bytes) => assert!(bytes == file.bytes, "{context}: other bytes for {}", file.path),
            None => missing.push(file.id),
        }
        if file.visibility == Visibility::Public && !missing.contains(&file.id) {
            let answer = reqwest::get(format!("{}{}", stack.listens_at(), file.path)).await.unwrap();
            assert_eq!(answer.status(), StatusCode::OK, "{context}: {}", file.path);
            assert!(answer.bytes().await.unwrap() == file.bytes, "{context}: other bytes at {}", file.path);
        }
    }
    missing
}

/// The paths that must return nothing but do.
async fn shown_again(stack: &Stack, prepared: &Prepared) -> Vec<String> {
    let mut shown = Vec::new();
    for path in &prepared.gone {
        if reqwest::get(format!("{}{path}", stack.listens_at())).await.unwrap().status() == StatusCode::OK {
            shown.push(path.clone());
        }
    }
    shown
}

/// Damages a copy of the directory at a time, starts it, and repairs it if it is refused.
async fn live_through(moment: Moment, damages: &[Damage], context: &str) {
    let prepared = prepared();
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    copy(&prepared.at(moment), &data);
    damages.iter().for_each(|damage| damage.happen(&data, prepared));
    let takes_bytes = damages.iter().any(Damage::takes_bytes);
    let before = content(&data);

    match Stack::start(options(&data)).await {
        Ok(stack) => {
            let missing = missing(&stack, prepared, context).await;
            assert!(missing.is_empty() || takes_bytes, "{context}: silently lost {missing:?}");
            assert_eq!(shown_again(&stack, prepared).await, [""; 0], "{context}");
            assert!(stack.first_key().is_none(), "{context}: the store was initialised again");
            assert!(record(&stack, prepared.pending).await.is_some(), "{context}: the pending upload is lost");
            stack.stop().await;
        }
        Err(refused) => {
            let said = refused.to_string();
            assert!(matches!(refused, StartError::Mismatch(_)), "{context}: {said}");
            assert!(said.contains("xf repair") && said.contains("xf restore"), "{context}: {said}");
            assert_eq!(content(&data), before, "{context}: a refusal changed the directory: {said}");
            repair(&data, prepared, takes_bytes, &format!("{context}: {said}")).await;
        }
    }
}

async fn repair(data: &Path, prepared: &Prepared, takes_bytes: bool, context: &str) {
    let blobs = |data: &Path| {
        let of_objects = |part: &PathBuf| part.starts_with("objects/blobs") || part.starts_with("objects/unclaimed");
        let named = |part: PathBuf| part.file_name().unwrap().to_owned();
        let names = content(data).into_keys().filter(of_objects).map(named);
        names.collect::<std::collections::BTreeSet<_>>()
    };
    let (whole, bytes) = (content(data), blobs(data));
    let plan = match Repair::plan(data) {
        Ok(plan) => plan,
        Err(RepairError::Hopeless(_)) => {
            assert_eq!(content(data), whole, "{context}: a failed repair changed the directory");
            return;
        }
        Err(error) => panic!("{context}: {error}"),
    };
    assert_eq!(content(data), whole, "{context}: a plan changed the directory");
    let planned = plan.report().clone();
    let report = plan.carry_out().await.unwrap_or_else(|error| panic!("{context}: {error}"));
    assert_eq!(report, planned, "{context}: the repair differs from the plan");
    assert_eq!(blobs(data), bytes, "{context}: a repair removes no bytes");
    assert!(Repair::plan(data).unwrap().is_needless(), "{context}: a second repair is needed");

    let stack = Stack::start(options(data)).await.unwrap_or_else(|error| panic!("{context}: after repair: {error}"));
    let missing = missing(&stack, prepared, context).await;
    let Report { lost, without_bytes, .. } = &report;
    assert!(missing.is_empty() || !lost.is_empty(), "{context}: silently lost {missing:?}: {report:?}");
    let unnamed: Vec<_> = missing.iter().filter(|id| !without_bytes.contains(id)).collect();
    assert!(unnamed.is_empty() || takes_bytes, "{context}: {unnamed:?} could have been rebuilt: {report:?}");
    assert!(without_bytes.is_empty() || takes_bytes || !lost.is_empty(), "{context}: {report:?}");
    let shown = shown_again(&stack, prepared).await;
    assert!(shown.is_empty(), "{context}: shown again: {shown:?}: {report:?}");
    stack.stop().await;
    // The next start accepts the directory.
    let again = Stack::start(options(data)).await.unwrap_or_else(|error| panic!("{context}: again: {error}"));
    again.stop().await;
}

async fn live_through_seed(seed: u64) {
    let mut random = Random(seed);
    let moment = if seed.is_multiple_of(2) { Moment::Stopped } else { Moment::Killed };
    let mut damages = vec![random.damage(&prepared().at(moment))];
    if random.below(4) == 0 {
        let second = random.damage(&prepared().at(moment));
        // The first damage may have removed the part of the second.
        let path = |damage: &Damage| {
            let (Damage::Remove(part) | Damage::Truncate(part, _) | Damage::Flip(part, _) | Damage::Replace(part, _)) =
                damage;
            part.clone()
        };
        let (a, b) = (path(&damages[0]), path(&second));
        if !a.starts_with(&b) && !b.starts_with(&a) {
            damages.push(second);
        }
    }
    let replay = format!("cargo test -p xfiles-tests --test suite operator::seed_{seed:02}");
    let context = format!("{moment:?} {damages:?}; again: {replay}");
    println!("{context}");
    live_through(moment, &damages, &context).await;
}

macro_rules! seeds {
    ($($name:ident $seed:literal)*) => {$(
        #[tokio::test]
        async fn $name() {
            live_through_seed($seed).await;
        }
    )*};
}

seeds! {
    seed_00 0 seed_01 1 seed_02 2 seed_03 3 seed_04 4 seed_05 5 seed_06 6 seed_07 7 seed_08 8 seed_09 9
    seed_10 10 seed_11 11 seed_12 12 seed_13 13 seed_14 14 seed_15 15 seed_16 16 seed_17 17 seed_18 18 seed_19 19
}

/// Starts a damaged directory and asserts that the error names the damage.
async fn assert_refused(moment: Moment, damages: &[Damage], says: &str) {
    let prepared = prepared();
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    copy(&prepared.at(moment), &data);
    damages.iter().for_each(|damage| damage.happen(&data, prepared));
    let refused = Stack::start(options(&data)).await.err().map(|error| error.to_string());
    assert!(refused.as_ref().is_some_and(|said| said.contains(says)), "{moment:?} {damages:?}: {refused:?}");
}

#[tokio::test]
async fn a_missing_empty_older_or_logless_database_is_refused_by_name() {
    use Moment::{EarlierKilled, EarlierStopped, Killed, Stopped};
    for part in ["objects/index.sqlite3", "table.db"] {
        let path = PathBuf::from(part);
        let log = PathBuf::from(format!("{part}-wal"));
        for moment in [Killed, Stopped] {
            assert_refused(moment, &[Damage::Remove(path.clone())], &format!("{part} is missing")).await;
            assert_refused(moment, &[Damage::Truncate(path.clone(), 0)], &format!("{part} is empty")).await;
        }
        let older = format!("{part} is older than the rest");
        assert_refused(Stopped, &[Damage::Replace(path.clone(), EarlierStopped)], &older).await;
        assert_refused(Stopped, &[Damage::Flip(path.clone(), 700)], &format!("{part} is damaged")).await;
        let lost = format!("{log} is missing or truncated", log = log.display());
        assert_refused(Killed, &[Damage::Remove(log.clone())], &lost).await;
        assert_refused(Killed, &[Damage::Truncate(log.clone(), 0)], &lost).await;
        assert_refused(Killed, &[Damage::Truncate(log.clone(), 900)], &lost).await;
        let stray = format!("{} does not belong to {part}", log.display());
        assert_refused(Stopped, &[Damage::Replace(log.clone(), EarlierKilled)], &stray).await;
        let both = [Damage::Replace(path.clone(), EarlierKilled), Damage::Replace(log.clone(), EarlierKilled)];
        assert_refused(Killed, &both, &older).await;
    }
}

#[tokio::test]
async fn outdated_missing_or_damaged_keys_are_refused_and_never_regenerated_at_start() {
    let secrets = PathBuf::from("secrets.json");
    for moment in [Moment::Killed, Moment::Stopped] {
        assert_refused(moment, &[Damage::Remove(secrets.clone())], "secrets.json is missing").await;
        assert_refused(moment, &[Damage::Truncate(secrets.clone(), 500)], "secrets.json is damaged").await;
        let older = Damage::Replace(secrets.clone(), Moment::EarlierStopped);
        assert_refused(moment, &[older], "secrets.json is not the one that was used last").await;
    }
}

#[tokio::test]
async fn a_part_that_a_newer_version_wrote_is_refused_and_not_repaired() {
    let prepared = prepared();
    let newer = |sql: &str, path: &Path| {
        let database = rusqlite::Connection::open(path).unwrap();
        database.execute_batch(sql).unwrap();
    };
    for part in ["objects/index.sqlite3", "table.db", "table.db engine", "secrets.json", "store.json"] {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        copy(&prepared.at(Moment::Stopped), &data);
        let path = data.join(part.split(' ').next().unwrap());
        match part {
            "table.db engine" => newer("UPDATE _config SET value = '99' WHERE key = 'schema_version'", &path),
            "secrets.json" => {
                let text = fs::read_to_string(&path).unwrap();
                fs::write(&path, text.replacen("\"version\": 1", "\"version\": 2", 1)).unwrap();
            }
            "store.json" => {
                let text = fs::read_to_string(&path).unwrap();
                fs::write(&path, text.replacen("\"format\": 1", "\"format\": 2", 1)).unwrap();
            }
            _ => newer("PRAGMA user_version = 99", &path),
        }
        let before = content(&data);
        let refused = Stack::start(options(&data)).await.err().unwrap().to_string();
        assert!(refused.contains("newer version"), "{part}: {refused}");
        let refused = Repair::plan(&data).err().unwrap().to_string();
        assert!(refused.contains("newer version"), "{part}: {refused}");
        assert_eq!(content(&data), before, "{part}");
    }
}

#[tokio::test]
async fn a_second_process_is_refused_even_if_the_lock_files_were_removed() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let stack = Stack::start(options(&data)).await.unwrap();
    for lock in ["lock", "objects/lock"] {
        fs::remove_file(data.join(lock)).unwrap();
    }
    let refused = Stack::start(options(&data)).await.err().unwrap();
    assert!(matches!(refused, StartError::Locked { .. }), "{refused}");
    assert!(Repair::plan(&data).err().unwrap().to_string().contains("in use by another process"));
    stack.stop().await;
}

#[tokio::test]
async fn a_moved_or_copied_directory_is_served_after_a_stop_or_a_kill() {
    let prepared = prepared();
    for moment in [Moment::Stopped, Moment::Killed] {
        let folder = tempfile::tempdir().unwrap();
        let (data, moved) = (folder.path().join("data"), folder.path().join("another place #1"));
        copy(&prepared.at(moment), &data);
        fs::rename(&data, &moved).unwrap();
        let stack = Stack::start(options(&moved)).await.unwrap();
        assert_eq!(missing(&stack, prepared, "moved").await, []);
        stack.files().confirm(record(&stack, prepared.pending).await.unwrap().project, prepared.pending).await.unwrap();
        stack.stop().await;
        let main = fs::metadata(moved.join("objects/index.sqlite3")).unwrap().len();
        assert!(main > 4096 && !moved.join("objects/index.sqlite3-wal").exists(), "all rows are in the main file");
        assert!(!moved.join("table.db-wal").exists());
    }
}

#[tokio::test]
async fn a_missing_index_is_rebuilt_from_bytes_and_records_with_the_headers_of_publication() {
    let prepared = prepared();
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    copy(&prepared.at(Moment::Stopped), &data);
    let headers = async |data: &Path| {
        let stack = Stack::start(options(data)).await.unwrap();
        let mut all = Vec::new();
        for file in &prepared.files {
            let key = file.path.trim_start_matches('/');
            let head = stack.s3_client().head_object().bucket(xfiles_standalone::BUCKET).key(key).send().await.unwrap();
            let text = |value: Option<&str>| value.unwrap_or("none").to_owned();
            let etag = text(head.e_tag());
            all.push((text(head.content_type()), text(head.cache_control()), text(head.content_disposition()), etag));
        }
        stack.stop().await;
        all
    };
    let published = headers(&data).await;
    fs::remove_file(data.join("objects/index.sqlite3")).unwrap();
    let report = Repair::plan(&data).unwrap().carry_out().await.unwrap();
    assert_eq!(report.without_bytes, []);
    assert!(report.unclaimed > 0, "stored variants and the waiting upload have no record of their bytes: {report:?}");
    assert_eq!(headers(&data).await, published);
}

#[tokio::test]
async fn missing_records_are_rebuilt_from_the_index_and_the_rest_is_reported_as_lost() {
    let prepared = prepared();
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    copy(&prepared.at(Moment::Killed), &data);
    for ending in ["", "-wal", "-shm"] {
        fs::remove_file(data.join(format!("table.db{ending}"))).unwrap();
    }
    let report = Repair::plan(&data).unwrap().carry_out().await.unwrap();
    assert_eq!(report.readmitted, prepared.files.len() as u64);
    assert!(report.lost.iter().any(|lost| lost.contains("API keys")), "{report:?}");
    let stack = Stack::start(options(&data)).await.unwrap();
    assert!(stack.first_key().is_some(), "the keys are lost, so a new one was created");
    assert_eq!(missing(&stack, prepared, "rebuilt").await, []);
    for project in stack.files().inspect().catalog.projects().await.unwrap() {
        let held: u64 = prepared_bytes(&stack, prepared, project.id.as_str()).await;
        assert_eq!(project.free_bytes + held, project.quota_bytes);
    }
    stack.stop().await;
}

async fn prepared_bytes(stack: &Stack, prepared: &Prepared, project: &str) -> u64 {
    let mut held = 0;
    for file in &prepared.files {
        let file = record(stack, file.id).await.unwrap();
        held += if file.project.as_str() == project { file.size.bytes() } else { 0 };
    }
    held
}

#[tokio::test]
async fn a_directory_of_an_earlier_version_is_adopted_once_and_not_without_its_index() {
    let prepared = prepared();
    for (lost, served) in [(None, true), (Some("objects/index.sqlite3"), false), (Some("table.db"), false)] {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        copy(&prepared.at(Moment::Stopped), &data);
        for part in ["store.json", "table.mark", "index.mark"] {
            fs::remove_file(data.join(part)).unwrap();
        }
        for part in ["objects/index.sqlite3", "table.db"] {
            let version = if part == "table.db" { 0 } else { 1 };
            let database = rusqlite::Connection::open(data.join(part)).unwrap();
            let earlier = format!("DROP TABLE _xfiles_custody; PRAGMA user_version = {version}");
            database.execute_batch(&earlier).unwrap();
        }
        if let Some(lost) = lost {
            fs::remove_file(data.join(lost)).unwrap();
        }
        match Stack::start(options(&data)).await {
            Ok(stack) => {
                assert!(served && stack.first_key().is_none());
                assert_eq!(missing(&stack, prepared, "earlier").await, []);
                stack.stop().await;
                Stack::start(options(&data)).await.unwrap().stop().await;
            }
            Err(refused) => assert!(!served && refused.to_string().contains("is missing"), "{lost:?}: {refused}"),
        }
    }
}
