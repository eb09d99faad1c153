//! Listing: one page of a bucket's keys, with common prefixes rolled up, and the start of the next page. The two
//! request formats of S3 are handled elsewhere.

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};

use super::index::{Entry, Rows, Step, end_of_prefix};

/// The start of a listing: the smallest byte string that a key may have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Position(Vec<u8>);

impl Position {
    /// After a key, or after all keys that roll up into it if it is a common prefix.
    pub(super) fn after(key: &str, prefix: &str, delimiter: Option<&str>) -> Self {
        if common_prefix(key, prefix, delimiter).is_some_and(|common| common == key) {
            return Self(end_of_prefix(key));
        }
        // No byte string sorts between a key and the key followed by a zero byte.
        Self([key.as_bytes(), &[0]].concat())
    }

    /// Parses a continuation token; `None` if it is invalid.
    pub(super) fn from_token(token: &str) -> Option<Self> {
        BASE64_URL_SAFE_NO_PAD.decode(token).ok().map(Self)
    }

    pub(super) fn to_token(&self) -> String {
        BASE64_URL_SAFE_NO_PAD.encode(&self.0)
    }
}

#[derive(Clone, Debug)]
pub(super) struct Query {
    pub(super) bucket: String,
    pub(super) prefix: String,
    pub(super) delimiter: Option<String>,
    pub(super) from: Position,
    /// Counts keys and common prefixes together.
    pub(super) limit: usize,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Page {
    pub(super) entries: Vec<Entry>,
    pub(super) prefixes: Vec<String>,
    /// The last key or common prefix of this page, if there are more.
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

/// The part of a key up to and including the first delimiter after the prefix.
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
