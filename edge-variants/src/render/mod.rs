//! Makes a variant of an original: bytes in, bytes out.
//!
//! [`render`] runs steps of one file each, in an order that is safe: nothing is allocated before the header has been
//! read and its claims are within the limits, and only pixels reach an encoder, so no metadata can leave. The module
//! knows nothing of storage, requests or records, keeps no state, and yields the same bytes for the same input.

mod colour;
mod deadline;
mod decode;
mod encode;
mod limits;
mod need;
mod orient;
mod original;
mod placeholder;
mod planes;
mod refusal;
mod resample;
mod resize;
mod retreat;

// Tests of the module's inside, out of the way of what runs.
#[cfg(test)]
#[path = "../../tests/render/found.rs"]
mod found;
#[cfg(test)]
#[path = "../../tests/render/hostile.rs"]
mod hostile;
#[cfg(test)]
#[path = "../../tests/render/kinds.rs"]
mod kinds;
#[cfg(test)]
#[path = "../../tests/render/memory.rs"]
mod memory;
#[cfg(test)]
#[path = "../../tests/render/tests.rs"]
mod tests;
#[cfg(test)]
#[path = "../../tests/render/tiffs.rs"]
mod tiffs;

use std::time::Instant;

use image::DynamicImage;
use xfiles_core::{
    sniff::{Dimensions, Header, Orientation, Raster},
    thumbhash::ThumbHash,
    variant::{Colour, ImageFormat, VariantSpec},
};

use self::{
    deadline::Deadline,
    decode::{Choice, Source},
    planes::{Halves, Planar},
};
pub use self::{
    original::{Arrival, CutOff, Enough, Original, Unfinished},
    refusal::Refusal,
};

/// A variant: upright, in sRGB, without metadata, encoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rendered {
    /// The encoded image.
    pub bytes: Vec<u8>,
    /// The format: the one asked for, or what `auto` became.
    pub format: ImageFormat,
    /// The width in pixels: the one asked for, or the original's if that is less.
    pub width: u32,
    /// The height in pixels.
    pub height: u32,
    /// The original's placeholder, if the job includes it.
    pub placeholder: Option<ThumbHash>,
}

/// Makes the variant `spec` of `original`, and nothing else.
///
/// # Errors
/// As [`Job::run`].
pub fn render(original: &[u8], spec: VariantSpec) -> Result<Rendered, Refusal> {
    Job::new(spec).run(original)
}

/// What to make of an original.
#[derive(Clone, Copy, Debug)]
pub struct Job {
    spec: VariantSpec,
    background: Colour,
    with_placeholder: bool,
    deadline: Deadline,
}

impl Job {
    /// A job that makes the variant only.
    pub fn new(spec: VariantSpec) -> Self {
        Self { spec, background: Colour::WHITE, with_placeholder: false, deadline: Deadline::NEVER }
    }

    /// Sets the colour behind transparent pixels in JPEG, which is white otherwise.
    #[must_use]
    pub fn on(self, background: Colour) -> Self {
        Self { background, ..self }
    }

    /// Makes the original's placeholder as well, or not. It takes half a millisecond.
    #[must_use]
    pub fn with_placeholder(self, with_placeholder: bool) -> Self {
        Self { with_placeholder, ..self }
    }

    /// Stops soon after this moment, unless the image is ready to be encoded by then.
    #[must_use]
    pub fn until(self, moment: Instant) -> Self {
        Self { deadline: Deadline::at(moment), ..self }
    }

    /// The size of the variant, upright and in the stored orientation.
    fn size(&self, header: &Header) -> (Dimensions, Dimensions) {
        let width = self.spec.width.pixels().min(decode::widest(header));
        let size = resize::fit(header.upright(), width);
        (size, if header.orientation.exchanges_sides() { size.turned() } else { size })
    }

    /// How much of the original the job needs, for a size in the stored orientation.
    fn choice(&self, raster: Raster, header: &Header, stored_size: Dimensions) -> Choice {
        let has_half_colours = encode::range(self.spec.format).is_some();
        decode::choice(raster, header.stored, stored_size, has_half_colours)
    }

    /// Runs the job on an original whose bytes are all there: see [`Job::run_on`].
    pub fn run(self, original: &[u8]) -> Result<Rendered, Refusal> {
        self.run_on(Original::from(original)).expect("what is there cannot be cut off")
    }

