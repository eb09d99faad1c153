//! Who may read the bytes of a file.

use std::{fmt, str::FromStr};

/// Who may read a path: anybody, or a bearer of a signed URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Visibility {
    /// Anybody.
    Public,
    /// Only with a signed URL.
    Private,
}

impl Visibility {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Public, Self::Private];

    /// The word in requests, in paths and in the catalog.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Private => "private",
        }
    }

    /// Not this one.
    pub const fn other(self) -> Self {
        match self {
            Self::Public => Self::Private,
            Self::Private => Self::Public,
        }
    }
}

impl fmt::Display for Visibility {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A word that names no visibility.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("visibility is `public` or `private`")]
pub struct UnknownVisibility;

impl FromStr for Visibility {
    type Err = UnknownVisibility;

    fn from_str(text: &str) -> Result<Self, UnknownVisibility> {
        Self::ALL.into_iter().find(|v| v.as_str() == text).ok_or(UnknownVisibility)
    }
}
