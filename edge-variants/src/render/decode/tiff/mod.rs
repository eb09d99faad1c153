//! TIFF and BigTIFF: the first image, in strips or tiles, chunky or planar, grey, palette, RGB, YCbCr, Lab or CMYK, of
//! 1 to 32 bits.
//!
//! The samples of all chunks go into one frame, whose colours are converted then. A damaged or missing chunk is left
//! out, as by other viewers; an image without any chunk is refused.

mod chunk;
mod fax;
mod file;

use image::{DynamicImage, ImageBuffer, LumaA, Rgb, Rgba, RgbaImage};
use xfiles_core::sniff::Dimensions;

use self::{
    chunk::{Chunk, Format, Samples},
    file::File,
};
use super::{Decoded, Source};
use crate::render::{Refusal, colour::Inks, limits, need};

/// Tags of TIFF 6.0.
mod tag {
    pub(super) const BITS: u16 = 258;
    pub(super) const COMPRESSION: u16 = 259;
    pub(super) const PHOTOMETRIC: u16 = 262;
    pub(super) const FILL_ORDER: u16 = 266;
    pub(super) const STRIP_OFFSETS: u16 = 273;
    pub(super) const SAMPLES: u16 = 277;
    pub(super) const ROWS_PER_STRIP: u16 = 278;
    pub(super) const STRIP_LENGTHS: u16 = 279;
    pub(super) const PLANES: u16 = 284;
    pub(super) const FAX_OPTIONS: u16 = 292;
    pub(super) const PREDICTOR: u16 = 317;
    pub(super) const PALETTE: u16 = 320;
    pub(super) const TILE_WIDTH: u16 = 322;
    pub(super) const TILE_HEIGHT: u16 = 323;
    pub(super) const TILE_OFFSETS: u16 = 324;
    pub(super) const TILE_LENGTHS: u16 = 325;
    pub(super) const INK_SET: u16 = 332;
    pub(super) const EXTRA_SAMPLES: u16 = 338;
    pub(super) const SAMPLE_FORMAT: u16 = 339;
    pub(super) const JPEG_TABLES: u16 = 347;
    pub(super) const SUBSAMPLING: u16 = 530;
    pub(super) const PROFILE: u16 = 34_675;
}

/// JPEG compression: each chunk is a JPEG.
const JPEG: u16 = 7;

/// PhotometricInterpretation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Colours {
    /// Whether black is 0 or the maximum.
    Grey {
        is_inverted: bool,
    },
    Palette,
    Rgb,
    Inks,
    YCbCr,
    Lab {
        is_signed: bool,
    },
}

impl Colours {
    fn channels(self) -> usize {
        match self {
            Self::Grey { .. } | Self::Palette => 1,
            Self::Rgb | Self::YCbCr | Self::Lab { .. } => 3,
            Self::Inks => 4,
        }
    }
}

/// ExtraSamples: what alpha means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Alpha {
    None,
    Plain,
    /// Associated: colours are premultiplied.
    Multiplied,
}

/// The layout of an image.
struct Layout<'a> {
    size: Dimensions,
    colours: Colours,
    alpha: Alpha,
    /// SamplesPerPixel.
    samples: usize,
    bits: usize,
    format: Format,
    /// PlanarConfiguration 2: each channel has chunks of its own.
    is_planar: bool,
    /// The width and height of a chunk.
    chunk: (usize, usize),
    across: usize,
    down: usize,
    offsets: Vec<u64>,
    lengths: Vec<u64>,
    subsampling: (usize, usize),
    compression: u16,
    predictor: u16,
    fax_options: u32,
    is_reversed: bool,
    tables: Option<&'a [u8]>,
}

