//! Operations on files: begin an upload, confirm it, read, change, delete, erase.

mod begin;
mod confirm;
mod delete;
mod erase;
mod patch;
mod read;

pub use self::{
    begin::{Begun, Uploader},
    delete::BulkDeleted,
    erase::Erased,
    read::{FileUrls, VariantUrl},
};
