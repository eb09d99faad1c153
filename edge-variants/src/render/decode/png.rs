//! PNG of every depth, interlaced or not, and as much of a damaged file as is there.
//!
//! A large 16-bit image is never held: its rows are scaled as they are decoded. The frame alone would take eight bytes
//! for each pixel, and as much again to multiply by alpha.

use std::io::Cursor;

use image::{DynamicImage, ImageBuffer, Pixel, Primitive};
use moxcms::{Chromaticity, ColorPrimaries, ColorProfile, ToneReprCurve, curve_from_gamma};
use png::{BitDepth, ColorType, Decoder, DecodingError, Info, InterlaceInfo, Limits, Reader, Transformations};
use xfiles_core::sniff::Dimensions;

use super::Decoded;
use crate::render::{
    Refusal, colour,
    deadline::Deadline,
    limits::{self, MAX_SCRATCH_BYTES},
    resample::{Levels, Plan, Shrinker, Side},
    resize,
};

const SIGNATURE: &[u8; 8] = b"\x89PNG\r\n\x1A\n";

/// 16-bit frames with more bytes than this are scaled row by row.
const STREAMED_FROM: u64 = 32 << 20;

/// The bits of a 16-bit sample that the streaming resampler takes, whose result has 8.
const STREAMED_BITS: u32 = 12;

/// Rows between two checks of the deadline.
const ROWS_BETWEEN_LOOKS: usize = 64;

/// What IHDR says about pixels.
#[derive(Clone, Copy)]
pub(super) struct Shape {
    pub channels: u64,
    pub is_deep: bool,
    pub is_interlaced: bool,
}

impl Shape {
    /// `None` if the file ends before it. A palette may have alpha, and so may any image, by a tRNS chunk.
    pub(super) fn of(original: &[u8]) -> Option<Self> {
        let &[depth, colours, _, _, interlace] = original.get(24..)?.first_chunk()?;
        let has_key = || chunks(original).take_while(|(name, _)| name != b"IDAT").any(|(name, _)| name == *b"tRNS");
        let channels = match colours {
            0 => 1 + u64::from(has_key()),
            2 => 3 + u64::from(has_key()),
            3 => 3 + u64::from(has_key()),
            4 => 2,
            _ => 4,
        };
        Some(Self { channels, is_deep: depth == 16, is_interlaced: interlace == 1 })
    }

    pub(super) fn bytes_per_pixel(self) -> u64 {
        if self.is_deep { self.channels * 2 } else { self.channels }
    }

    /// Whether an image of this size is scaled while it is decoded.
    pub(super) fn is_streamed(self, stored: Dimensions) -> bool {
        self.is_deep && !self.is_interlaced && stored.pixels() * self.bytes_per_pixel() > STREAMED_FROM
    }

    /// Whether an image of this size is reduced to 8 bits while it is decoded: interlaced rows do not come in the order
    /// that scaling needs.
    fn is_halved(self, stored: Dimensions) -> bool {
        self.is_deep && self.is_interlaced && stored.pixels() * self.bytes_per_pixel() > STREAMED_FROM
    }

    /// Bytes for each pixel of the frame that is held.
    pub(super) fn held_per_pixel(self, stored: Dimensions) -> u64 {
        if self.is_halved(stored) { self.channels } else { self.bytes_per_pixel() }
    }
}

/// The default image, if the file is animated.
pub(super) fn decode(original: &[u8], stored: Dimensions) -> Result<Decoded, Refusal> {
    let shape = Shape::of(original).ok_or(Refusal::Corrupt)?;
    let extra = if shape.is_halved(stored) { Transformations::STRIP_16 } else { Transformations::IDENTITY };
    let opened = opened(original, stored, extra)?;
    let profile = profile(opened.reader.info())?;
    let (colours, depth) = opened.reader.output_color_type();
    let pixels = match (colours, depth) {
        (ColorType::Grayscale, BitDepth::Sixteen) => deep::<image::Luma<u16>>(opened, stored)?,
        (ColorType::GrayscaleAlpha, BitDepth::Sixteen) => deep::<image::LumaA<u16>>(opened, stored)?,
        (ColorType::Rgb, BitDepth::Sixteen) => deep::<image::Rgb<u16>>(opened, stored)?,
        (ColorType::Rgba, BitDepth::Sixteen) => deep::<image::Rgba<u16>>(opened, stored)?,
        (ColorType::Grayscale, _) => shallow::<image::Luma<u8>>(opened, stored)?,
        (ColorType::GrayscaleAlpha, _) => shallow::<image::LumaA<u8>>(opened, stored)?,
        (ColorType::Rgb, _) => shallow::<image::Rgb<u8>>(opened, stored)?,
        (ColorType::Rgba, _) => shallow::<image::Rgba<u8>>(opened, stored)?,
        // Palettes and low depths are expanded.
        (ColorType::Indexed, _) => return Err(Refusal::Unsupported),
    };
    Ok(Decoded::new(pixels, profile))
}

