//! Sending what was told: from the outbox to one delivery for each endpoint that wants the event, and each delivery until
//! its endpoint takes it.
//!
//! A row of the outbox goes when its deliveries are written, and a delivery is claimed for an attempt before anything is
//! sent. So a death loses nothing; it may send a message a second time, with the same id.
//!
//! A run is two loops in one future. One reads the outbox and the index of what is due, and claims; it waits for no
//! endpoint. The other makes the attempts, each endpoint and each project within bounds of its own, so that an endpoint
//! that does not answer delays its own messages and no others. A claimed delivery that finds no place in time is simply
//! left: its claim runs out and it falls due again.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque, hash_map::Entry},
    future::Future,
    pin::Pin,
    time::Duration,
};

use futures::{
    StreamExt as _,
    future::{Either, join, select},
    stream::FuturesUnordered,
};
use tokio::{
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    time::Instant,
};
use xfiles_core::{
    catalog::OutboxRow,
    clock::{Moment, Timestamp},
    error::Error,
    event::{Event, EventId},
    id::{EndpointId, ProjectId},
    operations::{Files, Projects},
    share::{Class, Share},
    webhook::{Delivery, DeliveryStatus, Endpoint},
};

use crate::{
    Bounds,
    bus::EventBus,
    post::{Courier, PATIENCE},
};

/// How many attempts are under way at the same time that have not become slow.
const AT_ONCE: usize = 32;

/// How many slow attempts do not count among those. When there are more, they keep their places.
const SLOW_AT_ONCE: usize = 128;

/// How many of the attempts that are not slow may be at the endpoints of one project.
const AT_ONCE_PER_PROJECT: usize = 16;

/// How many attempts at one endpoint are under way at the same time.
const AT_ONCE_PER_ENDPOINT: usize = 8;

/// The same of an endpoint whose last attempt was slow.
const AT_ONCE_IF_SLOW: usize = 2;

/// After how long an attempt is slow and gives its place to others.
const SLOW_AFTER: Duration = Duration::from_secs(2);

/// How many claimed deliveries wait for one endpoint. Others are left to fall due again.
const WAITING_PER_ENDPOINT: usize = 64;

/// How many claimed deliveries wait together.
const WAITING: usize = 4_096;

/// How long the bus is offered an event that it does not take.
const OFFERED_FOR: Duration = Duration::from_secs(24 * 60 * 60);

/// How many times as long as the search for due deliveries took nothing is searched: however many wait for an endpoint
/// that is down, the search takes a tenth of the time.
const REST: u32 = 9;

/// What a run sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sent {
    /// How many deliveries were taken by their endpoints.
    pub delivered: u64,
    /// How many will be tried again.
    pub retried: u64,
    /// How many were given up.
    pub parked: u64,
    /// Whether it stopped at its bounds with more to do.
    pub more: bool,
}

/// Sends what waits and what is due again, and returns when every attempt has ended. Several runs at the same time do no
/// harm.
///
/// # Errors
/// When the outbox or the index of what is due cannot be read; what fails for one event or endpoint stays for the next
/// run.
pub async fn deliver(files: &Files, courier: &Courier, bounds: Bounds) -> Result<Sent, Error> {
    let run = async {
        let (claimed, to_send) = unbounded_channel();
        // It owns the sender: when it ends, the other loop ends with its attempts.
        let mut search = Search::new(files, courier, bounds, claimed);
        let searched = async move {
            let outbox = search.empty_outbox().await;
            let found = if outbox.is_ok() { search.retry_due().await } else { outbox };
            found.map(|()| search.more)
        };
        let attempts = Attempts::new(files, courier, Some(files.clock().now() + bounds.time));
        let (more, sent) = join(searched, attempts.make(to_send)).await;
        Ok(Sent { more: more?, ..sent })
    };
    Share::of(Class::Background).scope(run).await
}

/// Sends for as long as it is polled: looks into the outbox after each pause, and waits for no attempt to do so.
/// Calls `searched_well` each time it has gone through the outbox.
pub async fn deliver_every(files: &Files, courier: &Courier, pause: Duration, searched_well: impl Fn()) {
    let run = async {
        let (claimed, to_send) = unbounded_channel();
        let searches = async {
            let mut rested = Instant::now();
            loop {
                tokio::time::sleep(pause).await;
                let mut search = Search::new(files, courier, Bounds::default(), claimed.clone());
                let mut searched = search.empty_outbox().await;
                if searched.is_ok() && Instant::now() >= rested {
                    let begun = Instant::now();
                    searched = search.retry_due().await;
                    rested = Instant::now() + begun.elapsed() * REST;
                }
                match searched {
                    Ok(()) => searched_well(),
                    Err(error) => tracing::error!(%error, "events could not be sent"),
                }
            }
        };
        join(searches, Attempts::new(files, courier, None).make(to_send)).await;
    };
    Share::of(Class::Background).scope(run).await;
}

