//! The process is killed repeatedly under load. Acknowledged changes are present at the next start, others are complete
//! or absent, and nothing is left behind.

use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use xfiles_core::{
    catalog::{Consistency, Debtor},
    clock::Timestamp,
    object_key::ObjectKey,
    operations::Reconciling,
};
use xfiles_standalone::{BUCKET, Data, Stack, StackOptions};

use super::{Client, Server};

/// The number of kills.
const KILLS: u64 = 50;

/// The number of acknowledged uploads between kills.
const LOAD: u64 = 6;

/// The number of concurrent clients.
const CLIENTS: usize = 4;

/// A file whose confirmation was acknowledged.
#[derive(Clone)]
struct Acknowledged {
    id: String,
    path: String,
    bytes: Vec<u8>,
    /// Whether its deletion was acknowledged. `None` if it was requested without a response.
    deleted: Option<bool>,
}

/// Uploads one file after the other, and deletes some, until the server is gone.
fn work(client: &Client, serial: &AtomicU64, acknowledged: &AtomicU64) -> Vec<Acknowledged> {
    let mut done = Vec::new();
    loop {
        let number = serial.fetch_add(1, Ordering::Relaxed);
        let bytes = format!("number {number}, ").repeat(1 + usize::try_from(number % 97).unwrap()).into_bytes();
        let intent = client.intent(&format!("{number}.txt"), bytes.len());
        if intent.status != 200 || client.put(intent.json()["uploadUrl"].as_str().unwrap(), &bytes) != 200 {
            return done;
        }
        let id = intent.json()["fileId"].as_str().unwrap().to_owned();
        if client.confirm(&id).status != 200 {
            return done;
        }
        let path = format!("/{}", intent.json()["key"].as_str().unwrap());
        let mut file = Acknowledged { id, path, bytes, deleted: Some(false) };
        acknowledged.fetch_add(1, Ordering::Relaxed);
        if number.is_multiple_of(4) {
            let deleted = client.ask("DELETE", &format!("/api/v1/files/{}", file.id), None);
            file.deleted = (deleted.status == 200).then_some(true);
        }
        let going_on = file.deleted.is_some();
        done.push(file);
        if !going_on {
            return done;
        }
    }
}

fn check(client: &Client, file: &Acknowledged) {
    let read = client.read(&file.path);
    match file.deleted {
        Some(false) => assert!(read.status == 200 && read.body == file.bytes, "{}: {}", file.path, read.status),
        Some(true) => assert_eq!(read.status, 404, "{}", file.path),
        None => assert!(read.status == 404 || read.body == file.bytes, "{}: {}", file.path, read.status),
    }
}

#[test]
fn a_server_killed_fifty_times_has_every_acknowledged_change_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let (serial, mut known, mut key) = (AtomicU64::new(0), Vec::new(), String::new());
    for round in 0..KILLS {
        let server = Server::start(folder.path());
        if round == 0 {
            server.text("apiKey").clone_into(&mut key);
        }
        let client = Client::of(&server, &key);
        // The requests that were in progress at the last kill.
        known.iter().rev().take(2 * CLIENTS).for_each(|file| check(&client, file));
        let acknowledged = AtomicU64::new(0);
        let done: Vec<Vec<Acknowledged>> = thread::scope(|scope| {
            let clients: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(|| work(&client, &serial, &acknowledged))).collect();
            let until = Instant::now() + Duration::from_secs(20);
            while acknowledged.load(Ordering::Relaxed) < LOAD && Instant::now() < until {
                thread::sleep(Duration::from_millis(1));
            }
            // A different time in each round.
            thread::sleep(Duration::from_millis(round % 10));
            server.kill();
            let done = clients.into_iter().map(|client| client.join().unwrap()).collect();
            assert!(Instant::now() < until, "the server makes no progress");
            done
        });
        let mut done: Vec<_> = done.into_iter().map(Vec::into_iter).collect();
        // The last files of each client are at the end.
        while done.iter().any(|done| done.len() > 0) {
            known.extend(done.iter_mut().filter_map(Iterator::next));
        }
    }
    let server = Server::start(folder.path());
    let client = Client::of(&server, &key);
    known.iter().for_each(|file| check(&client, file));
    assert_eq!(server.terminate(), Some(0));
    // Blobs without a row are kept for a day, so the blobs are dated back.
    age_blobs(&folder.path().join(".xfiles/objects/blobs"));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(check_stores(&folder.path().join(".xfiles"), &known));
    println!("{} acknowledged uploads, {KILLS} kills", known.len());
}

