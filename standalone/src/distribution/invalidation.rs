//! Invalidation: path patterns, and the register of caller references. CloudFront keeps a caller reference forever.
//! Keeping the latest is enough here, because a repeated invalidation is harmless.

use std::{
    collections::VecDeque,
    str::FromStr,
    sync::{Mutex, PoisonError},
};

use xfiles_core::{
    cdn::{Invalidate, InvalidateError, InvalidateFuture},
    clock::Timestamp,
};

use super::Distribution;

const REMEMBERED: usize = 4096;

/// A path, or all paths with a prefix: `/a/b` or `/a/*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PathPattern {
    prefix: String,
    wildcard: bool,
}

impl PathPattern {
    /// A single path, without validation.
    pub(super) fn exactly(path: &str) -> Self {
        Self { prefix: path.to_owned(), wildcard: false }
    }

    pub(super) fn matches(&self, path: &str) -> bool {
        if self.wildcard { path.starts_with(&self.prefix) } else { path == self.prefix }
    }

    /// The lower bound of the matching paths in alphabetical order.
    pub(super) fn first(&self) -> &str {
        &self.prefix
    }
}

impl FromStr for PathPattern {
    type Err = Refusal;

    fn from_str(text: &str) -> Result<Self, Refusal> {
        let (prefix, wildcard) = text.strip_suffix('*').map_or((text, false), |prefix| (prefix, true));
        if !prefix.starts_with('/') || prefix.contains('*') {
            return Err(Refusal::InvalidPath);
        }
        Ok(Self { prefix: prefix.to_owned(), wildcard })
    }
}

/// The reason why an invalidation is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    #[error("an invalidation has at least one path; each begins with `/`, and `*` may only be its end")]
    InvalidPath,
    #[error("the caller reference was used for other paths")]
    AlreadyExists,
}

/// A completed invalidation.
#[derive(Clone, Debug)]
pub(super) struct Invalidation {
    pub(super) id: String,
    pub(super) caller_reference: String,
    pub(super) paths: Vec<String>,
    pub(super) created_at: Timestamp,
}

/// The completed invalidations.
#[derive(Default)]
pub(super) struct Register(Mutex<Records>);

#[derive(Default)]
struct Records {
    latest: VecDeque<Invalidation>,
    count: u64,
}

impl Register {
    /// Executes an invalidation with `forget`, unless the caller reference was used before.
    pub(super) fn enter(
        &self,
        caller_reference: &str,
        paths: Vec<String>,
        now: Timestamp,
        forget: impl Fn(&PathPattern),
    ) -> Result<Invalidation, Refusal> {
        let patterns = paths.iter().map(|path| path.parse()).collect::<Result<Vec<PathPattern>, _>>()?;
        if patterns.is_empty() {
            return Err(Refusal::InvalidPath);
        }
        let mut records = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(done) = records.latest.iter().find(|done| done.caller_reference == caller_reference) {
            return if done.paths == paths { Ok(done.clone()) } else { Err(Refusal::AlreadyExists) };
        }
        patterns.iter().for_each(forget);
        records.count += 1;
        let id = format!("I{:013}", records.count);
        let done = Invalidation { id, caller_reference: caller_reference.to_owned(), paths, created_at: now };
        records.latest.push_back(done.clone());
        if records.latest.len() > REMEMBERED {
            records.latest.pop_front();
        }
        Ok(done)
    }

    pub(super) fn find(&self, id: &str) -> Option<Invalidation> {
        let records = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        records.latest.iter().find(|done| done.id == id).cloned()
    }
}

impl Distribution {
    /// Invalidates the paths before it returns.
    pub(super) fn forget(&self, caller_reference: &str, paths: Vec<String>) -> Result<Invalidation, Refusal> {
        let Self { cache, clock, register, .. } = self;
        register.enter(caller_reference, paths, clock.now(), |pattern| cache.forget(pattern))
    }
}

impl Invalidate for Distribution {
    fn invalidate<'a>(&'a self, caller_reference: &'a str, paths: Vec<String>) -> InvalidateFuture<'a> {
        let done = self.forget(caller_reference, paths);
        Box::pin(async move { done.map(drop).map_err(|refusal| InvalidateError::Refused(refusal.into())) })
    }

    fn holds(&self, path: &str) -> Option<bool> {
        path.parse().ok().map(|pattern| self.cache.holds(&pattern))
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_767_290_412_345);

    fn paths(paths: &[&str]) -> Vec<String> {
        paths.iter().map(|path| (*path).to_owned()).collect()
    }

    #[test]
    fn a_pattern_is_a_path_or_a_prefix() {
        let everything: PathPattern = "/*".parse().unwrap();
        let directory: PathPattern = "/a/*".parse().unwrap();
        let path: PathPattern = "/a/b".parse().unwrap();
        assert!(everything.matches("/") && everything.matches("/a/b"));
        assert!(directory.matches("/a/b") && directory.matches("/a/") && !directory.matches("/a"));
        assert!(path.matches("/a/b") && !path.matches("/a/b/c") && !path.matches("/a"));
        for bad in ["", "*", "a/b", "/a/*/b", "/a/**"] {
            assert_eq!(bad.parse::<PathPattern>(), Err(Refusal::InvalidPath), "{bad}");
        }
    }

    #[test]
    fn one_reference_is_one_invalidation() {
        let (register, forgotten) = (Register::default(), Cell::new(0));
        let enter = |reference: &str, of: &[&str]| {
            register.enter(reference, paths(of), NOW, |_| forgotten.set(forgotten.get() + 1))
        };
        let first = enter("r1", &["/a/*", "/b"]).unwrap();
        assert_eq!(forgotten.get(), 2);
        assert_eq!(enter("r1", &["/a/*", "/b"]).unwrap().id, first.id);
        assert_eq!(enter("r1", &["/c"]).unwrap_err(), Refusal::AlreadyExists);
        assert_eq!(forgotten.get(), 2);
        assert_ne!(enter("r2", &["/c"]).unwrap().id, first.id);
        assert_eq!(register.find(&first.id).unwrap().paths, paths(&["/a/*", "/b"]));
        assert!(register.find("I1").is_none());
    }

    #[test]
    fn an_invalidation_of_nothing_or_of_a_wrong_path_is_refused_whole() {
        let register = Register::default();
        for bad in [&[][..], &["/a", "b"]] {
            let refused = register.enter("r", paths(bad), NOW, |_| panic!("nothing may be forgotten"));
            assert_eq!(refused.unwrap_err(), Refusal::InvalidPath, "{bad:?}");
        }
    }

    #[test]
    fn only_the_latest_references_are_kept() {
        let register = Register::default();
        for n in 0..=REMEMBERED {
            register.enter(&format!("r{n}"), paths(&["/a"]), NOW, |_| {}).unwrap();
        }
        let again = Cell::new(false);
        register.enter("r0", paths(&["/a"]), NOW, |_| again.set(true)).unwrap();
        assert!(again.get());
    }
}
