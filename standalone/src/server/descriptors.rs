//! The limit of file descriptors, and the number of connections that it allows.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// The limit that is requested: it allows more connections than the default limit.
const WANTED: u64 = 65_536;

/// The descriptors for other purposes than connections: standard streams, the runtime, listeners, locks, two SQLite
/// databases with their logs and readers, webhook deliveries, and a directory that is being synced.
const RESERVED: u64 = 44;

/// The descriptors of a connection: its socket, and the file of an upload or download.
const PER_CONNECTION: u64 = 2;

/// With fewer, not even one browser could be served.
const FEWEST: u64 = 6;

/// The limit of open files is too low.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TooFew {
    /// Too few for any server.
    #[error(
        "the process may open {limit} files, which is too few to serve; allow at least {} with ulimit -n or LimitNOFILE",
        RESERVED + FEWEST * PER_CONNECTION
    )]
    ForAnything {
        /// The limit of the process.
        limit: u64,
    },
    /// Too few for the requested number of connections.
    #[error(
        "the process may open {limit} files, which is enough for {enough} connections and not for {wanted}; allow more \
         files with ulimit -n or LimitNOFILE, or ask for fewer with --max-connections"
    )]
    ForThose {
        /// The limit of the process.
        limit: u64,
        /// The number of connections that this allows.
        enough: usize,
        /// The number of connections that was requested.
        wanted: usize,
    },
}

/// Raises the soft limit to the hard limit, and returns it.
pub(super) fn raise() -> u64 {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    // `None` means unlimited.
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

/// The number of connections with this limit of descriptors: the requested number, or as many as possible.
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
