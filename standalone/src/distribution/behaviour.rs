//! Step 1: which paths exist, who may read them, and which origins serve them. A path must be exactly the text of an
//! [`ObjectKey`]. Everything else, including staging, reaches no origin.

use xfiles_core::object_key::{ObjectKey, Visibility};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Behaviour {
    /// The key that the path names.
    pub(super) key: ObjectKey,
    /// Whether the viewer needs a signature.
    pub(super) visibility: Visibility,
    pub(super) origins: Origins,
}

/// The origins that may have the object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origins {
    /// Only the bucket.
    Bucket,
    /// The bucket first, and the worker on a miss: CloudFront's origin group with failover on 403 and 404.
    BucketThenWorker,
}

impl Behaviour {
    /// The behaviour of a raw, undecoded path; `None` if nothing is served there.
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
