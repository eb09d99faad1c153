//! A queue in front of an engine that divides the engine's time fairly: among the classes of work by weight, then
//! equally among the projects of a class.
//!
//! This is start-time fair queueing by measured time. Every class and every project has a virtual time that it has
//! used, and the next job comes from the waiting class and project with the least. An idle project rejoins at the
//! virtual time of the last job taken, so it gains no credit by waiting and has no debt for time that no one else
//! wanted. A busy project therefore waits behind its own jobs, and an occasional one waits only for the running jobs.
//!
//! A job is charged its project's average when it is taken and the difference when it is done, because several threads
//! take jobs concurrently.

use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use xfiles_core::{
    id::ProjectId,
    share::{Class, Share},
};

/// The maximum number of waiting jobs of one project. More would wait for seconds; their callers get 503 with
/// `Retry-After`.
pub(crate) const WAITING_PER_PROJECT: usize = 1_000;

/// The relative share of a class when all classes are busy: eight, four, and one.
const fn weight(class: Class) -> u64 {
    match class {
        Class::Api => 8,
        Class::Viewer => 4,
        Class::Background => 1,
    }
}

/// The reason why a job was not queued.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The project has the maximum number of waiting jobs.
    Full,
    /// The queue is closed.
    Closed,
}

/// The queue, shared by threads.
pub(crate) struct FairQueue<T> {
    state: Mutex<State<T>>,
    changed: Condvar,
}

struct State<T> {
    jobs: Jobs<T>,
    closed: bool,
}

/// A job that was taken. It counts as running until it is dropped.
pub(crate) struct Taken<'q, T> {
    pub(crate) job: Option<T>,
    queue: &'q FairQueue<T>,
    ticket: Ticket,
    begun: Instant,
}

impl<T> FairQueue<T> {
    /// An empty queue that allows this many concurrent jobs of one project.
    pub(crate) fn new(running_per_project: usize) -> Self {
        Self {
            state: Mutex::new(State { jobs: Jobs::new(running_per_project), closed: false }),
            changed: Condvar::new(),
        }
    }

    pub(crate) fn push(&self, share: Share, job: T) -> Result<(), Refusal> {
        let mut state = self.state();
        if state.closed {
            return Err(Refusal::Closed);
        }
        state.jobs.push(share, job)?;
        drop(state);
        self.changed.notify_one();
        Ok(())
    }

