//! The keys of the bucket, which are also the paths on the CDN: built from their parts and parsed here.

use std::{fmt, str::FromStr};

pub use crate::visibility::{UnknownVisibility, Visibility};
use crate::{
    id::{FileId, ProjectId},
    intent::{Filename, Stem},
    variant::{ImageFormat, VariantSpec, Width},
};

/// A key in the bucket. `parse(display(k)) == k`, and every key is of `[a-z0-9._/-]` only.
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum ObjectKey {
    /// Uploaded and not yet published; the CDN never reads it.
    Staging {
        /// The owner.
        project: ProjectId,
        /// The file.
        file: FileId,
        /// Its stored name.
        name: Filename,
    },
    /// The published bytes.
    Original {
        /// Who may read it.
        visibility: Visibility,
        /// The owner.
        project: ProjectId,
        /// The file.
        file: FileId,
        /// Its stored name.
        name: Filename,
    },
    /// A smaller picture of the published bytes.
    Variant {
        /// Who may read it, which need not be who may read the original.
        visibility: Visibility,
        /// The owner.
        project: ProjectId,
        /// The file.
        file: FileId,
        /// Its stored name without the extension.
        stem: Stem,
        /// Which variant.
        spec: VariantSpec,
    },
}

impl ObjectKey {
    /// The `Cache-Control` under which the object is stored and served. `s-maxage` is the CDN's, which a purge cuts short.
    /// A private path must not say `private`: CloudFront checks the signature before its cache, and that word switches
    /// the cache off.
    pub const fn cache_control(&self) -> &'static str {
        match self {
            Self::Staging { .. } => "no-store",
            Self::Original { visibility, .. } | Self::Variant { visibility, .. } => match visibility {
                Visibility::Public => "public, max-age=3600, s-maxage=31536000",
                Visibility::Private => "max-age=300, s-maxage=31536000",
            },
        }
    }

    /// Whose bytes are there.
    pub const fn file(&self) -> FileId {
        match self {
            Self::Staging { file, .. } | Self::Original { file, .. } | Self::Variant { file, .. } => *file,
        }
    }

    /// The CDN path, with a trailing `*`, that covers a file's original at one visibility.
    pub fn original_paths(visibility: Visibility, project: ProjectId, file: FileId) -> String {
        format!("/files/originals/{visibility}/{project}/{file}/*")
    }

    /// The CDN path, with a trailing `*`, that covers a file's variants at one visibility.
    pub fn variant_paths(visibility: Visibility, project: ProjectId, file: FileId) -> String {
        format!("/files/variants/{visibility}/{project}/{file}/*")
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Staging { project, file, name } => write!(f, "staging/{project}/{file}/{name}"),
            Self::Original { visibility, project, file, name } => {
                write!(f, "files/originals/{visibility}/{project}/{file}/{name}")
            }
            Self::Variant { visibility, project, file, stem, spec: VariantSpec { width, format } } => {
                let extension = format.extension();
                write!(f, "files/variants/{visibility}/{project}/{file}/{stem}_w{width}.{extension}")
            }
        }
    }
}

impl fmt::Debug for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A text that is not a key of ours. It says nothing more, because it comes from strangers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an object key")]
pub struct InvalidKey;

impl FromStr for ObjectKey {
    type Err = InvalidKey;

    fn from_str(text: &str) -> Result<Self, InvalidKey> {
        fn part<T: FromStr>(text: &str) -> Result<T, InvalidKey> {
            text.parse().map_err(|_| InvalidKey)
        }

        // Seven parts would be refused below, so no more are split off.
        let parts: Vec<&str> = text.splitn(7, '/').collect();
        match *parts.as_slice() {
            ["staging", project, file, name] => {
                Ok(Self::Staging { project: part(project)?, file: part(file)?, name: part(name)? })
            }
            ["files", "originals", visibility, project, file, name] => Ok(Self::Original {
                visibility: part(visibility)?,
                project: part(project)?,
                file: part(file)?,
                name: part(name)?,
            }),
            ["files", "variants", visibility, project, file, name] => {
                let (stem, size) = name.split_once("_w").ok_or(InvalidKey)?;
                let (width, format) = size.split_once('.').ok_or(InvalidKey)?;
                let spec = VariantSpec { width: part::<Width>(width)?, format: part::<ImageFormat>(format)? };
                Ok(Self::Variant {
                    visibility: part(visibility)?,
                    project: part(project)?,
                    file: part(file)?,
                    stem: part(stem)?,
                    spec,
                })
            }
            _ => Err(InvalidKey),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{prop_assert, prop_assert_eq, proptest};

    use super::*;
    use crate::content_type::ContentType;

    fn sample(original_filename: &str) -> Filename {
        let jpeg: ContentType = "image/jpeg".parse().unwrap();
        Filename::mint(original_filename, &jpeg)
    }

    fn every_key(name: &Filename) -> Vec<ObjectKey> {
        let (project, file) = (ProjectId::mint(), FileId::mint());
        let mut keys = vec![ObjectKey::Staging { project, file, name: name.clone() }];
        for visibility in Visibility::ALL {
            keys.push(ObjectKey::Original { visibility, project, file, name: name.clone() });
            let stem = name.stem().clone();
            keys.extend(VariantSpec::all().map(|spec| ObjectKey::Variant {
                visibility,
                project,
                file,
                stem: stem.clone(),
                spec,
            }));
        }
        keys
    }

    proptest! {
        #[test]
        fn every_key_parses_back_and_uses_only_safe_characters(original in ".{0,200}") {
            for key in every_key(&sample(&original)) {
                let text = key.to_string();
                prop_assert_eq!(text.parse(), Ok(key));
                prop_assert!(text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._/-".contains(&b) || b == b'_'));
                prop_assert!(text.len() <= 1024);
            }
        }

        #[test]
        fn whatever_parses_is_its_own_display(text in "(files|staging)/[a-z0-9._/%-]{0,120}") {
            if let Ok(key) = text.parse::<ObjectKey>() {
                prop_assert_eq!(key.to_string(), text);
            }
        }
    }

    #[test]
    fn path_tricks_are_not_keys() {
        let good = every_key(&sample("photo.jpg")).pop().unwrap().to_string();
        assert!(good.parse::<ObjectKey>().is_ok());
        for bad in [
            format!("/{good}"),
            format!("{good}/"),
            format!("{good}?x=1"),
            good.replace("files/variants", "files//variants"),
            good.replace("files/variants", "files/../files/variants"),
            good.replace("/variants/", "%2fvariants/"),
            good.replace("_w1200", "_w640"),
            good.replace("_w1200", "_w01200"),
            good.replace("_w1200", "_w1200_w100"),
            good.to_uppercase(),
        ] {
            assert_eq!(bad.parse::<ObjectKey>(), Err(InvalidKey), "{bad}");
        }
    }
}