    /// Runs the job on as much of the original as it needs: after a header that is refused, nothing more is read; a
    /// baseline JPEG is decoded while it arrives; and of a progressive one, reading ends after the last scan that is
    /// needed. Other formats are awaited whole.
    ///
    /// A job takes a fraction of a second of one core and up to a few hundred megabytes, so callers bound how many run
    /// at once, and their memory: see [`Decoding::within`].
    ///
    /// # Errors
    ///
    /// [`CutOff`], if the original did not arrive as far as it was needed; then nothing is known about it. A
    /// [`Refusal`] inside, if something is wrong with it.
    pub fn run_on(self, original: Original<'_>) -> Result<Result<Rendered, Refusal>, CutOff> {
        // The rest of the original need not be kept for encoding.
        match Decoding::new(original).shrink(self) {
            Ok(small) => Ok(small.and_then(|small| self.encode(small))),
            Err(Unfinished::CutOff) => Err(CutOff),
            Err(Unfinished::Short { .. }) => unreachable!("it has all the memory that it asks for"),
        }
    }

    /// The memory that an image takes while it is encoded for this job.
    pub fn encoding_bytes(&self, small: &Small) -> u64 {
        small.bytes() + need::encoding(self.spec.format, small.size, matches!(small.picture, Picture::Halves(_)))
    }

    /// Encodes an image that was made for this job.
    pub fn encode(self, small: Small) -> Result<Rendered, Refusal> {
        let placeholder = self.with_placeholder.then(|| small.placeholder());
        let Small { picture, size } = small;
        let format = encode::settle(self.spec.format, &picture);
        let bytes = encode::encode(picture, format, self.background)?;
        Ok(Rendered { bytes, format, width: size.width, height: size.height, placeholder })
    }
}

/// An original that becomes several variants: read once, and decoded once for all variants of the same pixels. No
/// variant depends on which others are made.
pub struct Decoding<'a> {
    original: Original<'a>,
    read: Option<(Raster, Header)>,
    /// The pixels that were decoded last.
    source: Option<(Choice, Source)>,
    decodes: usize,
    /// The memory of those.
    bytes: u64,
    /// Grants this much memory in all, or refuses.
    allowance: Box<dyn FnMut(u64) -> bool + 'a>,
}

impl<'a> Decoding<'a> {
    /// A decoding of this original, of which nothing is read yet.
    pub fn new(original: Original<'a>) -> Self {
        Self { original, read: None, source: None, decodes: 0, bytes: 0, allowance: Box::new(|_| true) }
    }

    /// Limits the memory: before anything is decoded, `allowance` is asked for an amount in all, estimated from the
    /// header, and grants it or not.
    #[must_use]
    pub fn within(self, allowance: impl FnMut(u64) -> bool + 'a) -> Self {
        Self { allowance: Box::new(allowance), ..self }
    }

    /// The format, if it is known by now.
    pub fn kind(&self) -> &'static str {
        self.read.map_or("a picture", |(raster, _)| decode::name(raster))
    }

    /// How often the original was decoded.
    pub fn decodes(&self) -> usize {
        self.decodes
    }

    /// Whether the job needs no further decoding.
    pub fn has_pixels_for(&self, job: &Job) -> bool {
        let (Some((raster, header)), Some((choice, _))) = (self.read, &self.source) else { return false };
        let (_, stored) = job.size(&header);
        job.choice(raster, &header, stored).or_exactly(choice, stored) == *choice
    }

    /// Does everything but encoding, which [`Job::encode`] does.
    pub fn shrink(&mut self, job: Job) -> Result<Result<Small, Refusal>, Unfinished> {
        let small = self.decode_and_shrink(job);
        if self.original.is_cut_off() {
            return Err(Unfinished::CutOff);
        }
        match small {
            Ok(small) => Ok(Ok(small)),
            Err(decode::Failure::Refused(refusal)) => Ok(Err(refusal)),
            Err(decode::Failure::Short(bytes)) => Err(Unfinished::Short { bytes }),
        }
    }

    fn decode_and_shrink(&mut self, job: Job) -> Result<Small, decode::Failure> {
        job.deadline.check()?;
        let (raster, header) = match self.read {
            Some(read) => read,
            None => {
                let raster = Raster::of(self.original.head(HEAD_BYTES)).ok_or(Refusal::Unsupported)?;
                *self.read.insert((raster, header(raster, &mut self.original)?))
            }
        };
        let (size, stored_size) = job.size(&header);
        let choice = job.choice(raster, &header, stored_size);
        let choice = decode::settled(raster, &mut self.original, &header, choice, stored_size);
        let beside = need::small(size) + need::encoding(job.spec.format, size, raster == Raster::Jpeg);
        let source = match self.source.take() {
            Some((of, source)) if of == choice => {
                let all = self.bytes + beside;
                if !(self.allowance)(all) {
                    return Err(decode::Failure::Short(all));
                }
                source
            }
            other => {
                // Drops the old pixels first, so that both are not held at once.
                drop(other);
                self.decodes += 1;
                let mut memory = decode::Memory { beside, asked: 0, allowance: &mut *self.allowance };
                let stored = header.stored;
                let source =
                    decode::source(raster, &mut self.original, stored, stored_size, choice, job.deadline, &mut memory)?;
                self.bytes = memory.asked;
                source
            }
        };
        let (_, source) = self.source.insert((choice, source));
        job.deadline.check()?;
        let picture = match source {
            Source::Planes(planar) => from_planes(planar, stored_size, header.orientation, job.spec.format),
            Source::Small(small) => {
                let upright = orient::turn(small.pixels.clone(), header.orientation);
                Picture::Pixels(colour::to_srgb(upright, small.profile.as_deref()))
            }
            Source::Inks(pixels, inks) => {
                let small = inks.to_srgb(&resize::shrink_inks(pixels, stored_size));
                Picture::Pixels(orient::turn(small.into(), header.orientation))
            }
            Source::Pixels(decoded) => {
                let small = resize::shrink(&mut decoded.pixels, &mut decoded.is_weighted, stored_size);
                let upright = orient::turn(small, header.orientation);
                Picture::Pixels(colour::to_srgb(upright, decoded.profile.as_deref()))
            }
        };
        job.deadline.check()?;
        Ok(Small { picture, size })
    }
}

