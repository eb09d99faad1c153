//! What the product knows: files, projects, keys, events, webhooks, and the filters by which files are listed. The types
//! hold the rules; how they are stored is the matter of [`stores`](crate::stores).

mod due;
pub mod event;
pub mod file;
mod filter;
mod key;
mod once;
mod project;
pub mod webhook;

pub(crate) use self::once::FLIGHT;
pub use self::{
    due::Debtor,
    filter::{FileFilter, InvalidTypeFilter, NamePrefix, PageNumber, PageSize, TypeFilter},
    key::KeyRecord,
    once::{Attempt, Once, Outcome},
    project::{Clearing, Project},
};
