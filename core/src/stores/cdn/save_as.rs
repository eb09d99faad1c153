//! The name under which a browser saves a file: asked for in the URL's query, answered in `Content-Disposition`.
//!
//! On a private path the query is part of what is signed. On a public path anybody can write one, so the name never
//! gets to choose what kind of file it is: it always ends in the extension that the stored name has.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use crate::object_key::ObjectKey;

/// The query parameter.
const PARAMETER: &str = "download";

/// What RFC 8187 calls `attr-char`, less what a query could not hold.
const UNSAFE: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The longest name, in characters; file systems hold 255 bytes.
const MAX_CHARS: usize = 80;

/// The query that asks for a name.
pub(super) fn query(name: &str) -> String {
    format!("{PARAMETER}={}", utf8_percent_encode(&cut(name), UNSAFE))
}

/// The `Content-Disposition` that a query asks for, if it asks for one: RFC 6266, with a plain fallback for the name.
pub fn disposition(key: &ObjectKey, query: Option<&str>) -> Option<String> {
    let value = query?.split('&').find_map(|pair| pair.strip_prefix(PARAMETER)?.strip_prefix('='))?;
    let asked = percent_decode_str(value).decode_utf8().ok()?;
    let stored = key.to_string();
    let (_, extension) = stored.rsplit_once('.')?;
    let mut name: String = cut(asked.rsplit(['/', '\\']).next().unwrap_or_default());
    if !name.to_ascii_lowercase().ends_with(&format!(".{extension}")) {
        name = format!("{name}.{extension}");
    }
    let plain: String =
        name.chars().map(|c| if c.is_ascii_graphic() && !"\"\\%".contains(c) || c == ' ' { c } else { '_' }).collect();
    Some(format!("attachment; filename=\"{plain}\"; filename*=UTF-8''{}", utf8_percent_encode(&name, UNSAFE)))
}

/// Without characters that show nothing or turn the reading direction, and no longer than is sensible, the extension
/// kept.
fn cut(name: &str) -> String {
    let turns = |c: char| matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let shown: Vec<char> = name.chars().filter(|c| !c.is_control() && !turns(*c)).collect();
    if shown.len() <= MAX_CHARS {
        return shown.into_iter().collect();
    }
    let tail = shown.iter().rposition(|c| *c == '.').filter(|dot| shown.len() - dot <= 12).unwrap_or(shown.len());
    let head = MAX_CHARS - (shown.len() - tail);
    shown[..head].iter().chain(&shown[tail..]).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{prop_assert, proptest};

    use super::*;
    use crate::{
        id::{FileId, ProjectId},
        intent::Filename,
        object_key::Visibility,
    };

    fn key() -> ObjectKey {
        let name = Filename::mint("x.pdf", &"application/pdf".parse().unwrap());
        ObjectKey::Original { visibility: Visibility::Public, project: ProjectId::mint(), file: FileId::mint(), name }
    }

    fn asked(name: &str) -> String {
        disposition(&key(), Some(&query(name))).unwrap()
    }

    #[test]
    fn a_name_is_given_twice_plain_and_whole() {
        assert_eq!(asked("Bericht.pdf"), "attachment; filename=\"Bericht.pdf\"; filename*=UTF-8''Bericht.pdf");
        assert_eq!(
            asked("Größe \"1\".pdf"),
            "attachment; filename=\"Gr__e _1_.pdf\"; filename*=UTF-8''Gr%C3%B6%C3%9Fe%20%221%22.pdf"
        );
    }

    #[test]
    fn a_name_does_not_choose_the_kind_of_file_nor_a_folder() {
        for (name, saved) in
            [("run.exe", "run.exe.pdf"), ("a/b/c.pdf", "c.pdf"), ("..\\x", "x.pdf"), ("X.PDF", "X.PDF")]
        {
            assert!(asked(name).contains(&format!("filename=\"{saved}\"")), "{}", asked(name));
        }
    }

    #[test]
    fn no_query_and_no_name_ask_for_nothing() {
        for query in [None, Some(""), Some("x=1"), Some("download"), Some("download=%ff")] {
            assert_eq!(disposition(&key(), query), None);
        }
    }

    proptest! {
        #[test]
        fn whatever_is_asked_the_header_is_visible_ascii_and_short(query in "download=.{0,400}") {
            if let Some(header) = disposition(&key(), Some(&query)) {
                prop_assert!(header.bytes().all(|b| b.is_ascii_graphic() || b == b' '));
                prop_assert!(header.len() < 1500);
            }
        }
    }
}
