//! On whose behalf work is done, so that an engine that serves every project can divide its time among them.
//!
//! The outermost layer of a request sets a [`Share`] with [`Share::scope`]; an embedded engine reads it with
//! [`Share::current`] when it is given an operation. The share belongs to the future that runs in the scope, not to a
//! thread: a task that is spawned inside starts without one unless its future is wrapped by [`carried`]. Nothing here
//! schedules, and on AWS nothing reads it.

use std::{cell::Cell, future::Future};

use crate::id::ProjectId;

/// The kinds of work, each with a guaranteed part of the engine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// A request of the API.
    #[default]
    Api,
    /// A viewer's request for a variant. Its path names a project, but nothing proves it.
    Viewer,
    /// Work that no client waits for: cleanup, reconciliation, deliveries.
    Background,
}

impl Class {
    /// All classes, in the order of their discriminants.
    pub const ALL: [Self; 3] = [Self::Api, Self::Viewer, Self::Background];
}

/// On whose behalf work is done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Share {
    /// The kind of work.
    pub class: Class,
    /// The project, once it is known. All work whose project is not known counts as one project.
    pub project: Option<ProjectId>,
    /// Whether the work ends with less on the disk, or takes a right away. It may use the room that is kept in reserve
    /// for it on a full disk.
    pub frees_room: bool,
}

tokio::task_local! {
    static SHARE: Cell<Share>;
}

impl Share {
    /// Work of this class for a project that is not known yet.
    pub const fn of(class: Class) -> Self {
        Self { class, project: None, frees_room: false }
    }

    /// The same for this project.
    #[must_use]
    pub const fn for_project(self, project: ProjectId) -> Self {
        Self { project: Some(project), ..self }
    }

    /// The same, as work that frees room.
    #[must_use]
    pub const fn freeing_room(self) -> Self {
        Self { frees_room: true, ..self }
    }

    /// Runs a future with this share.
    pub async fn scope<F: Future>(self, future: F) -> F::Output {
        SHARE.scope(Cell::new(self), future).await
    }

    /// The share of the running future; outside of any scope, that of an API request without a project.
    pub fn current() -> Self {
        SHARE.try_with(Cell::get).unwrap_or_default()
    }

    /// Names the project of the running scope from here on. Outside of any scope it does nothing.
    pub fn set_project(project: ProjectId) {
        // Without a scope there is nothing to set.
        let _ = SHARE.try_with(|share| share.set(share.get().for_project(project)));
    }
}

/// Gives a future that will be spawned the share of the future that spawns it.
pub fn carried<F: Future>(future: F) -> impl Future<Output = F::Output> {
    let share = Share::current();
    share.scope(future)
}

/// Runs a future as work that frees room, otherwise on behalf of the same project as before.
pub async fn freeing_room<F: Future>(future: F) -> F::Output {
    Share::current().freeing_room().scope(future).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_spawned_task_has_the_share_of_its_parent_only_if_it_is_carried() {
        let (first, second) = (ProjectId::mint(), ProjectId::mint());
        assert_eq!(Share::current(), Share::default());
        let viewer = Share::of(Class::Viewer).for_project(first);
        let scoped = viewer.scope(async {
            assert_eq!(Share::current(), viewer);
            Share::set_project(second);
            let bare = tokio::spawn(async { Share::current() }).await.unwrap();
            let kept = tokio::spawn(carried(async { Share::current() })).await.unwrap();
            (bare, kept, freeing_room(async { Share::current() }).await, Share::current())
        });
        let (bare, kept, freeing, after) = scoped.await;
        assert_eq!((bare, kept), (Share::default(), viewer.for_project(second)));
        assert_eq!((freeing, after), (kept.freeing_room(), kept));
        assert_eq!(Share::current(), Share::default());
    }
}
