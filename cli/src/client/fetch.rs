//! Reading files from the CDN. No API key goes there: a URL of a private file carries its own signature.

use std::io::{self, Read};

use ureq::http::{Method, Request, Response, StatusCode, Uri, header};

use super::{Client, no_answer::no_answer, retry_of};
use crate::failure::{Exit, Failure, Retry};

/// How often a redirect is followed. A large variant is stored first and answered with one redirect to itself.
const REDIRECTS: usize = 3;

const CDN: &str = "the CDN";

/// The body of a file, from where it was asked for or from the beginning.
pub(crate) struct Body {
    response: Response<ureq::Body>,
    uri: Uri,
    /// Whether it begins where it was asked to; otherwise it is the whole file.
    pub(crate) is_rest: bool,
}

impl Body {
    /// How many bytes come, if the CDN says so.
    pub(crate) fn length(&self) -> Option<u64> {
        self.response.body().content_length()
    }

    /// Reads all of it, piece by piece.
    pub(crate) fn read(
        &mut self,
        client: &Client,
        mut take: impl FnMut(&[u8]) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let mut reader = self.response.body_mut().as_reader();
        let mut buffer = vec![0; 128 * 1024];
        loop {
            match reader.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(n) => take(&buffer[..n])?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    let error = ureq::Error::Io(error);
                    return Err(no_answer(CDN, &self.uri, client.agent.config().proxy(), &error));
                }
            }
        }
    }
}

impl Client {
    /// Asks the CDN for a file, from byte `from` on. Safe to repeat.
    pub(crate) fn fetch(&self, url: &str, from: u64) -> Result<Body, Failure> {
        let malformed = || Failure::new(Exit::Failed, "the server gave a URL that is none");
        let mut uri: Uri = url.parse().map_err(|_| malformed())?;
        for _ in 0..=REDIRECTS {
            let mut request = Request::builder().method(Method::GET).uri(&uri);
            if from > 0 {
                request = request.header(header::RANGE, format!("bytes={from}-"));
            }
            let response = self.send(CDN, request, ())?;
            match response.status() {
                StatusCode::OK => return Ok(Body { response, uri, is_rest: from == 0 }),
                StatusCode::PARTIAL_CONTENT => return Ok(Body { response, uri, is_rest: true }),
                status if status.is_redirection() => {
                    let location = response.headers().get(header::LOCATION).and_then(|to| to.to_str().ok());
                    uri = location.and_then(|to| redirected(&uri, to)).ok_or_else(|| {
                        Failure::new(Exit::Failed, "the CDN redirects to another host, which is not followed")
                    })?;
                }
                status => return Err(refusal(status, &response)),
            }
        }
        Err(Failure::new(Exit::Failed, format!("the CDN redirected more than {REDIRECTS} times")))
    }
}

/// Where a redirect leads, if it stays on the same host. Its fragment is dropped, and a reference that has no query
/// keeps the signature of the URL that was asked for.
fn redirected(from: &Uri, location: &str) -> Option<Uri> {
    let location = location.split('#').next().unwrap_or_default();
    let (origin, query) = (format!("{}://{}", from.scheme_str()?, from.authority()?), from.query());
    let target = match location.strip_prefix(&origin) {
        Some(rest) => rest,
        None => location,
    };
    match target {
        "" => Some(from.clone()),
        path if path.starts_with('/') && !path.starts_with("//") => {
            let query = query.filter(|_| !path.contains('?')).map_or_else(String::new, |query| format!("?{query}"));
            format!("{origin}{path}{query}").parse().ok()
        }
        _ => None,
    }
}

fn refusal(status: StatusCode, response: &Response<ureq::Body>) -> Failure {
    let why = response.headers().get("x-variant-refusal").and_then(|why| why.to_str().ok());
    let failure = match status {
        StatusCode::NOT_FOUND => Failure::new(Exit::NotFound, "the CDN has no such file"),
        StatusCode::FORBIDDEN => Failure::new(Exit::Unauthorized, "the CDN refused the URL: its signature has expired"),
        StatusCode::RANGE_NOT_SATISFIABLE => Failure::new(Exit::Failed, "the file has no bytes after those at hand"),
        StatusCode::UNSUPPORTED_MEDIA_TYPE => {
            let why = why.map_or_else(String::new, |why| format!(": {why}"));
            Failure::new(Exit::Failed, format!("this picture has no variants{why}"))
        }
        status => Failure::new(Exit::Failed, format!("the CDN answered {}", status.as_u16())),
    };
    // A fresh URL may be all that is missing.
    let retry =
        if status == StatusCode::FORBIDDEN { Retry::After(std::time::Duration::ZERO) } else { retry_of(response) };
    failure.retry(retry)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_redirect_stays_on_its_host_and_keeps_the_signature() {
        let from: Uri = "https://cdn.example/files/a_w400.webp?Signature=s".parse().unwrap();
        let to = |location: &str| redirected(&from, location).map(|uri| uri.to_string());
        assert_eq!(to("#stored").as_deref(), Some("https://cdn.example/files/a_w400.webp?Signature=s"));
        assert_eq!(to("/files/b#stored").as_deref(), Some("https://cdn.example/files/b?Signature=s"));
        assert_eq!(to("/files/b?Signature=t").as_deref(), Some("https://cdn.example/files/b?Signature=t"));
        assert_eq!(to("https://cdn.example/files/b?x").as_deref(), Some("https://cdn.example/files/b?x"));
        for elsewhere in ["https://other.example/files/b", "//other.example/b", "https://cdn.example.evil/b", "b"] {
            assert_eq!(to(elsewhere), None, "{elsewhere}");
        }
    }
}
