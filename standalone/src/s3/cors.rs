//! CORS: which origins may call the store from a page, and which response headers they can read. This authorises
//! nothing; every request needs a signature.

use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Response,
    header::{
        ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
        ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS,
        ACCESS_CONTROL_REQUEST_METHOD, ORIGIN, VARY,
    },
};
use s3s::{S3Result, s3_error};

/// The methods for pages: uploads and downloads.
const METHODS: &str = "GET, PUT, HEAD";
/// The seconds for which a browser may cache a preflight.
const MAX_AGE: HeaderValue = HeaderValue::from_static("3000");
const VARY_ON: HeaderValue =
    HeaderValue::from_static("Origin, Access-Control-Request-Headers, Access-Control-Request-Method");

/// The origins whose pages may call the store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum AllowedOrigins {
    /// Every origin.
    #[default]
    Any,
    /// These origins, in the form that a browser sends: `https://app.example.com`.
    Only(Vec<String>),
}

impl AllowedOrigins {
    /// The value of `Access-Control-Allow-Origin` for an origin, if it is allowed.
    fn allow(&self, origin: &HeaderValue) -> Option<HeaderValue> {
        match self {
            Self::Any => Some(HeaderValue::from_static("*")),
            Self::Only(origins) => origins.iter().any(|allowed| origin == allowed).then(|| origin.clone()),
        }
    }

    /// The response to an `OPTIONS` request.
    pub(super) fn preflight(&self, asked: &HeaderMap) -> S3Result<Response<()>> {
        let (Some(origin), Some(method)) = (asked.get(ORIGIN), asked.get(ACCESS_CONTROL_REQUEST_METHOD)) else {
            return Err(s3_error!(InvalidRequest, "A preflight needs Origin and Access-Control-Request-Method."));
        };
        let method = Method::from_bytes(method.as_bytes()).unwrap_or_default();
        let allowed = self.allow(origin).filter(|_| METHODS.split(", ").any(|m| m == method.as_str()));
        let Some(allowed) = allowed else {
            return Err(s3_error!(AccessDenied, "CORSResponse: This CORS request is not allowed."));
        };
        let mut answer = Response::new(());
        let headers = answer.headers_mut();
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, allowed);
        headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(METHODS));
        if let Some(names) = asked.get(ACCESS_CONTROL_REQUEST_HEADERS) {
            headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, names.clone());
        }
        headers.insert(ACCESS_CONTROL_MAX_AGE, MAX_AGE);
        headers.insert(VARY, VARY_ON);
        Ok(answer)
    }

    /// The headers for responses to pages of this origin.
    pub(super) fn decoration(&self, origin: &HeaderValue) -> Vec<(HeaderName, HeaderValue)> {
        let Some(allowed) = self.allow(origin) else {
            return Vec::new();
        };
        vec![
            (ACCESS_CONTROL_ALLOW_ORIGIN, allowed),
            (ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static("ETag")),
            (VARY, VARY_ON),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn preflight(origins: &AllowedOrigins, origin: &'static str, method: &'static str) -> S3Result<Response<()>> {
        let asked = [
            (ORIGIN, HeaderValue::from_static(origin)),
            (ACCESS_CONTROL_REQUEST_METHOD, HeaderValue::from_static(method)),
            (ACCESS_CONTROL_REQUEST_HEADERS, HeaderValue::from_static("content-type")),
        ];
        origins.preflight(&asked.into_iter().collect())
    }

    #[test]
    fn any_origin_may_put() {
        let answer = preflight(&AllowedOrigins::Any, "https://a.example", "PUT").unwrap();
        assert_eq!(answer.headers()[ACCESS_CONTROL_ALLOW_ORIGIN], "*");
        assert_eq!(answer.headers()[ACCESS_CONTROL_ALLOW_HEADERS], "content-type");
    }

    #[test]
    fn a_list_of_origins_admits_only_its_origins() {
        let only = AllowedOrigins::Only(vec!["https://a.example".to_owned()]);
        let answer = preflight(&only, "https://a.example", "PUT").unwrap();
        assert_eq!(answer.headers()[ACCESS_CONTROL_ALLOW_ORIGIN], "https://a.example");
        assert!(preflight(&only, "https://b.example", "PUT").is_err());
        assert!(only.decoration(&HeaderValue::from_static("https://b.example")).is_empty());
    }

    #[test]
    fn a_page_may_not_delete() {
        assert!(preflight(&AllowedOrigins::Any, "https://a.example", "DELETE").is_err());
    }
}
