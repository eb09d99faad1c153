//! The memory and the processors that all renders share, and the order in which renders get them.
//!
//! A render needs bytes and, while it computes, a slot. Both are granted together, and only to a render that holds neither,
//! so no render holds one while it waits for the other. Projects take turns, so a long queue of one project does not delay
//! another. Renders that fit now overtake one that does not, but only [`MAX_PASSES`] times, so that a large one is not
//! starved.

use std::{
    collections::{HashMap, VecDeque, hash_map::Entry},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::oneshot;
use xfiles_core::id::ProjectId;

/// How often a render is overtaken by others that fit beside those that run.
const MAX_PASSES: u32 = 32;

/// The lanes. Each has slots of its own; the bytes are shared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LaneKind {
    /// For variants that were asked for.
    Asked,
    /// For the WebP that is shown while an AVIF is made, and would wait behind it otherwise.
    Stopgap,
}

impl LaneKind {
    const ALL: [Self; 2] = [Self::Asked, Self::Stopgap];
}

#[derive(Clone)]
pub(super) struct Budget(Arc<Shared>);

struct Shared {
    total: u64,
    state: Mutex<State>,
}

struct State {
    bytes: u64,
    slots: [usize; LaneKind::ALL.len()],
    /// The waiting renders of each project, in the order in which they came.
    waiting: HashMap<ProjectId, VecDeque<Waiter>>,
    /// The waiting projects, the next first.
    turns: VecDeque<ProjectId>,
}

struct Waiter {
    lane: LaneKind,
    bytes: u64,
    passes: u32,
    reply: oneshot::Sender<Permit>,
}

/// Bytes, and perhaps a slot, until it is dropped.
pub(super) struct Permit {
    shared: Arc<Shared>,
    bytes: u64,
    slot: Option<LaneKind>,
}

impl Budget {
    /// A budget of this many bytes, and of this many slots in each lane.
    pub(super) fn new(bytes: u64, slots: usize) -> Self {
        let state =
            State { bytes, slots: LaneKind::ALL.map(|_| slots), waiting: HashMap::new(), turns: VecDeque::new() };
        Self(Arc::new(Shared { total: bytes, state: Mutex::new(state) }))
    }

    /// All bytes of the budget.
    pub(super) fn total(&self) -> u64 {
        self.0.total
    }

    /// Waits for the project's turn, a slot and this many bytes, at most all of the budget. A future that is dropped
    /// leaves the queue.
    pub(super) async fn acquire(&self, project: ProjectId, lane: LaneKind, bytes: u64) -> Permit {
        let (reply, granted) = oneshot::channel();
        let bytes = bytes.min(self.0.total);
        self.0.state().line_up(project, Waiter { lane, bytes, passes: 0, reply });
        self.0.dispatch();
        granted.await.expect("the sender is dropped only after its receiver")
    }

    /// This many bytes without a slot, if they are free and no render waits for bytes.
    pub(super) fn try_bytes(&self, bytes: u64) -> Option<Permit> {
        self.0.state().take_bytes(bytes).then(|| Permit { shared: Arc::clone(&self.0), bytes, slot: None })
    }
}

impl Permit {
    /// Whether it includes a slot.
    pub(super) fn has_slot(&self) -> bool {
        self.slot.is_some()
    }

