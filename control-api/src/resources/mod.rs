//! The operations of the API, a file for each resource. A handler extracts, calls the core, and answers; beside it stands
//! what the description says of it.

mod files;
mod keys;
mod projects;
mod reading;
mod running;
mod uploads;
mod webhooks;

use crate::operation::Resource;

/// Every resource, in reading order.
pub(crate) fn all() -> [Resource; 7] {
    [
        uploads::resource(),
        reading::resource(),
        files::resource(),
        projects::resource(),
        keys::resource(),
        webhooks::resource(),
        running::resource(),
    ]
}