    /// Waits for the next job. `None` if the queue is closed and empty.
    pub(crate) fn take(&self) -> Option<Taken<'_, T>> {
        let mut state = self.state();
        loop {
            if let Some((job, ticket)) = state.jobs.take() {
                return Some(Taken { job: Some(job), queue: self, ticket, begun: Instant::now() });
            }
            if state.closed && state.jobs.is_empty() {
                return None;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Stops accepting jobs. Waiting jobs are still executed.
    pub(crate) fn close(&self) {
        self.state().closed = true;
        self.changed.notify_all();
    }

    fn state(&self) -> MutexGuard<'_, State<T>> {
        // The state is consistent even after a panic: no code outside this module runs under the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Drop for Taken<'_, T> {
    fn drop(&mut self) {
        let took = self.begun.elapsed();
        let mut state = self.queue.state();
        state.jobs.done(self.ticket, took);
        let (closed, ready) = (state.closed, state.jobs.has_ready());
        drop(state);
        if closed {
            // A thread that waits for the end checks again.
            self.queue.changed.notify_all();
        } else if ready {
            // Another job of the same project may run now.
            self.queue.changed.notify_one();
        }
    }
}

/// The charge of a job.
#[derive(Clone, Copy, Debug)]
struct Ticket {
    share: Share,
    charged: u64,
}

/// The jobs and the accounts, without threads.
struct Jobs<T> {
    classes: [Projects<T>; Class::ALL.len()],
    /// The virtual time of the class that was served last.
    now: u64,
    running_per_project: usize,
}

struct Projects<T> {
    accounts: HashMap<Option<ProjectId>, Account<T>>,
    /// Projects with a runnable job, by used virtual time.
    ready: BTreeSet<(u64, Option<ProjectId>)>,
    /// The virtual time of the project that was served last.
    now: u64,
    /// The virtual time that the class has used.
    used: u64,
    /// The number of waiting and running jobs.
    unfinished: usize,
}

struct Account<T> {
    jobs: VecDeque<T>,
    running: usize,
    /// In nanoseconds.
    used: u64,
    /// The moving average of the duration of its jobs, in nanoseconds.
    average: u64,
}

/// The weight of the last job in the average is one in this many.
const AVERAGED_OVER: u64 = 8;

/// The assumed duration of a job of a project without an average, in nanoseconds.
const FIRST_AVERAGE: u64 = 200_000;

impl<T> Jobs<T> {
    fn new(running_per_project: usize) -> Self {
        let classes = Class::ALL.map(|_| Projects {
            accounts: HashMap::new(),
            ready: BTreeSet::new(),
            now: 0,
            used: 0,
            unfinished: 0,
        });
        Self { classes, now: 0, running_per_project }
    }

    fn is_empty(&self) -> bool {
        self.classes.iter().all(|class| class.accounts.values().all(|account| account.jobs.is_empty()))
    }

    fn has_ready(&self) -> bool {
        self.classes.iter().any(|class| !class.ready.is_empty())
    }

    fn push(&mut self, share: Share, job: T) -> Result<(), Refusal> {
        let class = &mut self.classes[share.class as usize];
        if class.ready.is_empty() {
            class.used = class.used.max(self.now);
        }
        let now = class.now;
        let account = class.accounts.entry(share.project).or_insert_with(|| Account {
            jobs: VecDeque::new(),
            running: 0,
            used: now,
            average: FIRST_AVERAGE,
        });
        if account.jobs.len() >= WAITING_PER_PROJECT {
            return Err(Refusal::Full);
        }
        if account.jobs.is_empty() && account.running == 0 {
            account.used = account.used.max(now);
        }
        account.jobs.push_back(job);
        class.unfinished += 1;
        if account.running < self.running_per_project {
            class.ready.insert((account.used, share.project));
        }
        Ok(())
    }

    fn take(&mut self) -> Option<(T, Ticket)> {
        let ready = Class::ALL.into_iter().filter(|class| !self.classes[*class as usize].ready.is_empty());
        let next = ready.min_by_key(|class| self.classes[*class as usize].used)?;
        let class = &mut self.classes[next as usize];
        let (used, project) = class.ready.pop_first()?;
        let account = class.accounts.get_mut(&project).expect("a ready project has an account");
        let job = account.jobs.pop_front().expect("a ready project has a job");
        self.now = self.now.max(class.used);
        class.now = class.now.max(used);

        let charged = account.average;
        account.running += 1;
        account.used += charged;
        class.used += charged / weight(next);
        if !account.jobs.is_empty() && account.running < self.running_per_project {
            class.ready.insert((account.used, project));
        }
        let share = Share { class: next, project, frees_room: false };
        Some((job, Ticket { share, charged }))
    }

    fn done(&mut self, Ticket { share, charged }: Ticket, took: Duration) {
        let took = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        let class = &mut self.classes[share.class as usize];
        let per = weight(share.class);
        class.used = (class.used + took / per).saturating_sub(charged / per);
        let account = class.accounts.get_mut(&share.project).expect("a running project has an account");
        class.ready.remove(&(account.used, share.project));
        account.running -= 1;
        account.used = (account.used + took).saturating_sub(charged);
        account.average = account.average - account.average / AVERAGED_OVER + took / AVERAGED_OVER;
        if !account.jobs.is_empty() {
            class.ready.insert((account.used, share.project));
        }
        class.unfinished -= 1;
        if class.unfinished == 0 {
            // The used times of all projects start again together.
            class.now = class.accounts.values().map(|account| account.used).fold(class.now, u64::max);
            class.accounts.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLISECOND: Duration = Duration::from_millis(1);

    fn api(project: ProjectId) -> Share {
        Share::of(Class::Api).for_project(project)
    }

    /// Takes and finishes jobs one after the other; `cost` is the duration of each.
    fn run(jobs: &mut Jobs<&'static str>, count: usize, cost: impl Fn(&str) -> Duration) -> Vec<&'static str> {
        let mut done = Vec::new();
        for _ in 0..count {
            let (job, ticket) = jobs.take().expect("a job");
            jobs.done(ticket, cost(job));
            done.push(job);
        }
        done
    }

    #[test]
    fn a_project_with_a_full_queue_delays_another_only_by_the_running_job() {
        let (noisy, quiet) = (ProjectId::mint(), ProjectId::mint());
        let mut jobs = Jobs::new(1);
        for _ in 0..WAITING_PER_PROJECT {
            jobs.push(api(noisy), "noisy").unwrap();
        }
        assert_eq!(jobs.push(api(noisy), "noisy"), Err(Refusal::Full));
        run(&mut jobs, 100, |_| 5 * MILLISECOND);
        let (_, running) = jobs.take().unwrap();
        jobs.push(api(quiet), "quiet").unwrap();
        assert_eq!(jobs.take().unwrap().0, "quiet", "it is next, even while a job of the other project runs");
        jobs.done(running, 5 * MILLISECOND);
    }

    #[test]
    fn time_is_shared_equally_whatever_the_length_of_the_jobs() {
        let (long, short) = (ProjectId::mint(), ProjectId::mint());
        let mut jobs = Jobs::new(1);
        for _ in 0..900 {
            jobs.push(api(long), "long").unwrap();
            jobs.push(api(short), "short").unwrap();
        }
        let done = run(&mut jobs, 900, |job| if job == "long" { 8 * MILLISECOND } else { MILLISECOND });
        let longs = done.iter().filter(|job| **job == "long").count();
        assert!((90..=110).contains(&longs), "{longs} of 900 jobs, each eight times as long");
    }

    #[test]
    fn background_work_gets_its_share_and_no_more() {
        let mut jobs = Jobs::new(1);
        for _ in 0..900 {
            jobs.push(api(ProjectId::mint()), "api").unwrap();
            jobs.push(Share::of(Class::Background), "background").unwrap();
        }
        let done = run(&mut jobs, 900, |_| MILLISECOND);
        let background = done.iter().filter(|job| **job == "background").count();
        assert!((95..=105).contains(&background), "one in nine of 900: {background}");
    }

    #[test]
    fn an_idle_project_earns_no_credit_and_a_lone_one_no_debt() {
        let (first, second) = (ProjectId::mint(), ProjectId::mint());
        let mut jobs = Jobs::new(1);
        for _ in 0..100 {
            jobs.push(api(first), "first").unwrap();
            run(&mut jobs, 1, |_| 50 * MILLISECOND);
        }
        for _ in 0..100 {
            jobs.push(api(first), "first").unwrap();
            jobs.push(api(second), "second").unwrap();
        }
        let done = run(&mut jobs, 100, |_| MILLISECOND);
        let seconds = done.iter().filter(|job| **job == "second").count();
        assert!((45..=80).contains(&seconds), "{seconds} of 100");
    }

    #[test]
    fn one_project_does_not_take_every_thread() {
        let (noisy, quiet) = (ProjectId::mint(), ProjectId::mint());
        let mut jobs = Jobs::new(1);
        jobs.push(api(noisy), "noisy").unwrap();
        jobs.push(api(noisy), "noisy").unwrap();
        let (_, running) = jobs.take().unwrap();
        assert!(jobs.take().is_none(), "the other thread is free for other projects");
        jobs.push(api(quiet), "quiet").unwrap();
        assert_eq!(jobs.take().unwrap().0, "quiet");
        jobs.done(running, MILLISECOND);
        assert_eq!(jobs.take().unwrap().0, "noisy");
    }

    #[test]
    fn accounts_are_dropped_when_the_queue_is_empty() {
        let mut jobs = Jobs::new(1);
        for _ in 0..10 {
            jobs.push(api(ProjectId::mint()), "job").unwrap();
        }
        run(&mut jobs, 9, |_| MILLISECOND);
        assert!(!jobs.is_empty());
        run(&mut jobs, 1, |_| MILLISECOND);
        assert!(jobs.is_empty() && jobs.classes[Class::Api as usize].accounts.is_empty());
    }

    #[test]
    fn a_closed_queue_finishes_waiting_jobs_and_ends() {
        let queue = FairQueue::new(1);
        queue.push(Share::default(), 1).unwrap();
        queue.close();
        assert_eq!(queue.push(Share::default(), 2), Err(Refusal::Closed));
        assert_eq!(queue.take().unwrap().job, Some(1));
        assert!(queue.take().is_none());
    }
}
