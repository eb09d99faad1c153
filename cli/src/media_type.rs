//! Which media type a local file has: what its extension says, as in a browser's upload, otherwise what its first bytes
//! say. The server checks the bytes in any case.

use std::path::Path;

use xfiles_core::{content_type::ContentType, sniff};

/// Extensions of the allowed media types, in the order of the API's list.
#[rustfmt::skip]
const EXTENSIONS: [(&str, &str); 50] = [
    ("jpg", "image/jpeg"),
    ("jpeg", "image/jpeg"),
    ("jpe", "image/jpeg"),
    ("jfif", "image/jpeg"),
    ("png", "image/png"),
    ("gif", "image/gif"),
    ("webp", "image/webp"),
    ("svg", "image/svg+xml"),
    ("avif", "image/avif"),
    ("tif", "image/tiff"),
    ("tiff", "image/tiff"),
    ("bmp", "image/bmp"),
    ("ico", "image/x-icon"),
    ("pdf", "application/pdf"),
    ("doc", "application/msword"),
    ("docx", "application/vnd.openxmlformats-officedocument.wordprocessingml.document"),
    ("xlsx", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"),
    ("pptx", "application/vnd.openxmlformats-officedocument.presentationml.presentation"),
    ("dotx", "application/vnd.openxmlformats-officedocument.wordprocessingml.template"),
    ("xltx", "application/vnd.openxmlformats-officedocument.spreadsheetml.template"),
    ("potx", "application/vnd.openxmlformats-officedocument.presentationml.template"),
    ("ppsx", "application/vnd.openxmlformats-officedocument.presentationml.slideshow"),
    ("txt", "text/plain"),
    ("md", "text/plain"),
    ("log", "text/plain"),
    ("csv", "text/csv"),
    ("html", "text/html"),
    ("htm", "text/html"),
    ("css", "text/css"),
    ("js", "text/javascript"),
    ("mjs", "text/javascript"),
    ("json", "application/json"),
    ("xml", "application/xml"),
    ("zip", "application/zip"),
    ("gz", "application/gzip"),
    ("tgz", "application/gzip"),
    ("tar", "application/x-tar"),
    ("mp3", "audio/mpeg"),
    ("wav", "audio/wav"),
    ("oga", "audio/ogg"),
    ("ogg", "audio/ogg"),
    ("weba", "audio/webm"),
    ("mp4", "video/mp4"),
    ("m4v", "video/mp4"),
    ("webm", "video/webm"),
    ("ogv", "video/ogg"),
    ("woff", "font/woff"),
    ("woff2", "font/woff2"),
    ("ttf", "font/ttf"),
    ("otf", "font/otf"),
];

/// Types that their first bytes alone give away, the more distinctive first.
const BY_BYTES: [&str; 12] = [
    "image/jpeg",
    "image/png",
    "image/gif",
    "image/webp",
    "image/avif",
    "application/pdf",
    "video/mp4",
    "application/gzip",
    "application/zip",
    "image/tiff",
    "image/bmp",
    "image/x-icon",
];

/// How much of a file's beginning [`of_bytes`] wants to see.
pub(crate) const HEAD: u64 = 1024;

/// The media type that the path's extension stands for, when it is an allowed one.
pub(crate) fn of_path(path: &Path) -> Option<ContentType> {
    let extension = path.extension()?.to_str()?.to_ascii_lowercase();
    EXTENSIONS.iter().find(|(known, _)| *known == extension).map(|(_, mime)| allowed(mime))
}

/// The media type that the first bytes of a file give away.
pub(crate) fn of_bytes(head: &[u8]) -> Option<ContentType> {
    BY_BYTES.into_iter().map(allowed).find(|content_type| sniff::agrees(content_type, head))
}

fn allowed(mime: &str) -> ContentType {
    mime.parse().expect("the tables list allowed media types")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_extension_stands_for_an_allowed_type() {
        for (extension, mime) in EXTENSIONS {
            let found = of_path(Path::new(&format!("some/file.{extension}"))).unwrap();
            assert_eq!(found.as_str(), mime, "{extension}");
        }
    }

    #[test]
    fn the_last_extension_counts_in_any_case() {
        let mime = |path: &str| of_path(Path::new(path)).map(|t| t.as_str().to_owned());
        assert_eq!(mime("Holiday.JPG").as_deref(), Some("image/jpeg"));
        assert_eq!(mime("backup.tar.gz").as_deref(), Some("application/gzip"));
        assert_eq!(mime("setup.exe"), None);
        assert_eq!(mime("README"), None);
        assert_eq!(mime(".png"), None);
    }

    #[test]
    fn a_file_without_an_extension_is_known_by_its_first_bytes() {
        let mime = |head: &[u8]| of_bytes(head).map(|t| t.as_str().to_owned());
        assert_eq!(mime(b"\xff\xd8\xff\xe0\0\x10JFIF").as_deref(), Some("image/jpeg"));
        assert_eq!(mime(b"%PDF-1.7\n").as_deref(), Some("application/pdf"));
        assert_eq!(mime(b"hello"), None);
        assert_eq!(mime(b""), None);
    }
}
