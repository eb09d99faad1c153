//! Query parameters that an operation does not have are refused, on every route: one that is misspelt would otherwise
//! list, delete or keep more than its writer meant. Which parameters an operation has is read from its description.

use std::{collections::HashMap, sync::LazyLock};

use axum::{
    extract::{MatchedPath, Query, Request},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use http::{Method, Uri};

use crate::{
    error::{Code, Problem},
    openapi, spelling,
};

/// Refuses a request with an unknown parameter before its handler sees it.
pub(crate) async fn refuse_unknown(request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>().map(|path| pattern(path.as_str()));
    let refused = route.and_then(|route| {
        // HEAD is answered by the handler of GET.
        let method = if request.method() == Method::HEAD { Method::GET } else { request.method().clone() };
        let known = KNOWN.get(&(method.as_str().to_owned(), route))?;
        faults(request.uri(), known)
    });
    match refused {
        Some(problem) => problem.into_response(),
        None => next.run(request).await,
    }
}

fn faults(uri: &Uri, known: &[String]) -> Option<Problem> {
    uri.query()?;
    let known: Vec<&str> = known.iter().map(String::as_str).collect();
    let Ok(Query(pairs)) = Query::<Vec<(String, String)>>::try_from_uri(uri) else {
        return Some(Problem::new(Code::InvalidRequest).because("the query string is not well formed"));
    };
    let names = pairs.iter().map(|(name, _)| name.as_str()).filter(|name| !name.is_empty());
    let faults = spelling::unknown(names, &known, "?", "parameter");
    (!faults.is_empty()).then(|| Problem::invalid(faults))
}

/// The parameters of each operation, by method and path pattern.
static KNOWN: LazyLock<HashMap<(String, String), Vec<String>>> = LazyLock::new(|| {
    let operations = openapi::query_parameters();
    operations.map(|(method, path, names)| ((method.to_uppercase(), pattern(path)), names)).collect()
});

/// A path in which the names of parameters do not matter.
fn pattern(path: &str) -> String {
    let segments = path.trim_end_matches('/').split('/');
    segments.map(|segment| if segment.starts_with('{') { "{}" } else { segment }).collect::<Vec<_>>().join("/")
}
