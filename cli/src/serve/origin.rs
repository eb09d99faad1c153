//! The origin of a web page, in the form that a browser sends.

use std::{fmt, str::FromStr};

use ureq::http::Uri;

/// Scheme, host and, unless it is the default, port: `https://app.example.com`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Origin(String);

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The text is not an origin that a browser sends.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an origin is http:// or https:// and a host, perhaps with a port, such as https://app.example.com")]
pub(super) struct InvalidOrigin;

impl FromStr for Origin {
    type Err = InvalidOrigin;

    fn from_str(text: &str) -> Result<Self, InvalidOrigin> {
        let uri: Uri = text.to_ascii_lowercase().parse().map_err(|_| InvalidOrigin)?;
        let default_port = match uri.scheme_str() {
            Some("http") => ":80",
            Some("https") => ":443",
            _ => return Err(InvalidOrigin),
        };
        let host = uri.authority().map(|authority| authority.as_str()).ok_or(InvalidOrigin)?;
        let host = host.strip_suffix(default_port).unwrap_or(host);
        let bare = uri.path() == "/" && uri.query().is_none() && !text.contains('#');
        if bare && !host.is_empty() && !host.contains(['@', '*']) {
            Ok(Self(format!("{}://{host}", uri.scheme_str().unwrap_or_default())))
        } else {
            Err(InvalidOrigin)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_what_a_browser_sends() {
        for (text, origin) in [
            ("https://app.example.com", "https://app.example.com"),
            ("HTTPS://App.Example.com:443/", "https://app.example.com"),
            ("http://localhost:3000", "http://localhost:3000"),
            ("http://localhost:443", "http://localhost:443"),
            ("http://[::1]:80", "http://[::1]"),
        ] {
            assert_eq!(text.parse::<Origin>().map(|origin| origin.to_string()), Ok(origin.to_owned()), "{text}");
        }
    }

    #[test]
    fn an_origin_that_no_browser_sends_is_refused() {
        for text in [
            "",
            "*",
            "null",
            "app.example.com",
            "ftp://a",
            "https://*.a",
            "https://a/b",
            "https://a?b",
            "https://a#b",
            "https://u@a",
        ] {
            assert_eq!(text.parse::<Origin>(), Err(InvalidOrigin), "{text}");
        }
    }
}