/// Decodes a large 16-bit image and scales it meanwhile.
pub(super) fn shrink(
    original: &[u8],
    stored: Dimensions,
    wanted: Dimensions,
    deadline: Deadline,
) -> Result<Decoded, Refusal> {
    let Opened { mut reader, .. } = opened(original, stored, Transformations::IDENTITY)?;
    let profile = profile(reader.info())?;
    let channels = reader.output_color_type().0.samples();
    let (width, height) = (stored.width as usize, stored.height as usize);
    let plan = Plan::new(
        Side::whole(width, wanted.width as usize),
        Side::whole(height, wanted.height as usize),
        channels,
        Levels::WHITE_OF_12_BITS,
    );
    let mut shrinker = Shrinker::new(&plan);
    let mut bytes = vec![0; reader.output_line_size(stored.width).ok_or(Refusal::Corrupt)?];
    let mut samples = vec![0_u16; width * channels];
    let mut is_opaque = true;
    for y in 0..height {
        if y % ROWS_BETWEEN_LOOKS == 0 {
            deadline.check()?;
        }
        match reader.read_row(&mut bytes) {
            Ok(_) => {
                for (sample, bytes) in samples.iter_mut().zip(bytes.as_chunks::<2>().0) {
                    *sample = u16::from_be_bytes(*bytes);
                }
            }
            Err(_) if y == 0 => return Err(Refusal::Corrupt),
            // Missing pixels are transparent, or white without an alpha channel, as in browsers.
            Err(_) if matches!(channels, 2 | 4) => samples.fill(0),
            Err(_) => samples.fill(u16::MAX),
        }
        is_opaque &= match channels {
            2 => weigh::<2>(&mut samples),
            4 => weigh::<4>(&mut samples),
            _ => true,
        };
        samples.iter_mut().for_each(|sample| *sample >>= 16 - STREAMED_BITS);
        shrinker.push_words(&samples, STREAMED_BITS);
    }
    let Dimensions { width, height } = wanted;
    let small = resize::from_weighted(shrinker.finish(), width, height, channels);
    let small = small.expect("the plan yields a sample for each channel of each pixel");
    Ok(Decoded::new(if is_opaque { resize::without_alpha(small) } else { small }, profile))
}

/// Multiplies colours by alpha, the last channel. Returns whether all of it is opaque.
fn weigh<const CHANNELS: usize>(samples: &mut [u16]) -> bool {
    let mut is_opaque = true;
    for pixel in samples.as_chunks_mut::<CHANNELS>().0 {
        let alpha = u32::from(pixel[CHANNELS - 1]);
        if alpha == u32::from(u16::MAX) {
            continue;
        }
        is_opaque = false;
        for sample in &mut pixel[..CHANNELS - 1] {
            let product = u32::from(*sample) * alpha + u32::from(u16::MAX) / 2;
            *sample = u16::try_from(product / u32::from(u16::MAX)).expect("a share of 16 bits is of 16 bits");
        }
    }
    is_opaque
}

/// A decoder that has read everything before the pixels.
struct Opened<'a> {
    reader: Reader<Cursor<&'a [u8]>>,
    original: &'a [u8],
    extra: Transformations,
}

/// A damaged file is read again without its ancillary chunks.
fn opened(original: &[u8], stored: Dimensions, extra: Transformations) -> Result<Opened<'_>, Refusal> {
    let reader = reader(original, extra).map_err(|error| match error {
        DecodingError::LimitsExceeded => Refusal::TooManyPixels { width: stored.width, height: stored.height },
        DecodingError::IoError(_) | DecodingError::Format(_) | DecodingError::Parameter(_) => Refusal::Corrupt,
    })?;
    let info = reader.info();
    // A first frame that does not cover the canvas.
    let is_whole = info.frame_control.is_none_or(|frame| (frame.width, frame.height) == info.size());
    if info.size() != (stored.width, stored.height) || !is_whole {
        return Err(Refusal::Corrupt);
    }
    Ok(Opened { reader, original, extra })
}

