//! First: which paths exist, who may read them and which origins have them. A path is one that an [`ObjectKey`]
//! displays as, to the byte; everything else, staging included, is served nothing and reaches no origin.

use xfiles_core::object_key::{ObjectKey, Visibility};

/// How a path is served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Behaviour {
    /// What the path names.
    pub(super) key: ObjectKey,
    /// Whether the viewer needs a signature.
    pub(super) visibility: Visibility,
    /// Whom to ask for the bytes.
    pub(super) origins: Origins,
}

/// Whom to ask for the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origins {
    /// The bucket alone.
    Bucket,
    /// The bucket, and the worker when the bucket has nothing: CloudFront's origin group with failover on 403 and 404.
    BucketThenWorker,
}

impl Behaviour {
    /// The behaviour of a raw, undecoded path; none when nothing is served there.
    pub(super) fn of(path: &str) -> Option<Self> {
        let key: ObjectKey = path.strip_prefix('/')?.parse().ok()?;
        let (visibility, origins) = match key {
            ObjectKey::Staging { .. } => return None,
            ObjectKey::Original { visibility, .. } => (visibility, Origins::Bucket),
            ObjectKey::Variant { visibility, .. } => (visibility, Origins::BucketThenWorker),
        };
        Some(Self { key, visibility, origins })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ORIGINAL: &str = "/files/originals/private/aaaaaaaaaaaa/bbbbbbbbbbbbbbbbbbbb/photo-a1b2c3.jpg";
    const VARIANT: &str = "/files/variants/public/aaaaaaaaaaaa/bbbbbbbbbbbbbbbbbbbb/photo-a1b2c3_w400.webp";

    #[test]
    fn originals_come_only_from_the_bucket_and_variants_also_from_the_worker() {
        let original = Behaviour::of(ORIGINAL).unwrap();
        assert_eq!((original.visibility, original.origins), (Visibility::Private, Origins::Bucket));
        let variant = Behaviour::of(VARIANT).unwrap();
        assert_eq!((variant.visibility, variant.origins), (Visibility::Public, Origins::BucketThenWorker));
    }

    #[test]
    fn nothing_is_served_at_any_other_path() {
        for path in [
            "",
            "/",
            "/files/",
            "/staging/aaaaaaaaaaaa/bbbbbbbbbbbbbbbbbbbb/photo-a1b2c3.jpg",
            &ORIGINAL[1..],
            &format!("/{ORIGINAL}"),
            &format!("{ORIGINAL}/"),
            &ORIGINAL.replace("photo", "%70hoto"),
            &ORIGINAL.replace("/files/", "/files/../files/"),
            &ORIGINAL.replace("private", "PRIVATE"),
            &VARIANT.replace("_w400", "_w401"),
        ] {
            assert_eq!(Behaviour::of(path), None, "{path}");
        }
    }
}
