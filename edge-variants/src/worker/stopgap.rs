//! AVIF takes seconds where other formats take a fraction of one, so a request waits for it only so long.

use std::time::Duration;

use xfiles_core::{
    object_key::ObjectKey,
    variant::{ImageFormat, VariantSpec},
};

use super::{Worker, http::Outcome};

/// How long a request waits for AVIF by default: about as long as a page waits for its images.
pub(super) const PATIENCE: Duration = Duration::from_secs(2);

impl Worker {
    /// The variant; or, if it is an AVIF that is not ready in time, the WebP of the same width.
    pub(super) async fn variant(&self, key: &ObjectKey) -> Outcome {
        let made = self.made_once(key, &self.lane);
        match stopgap_for(key) {
            None => made.await,
            Some(stopgap) => match tokio::time::timeout(self.patience, made).await {
                Ok(outcome) => outcome,
                Err(_) => match self.made_once(&stopgap, &self.stopgaps).await {
                    Outcome::Made { bytes, format, .. } => Outcome::Stopgap { bytes, format },
                    other => other,
                },
            },
        }
    }
}

/// The variant that is shown while this one is made. Every viewer of AVIF knows WebP.
fn stopgap_for(key: &ObjectKey) -> Option<ObjectKey> {
    match key {
        ObjectKey::Variant {
            visibility,
            project,
            file,
            stem,
            spec: VariantSpec { width, format: ImageFormat::Avif },
        } => {
            let spec = VariantSpec { width: *width, format: ImageFormat::WebP };
            Some(ObjectKey::Variant {
                visibility: *visibility,
                project: *project,
                file: *file,
                stem: stem.clone(),
                spec,
            })
        }
        ObjectKey::Variant { .. } | ObjectKey::Original { .. } | ObjectKey::Staging { .. } => None,
    }
}
