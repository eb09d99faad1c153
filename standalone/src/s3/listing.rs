//! Listing: one page of a bucket's keys, with common prefixes rolled up, and where the next page begins.
//! Nothing here knows the two request shapes that S3 has for it.

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};

use super::index::{Entry, Rows, Step, end_of_prefix};

/// Where a listing begins: the first string of bytes that a key may have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Position(Vec<u8>);

impl Position {
    /// After a key, or after everything that rolls up into it if it is a common prefix.
    pub(super) fn after(key: &str, prefix: &str, delimiter: Option<&str>) -> Self {
        if common_prefix(key, prefix, delimiter).is_some_and(|common| common == key) {
            return Self(end_of_prefix(key));
        }
        // No string of bytes is between a key and the key with a zero byte.
        Self([key.as_bytes(), &[0]].concat())
    }

    /// What a continuation token says; `None` if it is not one of ours.
    pub(super) fn from_token(token: &str) -> Option<Self> {
        BASE64_URL_SAFE_NO_PAD.decode(token).ok().map(Self)
    }

    pub(super) fn to_token(&self) -> String {
        BASE64_URL_SAFE_NO_PAD.encode(&self.0)
    }
}

/// What to list.
#[derive(Clone, Debug)]
pub(super) struct Query {
    pub(super) bucket: String,
    pub(super) prefix: String,
    pub(super) delimiter: Option<String>,
    pub(super) from: Position,
    /// Keys and common prefixes together.
    pub(super) limit: usize,
}

/// A page of a listing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Page {
    pub(super) entries: Vec<Entry>,
    pub(super) prefixes: Vec<String>,
    /// Set if there is more: the last key or common prefix of this page.
    pub(super) last: Option<String>,
}

impl Query {
    pub(super) fn run(&self, rows: Rows<'_>) -> rusqlite::Result<Page> {
        let mut page = Page::default();
        if self.limit == 0 {
            return Ok(page);
        }
        let (mut last, mut more) = (None, false);
        rows.walk(&self.bucket, &self.prefix, &self.from.0, |entry| {
            if page.entries.len() + page.prefixes.len() == self.limit {
                more = true;
                return Step::Stop;
            }
            match common_prefix(&entry.key, &self.prefix, self.delimiter.as_deref()) {
                Some(common) => {
                    let common = common.to_owned();
                    page.prefixes.push(common.clone());
                    last = Some(common.clone());
                    Step::After(common)
                }
                None => {
                    last = Some(entry.key.clone());
                    page.entries.push(entry);
                    Step::Next
                }
            }
        })?;
        page.last = last.filter(|_| more);
        Ok(page)
    }
}

/// The part of a key up to and with the first delimiter after the prefix.
fn common_prefix<'k>(key: &'k str, prefix: &str, delimiter: Option<&str>) -> Option<&'k str> {
    let delimiter = delimiter.filter(|d| !d.is_empty())?;
    let at = key.strip_prefix(prefix)?.find(delimiter)?;
    Some(&key[..prefix.len() + at + delimiter.len()])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_common_prefix_ends_with_the_first_delimiter_after_the_prefix() {
        assert_eq!(common_prefix("a/b/c", "", Some("/")), Some("a/"));
        assert_eq!(common_prefix("a/b/c", "a/", Some("/")), Some("a/b/"));
        assert_eq!(common_prefix("a/b", "a/", Some("/")), None);
        assert_eq!(common_prefix("a/b", "x", Some("/")), None);
        assert_eq!(common_prefix("a/b", "", None), None);
        assert_eq!(common_prefix("a/b", "", Some("")), None);
    }

    #[test]
    fn a_page_continues_after_a_key_or_after_a_common_prefix() {
        assert_eq!(Position::after("a/b", "", None), Position(b"a/b\0".to_vec()));
        assert_eq!(Position::after("a/", "", Some("/")), Position(b"a0".to_vec()));
        assert_eq!(Position::after("a/b", "", Some("/")), Position(b"a/b\0".to_vec()));
    }

    #[test]
    fn a_token_reads_back() {
        let position = Position::after("ключ/+ %", "", None);
        assert_eq!(Position::from_token(&position.to_token()), Some(position));
        assert_eq!(Position::from_token("?"), None);
    }
}