/// Reads what is to be sent, and claims it.
struct Search<'a> {
    files: &'a Files,
    courier: &'a Courier,
    claimed: UnboundedSender<Delivery>,
    tried: u64,
    more: bool,
    bounds: Bounds,
    started: Moment,
    /// Where events go beside the endpoints. None once it has failed: the rest waits for the next run.
    bus: Option<&'a EventBus>,
}

impl<'a> Search<'a> {
    fn new(files: &'a Files, courier: &'a Courier, bounds: Bounds, claimed: UnboundedSender<Delivery>) -> Self {
        let (started, bus) = (files.clock().monotonic(), courier.bus());
        Self { files, courier, claimed, tried: 0, more: false, bounds, started, bus }
    }

    async fn empty_outbox(&mut self) -> Result<(), Error> {
        let projects = self.files.projects();
        let mut outbox = projects.outbox();
        while outbox.has_more() && !self.is_over() {
            let Some(rows) = outbox.next().await? else { break };
            self.tried += rows.len() as u64;
            let kept = self.put_on_bus(&rows).await;
            // Read after the page, so that no endpoint that was there before an event is missed.
            let mut endpoints = HashMap::new();
            for row in rows {
                match self.fan_out(&projects, &row, &kept, &mut endpoints).await {
                    Ok(deliveries) => deliveries.into_iter().for_each(|delivery| self.pass_on(delivery)),
                    // The next row would fare no better.
                    Err(Error::StorageFull(_)) => return Ok(()),
                    Err(error) => tracing::warn!(%error, "an outbox row is left to the next run"),
                }
            }
        }
        Ok(())
    }

    /// Puts the events of these rows on the bus, and answers which of them it is to be offered again.
    async fn put_on_bus(&mut self, rows: &[OutboxRow]) -> BTreeSet<EventId> {
        let Some(configured) = self.courier.bus() else {
            return BTreeSet::new();
        };
        let events: Vec<&Event> = rows.iter().flat_map(|row| &row.events).collect();
        let taken = match self.bus {
            Some(_) => configured.put(&events).await,
            None => BTreeSet::new(),
        };
        let left: Vec<&Event> = events.into_iter().filter(|event| !taken.contains(&event.id)).collect();
        if !left.is_empty() {
            self.bus = None;
        }
        let now = self.files.clock().now();
        let (old, young): (Vec<&Event>, Vec<&Event>) =
            left.into_iter().partition(|event| now.since(event.created) >= OFFERED_FOR);
        for event in old {
            tracing::error!(event.id = %event.id, "the bus did not take an event for a day, and is not offered it again");
        }
        young.into_iter().map(|event| event.id.clone()).collect()
    }

    /// Writes the deliveries of a row, removes the row unless something of it is kept for the bus, and answers those
    /// that are this run's to try.
    async fn fan_out(
        &self,
        projects: &Projects,
        row: &OutboxRow,
        kept: &BTreeSet<EventId>,
        known: &mut HashMap<ProjectId, Vec<Endpoint>>,
    ) -> Result<Vec<Delivery>, Error> {
        let mut claimed = Vec::new();
        for event in &row.events {
            let endpoints = match known.entry(event.project) {
                Entry::Occupied(entry) => entry.into_mut(),
                Entry::Vacant(entry) => entry.insert(projects.receivers(event.project).await?),
            };
            for endpoint in endpoints.iter().filter(|endpoint| endpoint.wants(event.kind)) {
                claimed.extend(projects.add_delivery(event, endpoint).await?);
            }
            self.courier.tell(event);
        }
        if !row.events.iter().any(|event| kept.contains(&event.id)) {
            projects.remove_outbox_row(row).await?;
        }
        Ok(claimed)
    }

    async fn retry_due(&mut self) -> Result<(), Error> {
        let projects = self.files.projects();
        let mut due = projects.due_deliveries(self.files.clock().now());
        while due.has_more() && !self.is_over() {
            let Some(deliveries) = due.next().await? else { break };
            self.tried += deliveries.len() as u64;
            for key in deliveries {
                match projects.claim_delivery(&key).await {
                    Ok(delivery) => delivery.into_iter().for_each(|delivery| self.pass_on(delivery)),
                    Err(Error::StorageFull(_)) => return Ok(()),
                    Err(error) => tracing::warn!(%error, "a delivery is left to the next run"),
                }
            }
        }
        Ok(())
    }

