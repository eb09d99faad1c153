//! What the first bytes of a file tell: whether they are what was declared, and how large a picture is.
//!
//! Owns every magic number. It only reads what it is given: it allocates nothing, decodes nothing, and no input makes it
//! panic, because everything here was written by a stranger.

mod header;

pub use self::header::{Aperture, Dimensions, Header, IconPicture, Orientation, boxes, icon_pictures};
pub use crate::content_type::Raster;
use crate::content_type::{ContentType, Form};

/// Whether `head`, the beginning of a file, is what `content_type` says. The first kilobyte decides for every binary
/// type; of a text all of `head` is looked at, so the more the better.
///
/// Strict where it matters for safety: pictures, documents that can run script, and programs, which are refused under
/// any name. Of other types only what their every file begins with is asked for; all are served under `nosniff` and a
/// sandbox, so that a browser takes none of them for anything else.
pub fn agrees(content_type: &ContentType, head: &[u8]) -> bool {
    let form = content_type.form();
    // A spreadsheet's first cell may be `#!`, and a module for Node.js may begin with it.
    let may_be_script = form == Form::Text || content_type.essence() == "text/javascript";
    if is_machine_code(head) || is_script(head) && !may_be_script {
        return false;
    }
    match form {
        Form::Picture(kind) => Raster::of(head) == Some(kind) && !hides_a_page(head),
        Form::Svg => is_svg(head),
        Form::ActiveText => is_text(head) && !is_binary(head),
        Form::Text => !is_binary(head),
        Form::Pdf => is_pdf(head),
        Form::Signature(at, signatures) => {
            let found = head.get(at..).unwrap_or_default();
            signatures.iter().any(|signature| found.starts_with(signature))
        }
        Form::Any => Raster::of(head).is_none(),
    }
}

/// Whether a file that is declared as text is recognisably something else. A text may hold a NUL, or be UTF-16 without a
/// byte order mark.
fn is_binary(head: &[u8]) -> bool {
    const SIGNATURES: [&[u8]; 12] = [
        b"%PDF-",
        b"PK\x03\x04",
        b"\x1F\x8B\x08",
        b"\xD0\xCF\x11\xE0",
        b"7z\xBC\xAF",
        b"Rar!\x1A",
        b"\xFD7zXZ",
        b"OggS",
        b"\x1A\x45\xDF\xA3",
        b"wOFF",
        b"wOF2",
        b"\0asm",
    ];
    Raster::of(head).is_some()
        || SIGNATURES.iter().any(|signature| head.starts_with(signature))
        || head.get(4..8) == Some(b"ftyp")
        || is_tar(head)
}

/// Whether more of the file may tell the size that `head` does not: a JPEG can carry any number of profiles and previews
/// before its frame header.
pub fn wants_more(head: &[u8]) -> bool {
    Raster::of(head) == Some(Raster::Jpeg) && Raster::Jpeg.header(head).is_none()
}

/// The size of a picture as a viewer shows it, turned upright. `None` when `content_type` is no raster image, or when
/// `head` does not tell.
pub fn dimensions(content_type: &ContentType, head: &[u8]) -> Option<Dimensions> {
    if !content_type.is_raster() {
        return None;
    }
    Some(Raster::of(head)?.header(head)?.upright())
}