impl<'a> Layout<'a> {
    fn read(file: &File<'a>, size: Dimensions) -> Result<Self, Refusal> {
        let short = |tag, or: u16| file.value(tag).map_or(Ok(or), u16::try_from).map_err(|_| Refusal::Corrupt);
        let samples = usize::from(short(tag::SAMPLES, 1)?);
        let bits = file.numbers(tag::BITS).unwrap_or_else(|| vec![1]);
        let first = *bits.first().ok_or(Refusal::Corrupt)?;
        if bits.iter().take(samples).any(|bits| *bits != first) || samples == 0 {
            return Err(Refusal::Unsupported);
        }
        let format = match short(tag::SAMPLE_FORMAT, 1)? {
            2 => Format::Signed,
            3 => Format::Float,
            1 | 4 => Format::Unsigned,
            _ => return Err(Refusal::Unsupported),
        };
        let bits = usize::try_from(first).map_err(|_| Refusal::Corrupt)?;
        let is_known = match format {
            Format::Unsigned => matches!(bits, 1 | 2 | 4 | 8 | 12 | 16 | 32),
            Format::Signed => matches!(bits, 8 | 16 | 32),
            Format::Float => matches!(bits, 32 | 64),
        };
        let colours = match short(tag::PHOTOMETRIC, 1)? {
            0 => Colours::Grey { is_inverted: true },
            1 => Colours::Grey { is_inverted: false },
            2 => Colours::Rgb,
            3 => Colours::Palette,
            5 if short(tag::INK_SET, 1)? == 1 => Colours::Inks,
            6 => Colours::YCbCr,
            8 => Colours::Lab { is_signed: true },
            9 => Colours::Lab { is_signed: false },
            _ => return Err(Refusal::Unsupported),
        };
        let is_colour_known = match colours {
            Colours::Palette => matches!(bits, 1 | 2 | 4 | 8) && format == Format::Unsigned,
            Colours::YCbCr => bits == 8 && format == Format::Unsigned,
            Colours::Lab { .. } => matches!(bits, 8 | 16) && format != Format::Float,
            Colours::Inks => matches!(bits, 8 | 16) && format == Format::Unsigned,
            Colours::Grey { .. } | Colours::Rgb => true,
        };
        let channels = colours.channels();
        if !is_known || !is_colour_known || samples < channels {
            return Err(Refusal::Unsupported);
        }
        let alpha = match file.value(tag::EXTRA_SAMPLES) {
            _ if samples == channels || colours == Colours::Palette => Alpha::None,
            Some(1) => Alpha::Multiplied,
            Some(2) => Alpha::Plain,
            // Encoders that do not declare a fourth sample of RGB mean alpha.
            None if colours == Colours::Rgb => Alpha::Plain,
            _ => Alpha::None,
        };
        let compression = short(tag::COMPRESSION, 1)?;
        let side = |tag| file.value(tag).map(|side| usize::try_from(side).unwrap_or(usize::MAX));
        let (width, height) = (size.width as usize, size.height as usize);
        let is_tiled = file.value(tag::TILE_OFFSETS).is_some();
        let (chunk, offsets, lengths) = if is_tiled {
            let tile = (side(tag::TILE_WIDTH), side(tag::TILE_HEIGHT));
            (tile, file.numbers(tag::TILE_OFFSETS), file.numbers(tag::TILE_LENGTHS))
        } else {
            let rows = side(tag::ROWS_PER_STRIP).unwrap_or(height).clamp(0, height);
            ((Some(width), Some(rows)), file.numbers(tag::STRIP_OFFSETS), file.numbers(tag::STRIP_LENGTHS))
        };
        let (Some(chunk_width), Some(chunk_height)) = chunk else { return Err(Refusal::Corrupt) };
        let most = limits::MAX_SIDE as usize;
        if !(1..=most).contains(&chunk_width) || !(1..=most).contains(&chunk_height) {
            return Err(Refusal::Corrupt);
        }
        // A tile may exceed the image, by up to the sizes that tiles have.
        let tile = u64::try_from(chunk_width * chunk_height * samples * bits.div_ceil(8)).unwrap_or(u64::MAX);
        if tile > limits::MAX_FRAME_BYTES {
            return Err(Refusal::TooManyPixels { width: size.width, height: size.height });
        }
        let subsampling = match file.numbers(tag::SUBSAMPLING).as_deref() {
            Some(&[across, down, ..]) if colours == Colours::YCbCr => {
                let factor = |factor| match factor {
                    1 | 2 | 4 => usize::try_from(factor).map_err(|_| Refusal::Corrupt),
                    _ => Err(Refusal::Unsupported),
                };
                (factor(across)?, factor(down)?)
            }
            None if colours == Colours::YCbCr => (2, 2),
            _ => (1, 1),
        };
        Ok(Self {
            size,
            colours,
            alpha,
            samples,
            bits,
            format,
            is_planar: short(tag::PLANES, 1)? == 2 && samples > 1,
            chunk: (chunk_width, chunk_height),
            across: width.div_ceil(chunk_width),
            down: height.div_ceil(chunk_height),
            offsets: offsets.ok_or(Refusal::Corrupt)?,
            lengths: lengths.unwrap_or_default(),
            subsampling,
            compression,
            predictor: short(tag::PREDICTOR, 1)?,
            fax_options: file.value(tag::FAX_OPTIONS).and_then(|bits| u32::try_from(bits).ok()).unwrap_or_default(),
            is_reversed: file.value(tag::FILL_ORDER) == Some(2),
            tables: file.bytes(tag::JPEG_TABLES),
        })
    }