    fn pass_on(&self, delivery: Delivery) {
        // The other loop ends after this one; otherwise the claim runs out.
        drop(self.claimed.send(delivery));
    }

    fn is_over(&mut self) -> bool {
        let over =
            self.tried >= self.bounds.records || self.files.clock().monotonic().since(self.started) >= self.bounds.time;
        self.more |= over;
        over
    }
}

/// Makes the attempts at claimed deliveries.
struct Attempts<'a> {
    files: &'a Files,
    courier: &'a Courier,
    /// After this no attempt begins.
    until: Option<Timestamp>,
    /// Ordered, so that a simulation can be repeated.
    endpoints: BTreeMap<EndpointId, Lane>,
    /// How many attempts at each project's endpoints are under way and not slow.
    projects: BTreeMap<ProjectId, usize>,
    /// The endpoints for which deliveries wait, the next one first.
    turns: VecDeque<EndpointId>,
    waiting: usize,
    sent: Sent,
}

/// What goes to one endpoint.
#[derive(Default)]
struct Lane {
    waiting: VecDeque<Delivery>,
    under_way: usize,
    /// Whether its last attempt was slow, or one is now.
    slow: bool,
}

/// An attempt that has ended, and whether it was slow.
struct Ended {
    project: ProjectId,
    endpoint: EndpointId,
    slow: bool,
    outcome: Result<Option<DeliveryStatus>, Error>,
}

/// An attempt that has become slow.
struct Slow<'a> {
    project: ProjectId,
    endpoint: EndpointId,
    attempt: UnderWay<'a>,
}

type UnderWay<'a> = Pin<Box<dyn Future<Output = Ended> + Send + 'a>>;

impl<'a> Attempts<'a> {
    fn new(files: &'a Files, courier: &'a Courier, until: Option<Timestamp>) -> Self {
        Self {
            files,
            courier,
            until,
            endpoints: BTreeMap::new(),
            projects: BTreeMap::new(),
            turns: VecDeque::new(),
            waiting: 0,
            sent: Sent::default(),
        }
    }

    /// Attempts what comes until nothing more does, and all attempts have ended.
    async fn make(mut self, mut to_send: UnboundedReceiver<Delivery>) -> Sent {
        let mut young = FuturesUnordered::new();
        let mut slow: FuturesUnordered<UnderWay<'a>> = FuturesUnordered::new();
        let (mut open, mut total) = (true, Sent::default());
        loop {
            while young.len() + slow.len().saturating_sub(SLOW_AT_ONCE) < AT_ONCE {
                match self.next(open) {
                    Some(delivery) => young.push(self.begin(delivery)),
                    None => break,
                }
            }
            if young.is_empty() && slow.is_empty() {
                self.report(&mut total);
                if !open {
                    return total;
                }
            }
            // In a fixed order, so that a simulation can be repeated.
            tokio::select! {
                biased;
                Some(ended) = slow.next(), if !slow.is_empty() => self.note(ended),
                Some(attempt) = young.next(), if !young.is_empty() => match attempt {
                    Either::Left(ended) => {
                        self.give_place_back(ended.project);
                        self.note(ended);
                    }
                    Either::Right(Slow { project, endpoint, attempt }) => {
                        self.give_place_back(project);
                        if let Some(lane) = self.endpoints.get_mut(&endpoint) {
                            lane.slow = true;
                        }
                        slow.push(attempt);
                    }
                },
                delivery = to_send.recv(), if open => match delivery {
                    Some(delivery) => self.line_up(delivery),
                    None => open = false,
                },
            }
        }
    }

    /// Has a delivery wait for its turn, if there is room.
    fn line_up(&mut self, delivery: Delivery) {
        let lane = self.endpoints.entry(delivery.endpoint).or_default();
        if lane.waiting.len() >= WAITING_PER_ENDPOINT || self.waiting >= WAITING {
            return;
        }
        if lane.waiting.is_empty() {
            self.turns.push_back(delivery.endpoint);
        }
        lane.waiting.push_back(delivery);
        self.waiting += 1;
    }

