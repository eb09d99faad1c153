//! Makes a variant of an original: bytes in, bytes out.
//!
//! [`render`] is the list of steps, one file each, in the order that makes it safe: nothing is allocated before the
//! header has been read and its claims are within the limits, and nothing but pixels reaches an encoder, so no metadata
//! can leave. It knows nothing of storage, requests or records, keeps no state, and writes the same bytes for the same
//! input.

mod colour;
mod deadline;
mod decode;
mod encode;
#[cfg(test)]
mod hostile;
#[cfg(test)]
mod kinds;
mod limits;
mod orient;
mod placeholder;
mod planes;
mod refusal;
mod resample;
mod resize;
#[cfg(test)]
mod tests;

use std::time::Instant;

use image::DynamicImage;
use xfiles_core::{
    sniff::{Dimensions, Orientation, Raster},
    thumbhash::ThumbHash,
    variant::{Colour, ImageFormat, VariantSpec},
};

pub use self::refusal::Refusal;
use self::{
    deadline::Deadline,
    decode::Source,
    planes::{Halves, Planar},
};

/// A variant: upright, in sRGB, without metadata, encoded as asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rendered {
    /// The encoded picture.
    pub bytes: Vec<u8>,
    /// As what it is encoded: as asked for, or what `auto` came to.
    pub format: ImageFormat,
    /// Pixels from left to right: the width asked for, or the original's if that is smaller.
    pub width: u32,
    /// Pixels from top to bottom.
    pub height: u32,
    /// The original's placeholder, if the job was to make it as well.
    pub placeholder: Option<ThumbHash>,
}

/// Makes the variant `spec` of `original`, and nothing else.
///
/// # Errors
/// As [`Job::run`].
pub fn render(original: &[u8], spec: VariantSpec) -> Result<Rendered, Refusal> {
    Job::new(spec).run(original)
}

/// What is to be made of an original.
#[derive(Clone, Copy, Debug)]
pub struct Job {
    spec: VariantSpec,
    background: Colour,
    with_placeholder: bool,
    deadline: Deadline,
}

impl Job {
    /// The variant alone.
    pub fn new(spec: VariantSpec) -> Self {
        Self { spec, background: Colour::WHITE, with_placeholder: false, deadline: Deadline::NEVER }
    }

    /// With this colour, rather than white, where the original is transparent and the format is JPEG.
    #[must_use]
    pub fn on(self, background: Colour) -> Self {
        Self { background, ..self }
    }

    /// The original's placeholder with it, or not. It takes half a millisecond.
    #[must_use]
    pub fn with_placeholder(self, with_placeholder: bool) -> Self {
        Self { with_placeholder, ..self }
    }

    /// Gives up if the picture is not ready to be encoded at that moment, soon after it.
    #[must_use]
    pub fn until(self, moment: Instant) -> Self {
        Self { deadline: Deadline::at(moment), ..self }
    }

    /// Makes it.
    ///
    /// It takes a fraction of a second of one core and up to a few hundred megabytes, so callers bound how many run at
    /// once.
    ///
    /// # Errors
    /// Whatever is wrong is wrong with the original or the format, and will be wrong again: see [`Refusal`].
    pub fn run(self, original: &[u8]) -> Result<Rendered, Refusal> {
        let (picture, size) = self.picture(original)?;
        let placeholder = self.with_placeholder.then(|| placeholder::of(&picture));
        let format = encode::settle(self.spec.format, &picture);
        let bytes = encode::encode(picture, format, self.background)?;
        Ok(Rendered { bytes, format, width: size.width, height: size.height, placeholder })
    }

    /// Makes the placeholder alone, as with this variant, which is not encoded.
    ///
    /// # Errors
    /// As [`Job::run`].
    pub fn placeholder(self, original: &[u8]) -> Result<ThumbHash, Refusal> {
        self.picture(original).map(|(picture, _)| placeholder::of(&picture))
    }

    /// The variant before it is encoded, and its size.
    fn picture(self, original: &[u8]) -> Result<(Picture, Dimensions), Refusal> {
        let Self { spec, deadline, .. } = self;
        let raster = Raster::of(original).ok_or(Refusal::Unsupported)?;
        let header = raster.header(original).ok_or(Refusal::Corrupt)?;
        limits::admit(&header)?;

        let size = resize::fit(header.upright(), spec.width);
        let stored_size = if header.orientation.exchanges_sides() { size.turned() } else { size };
        let source = decode::source(raster, original, header.stored, stored_size, deadline)?;
        deadline.check()?;
        let picture = match source {
            Source::Planes(planar) => from_planes(planar, stored_size, header.orientation, spec.format),
            Source::Inks(pixels, inks) => {
                let small = inks.to_srgb(&resize::shrink_inks(pixels, stored_size));
                Picture::Pixels(orient::turn(small.into(), header.orientation))
            }
            Source::Pixels(decoded) => {
                let small = resize::shrink(decoded.pixels, stored_size);
                let upright = orient::turn(small, header.orientation);
                Picture::Pixels(colour::to_srgb(upright, decoded.profile.as_deref()))
            }
        };

        deadline.check()?;
        Ok((picture, size))
    }
}

/// A variant before it is encoded: small, upright and in sRGB.
enum Picture {
    Pixels(DynamicImage),
    /// As the encoder holds it, in the range that it holds.
    Halves(Halves),
}

/// Keeps planes for an encoder that wants planes, unless their colours have to be converted, which is done in RGB.
fn from_planes(planar: Planar, size: Dimensions, orientation: Orientation, format: ImageFormat) -> Picture {
    let is_grey = planar.planes.len() == 1;
    let profile = planar.profile.clone().filter(|profile| colour::changes(profile, is_grey));
    match (encode::range(format), profile) {
        (Some(range), None) => Picture::Halves(planar.into_halves(size, orientation, range)),
        (_, profile) => {
            let upright = orient::turn(planar.into_pixels(size), orientation);
            Picture::Pixels(colour::to_srgb(upright, profile.as_deref()))
        }
    }
}