    /// Changes the bytes of the permit. Fewer are returned at once; more are taken if they are free and no render waits
    /// for bytes. Returns whether the permit has this many now.
    pub(super) fn resize(&mut self, bytes: u64) -> bool {
        match bytes.checked_sub(self.bytes) {
            Some(more) => {
                let is_there = more == 0 || self.shared.state().take_bytes(more);
                if is_there {
                    self.bytes = bytes;
                }
                is_there
            }
            None => {
                let rest = self.bytes - bytes;
                self.bytes = bytes;
                self.shared.state().bytes += rest;
                self.shared.dispatch();
                true
            }
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        {
            let mut state = self.shared.state();
            state.bytes += self.bytes;
            if let Some(lane) = self.slot {
                state.slots[lane as usize] += 1;
            }
        }
        self.shared.dispatch();
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Grants permits as far as the budget goes.
    fn dispatch(self: &Arc<Self>) {
        loop {
            let Some(Waiter { lane, bytes, reply, .. }) = self.state().next() else { return };
            // If the receiver is gone, the permit is dropped at once, and the next render gets it.
            drop(reply.send(Permit { shared: Arc::clone(self), bytes, slot: Some(lane) }));
        }
    }
}

impl State {
    fn line_up(&mut self, project: ProjectId, waiter: Waiter) {
        match self.waiting.entry(project) {
            Entry::Occupied(mut waiters) => waiters.get_mut().push_back(waiter),
            Entry::Vacant(place) => {
                place.insert(VecDeque::from([waiter]));
                self.turns.push_back(project);
            }
        }
    }

    /// Takes bytes without queueing, which is possible only while no render in the queue waits for bytes alone.
    fn take_bytes(&mut self, bytes: u64) -> bool {
        let waits_for_bytes = |waiter: &Waiter| {
            self.slots[waiter.lane as usize] > 0 && waiter.bytes > self.bytes && !waiter.reply.is_closed()
        };
        let is_free = bytes <= self.bytes && !self.waiting.values().flatten().any(waits_for_bytes);
        if is_free {
            self.bytes -= bytes;
        }
        is_free
    }

    fn fits(&self, waiter: &Waiter) -> bool {
        self.slots[waiter.lane as usize] > 0 && waiter.bytes <= self.bytes
    }

    /// Takes the next render that fits off the queue.
    fn next(&mut self) -> Option<Waiter> {
        self.forget_the_gone();
        // In turn, the first of each project and lane: a full lane does not hold up the other.
        let mut chosen = None;
        'turns: for (turn, project) in self.turns.iter().enumerate() {
            let waiters = self.waiting.get(project)?;
            for lane in LaneKind::ALL {
                let Some(place) = waiters.iter().position(|waiter| waiter.lane == lane) else { continue };
                if self.fits(&waiters[place]) {
                    chosen = Some((turn, *project, place));
                    break 'turns;
                }
                // Its lane has a slot, so it waits for bytes, and has been overtaken often enough.
                if self.slots[lane as usize] > 0 && waiters[place].passes >= MAX_PASSES {
                    return None;
                }
            }
        }
        let (turn, project, place) = chosen?;
        for earlier in self.turns.iter().take(turn) {
            if let Some(first) = self.waiting.get_mut(earlier).and_then(VecDeque::front_mut) {
                first.passes += 1;
            }
        }
        let waiters = self.waiting.get_mut(&project)?;
        let waiter = waiters.remove(place)?;
        self.turns.remove(turn);
        if waiters.is_empty() {
            self.waiting.remove(&project);
        } else {
            self.turns.push_back(project);
        }
        self.slots[waiter.lane as usize] -= 1;
        self.bytes -= waiter.bytes;
        Some(waiter)
    }

    fn forget_the_gone(&mut self) {
        for waiters in self.waiting.values_mut() {
            waiters.retain(|waiter| !waiter.reply.is_closed());
        }
        self.waiting.retain(|_, waiters| !waiters.is_empty());
        let waiting = &self.waiting;
        self.turns.retain(|project| waiting.contains_key(project));
    }
}

/// The places in the worker, for variants that wait or are made. A project gets another place only while it has fewer
/// than are free: one project alone fills half of the places, two fill two thirds, and a newcomer always finds one.
#[derive(Clone)]
pub(super) struct Places(Arc<PlacesShared>);

struct PlacesShared {
    most: usize,
    taken: Mutex<HashMap<ProjectId, usize>>,
}

/// A place, until it is dropped.
pub(super) struct Place {
    shared: Arc<PlacesShared>,
    project: ProjectId,
}

impl Places {
    pub(super) fn new(most: usize) -> Self {
        Self(Arc::new(PlacesShared { most, taken: Mutex::default() }))
    }

