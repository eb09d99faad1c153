//! The media type of a local file: according to its extension, as in a browser's upload, otherwise according to its
//! first bytes. The server checks the bytes in any case.

use std::path::Path;

use xfiles_core::{content_type::ContentType, sniff};

/// Types that can be recognised by their first bytes, the more distinctive ones first.
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

/// The number of bytes that [`of_bytes`] needs.
pub(crate) const HEAD: u64 = 1024;

/// The media type for the path's extension, if it is allowed.
pub(crate) fn of_path(path: &Path) -> Option<ContentType> {
    ContentType::of_extension(&path.extension()?.to_str()?.to_ascii_lowercase())
}

/// The media type according to the first bytes of a file.
pub(crate) fn of_bytes(head: &[u8]) -> Option<ContentType> {
    BY_BYTES.into_iter().map(allowed).find(|content_type| sniff::agrees(content_type, head))
}

fn allowed(mime: &str) -> ContentType {
    mime.parse().expect("the table lists allowed media types")
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn a_file_without_an_extension_is_recognised_by_its_first_bytes() {
        let mime = |head: &[u8]| of_bytes(head).map(|t| t.as_str().to_owned());
        assert_eq!(mime(b"\xff\xd8\xff\xe0\0\x10JFIF").as_deref(), Some("image/jpeg"));
        assert_eq!(mime(b"%PDF-1.7\n").as_deref(), Some("application/pdf"));
        assert_eq!(mime(b"hello"), None);
        assert_eq!(mime(b""), None);
    }
}
