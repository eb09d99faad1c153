//! What runs beside the servers: confirming arrivals, placeholders, sending events, and the cleanup.

use std::time::{Duration, Instant};

use futures::{StreamExt as _, stream};
use tokio::sync::{
    mpsc::{self, Receiver},
    watch,
};
use xfiles_cleanup_cron::Courier;
use xfiles_core::{
    event::{Event, published_picture},
    id::FileId,
    operations::Files,
    share::{Class, Share},
};
use xfiles_edge_variants::Worker;

use super::options::cause;
use crate::{
    engines::{BUCKET, Engines},
    metrics::LastSuccess,
    room::Room,
};

/// How long staged objects without a record are kept, such as those of a replayed upload URL.
const STAGING_LIFE: Duration = Duration::from_secs(2 * 24 * 60 * 60);

/// The number of concurrent confirmations of uploads that have arrived.
const CONFIRMED_AT_ONCE: usize = 8;

/// How often the outbox is checked.
const OUTBOX_EVERY: Duration = Duration::from_secs(1);

/// The pause after a placeholder, as a multiple of the time that it took: placeholders use a quarter of one processor,
/// so that uploads are not slowed down.
const REST: u32 = 3;

/// Confirms uploads that have arrived, or only removes bytes that arrived after their upload had ended. Work in
/// progress when the stack stops is finished by the client or the cleanup.
pub(super) async fn take_arrivals(
    files: Files,
    notifications: Receiver<serde_json::Value>,
    confirm: bool,
    mut stopping: watch::Receiver<bool>,
) {
    let files = &files;
    let next = |mut queue: Receiver<_>| async { queue.recv().await.map(|notification| (notification, queue)) };
    let all = stream::unfold(notifications, next).for_each_concurrent(CONFIRMED_AT_ONCE, |notification| async move {
        if confirm {
            if let Err(error) = xfiles_cleanup_cron::confirm_arrivals(files, &notification).await {
                tracing::warn!(error = cause(&error), "an upload that has arrived is left to its client");
            }
        } else if let Err(error) = xfiles_cleanup_cron::remove_late_arrivals(files, &notification).await {
            tracing::warn!(error = cause(&error), "bytes that arrived too late are left to the cleanup");
        }
    });
    tokio::select! {
        () = all => {}
        _ = stopping.wait_for(|stop| *stop) => {}
    }
}

/// Queues a published image for its placeholder, if the queue is not full.
pub(super) fn line_up(event: &Event, queue: &mpsc::Sender<FileId>) {
    let body = serde_json::from_str(&event.body).unwrap_or_default();
    if let Some(Err(error)) = published_picture(&body).map(|file| queue.try_send(file)) {
        tracing::debug!(%error, "a placeholder is left to the first variant");
    }
}

/// Makes placeholders one after the other, with pauses. Those queued when the stack stops are made with the first
/// variant.
pub(super) async fn note_placeholders(
    worker: Worker,
    mut published: mpsc::Receiver<FileId>,
    mut stopping: watch::Receiver<bool>,
) {
    let all = async {
        while let Some(file) = published.recv().await {
            let begun = Instant::now();
            let noted = Share::of(Class::Background).scope(worker.note_placeholder(file));
            if let Err(error) = noted.await {
                tracing::warn!(error = cause(&error), "a placeholder is left to the first variant");
            }
            tokio::time::sleep(begun.elapsed() * REST).await;
        }
    };
    tokio::select! {
        () = all => {}
        _ = stopping.wait_for(|stop| *stop) => {}
    }
}

/// Sends events soon after they are written: reading the outbox of the embedded store costs next to nothing.
pub(super) async fn send_events(
    files: Files,
    courier: Courier,
    done: LastSuccess,
    mut stopping: watch::Receiver<bool>,
) {
    tokio::select! {
        () = xfiles_cleanup_cron::deliver_every(&files, &courier, OUTBOX_EVERY, || done.note()) => {}
        // Claimed deliveries become due again.
        _ = stopping.wait_for(|stop| *stop) => {}
    }
}

pub(super) async fn clean_up(
    files: Files,
    engines: Engines,
    room: Option<Room>,
    every: Duration,
    done: LastSuccess,
    mut stopping: watch::Receiver<bool>,
) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(every) => {}
            _ = stopping.wait_for(|stop| *stop) => return,
        }
        match xfiles_cleanup_cron::run(&files, xfiles_cleanup_cron::Bounds::default()).await {
            Ok(_) => done.note(),
            Err(error) => tracing::error!(error = cause(&error), "the cleanup failed"),
        }
        let dynamo = engines.dynamo().clone();
        let forgotten = tokio::task::spawn_blocking(move || dynamo.forget_expired()).await;
        if let Ok(Err(error)) = forgotten {
            tracing::error!(%error, "expired idempotency keys could not be removed");
        }
        if let Err(error) = engines.store().expire(BUCKET, "staging/", STAGING_LIFE).await {
            tracing::error!(%error, "abandoned uploads could not be removed");
        }
        if let Some(room) = room.clone() {
            let (dynamo, store) = (engines.dynamo().clone(), engines.store().clone());
            let trimmed = move || {
                dynamo.trim_log(room.log_limit());
                store.trim_log(room.log_limit());
                // As soon as there is space, and not only at the next write.
                room.restore();
            };
            // A panic has already been reported.
            drop(tokio::task::spawn_blocking(trimmed).await);
        }
    }
}
