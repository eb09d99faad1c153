//! Step 0, for paths that end in `.auto`: which format the viewer gets. On AWS a CloudFront function does the same,
//! tested with the same vectors (`tests/vectors/auto.json`).
//!
//! The `Accept` header selects one of three keys and therefore one of three cache entries: AVIF, WebP, and the
//! unchanged path, for which the worker renders JPEG, or PNG if the image is transparent. Wildcards never select AVIF
//! or WebP, because clients that support neither send them.

use std::borrow::Cow;

use http::{
    HeaderMap,
    header::{ACCEPT, HeaderValue},
};
use xfiles_core::variant::ImageFormat;

/// The suffix of negotiated paths.
const AUTO: &str = ".auto";

/// Returns the path for this viewer, and whether the response varies with `Accept`.
pub(super) fn negotiate<'a>(path: &'a str, headers: &HeaderMap) -> (Cow<'a, str>, bool) {
    let Some(bare) = path.strip_suffix(AUTO) else {
        return (path.into(), false);
    };
    let fields: Vec<&str> =
        headers.get_all(ACCEPT).iter().filter_map(|field| HeaderValue::to_str(field).ok()).collect();
    (format!("{bare}.{}", choose(&fields.join(",")).extension()).into(), true)
}

/// The format with the highest quality; of equal ones, the smallest.
fn choose(accept: &str) -> ImageFormat {
    let ranges: Vec<(String, u16)> = accept.split(',').filter_map(range).collect();
    let quality = |name: &str| ranges.iter().filter(|(range, _)| range == name).map(|(_, quality)| *quality).max();
    let wildcard = || quality("image/*").or_else(|| quality("*/*")).unwrap_or(0);
    let old = ["image/jpeg", "image/png"].map(|name| quality(name).unwrap_or_else(wildcard));
    let old = old[0].max(old[1]);
    let new = [ImageFormat::Avif, ImageFormat::WebP].map(|format| (format, quality(format.mime()).unwrap_or(0)));
    let [(_, avif), (_, webp)] = new;
    if avif > 0 && avif >= webp.max(old) {
        ImageFormat::Avif
    } else if webp > 0 && webp >= old {
        ImageFormat::WebP
    } else {
        ImageFormat::Auto
    }
}

/// A media range in lower case and its quality in thousandths; `None` if the quality is invalid.
fn range(text: &str) -> Option<(String, u16)> {
    let mut parts = text.split(';').map(str::trim);
    let name = parts.next()?.to_ascii_lowercase();
    let mut quality = 1000;
    for parameter in parts {
        if let Some((key, value)) = parameter.split_once('=')
            && key.trim().eq_ignore_ascii_case("q")
        {
            quality = thousandths(value.trim())?;
        }
    }
    Some((name, quality))
}

/// Parses a number from `0` to `1` with at most three decimals.
fn thousandths(text: &str) -> Option<u16> {
    let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
    let digits = decimals.len() <= 3 && decimals.bytes().all(|byte| byte.is_ascii_digit());
    let whole: u16 = matches!(whole, "0" | "1").then(|| whole.parse().ok())??;
    let value = whole * 1000 + if digits { format!("{decimals:0<3}").parse::<u16>().ok()? } else { return None };
    (value <= 1000).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_vectors_hold() {
        let vectors: serde_json::Value =
            serde_json::from_str(include_str!("../../../tests/vectors/auto.json")).unwrap();
        for vector in vectors.as_array().unwrap() {
            let mut headers = HeaderMap::new();
            if let Some(accept) = vector["accept"].as_str() {
                headers.insert(ACCEPT, accept.parse().unwrap());
            }
            let (path, varies) = negotiate("/files/x_w400.auto", &headers);
            let expected = format!("/files/x_w400.{}", vector["expected"].as_str().unwrap());
            assert_eq!((path.as_ref(), varies), (expected.as_str(), true), "{vector}");
        }
    }

    #[test]
    fn any_other_path_is_unchanged() {
        let headers = HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static("image/avif"))]);
        for path in ["/files/x_w400.webp", "/files/x_w400.auto/", "/files/x.automatic"] {
            assert_eq!(negotiate(path, &headers), (path.into(), false));
        }
    }

    #[test]
    fn several_fields_are_one() {
        let mut headers = HeaderMap::new();
        headers.append(ACCEPT, HeaderValue::from_static("image/webp;q=0.5"));
        headers.append(ACCEPT, HeaderValue::from_static("image/avif;q=0.6"));
        assert_eq!(negotiate("/x.auto", &headers).0, "/x.avif");
    }
}
