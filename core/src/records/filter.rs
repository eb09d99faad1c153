//! Which files a list shows, and how many on a page.

use std::{num::NonZeroU32, str::FromStr};

use crate::{
    clock::Timestamp,
    content_type::ContentType,
    intent::{EntityWord, OwnerId},
    object_key::Visibility,
};

/// Which confirmed files of a project to list; everything that is set must hold.
#[derive(Clone, Debug, Default)]
pub struct FileFilter {
    /// Attached to an entity of this type.
    pub entity_type: Option<EntityWord>,
    /// Attached to an entity with this id.
    pub entity_id: Option<EntityWord>,
    /// In this role.
    pub role: Option<EntityWord>,
    /// Belonging to this user of the application.
    pub owner: Option<OwnerId>,
    /// The original readable so.
    pub visibility: Option<Visibility>,
    /// The variants readable so.
    pub variants_visibility: Option<Visibility>,
    /// Begun at this time or later.
    pub created_after: Option<Timestamp>,
    /// Begun before this time.
    pub created_before: Option<Timestamp>,
    /// Of this media type.
    pub content_type: Option<TypeFilter>,
    /// With a client-side name that begins so, whatever the case.
    pub name_prefix: Option<NamePrefix>,
}

/// A media type, or all of a family, such as `image/*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TypeFilter {
    /// Exactly this type.
    Exact(String),
    /// Every type that begins so; ends with a slash.
    Family(String),
}

/// A text that is neither a media type nor a family of them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be a media type such as image/jpeg, or a family such as image/*")]
pub struct InvalidTypeFilter;

impl FromStr for TypeFilter {
    type Err = InvalidTypeFilter;

    fn from_str(text: &str) -> Result<Self, InvalidTypeFilter> {
        let text = text.to_ascii_lowercase();
        match text.split_once('/') {
            Some((family, "*")) if !family.is_empty() => Ok(Self::Family(format!("{family}/"))),
            Some((family, subtype)) if !family.is_empty() && !subtype.is_empty() => {
                // An alias finds what was published under the registered name.
                let registered = text.parse::<ContentType>().map(|known| known.essence().to_owned());
                Ok(Self::Exact(registered.unwrap_or(text)))
            }
            _ => Err(InvalidTypeFilter),
        }
    }
}

/// The beginning of a client-side file name, 1..=64 characters; compared without case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamePrefix(String);

impl NamePrefix {
    /// The longest, in characters.
    pub const MAX_CHARS: usize = 64;

    /// Checks the length.
    pub fn new(text: &str) -> Option<Self> {
        (1..=Self::MAX_CHARS).contains(&text.chars().count()).then(|| Self(text.to_lowercase()))
    }

    /// The prefix in lower case.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What an index entry keeps of a name, so that prefixes can be compared with it.
    pub(crate) fn key_of(name: &str) -> String {
        name.to_lowercase().chars().take(2 * Self::MAX_CHARS).collect()
    }
}

/// A page's number, from 1.
pub type PageNumber = NonZeroU32;

/// How many files a page shows, 1..=100.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageSize(u32);

impl PageSize {
    /// The most.
    pub const MAX: u32 = 100;

    /// Checks the bounds.
    pub const fn new(files: u32) -> Option<Self> {
        if files >= 1 && files <= Self::MAX { Some(Self(files)) } else { None }
    }

    /// Files.
    pub const fn get(self) -> u32 {
        self.0
    }
}

impl Default for PageSize {
    fn default() -> Self {
        Self(20)
    }
}