    fn has_alpha(&self) -> bool {
        self.alpha != Alpha::None
    }

    /// The samples of a pixel that are used.
    fn used(&self) -> usize {
        self.colours.channels() + usize::from(self.has_alpha())
    }

    fn is_deep(&self) -> bool {
        self.bits > 8
    }

    /// The layout of a chunk's rows.
    fn chunk(&self, file: &File<'_>, height: usize) -> Chunk<'a> {
        Chunk {
            width: self.chunk.0,
            height,
            samples: if self.is_planar { 1 } else { self.samples },
            bits: self.bits,
            format: self.format,
            is_little: file.is_little(),
            compression: self.compression,
            predictor: self.predictor,
            fax_options: self.fax_options,
            is_reversed: self.is_reversed,
            tables: self.tables,
            subsampling: if self.is_planar { (1, 1) } else { self.subsampling },
        }
    }
}

/// The memory that decoding and scaling take, by the directory.
pub(super) fn need(original: &[u8], stored: Dimensions, wanted: Dimensions) -> u64 {
    let layout = File::open(original).and_then(|file| Layout::read(&file, stored).ok());
    // A refused image takes nothing.
    layout.map_or(0, |layout| {
        let (used, sample) = (layout.used() as u64, if layout.is_deep() { 2 } else { 1 });
        let frames = match layout.colours {
            // CMYK of 8 bits, converted, and with alpha again.
            Colours::Inks => 3,
            // And as RGB.
            Colours::Palette => 4,
            Colours::Grey { .. } | Colours::Rgb | Colours::YCbCr | Colours::Lab { .. } => 1,
        };
        // A chunk after decompression, and its samples if they are not the same.
        let per_sample = match (layout.format, layout.bits) {
            (Format::Unsigned, 8) if layout.compression != JPEG => 1,
            (Format::Unsigned, ..=8) => 2,
            (_, bits) => bits.div_ceil(8) as u64 + 6,
        };
        let chunk = (layout.chunk.0 * layout.chunk.1 * layout.samples) as u64 * per_sample;
        stored.pixels() * used * sample * frames + chunk + need::whole(stored, wanted, used, layout.is_deep())
    })
}

pub(super) fn decode(original: &[u8], stored: Dimensions) -> Result<Decoded, Refusal> {
    match source(original, stored)? {
        Source::Pixels(decoded) | Source::Small(decoded) => Ok(decoded),
        Source::Inks(inks, profile) => Ok(Decoded::new(profile.to_srgb(&inks.into_rgba8()).into(), None)),
        Source::Planes(_) => Err(Refusal::Unsupported),
    }
}

pub(super) fn source(original: &[u8], stored: Dimensions) -> Result<Source, Refusal> {
    let file = File::open(original).ok_or(Refusal::Corrupt)?;
    let layout = Layout::read(&file, stored)?;
    let samples = if layout.is_deep() { 2 } else { 1 };
    let per_pixel = u8::try_from(layout.used() * samples).map_err(|_| Refusal::Unsupported)?;
    limits::frame_bytes(stored, per_pixel)?;
    let profile = file.bytes(tag::PROFILE).filter(|profile| profile.len() <= limits::MAX_PROFILE_BYTES);
    if layout.is_deep() {
        let frame = frame::<u16>(&file, &layout)?;
        finished(&layout, frame, profile, &file)
    } else {
        let frame = frame::<u8>(&file, &layout)?;
        finished(&layout, frame, profile, &file)
    }
}

/// A sample of a frame.
trait Sample: image::Primitive + Into<u32> {
    const MOST: u32;