/// The bytes that are read first, as many as confirmation reads. They have nearly every header.
const HEAD_BYTES: usize = 64 << 10;

/// Reads the header of an original and checks the limits. The head of the file can refuse; the whole file decides,
/// because a later part may change the orientation.
fn header(raster: Raster, original: &mut Original<'_>) -> Result<Header, Refusal> {
    let head = raster.header(original.head(HEAD_BYTES));
    if let (Some(header), false) = (&head, raster == Raster::Jpeg) {
        limits::admit(header.stored)?;
    }
    let header = match raster {
        Raster::Jpeg => {
            // Exif may follow the frame header, but not the first scan.
            let mut length = HEAD_BYTES.max(decode::start(original));
            loop {
                let bytes = original.head(length);
                match raster.header(bytes) {
                    None if bytes.len() == length => length *= 2,
                    header => break header,
                }
            }
        }
        Raster::Png | Raster::Gif | Raster::WebP | Raster::Avif | Raster::Tiff | Raster::Bmp | Raster::Ico => {
            raster.header(original.all())
        }
    };
    let header = header.ok_or(Refusal::Corrupt)?;
    match limits::admit(header.stored) {
        Err(_) if decode::walks(raster, original) => limits::admit_walked(header.stored)?,
        admitted => admitted?,
    }
    Ok(header)
}

/// An image that only has to be encoded.
pub struct Small {
    picture: Picture,
    size: Dimensions,
}

impl Small {
    /// Its memory in bytes.
    pub fn bytes(&self) -> u64 {
        match &self.picture {
            Picture::Pixels(pixels) => pixels.as_bytes().len() as u64,
            Picture::Halves(_) => need::halves(self.size),
        }
    }

    /// The original's placeholder. It takes half a millisecond.
    pub fn placeholder(&self) -> ThumbHash {
        placeholder::of(&self.picture)
    }
}

/// A variant before it is encoded: scaled, upright and in sRGB.
enum Picture {
    Pixels(DynamicImage),
    /// Planes in the range of the encoder.
    Halves(Halves),
}

/// Keeps planes for an encoder that takes planes, unless a profile has to be applied, which is done in RGB.
fn from_planes(planar: &Planar, size: Dimensions, orientation: Orientation, format: ImageFormat) -> Picture {
    let is_grey = planar.planes.len() == 1;
    let profile = planar.profile.clone().filter(|profile| colour::changes(profile, is_grey));
    match (encode::range(format), profile) {
        (Some(range), None) => Picture::Halves(planar.to_halves(size, orientation, range)),
        (_, profile) => {
            let upright = orient::turn(planar.to_pixels(size), orientation);
            Picture::Pixels(colour::to_srgb(upright, profile.as_deref()))
        }
    }
}