fn reader(original: &[u8], extra: Transformations) -> Result<Reader<Cursor<&[u8]>>, DecodingError> {
    let limits = Limits { bytes: usize::try_from(MAX_SCRATCH_BYTES).unwrap_or(usize::MAX) };
    let mut decoder = Decoder::new_with_limits(Cursor::new(original), limits);
    decoder.set_ignore_text_chunk(true);
    // Wrong checksums are ignored.
    decoder.ignore_checksums(true);
    decoder.set_transformations(Transformations::EXPAND | extra);
    decoder.read_info()
}

fn shallow<P: Pixel<Subpixel = u8>>(opened: Opened<'_>, stored: Dimensions) -> Result<DynamicImage, Refusal>
where
    DynamicImage: From<ImageBuffer<P, Vec<u8>>>,
{
    let mut samples = vec![0; limits::frame_bytes(stored, P::CHANNEL_COUNT)?];
    let stride = stored.width as usize * usize::from(P::CHANNEL_COUNT);
    let rows = read_frame(opened, &mut samples, stride)?;
    let whole = ImageBuffer::<P, _>::from_raw(stored.width, stored.height, samples);
    Ok(cut(whole.expect("there is one sample for each channel of each pixel").into(), rows))
}

fn deep<P: Pixel<Subpixel = u16>>(opened: Opened<'_>, stored: Dimensions) -> Result<DynamicImage, Refusal>
where
    DynamicImage: From<ImageBuffer<P, Vec<u16>>>,
{
    let mut bytes = vec![0; limits::frame_bytes(stored, P::CHANNEL_COUNT * 2)?];
    let rows = read_frame(opened, &mut bytes, stored.width as usize * usize::from(P::CHANNEL_COUNT) * 2)?;
    let samples = bytes.as_chunks::<2>().0.iter().map(|bytes| u16::from_be_bytes(*bytes)).collect();
    drop(bytes);
    let whole = ImageBuffer::<P, _>::from_raw(stored.width, stored.height, samples);
    Ok(cut(whole.expect("there is one sample for each channel of each pixel").into(), rows))
}

/// Reads the rows of a frame as far as they go, and returns their number.
fn read_frame(mut opened: Opened<'_>, frame: &mut [u8], stride: usize) -> Result<usize, Refusal> {
    let height = frame.len() / stride.max(1);
    if !opened.reader.info().interlaced {
        let mut rows = 0;
        for row in frame.chunks_exact_mut(stride) {
            if opened.reader.read_row(row).is_err() {
                break;
            }
            rows += 1;
        }
        return if rows == 0 { Err(Refusal::Corrupt) } else { Ok(rows) };
    }
    let (colours, depth) = opened.reader.output_color_type();
    let bits = u8::try_from(colours.samples() * depth as usize).expect("a pixel has at most 64 bits");
    loop {
        match opened.reader.next_interlaced_row() {
            Ok(Some(row)) => {
                if let InterlaceInfo::Adam7(pass) = row.interlace() {
                    png::expand_interlaced_row(frame, stride, row.data(), pass, bits);
                }
            }
            Ok(None) => return Ok(height),
            Err(_) => break,
        }
    }
    // The interlaced file is cut short. As in browsers, pixels of early passes fill in for those of missing passes.
    let mut again = reader(opened.original, opened.extra).map_err(|_| Refusal::Corrupt)?;
    let mut has_any = false;
    while let Ok(Some(row)) = again.next_interlaced_row() {
        if let InterlaceInfo::Adam7(pass) = row.interlace() {
            has_any = true;
            png::splat_interlaced_row(frame, stride, row.data(), pass, bits);
        }
    }
    if has_any { Ok(height) } else { Err(Refusal::Corrupt) }
}

/// An image of which only the first `rows` rows are there: the rest is transparent, as in browsers.
pub(super) fn cut(whole: DynamicImage, rows: usize) -> DynamicImage {
    let height = whole.height() as usize;
    if rows >= height {
        return whole;
    }
    match whole {
        DynamicImage::ImageLuma16(_) | DynamicImage::ImageLumaA16(_) | DynamicImage::ImageRgb16(_) => {
            cleared(&mut whole.into_rgba16(), rows).into()
        }
        DynamicImage::ImageRgba16(mut image) => cleared(&mut image, rows).into(),
        whole => cleared(&mut whole.into_rgba8(), rows).into(),
    }
}

fn cleared<S: Primitive>(
    image: &mut ImageBuffer<image::Rgba<S>, Vec<S>>,
    rows: usize,
) -> ImageBuffer<image::Rgba<S>, Vec<S>>
where
    image::Rgba<S>: Pixel<Subpixel = S>,
{
    let stride = image.width() as usize * 4;
    if let Some(rest) = image.get_mut(rows * stride..) {
        rest.fill(S::DEFAULT_MIN_VALUE);
    }
    std::mem::replace(image, ImageBuffer::new(0, 0))
}

/// The colour profile that the chunks describe. In order of precedence: cICP, iCCP, sRGB, gAMA with cHRM.
fn profile(info: &Info<'_>) -> Result<Option<Vec<u8>>, Refusal> {
    let is_grey = matches!(info.color_type, ColorType::Grayscale | ColorType::GrayscaleAlpha);
    if let Some(codes) = info.coding_independent_code_points.filter(|codes| codes.matrix_coefficients == 0) {
        return colour::of_code_points(codes.color_primaries.into(), codes.transfer_function.into(), is_grey);
    }
    if let Some(profile) = &info.icc_profile {
        return Ok(Some(profile.to_vec()));
    }
    if info.srgb.is_some() {
        return Ok(None);
    }
    Ok(measured(info, is_grey))
}

/// A profile of gAMA and cHRM. `None` if it is close to sRGB.
fn measured(info: &Info<'_>, is_grey: bool) -> Option<Vec<u8>> {
    /// In 1 / 100,000.
    const SRGB: f32 = 45_455.0;
    /// The threshold of libpng.
    const NEAR: f32 = 0.05;
    /// Beyond these values it is ignored.
    const MOST: f32 = 10.0;

    let exponent = info.gama_chunk.map(|gamma| gamma.into_scaled() as f32).filter(|gamma| *gamma > 0.0);
    let exponent = exponent.filter(|gamma| (gamma / SRGB - 1.0).abs() > NEAR).map(|gamma| 100_000.0 / gamma);
    let exponent = exponent.filter(|exponent| (1.0 / MOST..=MOST).contains(exponent));
    if is_grey {
        return ColorProfile::new_gray_with_gamma(exponent?).encode().ok();
    }
    let mut profile = ColorProfile::new_srgb();
    // Otherwise moxcms would prefer the code points to the curves.
    profile.cicp = None;
    let place = |(x, y): (png::ScaledFloat, png::ScaledFloat)| Chromaticity { x: x.into_value(), y: y.into_value() };
    let is_real = |at: &Chromaticity| (0.0..=1.0).contains(&at.x) && (0.001..=1.0).contains(&at.y);
    let primaries = info.chrm_chunk.map(|it| [it.white, it.red, it.green, it.blue].map(place));
    // Viewers ignore primaries without a curve.
    let primaries = primaries.filter(|all| all.iter().all(is_real) && is_triangle(all) && info.gama_chunk.is_some());
    if let Some([white, red, green, blue]) = primaries {
        profile.update_rgb_colorimetry(white.to_xyyb(), ColorPrimaries { red, green, blue });
    }
    if let Some(exponent) = exponent {
        let curve: ToneReprCurve = curve_from_gamma(exponent);
        (profile.red_trc, profile.green_trc, profile.blue_trc) =
            (Some(curve.clone()), Some(curve.clone()), Some(curve));
    }
    if exponent.is_some() || primaries.is_some() { profile.encode().ok() } else { None }
}

/// Whether three chromaticities span an area.
fn is_triangle([_, red, green, blue]: &[Chromaticity; 4]) -> bool {
    let area = (green.x - red.x) * (blue.y - red.y) - (blue.x - red.x) * (green.y - red.y);
    area.abs() > 0.001
}

/// The chunks of a file, by type, as far as they go.
pub(super) fn chunks(original: &[u8]) -> impl Iterator<Item = ([u8; 4], &[u8])> {
    let mut rest = original.get(SIGNATURE.len()..).unwrap_or_default();
    std::iter::from_fn(move || {
        let length = usize::try_from(u32::from_be_bytes(*rest.first_chunk()?)).ok()?;
        let name = *rest.get(4..)?.first_chunk()?;
        let data = rest.get(8..)?;
        let data = data.get(..length).unwrap_or(data);
        rest = length.checked_add(12).and_then(|next| rest.get(next..)).unwrap_or_default();
        Some((name, data))
    })
}

/// Whether the file has PNG's signature.
pub(super) fn is_png(bytes: &[u8]) -> bool {
    bytes.starts_with(SIGNATURE)
}