    fn of(value: u32) -> Self;

    /// From a fraction of the maximum, 0 to 1.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of 16 bits is of 16 bits")]
    fn share(share: f64) -> Self {
        Self::of((share.clamp(0.0, 1.0) * f64::from(Self::MOST)).round() as u32)
    }

    fn take(samples: Samples<'_>, at: usize) -> Self;
}

impl Sample for u8 {
    const MOST: u32 = u8::MAX as u32;

    fn of(value: u32) -> Self {
        Self::try_from(value).unwrap_or(Self::MAX)
    }

    fn take(samples: Samples<'_>, at: usize) -> Self {
        samples.eight(at)
    }
}

impl Sample for u16 {
    const MOST: u32 = u16::MAX as u32;

    fn of(value: u32) -> Self {
        Self::try_from(value).unwrap_or(Self::MAX)
    }

    fn take(samples: Samples<'_>, at: usize) -> Self {
        samples.sixteen(at)
    }
}

/// The used samples of all chunks that are there, pixel by pixel.
fn frame<S: Sample>(file: &File<'_>, layout: &Layout<'_>) -> Result<Vec<S>, Refusal> {
    let (width, height) = (layout.size.width as usize, layout.size.height as usize);
    let used = layout.used();
    let mut frame = vec![S::DEFAULT_MIN_VALUE; width * height * used];
    let per_plane = layout.across * layout.down;
    let planes = if layout.is_planar { used } else { 1 };
    let (mut shown, mut refused) = (0, None);
    for number in 0..per_plane * planes {
        let (plane, place) = (number / per_plane, number % per_plane);
        let (left, top) = (place % layout.across * layout.chunk.0, place / layout.across * layout.chunk.1);
        // The last strip ends with the image; a tile does not.
        let is_strip = layout.across == 1 && layout.chunk.0 == width;
        let rows = if is_strip { layout.chunk.1.min(height - top) } else { layout.chunk.1 };
        let Some(offset) = layout.offsets.get(number) else { continue };
        let length = layout.lengths.get(number).copied().unwrap_or(u64::MAX);
        let chunk = layout.chunk(file, rows);
        let decoded = match chunk.decode(file.at(*offset, length)) {
            Ok(decoded) => decoded,
            Err(refusal) => {
                refused = Some(refusal);
                continue;
            }
        };
        shown += 1;
        let samples = decoded.samples();
        for y in 0..rows.min(height - top) {
            for x in 0..layout.chunk.0.min(width - left) {
                let from = (y * layout.chunk.0 + x) * chunk.samples;
                let to = ((top + y) * width + left + x) * used;
                if layout.is_planar {
                    frame[to + plane] = S::take(samples, from);
                } else {
                    for channel in 0..used {
                        frame[to + channel] = S::take(samples, from + channel);
                    }
                }
            }
        }
    }
    if shown == 0 { Err(refused.unwrap_or(Refusal::Corrupt)) } else { Ok(frame) }
}

/// Converts the colours of a frame.
fn finished<S: Sample>(
    layout: &Layout<'_>,
    mut frame: Vec<S>,
    profile: Option<&[u8]>,
    file: &File<'_>,
) -> Result<Source, Refusal>
where
    Pixels<S>: Into<DynamicImage>,
{
    let used = layout.used();
    let colours = layout.colours.channels();
    if layout.alpha == Alpha::Multiplied {
        for pixel in frame.chunks_exact_mut(used) {
            let alpha: u32 = pixel[colours].into();
            for sample in &mut pixel[..colours] {
                let value: u32 = (*sample).into();
                if alpha > 0 {
                    let divided = (u64::from(value) * u64::from(S::MOST) + u64::from(alpha / 2)) / u64::from(alpha);
                    *sample = S::of(u32::try_from(divided).unwrap_or(S::MOST).min(S::MOST));
                }
            }
        }
    }
    let Dimensions { width, height } = layout.size;
    let profile = profile.map(<[u8]>::to_vec);
    let pixels = |channels: usize, samples: Vec<S>| Pixels { width, height, channels, samples };
    let decoded = |pixels: Pixels<S>, profile| Ok(Source::Pixels(Decoded::new(pixels.into(), profile)));
    match layout.colours {
        Colours::Grey { is_inverted } => {
            // The maximum is that of the depth; low depths are expanded already.
            if is_inverted {
                for pixel in frame.chunks_exact_mut(used) {
                    pixel[0] = S::of(S::MOST - pixel[0].into());
                }
            }
            decoded(pixels(used, frame), profile)
        }
        Colours::Rgb => decoded(pixels(used, frame), profile),
        Colours::Palette => {
            let palette = file.numbers(tag::PALETTE).ok_or(Refusal::Corrupt)?;
            let count = palette.len() / 3;
            // Some encoders write 8-bit values where 16 are specified.
            let is_narrow = palette.iter().all(|value| *value < 256);
            let sample = |value: u64| u32::try_from(if is_narrow { value } else { value >> 8 }).unwrap_or_default();
            let most = (1_u32 << layout.bits) - 1;
            let mut rgb = Vec::with_capacity(frame.len() * 3);
            for index in frame {
                // Indices were expanded like samples.
                let index = (index.into() * most / S::MOST) as usize;
                for plane in 0..3 {
                    let value = palette.get(plane * count + index).copied().unwrap_or_default();
                    rgb.push(S::of(sample(value)));
                }
            }
            decoded(pixels(3, rgb), profile)
        }
        Colours::YCbCr => {
            for pixel in frame.chunks_exact_mut(used) {
                let [luma, blue, red] = [0, 1, 2].map(|at| u8::try_from(pixel[at].into()).unwrap_or(u8::MAX));
                let rgb = crate::render::colour::pixel_from_ycbcr(luma, blue, red);
                for (sample, value) in pixel.iter_mut().zip(rgb) {
                    *sample = S::of(value.into());
                }
            }
            decoded(pixels(used, frame), profile)
        }
        Colours::Lab { is_signed } => {
            for pixel in frame.chunks_exact_mut(used) {
                let share = |at: usize| f64::from(pixel[at].into()) / f64::from(S::MOST);
                // Signed samples of 8 and 16 bits, unchanged.
                let axis = |at: usize| {
                    let steps = share(at) * 255.0;
                    if is_signed && steps >= 128.0 {
                        steps - 256.0
                    } else if is_signed {
                        steps
                    } else {
                        steps - 128.0
                    }
                };
                let rgb = srgb_from_lab(share(0) * 100.0, axis(1), axis(2));
                for (sample, value) in pixel.iter_mut().zip(rgb) {
                    *sample = S::share(value);
                }
            }
            decoded(pixels(used, frame), None)
        }
        Colours::Inks => Ok(inks(layout, &frame, profile.as_deref())),
    }
}

/// CMYK with a profile is converted after scaling; without one, or with alpha, at once.
fn inks<S: Sample>(layout: &Layout<'_>, frame: &[S], profile: Option<&[u8]>) -> Source {
    let Dimensions { width, height } = layout.size;
    let used = layout.used();
    let eight = |sample: S| u8::try_from(sample.into() * 255 / S::MOST).unwrap_or(u8::MAX);
    let profile = profile.and_then(Inks::from);
    let mut four = RgbaImage::new(width, height);
    for (to, from) in four.pixels_mut().zip(frame.chunks_exact(used)) {
        to.0 = [0, 1, 2, 3].map(|at| eight(from[at]));
    }
    match (profile, layout.has_alpha()) {
        (Some(profile), false) => Source::Inks(four.into(), profile),
        (profile, has_alpha) => {
            let rgb = match profile {
                Some(profile) => profile.to_srgb(&four).into_raw(),
                None => four.as_chunks::<4>().0.iter().flat_map(|inks| plainly(*inks)).collect(),
            };
            drop(four);
            let channels = if has_alpha { 4 } else { 3 };
            let mut samples = Vec::with_capacity(rgb.len() / 3 * channels);
            for (pixel, from) in rgb.as_chunks::<3>().0.iter().zip(frame.chunks_exact(used)) {
                samples.extend_from_slice(pixel);
                if has_alpha {
                    samples.push(eight(from[4]));
                }
            }
            let pixels: DynamicImage = Pixels { width, height, channels, samples }.into();
            Source::Pixels(Decoded::new(pixels, None))
        }
    }
}

/// RGB of CMYK without a profile.
fn plainly([cyan, magenta, yellow, black]: [u8; 4]) -> [u8; 3] {
    [cyan, magenta, yellow].map(|ink| {
        let light = u32::from(255 - ink) * u32::from(255 - black);
        u8::try_from((light + 127) / 255).unwrap_or(u8::MAX)
    })
}

/// CIELAB under D50, as TIFF has it, adapted to D65.
fn srgb_from_lab(lightness: f64, a: f64, b: f64) -> [f64; 3] {
    const D50: [f64; 3] = [0.9642, 1.0, 0.8249];
    /// From XYZ under D50 to linear sRGB, by Bradford adaptation.
    const MATRIX: [[f64; 3]; 3] = [
        [3.133_856_1, -1.616_866_7, -0.490_614_6],
        [-0.978_768_4, 1.916_141_5, 0.033_454_0],
        [0.071_945_3, -0.228_991_4, 1.405_242_7],
    ];

    let y = (lightness + 16.0) / 116.0;
    let back = |t: f64| if t > 6.0 / 29.0 { t.powi(3) } else { 3.0 * (6.0_f64 / 29.0).powi(2) * (t - 4.0 / 29.0) };
    let xyz = [back(y + a / 500.0) * D50[0], back(y) * D50[1], back(y - b / 200.0) * D50[2]];
    MATRIX.map(|row| {
        let linear: f64 = row.iter().zip(xyz).map(|(factor, value)| factor * value).sum();
        let linear = linear.clamp(0.0, 1.0);
        if linear <= 0.003_130_8 { linear * 12.92 } else { 1.055 * linear.powf(1.0 / 2.4) - 0.055 }
    })
}

/// Samples of a frame.
struct Pixels<S> {
    width: u32,
    height: u32,
    channels: usize,
    samples: Vec<S>,
}

/// The length is right: there is one sample for each channel of each pixel.
const FILLED: &str = "there is one sample for each channel of each pixel";

impl From<Pixels<u8>> for DynamicImage {
    fn from(Pixels { width, height, channels, samples }: Pixels<u8>) -> Self {
        match channels {
            1 => image::GrayImage::from_raw(width, height, samples).expect(FILLED).into(),
            2 => ImageBuffer::<LumaA<u8>, _>::from_raw(width, height, samples).expect(FILLED).into(),
            3 => image::RgbImage::from_raw(width, height, samples).expect(FILLED).into(),
            _ => RgbaImage::from_raw(width, height, samples).expect(FILLED).into(),
        }
    }
}

impl From<Pixels<u16>> for DynamicImage {
    fn from(Pixels { width, height, channels, samples }: Pixels<u16>) -> Self {
        match channels {
            1 => ImageBuffer::<image::Luma<u16>, _>::from_raw(width, height, samples).expect(FILLED).into(),
            2 => ImageBuffer::<LumaA<u16>, _>::from_raw(width, height, samples).expect(FILLED).into(),
            3 => ImageBuffer::<Rgb<u16>, _>::from_raw(width, height, samples).expect(FILLED).into(),
            _ => ImageBuffer::<Rgba<u16>, _>::from_raw(width, height, samples).expect(FILLED).into(),
        }
    }
}
