//! The API in types. Each field is declared once, with its rule, its description and its example; the parser of requests,
//! the writer of answers, the OpenAPI description and the command line follow from that declaration.
//!
//! - [`files`], [`projects`], [`webhooks`] and [`running`] declare the requests and answers of each resource.
//! - [`words`] says how single values are read, written and described. Values that have a meaning beyond the API are
//!   types of `xfiles-core`, so that their rules have one place.
//! - [`limits`] has the numbers that only the API has, and [`problem`] the codes of its refusals.
//! - [`wire`] is the trait behind all of them, and `declare` has the macros that implement it.
//!
//! Nothing here does I/O or knows a web framework.

#[macro_use]
mod declare;

pub mod files;
pub mod limits;
pub mod problem;
pub mod projects;
pub mod running;
pub mod spelling;
pub mod webhooks;
pub mod wire;
pub mod words;

use serde_json::Value;

use self::{
    problem::FieldError,
    wire::{At, Object, Reading, Wire},
};

/// Reads the body of a request, or all its faults.
pub fn read_request<T: Object>(body: &Value, reading: Reading) -> Result<T, Vec<FieldError>> {
    read(body, reading)
}

/// Reads an answer. Fields that this version does not know are skipped, so that a client can be older than its server.
pub fn read_answer<T: Wire>(answer: &Value) -> Result<T, Vec<FieldError>> {
    read(answer, Reading::answer())
}

fn read<T: Wire>(value: &Value, mut reading: Reading) -> Result<T, Vec<FieldError>> {
    match T::read(value, &At::Body, &mut reading) {
        Some(read) if reading.faults.is_empty() => Ok(read),
        _ => Err(reading.faults),
    }
}

/// Reads the query parameters of a request, or all their faults. Names that `T` does not have are skipped: [`unknown_parameters`]
/// finds them.
pub fn read_query<T: Object>(pairs: &[(String, String)]) -> Result<T, Vec<FieldError>> {
    let mut reading = Reading::answer();
    let read = T::read_fields(&mut wire::Fields::of_query(pairs, &mut reading));
    match read {
        Some(read) if reading.faults.is_empty() => Ok(read),
        _ => Err(reading.faults),
    }
}

/// The faults of the query parameters whose names are not among the known ones.
pub fn unknown_parameters(pairs: &[(String, String)], known: &[&str]) -> Vec<FieldError> {
    let names = pairs.iter().map(|(name, _)| name.as_str()).filter(|name| !name.is_empty());
    spelling::unknown(names, known, &At::Query, "parameter")
}
