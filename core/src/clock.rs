//! The time. Every decision that depends on it asks a [`Clock`]; nothing else reads the system time.

use std::{
    fmt,
    sync::{
        Arc, LazyLock,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use serde::{Deserialize, Serialize, Serializer};
use time::{OffsetDateTime, format_description::BorrowedFormatItem, macros::format_description};

const RFC3339_MILLIS: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");

/// A point in time: whole milliseconds since 1970-01-01T00:00:00Z. Displays as RFC 3339 UTC with milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The time that many milliseconds after the Unix epoch.
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// Milliseconds since the Unix epoch.
    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// Whole seconds since the Unix epoch, rounded down.
    pub const fn as_secs(self) -> i64 {
        self.0.div_euclid(1000)
    }

    /// Parses RFC 3339, any offset and precision; finer than milliseconds is cut.
    pub fn parse_rfc3339(text: &str) -> Option<Self> {
        let parsed = OffsetDateTime::parse(text, &time::format_description::well_known::Rfc3339).ok()?;
        i64::try_from(parsed.unix_timestamp_nanos().div_euclid(1_000_000)).ok().map(Self)
    }

    /// How long after `earlier` this is; zero when it is not after it.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0 - earlier.0).unwrap_or(0))
    }
}

impl std::ops::Add<Duration> for Timestamp {
    type Output = Self;

    fn add(self, later: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(later.as_millis()).unwrap_or(i64::MAX)))
    }
}

impl From<Timestamp> for SystemTime {
    fn from(t: Timestamp) -> Self {
        UNIX_EPOCH + Duration::from_millis(u64::try_from(t.0).unwrap_or(0))
    }
}

impl From<SystemTime> for Timestamp {
    fn from(t: SystemTime) -> Self {
        let millis = t.duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis());
        Self(i64::try_from(millis).unwrap_or(i64::MAX))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = OffsetDateTime::from_unix_timestamp_nanos(i128::from(self.0) * 1_000_000).map_err(|_| fmt::Error)?;
        f.write_str(&time.format(RFC3339_MILLIS).map_err(|_| fmt::Error)?)
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A reading of a [`Clock`]'s monotonic side. It has no date: two of them from the same clock tell how much time has
/// passed between them, and that never becomes less because the system's time was set back.
///
/// The age of what a process remembers is counted with it. What is stored, signed or shown has a [`Timestamp`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment(Duration);

impl Moment {
    /// How long after `earlier` this is; zero when it is not after it.
    pub fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

impl std::ops::Add<Duration> for Moment {
    type Output = Self;

    fn add(self, later: Duration) -> Self {
        Self(self.0.saturating_add(later))
    }
}

/// What the monotonic reading of the system's clock counts from.
static PROCESS_EPOCH: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Where the time comes from: the system, or a hand that moves it.
#[derive(Clone, Debug)]
pub struct Clock(Source);

#[derive(Clone, Debug)]
enum Source {
    System,
    Manual(Arc<Hands>),
}

/// What a manual clock shows.
#[derive(Debug)]
struct Hands {
    /// Milliseconds since the Unix epoch.
    wall: AtomicI64,
    /// Milliseconds by which the clock was advanced.
    passed: AtomicU64,
}

impl Clock {
    /// The system's time.
    pub const fn system() -> Self {
        Self(Source::System)
    }

    /// A clock that stands at `start` until [`Clock::advance`] moves it. Clones share the hand.
    pub fn manual(start: Timestamp) -> Self {
        Self(Source::Manual(Arc::new(Hands { wall: AtomicI64::new(start.0), passed: AtomicU64::new(0) })))
    }

    /// The time now. It may go back, because the system's time can be set: see [`Clock::monotonic`].
    #[expect(clippy::disallowed_methods, reason = "this is where the time enters the system")]
    pub fn now(&self) -> Timestamp {
        match &self.0 {
            Source::System => SystemTime::now().into(),
            Source::Manual(hands) => Timestamp(hands.wall.load(Ordering::SeqCst)),
        }
    }

    /// A reading that never goes back, for the age of what this process remembers. As on the system's clock, time that
    /// the machine is suspended does not count.
    pub fn monotonic(&self) -> Moment {
        match &self.0 {
            Source::System => Moment(PROCESS_EPOCH.elapsed()),
            Source::Manual(hands) => Moment(Duration::from_millis(hands.passed.load(Ordering::SeqCst))),
        }
    }

    /// Lets time pass on a manual clock; the system's clock stays as it is.
    pub fn advance(&self, by: Duration) {
        if let Source::Manual(hands) = &self.0 {
            hands.wall.fetch_add(i64::try_from(by.as_millis()).unwrap_or(i64::MAX), Ordering::SeqCst);
            hands.passed.fetch_add(u64::try_from(by.as_millis()).unwrap_or(u64::MAX), Ordering::SeqCst);
        }
    }

    /// Sets the time of a manual clock, forward or back, as an administrator sets that of a system. No time passes by
    /// it: [`Clock::monotonic`] stays. The system's clock stays as it is.
    pub fn set(&self, to: Timestamp) {
        if let Source::Manual(hands) = &self.0 {
            hands.wall.store(to.0, Ordering::SeqCst);
        }
    }
}

impl aws_smithy_async::time::TimeSource for Clock {
    fn now(&self) -> SystemTime {
        Clock::now(self).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timestamp_displays_as_rfc3339_with_three_digits_and_parses_back() {
        let t = Timestamp::from_millis(1_760_000_000_007);
        assert_eq!(t.to_string(), "2025-10-09T08:53:20.007Z");
        assert_eq!(Timestamp::parse_rfc3339(&t.to_string()), Some(t));
        assert_eq!(Timestamp::parse_rfc3339("2025-10-09T10:53:20.007+02:00"), Some(t));
        assert_eq!(Timestamp::parse_rfc3339("yesterday"), None);
    }

    #[test]
    fn a_clock_that_is_set_back_goes_on_counting_ages() {
        let start = Timestamp::from_millis(1_760_000_000_000);
        let clock = Clock::manual(start);
        let seen = clock.monotonic();
        clock.advance(Duration::from_secs(10));
        clock.set(start + Duration::from_secs(5));
        clock.advance(Duration::from_secs(20));
        assert_eq!(clock.now(), start + Duration::from_secs(25));
        assert_eq!(clock.monotonic().since(seen), Duration::from_secs(30));
        assert_eq!(seen.since(clock.monotonic()), Duration::ZERO);
        assert_eq!(seen + Duration::from_secs(30), clock.monotonic());
    }

    #[test]
    fn the_systems_monotonic_reading_does_not_go_back() {
        let clock = Clock::system();
        let earlier = clock.monotonic();
        assert!(clock.monotonic() >= earlier);
    }
}
