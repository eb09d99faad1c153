//! How many file descriptors the process may have, and how many connections that allows.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// More is not asked for: it is room for more connections than are ever allowed by default.
const WANTED: u64 = 65_536;

/// What the process has open beside its connections: standard streams, the runtime's own, listeners, locks, two SQLite
/// databases with their logs and readers, deliveries to webhooks, and a directory that is being synced.
const RESERVED: u64 = 44;

/// What a connection takes at most: its socket, and the file that an upload is written to or a download read from.
const PER_CONNECTION: u64 = 2;

/// With fewer, not even one browser is served.
const FEWEST: u64 = 6;

/// Too few file descriptors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TooFew {
    /// For any server.
    #[error(
        "the process may open {limit} files, which is too few to serve; allow at least {} with ulimit -n or LimitNOFILE",
        RESERVED + FEWEST * PER_CONNECTION
    )]
    ForAnything {
        /// How many it may open.
        limit: u64,
    },
    /// For as many connections as were asked for.
    #[error(
        "the process may open {limit} files, which is enough for {enough} connections and not for {wanted}; allow more \
         files with ulimit -n or LimitNOFILE, or ask for fewer with --max-connections"
    )]
    ForThose {
        /// How many it may open.
        limit: u64,
        /// How many connections that allows.
        enough: usize,
        /// How many connections were asked for.
        wanted: usize,
    },
}

/// Allows the process as many descriptors as it may allow itself, and says how many that is.
pub(super) fn raise() -> u64 {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    // None is no limit.
    let (Some(now), most) = (current, maximum.unwrap_or(u64::MAX)) else { return u64::MAX };
    let wanted = most.min(WANTED);
    if now < wanted {
        match setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum }) {
            Ok(()) => return wanted,
            Err(error) => tracing::warn!(%error, files = now, "the limit of open files could not be raised"),
        }
    }
    now
}

/// How many connections a process with so many descriptors serves: what was asked for, or as many as fit.
pub(super) fn connections(limit: u64, wanted: Option<usize>, default: usize) -> Result<usize, TooFew> {
    let fit = limit.saturating_sub(RESERVED) / PER_CONNECTION;
    if fit < FEWEST {
        return Err(TooFew::ForAnything { limit });
    }
    let enough = usize::try_from(fit).unwrap_or(usize::MAX);
    match wanted {
        Some(wanted) if wanted > enough => Err(TooFew::ForThose { limit, enough, wanted }),
        Some(wanted) => Ok(wanted),
        None => Ok(enough.min(default)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_descriptors_for_the_stores() {
        assert_eq!(connections(64, None, 4_096), Ok(10));
        assert_eq!(connections(1_024, None, 4_096), Ok(490));
        assert_eq!(connections(65_536, None, 4_096), Ok(4_096));
        assert_eq!(connections(u64::MAX, None, 4_096), Ok(4_096));
        assert_eq!(connections(1_024, Some(100), 4_096), Ok(100));
    }

    #[test]
    fn too_few_descriptors_are_reported_with_a_remedy() {
        let refused = connections(32, None, 4_096).unwrap_err().to_string();
        assert!(refused.contains("32 files") && refused.contains("at least 56 with ulimit -n"), "{refused}");
        let refused = connections(64, Some(100), 4_096).unwrap_err().to_string();
        assert!(refused.contains("enough for 10 connections and not for 100"), "{refused}");
    }

    #[test]
    fn the_raised_limit_is_kept() {
        let raised = raise();
        assert_eq!(raise(), raised);
    }
}