impl Raster {
    /// Recognises a picture by its first bytes, never by its name.
    pub fn of(head: &[u8]) -> Option<Self> {
        match head {
            [0xFF, 0xD8, 0xFF, ..] => Some(Self::Jpeg),
            [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1A, b'\n', ..] => Some(Self::Png),
            [b'G', b'I', b'F', b'8', b'7' | b'9', b'a', ..] => Some(Self::Gif),
            [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => Some(Self::WebP),
            [b'I', b'I', b'*' | b'+', 0, ..] | [b'M', b'M', 0, b'*' | b'+', ..] => Some(Self::Tiff),
            // At 14 is the size of the second header, which tells a bitmap from a text that begins with BM.
            [b'B', b'M', ..] if matches!(head.get(14..18), Some([12..=124, 0, 0, 0])) => Some(Self::Bmp),
            // At 4 is the number of pictures, at 9 a reserved zero.
            [0, 0, 1, 0, count, more, _, _, _, 0, ..] if *count > 0 || *more > 0 => Some(Self::Ico),
            _ if brands(head).any(|brand| matches!(brand, b"avif" | b"avis")) => Some(Self::Avif),
            _ => None,
        }
    }

    /// What the header says, without decoding. `None` if it is cut short, damaged, or says zero pixels.
    pub fn header(self, head: &[u8]) -> Option<Header> {
        header::read(self, head)
    }
}

/// A program that is text: whatever follows in the file, a shell would run it.
fn is_script(head: &[u8]) -> bool {
    head.starts_with(b"#!")
}

/// How far browsers look for a page in what they are not told the type of.
const PAGE_WITHIN: usize = 1445;

/// Whether a picture is a page or an SVG as well, for a reader who looks for one. No header of a picture has such a tag:
/// the elements of its metadata have prefixes.
fn hides_a_page(head: &[u8]) -> bool {
    const TAGS: [&[u8]; 7] = [b"!doctype", b"html", b"head", b"body", b"script", b"iframe", b"svg"];
    let start = head.get(..PAGE_WITHIN).unwrap_or(head);
    let begins = |(at, _): (usize, &u8)| {
        let rest = &start[at + 1..];
        TAGS.iter().any(|tag| {
            let (name, end) = (rest.get(..tag.len()), rest.get(tag.len()));
            name.is_some_and(|name| name.eq_ignore_ascii_case(tag))
                && end.is_some_and(|end| end.is_ascii_whitespace() || matches!(end, b'>' | b'/'))
        })
    };
    start.iter().enumerate().filter(|(_, byte)| **byte == b'<').any(begins)
}

/// Programs for Linux, macOS and Windows.
fn is_machine_code(head: &[u8]) -> bool {
    matches!(
        head,
        [0x7F, b'E', b'L', b'F', ..]
            | [0xFE, 0xED, 0xFA, 0xCE | 0xCF, ..]
            | [0xCE | 0xCF, 0xFA, 0xED, 0xFE, ..]
            | [0xCA, 0xFE, 0xBA, 0xBE, ..]
            | [0xBE, 0xBA, 0xFE, 0xCA, ..]
    ) || is_dos_program(head)
}

/// A program's two letters may also begin a text, or the first file name in a tar: what follows them tells.
fn is_dos_program(head: &[u8]) -> bool {
    if !head.starts_with(b"MZ") || !head.iter().take(64).any(|&byte| byte == 0) {
        return false;
    }
    let new_header = || {
        let at = head.get(0x3C..0x40)?.try_into().ok().map(u32::from_le_bytes)?;
        head.get(usize::try_from(at).ok()?..)
    };
    !is_tar(head) || new_header().is_some_and(|header| header.starts_with(b"PE\0\0"))
}

/// Text holds no NUL. UTF-16 is full of them, and says with its first two bytes that it is UTF-16.
fn is_text(head: &[u8]) -> bool {
    match head {
        [0xFF, 0xFE, units @ ..] | [0xFE, 0xFF, units @ ..] => !units.as_chunks::<2>().0.contains(&[0, 0]),
        _ => !head.contains(&0),
    }
}

/// An XML text, in UTF-8 or another superset of ASCII, whose outermost element is `svg`.
fn is_svg(head: &[u8]) -> bool {
    if !is_text(head) {
        return false;
    }
    let mut rest = head.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(head).trim_ascii_start();
    loop {
        let after = match rest {
            [b'<', b'?', tail @ ..] => after(tail, b"?>"),
            [b'<', b'!', b'-', b'-', tail @ ..] => after(tail, b"-->"),
            [b'<', b'!', tail @ ..] => after_doctype(tail),
            [b'<', tail @ ..] => return is_svg_name(tail),
            _ => None,
        };
        match after {
            Some(tail) => rest = tail.trim_ascii_start(),
            None => return false,
        }
    }
}

fn after<'a>(text: &'a [u8], end: &[u8]) -> Option<&'a [u8]> {
    let at = text.windows(end.len()).position(|window| window == end)?;
    text.get(at + end.len()..)
}