    /// A place for the project, if there is one.
    pub(super) fn take(&self, project: ProjectId) -> Option<Place> {
        let mut taken = self.0.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let free = self.0.most.saturating_sub(taken.values().sum());
        let own = taken.get(&project).copied().unwrap_or_default();
        if own >= free {
            return None;
        }
        taken.insert(project, own + 1);
        Some(Place { shared: Arc::clone(&self.0), project })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.shared.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if let Entry::Occupied(mut own) = taken.entry(self.project) {
            *own.get_mut() -= 1;
            if *own.get() == 0 {
                own.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        pin::{Pin, pin},
        sync::LazyLock,
        task::{Context, Poll, Waker},
    };

    use super::*;

    const ASKED: LaneKind = LaneKind::Asked;

    fn project(number: usize) -> ProjectId {
        static PROJECTS: LazyLock<[ProjectId; 4]> = LazyLock::new(|| [(); 4].map(|()| ProjectId::mint()));
        PROJECTS[number]
    }

    fn polled(future: Pin<&mut impl Future<Output = Permit>>) -> Option<Permit> {
        match future.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(permit) => Some(permit),
            Poll::Pending => None,
        }
    }

    #[test]
    fn what_runs_at_once_never_has_more_bytes_or_slots_than_there_are() {
        let budget = Budget::new(100, 2);
        let mut first = pin!(budget.acquire(project(1), ASKED, 60));
        let mut second = pin!(budget.acquire(project(1), ASKED, 60));
        let mut third = pin!(budget.acquire(project(2), ASKED, 40));
        let mut fourth = pin!(budget.acquire(project(2), ASKED, 0));
        let one = polled(first.as_mut()).unwrap();
        assert!(polled(second.as_mut()).is_none(), "the bytes are not there");
        let three = polled(third.as_mut()).unwrap();
        assert!(polled(fourth.as_mut()).is_none(), "no slot is left");
        drop(one);
        let two = polled(second.as_mut()).expect("it waited the longest");
        assert!(polled(fourth.as_mut()).is_none());
        drop((two, three));
        assert!(polled(fourth.as_mut()).is_some());
        assert!(budget.try_bytes(100).is_some());
    }

    #[test]
    fn projects_take_turns_however_many_of_one_wait() {
        let budget = Budget::new(100, 1);
        let running = polled(pin!(budget.acquire(project(1), ASKED, 1))).unwrap();
        let mut flood: Vec<_> = (0..50).map(|_| Box::pin(budget.acquire(project(1), ASKED, 1))).collect();
        for waiting in &mut flood {
            assert!(polled(waiting.as_mut()).is_none());
        }
        let mut other = pin!(budget.acquire(project(2), ASKED, 1));
        assert!(polled(other.as_mut()).is_none());
        drop(running);
        let next = polled(flood[0].as_mut()).expect("it was the first project's turn");
        drop(next);
        let next = polled(other.as_mut()).expect("it is the other's, though 49 came before");
        drop(next);
        assert!(polled(flood[1].as_mut()).is_some());
    }

    #[test]
    fn a_large_one_is_passed_over_by_small_ones_but_not_for_ever() {
        let budget = Budget::new(100, 3);
        let _running = polled(pin!(budget.acquire(project(1), ASKED, 50))).unwrap();
        let mut large = pin!(budget.acquire(project(2), ASKED, 60));
        assert!(polled(large.as_mut()).is_none());
        for _ in 0..MAX_PASSES {
            let small = polled(pin!(budget.acquire(project(3), ASKED, 10)));
            assert!(small.is_some(), "there is room beside it");
        }
        assert!(polled(pin!(budget.acquire(project(3), ASKED, 10))).is_none(), "it is the large one's turn");
        drop(_running);
        assert!(polled(large.as_mut()).is_some());
    }

    #[test]
    fn one_that_has_gone_is_forgotten_and_takes_nothing_with_it() {
        let budget = Budget::new(100, 1);
        let running = polled(pin!(budget.acquire(project(1), ASKED, 100))).unwrap();
        {
            let mut gone = pin!(budget.acquire(project(2), ASKED, 100));
            assert!(polled(gone.as_mut()).is_none());
        }
        drop(running);
        assert!(budget.try_bytes(100).is_some());
        assert!(polled(pin!(budget.acquire(project(1), ASKED, 100))).is_some());
    }

    #[test]
    fn a_stopgap_does_not_wait_for_a_slot_of_the_other_lane() {
        let budget = Budget::new(100, 1);
        let _avif = polled(pin!(budget.acquire(project(1), ASKED, 10))).unwrap();
        let mut second = pin!(budget.acquire(project(1), ASKED, 10));
        assert!(polled(second.as_mut()).is_none());
        assert!(polled(pin!(budget.acquire(project(1), LaneKind::Stopgap, 10))).is_some());
    }

    #[test]
    fn a_permit_grows_only_while_no_render_waits_and_shrinks_at_any_time() {
        let budget = Budget::new(100, 2);
        let mut permit = polled(pin!(budget.acquire(project(1), ASKED, 10))).unwrap();
        assert!(permit.resize(80));
        let mut waiting = pin!(budget.acquire(project(2), ASKED, 40));
        assert!(polled(waiting.as_mut()).is_none());
        assert!(!permit.resize(90), "those bytes are waited for");
        assert!(permit.resize(60));
        assert!(polled(waiting.as_mut()).is_some());
    }

    #[test]
    fn one_project_leaves_places_for_others() {
        let places = Places::new(12);
        let flood: Vec<Place> = std::iter::from_fn(|| places.take(project(1))).collect();
        assert_eq!(flood.len(), 6);
        let other: Vec<Place> = std::iter::from_fn(|| places.take(project(2))).collect();
        assert_eq!(other.len(), 3);
        assert!(places.take(project(3)).is_some());
        drop(flood);
        assert!(places.take(project(1)).is_some());
        assert!(Places::new(0).take(project(1)).is_none());
    }
}