    /// The next delivery that may be tried, the endpoints taking turns. When nothing more comes, what waits behind slow
    /// attempts is left: the next run goes on with it.
    fn next(&mut self, more_comes: bool) -> Option<Delivery> {
        let now = self.files.clock().now();
        let over = self.until.is_some_and(|until| now >= until);
        for _ in 0..self.turns.len() {
            let id = self.turns.pop_front()?;
            let Some(lane) = self.endpoints.get_mut(&id) else { continue };
            let late = |delivery: &Delivery| delivery.due.is_none_or(|due| now + PATIENCE >= due);
            while over || (lane.slow && !more_comes) || lane.waiting.front().is_some_and(late) {
                let Some(delivery) = lane.waiting.pop_front() else { break };
                self.waiting -= 1;
                tracing::debug!(event.id = %delivery.event, webhook.id = %id, "a delivery falls due again");
            }
            let Some(first) = lane.waiting.front() else {
                self.forget_if_idle(id);
                continue;
            };
            let of_project = self.projects.get(&first.project).copied().unwrap_or(0);
            let at_once = if lane.slow { AT_ONCE_IF_SLOW } else { AT_ONCE_PER_ENDPOINT };
            let delivery = match lane.under_way < at_once && of_project < AT_ONCE_PER_PROJECT {
                true => lane.waiting.pop_front(),
                false => None,
            };
            if !lane.waiting.is_empty() {
                self.turns.push_back(id);
            }
            if let Some(delivery) = delivery {
                self.waiting -= 1;
                lane.under_way += 1;
                *self.projects.entry(delivery.project).or_default() += 1;
                return Some(delivery);
            }
        }
        None
    }

    /// An attempt until it ends or becomes slow.
    fn begin(&self, delivery: Delivery) -> impl Future<Output = Either<Ended, Slow<'a>>> + use<'a> {
        let (files, courier, project, endpoint) = (self.files, self.courier, delivery.project, delivery.endpoint);
        let begun = Instant::now();
        let attempt: UnderWay<'a> = Box::pin(async move {
            let outcome = attempt(files, courier, &delivery).await;
            let slow = begun.elapsed() >= SLOW_AFTER;
            Ended { project, endpoint, slow, outcome }
        });
        async move {
            match select(attempt, Box::pin(tokio::time::sleep_until(begun + SLOW_AFTER))).await {
                Either::Left((ended, _)) => Either::Left(ended),
                Either::Right(((), attempt)) => Either::Right(Slow { project, endpoint, attempt }),
            }
        }
    }

    /// An attempt at an endpoint of this project has ended or become slow.
    fn give_place_back(&mut self, project: ProjectId) {
        if let Some(under_way) = self.projects.get_mut(&project) {
            *under_way -= 1;
            if *under_way == 0 {
                self.projects.remove(&project);
            }
        }
    }

    fn note(&mut self, Ended { endpoint, slow, outcome, .. }: Ended) {
        if let Some(lane) = self.endpoints.get_mut(&endpoint) {
            lane.under_way -= 1;
            lane.slow = slow;
        }
        self.forget_if_idle(endpoint);
        match outcome {
            Ok(Some(DeliveryStatus::Delivered)) => self.sent.delivered += 1,
            Ok(Some(DeliveryStatus::Pending)) => self.sent.retried += 1,
            Ok(Some(DeliveryStatus::Parked)) => self.sent.parked += 1,
            Ok(None) => {}
            Err(error) => tracing::warn!(%error, "a delivery is left to the next run"),
        }
    }

    /// Forgets an endpoint of which nothing is to be known.
    fn forget_if_idle(&mut self, endpoint: EndpointId) {
        let idle = |lane: &Lane| lane.waiting.is_empty() && lane.under_way == 0 && !lane.slow;
        if self.endpoints.get(&endpoint).is_some_and(idle) {
            self.endpoints.remove(&endpoint);
        }
    }

    /// Logs what was sent since the last time, and adds it up.
    fn report(&mut self, total: &mut Sent) {
        let Sent { delivered, retried, parked, .. } = std::mem::take(&mut self.sent);
        if delivered + retried + parked > 0 {
            tracing::info!(
                webhooks.delivered = delivered,
                webhooks.retried = retried,
                webhooks.parked = parked,
                "webhooks were sent"
            );
        }
        total.delivered += delivered;
        total.retried += retried;
        total.parked += parked;
    }
}

/// Tries a claimed delivery once and stores how it ended. `None`: its endpoint is gone, or another process has stored an
/// outcome.
async fn attempt(files: &Files, courier: &Courier, delivery: &Delivery) -> Result<Option<DeliveryStatus>, Error> {
    let projects = files.projects();
    let Some(endpoint) = projects.receiver_of(delivery).await? else {
        return Ok(None);
    };
    if !endpoint.enabled {
        return projects.park_delivery(delivery).await;
    }
    let outcome = courier.post(&endpoint, delivery, files.clock().now()).await;
    projects.end_attempt(delivery, &endpoint, outcome).await
}