/// What follows a document type declaration, which may hold declarations of its own in brackets.
fn after_doctype(text: &[u8]) -> Option<&[u8]> {
    let at = text.iter().position(|byte| matches!(byte, b'[' | b'>'))?;
    let mut rest = text.get(at..)?;
    while !rest.starts_with(b">") {
        rest = after(rest, b"]")?.trim_ascii_start();
    }
    rest.get(1..)
}

fn is_svg_name(text: &[u8]) -> bool {
    let end = text.iter().position(|byte| !byte.is_ascii_alphanumeric() && *byte != b':');
    let name = end.and_then(|end| text.get(..end));
    name.and_then(|name| name.rsplit(|byte| *byte == b':').next()) == Some(b"svg")
}

/// Readers look for the signature within the first kilobyte, so writers are not strict about its place. What stands
/// before it must not be a page.
fn is_pdf(head: &[u8]) -> bool {
    let at = head.windows(5).take(1024).position(|window| window == b"%PDF-");
    at.is_some_and(|at| !hides_a_page(&head[..at]))
}

fn is_tar(head: &[u8]) -> bool {
    head.get(257..262) == Some(b"ustar")
}

/// The brands of an ISO base media file: the major one, then those it is compatible with.
fn brands(head: &[u8]) -> impl Iterator<Item = &[u8; 4]> {
    let (kind, payload) = header::boxes(head).next().unwrap_or_default();
    let listed = if kind == *b"ftyp" { payload.as_chunks::<4>().0 } else { &[] };
    // The second word is the major brand's version.
    listed.iter().enumerate().filter_map(|(at, brand)| (at != 1).then_some(brand))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop, proptest};

    use super::*;

    fn agree(mime: &str, head: &[u8]) -> bool {
        agrees(&mime.parse().unwrap(), head)
    }

    /// The types that agree with `head`, among those that every file of theirs carries a signature for or that browsers
    /// interpret.
    fn agreeing(head: &[u8]) -> Vec<&'static str> {
        let strict = |mime: &&str| !matches!(mime.parse::<ContentType>().unwrap().form(), Form::Text | Form::Any);
        ContentType::names().filter(strict).filter(|mime| agree(mime, head)).collect()
    }

    /// Whether any type agrees with `head`.
    fn is_refused(head: &[u8]) -> bool {
        !ContentType::names().any(|mime| agree(mime, head))
    }

    fn tar(first_name: &[u8]) -> Vec<u8> {
        let mut head = vec![0; 1024];
        head[..first_name.len()].copy_from_slice(first_name);
        head[257..265].copy_from_slice(b"ustar\x0000");
        head
    }

    #[test]
    fn a_binary_head_agrees_with_its_own_types_only() {
        const OPEN_DOCUMENTS: [&str; 4] = [
            "application/vnd.oasis.opendocument.text",
            "application/vnd.oasis.opendocument.spreadsheet",
            "application/vnd.oasis.opendocument.presentation",
            "application/vnd.oasis.opendocument.graphics",
        ];
        const BOXED: [&str; 6] =
            ["image/heic", "image/heif", "audio/mp4", "video/mp4", "video/quicktime", "video/3gpp"];
        let zip = [&OPEN_DOCUMENTS[..], &["application/epub+zip", "application/zip"]].concat();
        let avif = [&["image/avif"][..], &BOXED].concat();
        let bmp = [b"BM\x46\0\0\0\0\0\0\0\x36\0\0\0\x28\0\0\0".as_slice(), &[0; 40]].concat();
        let cases: [(&[u8], &[&str]); 30] = [
            (b"\xFF\xD8\xFF\xE0\0\x10JFIF\0", &["image/jpeg"]),
            (b"\x89PNG\r\n\x1A\n\0\0\0\rIHDR", &["image/png"]),
            (b"GIF89a\x01\0\x01\0\0\0\0", &["image/gif"]),
            (b"GIF87a\x01\0\x01\0\0\0\0", &["image/gif"]),
            (b"RIFF\x24\0\0\0WEBPVP8 \0\0\0\0", &["image/webp"]),
            (b"\0\0\0\x1CftypavifABCDmif1miaf", &avif),
            (b"\0\0\0\x18ftypmif1\0\0\0\0avifmif1", &avif),
            (b"II*\0\x08\0\0\0", &["image/tiff"]),
            (b"MM\0*\0\0\0\x08", &["image/tiff"]),
            (&bmp, &["image/bmp"]),
            (b"\0\0\x01\0\x01\0\x10\x10\0\0\x01\0\x20\0", &["image/x-icon"]),
            (b"8BPS\0\x01", &["image/vnd.adobe.photoshop"]),
            (b"%PDF-1.7\n%\0", &["application/pdf"]),
            (b"\xEF\xBB\xBF\0\n%PDF-1.4", &["application/pdf"]),
            (b"PK\x03\x04\x14\0", &zip),
            (b"\x1F\x8B\x08\0\0\0", &["application/gzip"]),
            (b"7z\xBC\xAF\x27\x1C\0\x04", &["application/x-7z-compressed"]),
            (b"BZh91AY&SY\0\x01", &["application/x-bzip2"]),
            (b"RIFF\x24\0\0\0WAVEfmt \0", &["audio/wav"]),
            (b"RF64\xFF\xFF\xFF\xFFWAVEds64\x1C\0\0\0", &["audio/wav"]),
            (b"RIFF\x24\0\0\0AVI LIST", &["video/x-msvideo"]),
            (b"OggS\0\x02", &["audio/ogg", "video/ogg"]),
            (b"\x1A\x45\xDF\xA3\x9F\x42\x86\x81\x01\x42", &["audio/webm", "video/webm", "video/matroska"]),
            (b"\0\0\0\x20ftypisom\0\0\x02\0isomiso2", &BOXED),
            (b"\0\0\0\x08wide\0\0\0\0mdat", &BOXED),
            (b"wOFF\0\x01\0\0", &["font/woff"]),
            (b"wOF2\0\x01\0\0", &["font/woff2"]),
            (b"\0\x01\0\0\0\x0C", &["font/ttf", "font/otf"]),
            (b"OTTO\0\x0C", &["font/ttf", "font/otf"]),
            (b"\0\0\0\0\0\0", &[]),
        ];
        for (head, expected) in cases {
            assert_eq!(agreeing(head), expected, "{head:?}");
        }
    }

    #[test]
    fn honest_files_with_unusual_beginnings_are_accepted() {
        for (mime, head) in [
            ("application/msword", &b"{\\rtf1\\ansi"[..]),
            ("application/msword", b"<html xmlns:o=\"urn:schemas-microsoft-com:office:office\">"),
            ("application/msword", b"\xD0\xCF\x11\xE0\xA1\xB1\x1A\xE1\0"),
            ("application/vnd.openxmlformats-officedocument.wordprocessingml.document", b"\xD0\xCF\x11\xE0\xA1\xB1"),
            ("application/vnd.ms-excel", b"a\tb\n1\t2\n"),
            ("text/csv", b"#!name,size\n"),
            ("text/plain", b"one\0nul"),
            ("text/plain", b"h\0i\0 \0t\0"),
            ("text/plain", b"\xFF\xFEh\0\0\0"),
            ("application/json", b""),
            ("audio/mpeg", b"\0\0\0\0\xFF\xFB\x90\x44"),
            ("audio/mpeg", b"RIFF\x24\0\0\0RMP3"),
            ("audio/aac", b"\xFF\xF1\x50\x80"),
            ("video/quicktime", b"\0\0\x10\0moov"),
            ("video/mp4", b"\0\0\0\x08free\0\0\0\x08mdat"),
            ("application/x-tar", b"a name of the old format"),
            ("font/ttf", b"ttcf\0\x01"),
        ] {
            assert!(agree(mime, head), "{mime}: {head:?}");
        }
    }

    #[test]
    fn a_picture_is_refused_under_every_name_but_its_own() {
        for head in [&b"\xFF\xD8\xFF\xE0\0\x10JFIF\0"[..], b"\x89PNG\r\n\x1A\n\0\0\0\rIHDR", b"GIF89a\x01\0"] {
            assert_eq!(ContentType::names().filter(|mime| agree(mime, head)).count(), 1, "{head:?}");
        }
    }

    #[test]
    fn text_that_browsers_interpret_holds_no_nul_unless_it_is_utf_16() {
        for mime in ["text/html", "text/javascript", "application/xml", "application/xhtml+xml"] {
            assert!(agree(mime, "naïve, señor".as_bytes()), "{mime}");
            assert!(agree(mime, b"na\xEFve in Latin-1"), "{mime}");
            assert!(agree(mime, b"\xFF\xFEh\0i\0"), "{mime}");
            assert!(agree(mime, b"\xFE\xFF\0h\0i"), "{mime}");
            assert!(!agree(mime, b"a\0b"), "{mime}");
            assert!(!agree(mime, b"\xFF\xFEh\0\0\0"), "{mime}");
        }
    }

    #[test]
    fn a_picture_type_never_accepts_a_page_or_a_script() {
        for text in ["<!DOCTYPE html><script>", "<svg xmlns='http://www.w3.org/2000/svg'/>", "GIF is a format", "BM"] {
            for mime in ContentType::names().filter(|mime| mime.parse::<ContentType>().unwrap().is_raster()) {
                assert!(!agree(mime, text.as_bytes()), "{mime}: {text}");
            }
        }
    }

    #[test]
    fn a_picture_that_is_a_page_as_well_is_refused() {
        let icon = b"\0\0\x01\0\x01\0\x10\x10\0\0";
        for magic in [&b"GIF89a"[..], b"\xFF\xD8\xFF\xE0\0\x10JFIF\0", b"\x89PNG\r\n\x1A\n", b"II*\0", icon] {
            let kind = ContentType::names().find(|mime| agree(mime, magic)).unwrap();
            for page in
                ["<html>", "/*<ScRiPt src=x>", "<!DOCTYPE html>", "<svg\nonload=x>", "<svg/onload=x>", "<body a>"]
            {
                for gap in [0, 40, 1400] {
                    let file = [magic, &vec![b'.'; gap], page.as_bytes(), b"rest"].concat();
                    assert!(!agree(kind, &file), "{kind}: {page} after {gap}");
                }
            }
            for metadata in
                ["<x:xmpmeta xmlns:x='adobe:ns:meta/'>", "<rdf:RDF>", "a < b", "<htmlx>", "<photoshop:Headline>"]
            {
                assert!(agree(kind, &[magic, metadata.as_bytes(), b"rest"].concat()), "{kind}: {metadata}");
            }
        }
        assert!(!agree("application/pdf", b"<html><script>x</script>%PDF-1.4"));
        assert!(agree("application/pdf", b"%PDF-1.4 <html>"), "a document may hold a page");
    }

    #[test]
    fn svg_is_a_text_whose_outermost_element_is_svg() {
        for good in [
            "<svg>",
            "\u{FEFF}<?xml version='1.0'?>\n<!-- a > b -->\n<svg width='1'/>",
            "<!DOCTYPE svg PUBLIC '-//W3C//DTD SVG 1.1//EN' 'http://www.w3.org/'>\n<svg:svg xmlns:svg=''>",
            "<!DOCTYPE svg [\n<!ENTITY a '>'>\n<!ENTITY b '[]'>\n] >\n<svg\n>",
        ] {
            assert!(agree("image/svg+xml", good.as_bytes()), "{good}");
        }
        for bad in [
            "",
            "svg",
            "<",
            "<svg",
            "<svgx>",
            "<html><svg>",
            "<?xml version='1.0'?>",
            "<!--<svg>",
            "<!DOCTYPE svg [",
            "x<svg>",
            "<svg>\0",
        ] {
            assert!(!agree("image/svg+xml", bad.as_bytes()), "{bad}");
        }
    }

    #[test]
    fn programs_are_refused_whatever_was_declared() {
        let pe = |mut head: Vec<u8>| {
            head[..2].copy_from_slice(b"MZ");
            head[0x3C..0x40].copy_from_slice(&0x80_u32.to_le_bytes());
            head[0x80..0x84].copy_from_slice(b"PE\0\0");
            head
        };
        let dos_with_pdf = [b"MZ\0\0".as_slice(), b"%PDF-1.7"].concat();
        for head in [
            b"\x7FELF\x02\x01\x01\0".as_slice(),
            b"\xCF\xFA\xED\xFE\x07\0\0\x01",
            b"\xFE\xED\xFA\xCE\0\0\0\x07",
            b"\xCA\xFE\xBA\xBE\0\0\0\x02",
            &pe(vec![0; 512]),
            &pe(tar(b"")),
            b"\x7FELF without a nul",
            &dos_with_pdf,
        ] {
            assert!(is_refused(head), "{head:?}");
        }
    }

    #[test]
    fn the_letters_of_a_program_alone_are_no_program() {
        assert!(agree("text/csv", b"MZ,QX\n1,2\n"));
        assert!(agree("application/x-tar", &tar(b"MZ notes.txt")));
    }

    #[test]
    fn a_script_may_be_javascript_or_text_that_is_only_shown() {
        let script = b"#!/usr/bin/env node\nlet a = 1;\n";
        assert_eq!(agreeing(script), ["text/javascript"]);
        assert!(agree("text/plain", script) && !agree("application/msword", script));
        assert!(!agree("application/x-tar", &tar(b"#!/bin/sh\nexit\n")));
        assert!(!agree("video/mp4", b"#!/aftypisom\0\0\0\0"));
    }

    proptest! {
        #[test]
        fn no_head_panics(mut head in prop::collection::vec(any::<u8>(), 0..300), start in 0..12_usize, cut in any::<u8>()) {
            let starts: [&[u8]; 12] = [
                b"", b"\xFF\xD8\xFF\xE1\0\x30Exif\0\0II*\0\x08\0\0\0", b"\x89PNG\r\n\x1A\n\0\0\0\rIHDR\0\0\x01\0\0\0\x01\0",
                b"GIF89a", b"RIFF\x80\0\0\0WEBPVP8X\x0A\0\0\0\x08", b"\0\0\0\x10ftypavif\0\0\0\0\0\0\0\x60meta\0\0\0\0\0\0\0\x50iprp\0\0\0\x40ipco",
                b"II*\0\x08\0\0\0\x03\0", b"MM\0*\0\0\0\x08\0\x03", b"BM", b"\0\0\x01\0\x03\0", b"<!DOCTYPE [", b"MZ",
            ];
            head.splice(0..0, starts[start].iter().copied());
            head.truncate(head.len().saturating_sub(usize::from(cut) / 16));
            for mime in ContentType::names() {
                let content_type: ContentType = mime.parse().unwrap();
                agrees(&content_type, &head);
                dimensions(&content_type, &head);
            }
        }
    }
}