/// Compares records, objects and quota of a running stack. Returns the number of confirmed files.
pub(super) async fn check_accounts(stack: &Stack) -> u64 {
    let (files, catalog) = (stack.files(), &stack.files().inspect().catalog);
    let compared = files.reconcile(Reconciling::Report, Duration::from_secs(60)).await.unwrap();
    assert!(compared.drifts.is_empty() && compared.missing.is_empty() && compared.damaged.is_empty(), "{compared:?}");
    let published: Vec<_> =
        compared.orphans.iter().filter(|orphan| !matches!(orphan.key, ObjectKey::Staging { .. })).collect();
    assert!(published.is_empty(), "{published:?}");

    // Free bytes, confirmed files and pending uploads add up to the quota.
    let mut held = 0;
    let mut due = catalog.due(Timestamp::from_millis(99_999_999_999_999));
    while let Some(debtors) = due.next().await.unwrap() {
        for debtor in debtors {
            let Debtor::File(id) = debtor else { continue };
            let file = catalog.file(id, Consistency::Strong).await.unwrap();
            held += if file.is_confirmed() { 0 } else { file.holds() };
        }
    }
    let (mut confirmed, mut count, mut cursor) = (0, 0, None);
    loop {
        let size = xfiles_core::catalog::PageSize::new(100).unwrap();
        let page = files.walk(stack.project(), &Default::default(), cursor.as_ref(), size).await.unwrap();
        confirmed += page.files.iter().map(|file| file.size.bytes()).sum::<u64>();
        count += page.files.len() as u64;
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    let project = catalog.project(stack.project(), Consistency::Strong).await.unwrap();
    assert_eq!(project.free_bytes + held + confirmed, project.quota_bytes);
    assert_eq!(project.file_count, count);
    count
}

/// Checks the stores themselves: quotas, objects, and files on the disk.
async fn check_stores(data: &Path, known: &[Acknowledged]) {
    let free = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
    let options = StackOptions::new(Data::Directory(data.to_owned()));
    let stack = Stack::start(StackOptions { listen: free, cleanup_every: None, ..options }).await.unwrap();
    let count = check_accounts(&stack).await;
    let kept = known.iter().filter(|file| file.deleted == Some(false)).count() as u64;
    let unknown = known.iter().filter(|file| file.deleted.is_none()).count() as u64;
    // A confirmation or deletion without a response may have happened: at most one for each client and kill.
    let lost = KILLS * CLIENTS as u64;
    assert!((kept..=kept + unknown + lost).contains(&count), "{count} of {kept} and {unknown}");

    // Every text is different, so each blob on the disk corresponds to one ETag in the bucket; others are garbage,
    // which the start removes in the background.
    let mut etags = BTreeSet::new();
    let mut pages = stack.s3_client().list_objects_v2().bucket(BUCKET).into_paginator().send();
    while let Some(page) = pages.next().await {
        etags.extend(page.unwrap().contents().iter().map(|object| object.e_tag().unwrap().to_owned()));
    }
    let blobs = data.join("objects/blobs");
    let until = Instant::now() + Duration::from_secs(20);
    while count_files(&blobs) != etags.len() && Instant::now() < until {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(count_files(&blobs), etags.len(), "blobs without an object");
    stack.stop().await;

    let known = ["objects", "reserve", "secrets.json", "store.json", "table.db", "table.mark", "index.mark", "lock"];
    let there: BTreeSet<String> =
        fs::read_dir(data).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    let strange: Vec<&String> = there.iter().filter(|name| !known.contains(&name.as_str())).collect();
    assert!(strange.is_empty(), "unknown files: {strange:?}");
}

/// Dates every blob back by more than the time for which blobs without a row are kept.
fn age_blobs(folder: &Path) {
    let day = Duration::from_secs(25 * 60 * 60);
    for shard in fs::read_dir(folder).unwrap() {
        for blob in fs::read_dir(shard.unwrap().path()).unwrap() {
            let blob = fs::File::options().write(true).open(blob.unwrap().path()).unwrap();
            let written = blob.metadata().unwrap().modified().unwrap();
            blob.set_modified(written - day).unwrap();
        }
    }
}

pub(super) fn count_files(folder: &Path) -> usize {
    let shards = fs::read_dir(folder).unwrap();
    shards.map(|shard| fs::read_dir(shard.unwrap().path()).unwrap().count()).sum()
}
