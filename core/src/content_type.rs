//! The media types a file may have. The allow-list is the type: a [`ContentType`] that exists is allowed.

use std::{borrow::Cow, fmt, str::FromStr};

/// An allowed media type, lower-case and without parameters.
#[derive(Clone, PartialEq, Eq)]
pub struct ContentType {
    mime: Cow<'static, str>,
    row: &'static Row,
}

/// What the bytes of a type are, as far as anything here depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nature {
    /// A picture made of pixels, from which variants are made.
    Raster,
    /// A document that can run script in a browser; it always leaves as an attachment.
    Active,
    /// Everything else.
    Passive,
}

#[derive(Debug, PartialEq, Eq)]
struct Row {
    mime: &'static str,
    nature: Nature,
    /// The extension of a file whose own name has none.
    extension: &'static str,
}

const fn row(mime: &'static str, nature: Nature, extension: &'static str) -> Row {
    Row { mime, nature, extension }
}

/// Every Office Open XML type is allowed, and IANA registers dozens; they differ in nothing that matters here.
const OPEN_XML_PREFIX: &str = "application/vnd.openxmlformats-officedocument.";
static OPEN_XML: [Row; 4] = [
    row("wordprocessingml.document", Nature::Passive, "docx"),
    row("spreadsheetml.sheet", Nature::Passive, "xlsx"),
    row("presentationml.presentation", Nature::Passive, "pptx"),
    row("", Nature::Passive, "bin"),
];

#[rustfmt::skip]
static ALLOWED: [Row; 34] = [
    row("image/jpeg", Nature::Raster, "jpg"),
    row("image/png", Nature::Raster, "png"),
    row("image/gif", Nature::Raster, "gif"),
    row("image/webp", Nature::Raster, "webp"),
    row("image/svg+xml", Nature::Active, "svg"),
    row("image/avif", Nature::Raster, "avif"),
    row("image/tiff", Nature::Raster, "tiff"),
    row("image/bmp", Nature::Raster, "bmp"),
    row("image/x-icon", Nature::Raster, "ico"),
    row("image/ico", Nature::Raster, "ico"),
    row("image/vnd.microsoft.icon", Nature::Raster, "ico"),
    row("application/pdf", Nature::Passive, "pdf"),
    row("application/msword", Nature::Passive, "doc"),
    row("text/plain", Nature::Passive, "txt"),
    row("text/csv", Nature::Passive, "csv"),
    row("text/html", Nature::Active, "html"),
    row("text/css", Nature::Passive, "css"),
    row("text/javascript", Nature::Active, "js"),
    row("application/json", Nature::Passive, "json"),
    row("application/xml", Nature::Active, "xml"),
    row("application/zip", Nature::Passive, "zip"),
    row("application/gzip", Nature::Passive, "gz"),
    row("application/x-tar", Nature::Passive, "tar"),
    row("audio/mpeg", Nature::Passive, "mp3"),
    row("audio/wav", Nature::Passive, "wav"),
    row("audio/ogg", Nature::Passive, "ogg"),
    row("audio/webm", Nature::Passive, "weba"),
    row("video/mp4", Nature::Passive, "mp4"),
    row("video/webm", Nature::Passive, "webm"),
    row("video/ogg", Nature::Passive, "ogv"),
    row("font/woff", Nature::Passive, "woff"),
    row("font/woff2", Nature::Passive, "woff2"),
    row("font/ttf", Nature::Passive, "ttf"),
    row("font/otf", Nature::Passive, "otf"),
];

impl ContentType {
    /// Those from which variants can be made.
    pub fn rasters() -> impl Iterator<Item = &'static str> {
        ALLOWED.iter().filter(|row| row.nature == Nature::Raster).map(|row| row.mime)
    }

    /// The media type, as it stands in a `Content-Type` header.
    pub fn as_str(&self) -> &str {
        &self.mime
    }

    /// Whether variants can be made of it.
    pub fn is_raster(&self) -> bool {
        self.row.nature == Nature::Raster
    }

    /// Whether a browser could run script in it, so that it must leave as an attachment.
    pub fn is_active(&self) -> bool {
        self.row.nature == Nature::Active
    }

    /// Whether a browser saves it rather than showing it: what could run script, and PDF, whose viewer in Chrome does not
    /// start under the `sandbox` that every file is served with.
    pub fn is_attachment(&self) -> bool {
        self.is_active() || self.mime == "application/pdf"
    }

    /// The extension for a file whose own name has none.
    pub fn default_extension(&self) -> &'static str {
        self.row.extension
    }
}

impl fmt::Display for ContentType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.mime)
    }
}

impl fmt::Debug for ContentType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.mime)
    }
}

/// A media type that is not allowed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an allowed media type; images, documents, archives, audio, video and fonts are, without parameters")]
pub struct NotAllowed;

impl FromStr for ContentType {
    type Err = NotAllowed;

    fn from_str(text: &str) -> Result<Self, NotAllowed> {
        let mime = text.to_ascii_lowercase();
        if let Some(row) = ALLOWED.iter().find(|row| row.mime == mime) {
            return Ok(Self { mime: Cow::Borrowed(row.mime), row });
        }
        let subtype = mime.strip_prefix(OPEN_XML_PREFIX).ok_or(NotAllowed)?;
        let token = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'+');
        if subtype.is_empty() || subtype.len() > 100 || !subtype.bytes().all(token) {
            return Err(NotAllowed);
        }
        let [known @ .., other] = &OPEN_XML;
        let row = known.iter().find(|row| row.mime == subtype).unwrap_or(other);
        Ok(Self { mime: Cow::Owned(mime), row })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_does_not_matter_and_parameters_are_refused() {
        assert_eq!("IMAGE/JPEG".parse::<ContentType>().unwrap().as_str(), "image/jpeg");
        for refused in ["image/jpeg; q=1", "text/plain;charset=utf-8", "", "image/", "application/x-msdownload"] {
            assert_eq!(refused.parse::<ContentType>(), Err(NotAllowed), "{refused}");
        }
    }

    #[test]
    fn any_office_open_xml_type_is_allowed() {
        let known = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet";
        assert_eq!(known.parse::<ContentType>().unwrap().default_extension(), "xlsx");
        let rare = "application/vnd.openxmlformats-officedocument.presentationml.slideshow";
        assert_eq!(rare.parse::<ContentType>().unwrap().as_str(), rare);
        assert!("application/vnd.openxmlformats-officedocument.".parse::<ContentType>().is_err());
    }

    #[test]
    fn svg_is_active_and_never_a_raster() {
        let svg: ContentType = "image/svg+xml".parse().unwrap();
        assert!(svg.is_active() && !svg.is_raster());
    }
}
