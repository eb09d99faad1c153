//! Records that owe work.

use crate::id::{FileId, ProjectId};

/// A record whose work is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Debtor {
    /// A file.
    File(FileId),
    /// A project that is being cleared.
    Project(ProjectId),
}
