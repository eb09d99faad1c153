//! JPEG: baseline and progressive, grey, YCbCr, RGB, CMYK and YCCK.
//!
//! Most variants are much smaller than their original, so [`decode_planes`] decodes grey and YCbCr at the smallest n/8 that
//! the variant needs, with `xfiles_jpeg`. Other colours and damaged files are decoded whole by zune-jpeg: [`decode`].

use std::borrow::Cow;

use image::{DynamicImage, GrayImage, RgbImage, RgbaImage};
use xfiles_core::sniff::Dimensions;
pub(super) use xfiles_jpeg::decode::Scales;
use xfiles_jpeg::{
    CodingProcess, Input, Size,
    decode::{self, FirstScan, Header, Options, Scale},
};
use zune_jpeg::{
    JpegDecoder,
    errors::DecodeErrors,
    zune_core::{bytestream::ZCursor, colorspace::ColorSpace, options::DecoderOptions},
};

use super::Decoded;
use crate::render::{
    Refusal,
    colour::{self, Inks},
    deadline::Deadline,
    limits::{self, MAX_PROFILE_BYTES, MAX_SCANS, MAX_SIDE},
    need,
    original::Original,
    planes::{Planar, Plane, Range},
    retreat,
};

impl Input for Original<'_> {
    fn up_to(&mut self, length: usize) -> &[u8] {
        Original::up_to(self, length)
    }
}

fn size(stored: Dimensions) -> Size {
    Size { width: stored.width, height: stored.height }
}

/// Decodes to grey or RGB. A file that ends early shows what arrived and grey below it, as in a browser.
///
/// CMYK is taken as Adobe writes it, inverted, and converted without its profile.
pub(super) fn decode(original: &[u8], stored: Dimensions) -> Result<Decoded, Refusal> {
    limits::admit(stored)?;
    let original = without_contradicted_adobe(original);
    let mut decoder = opened(&original)?;
    let info = decoder.info().ok_or(Refusal::Corrupt)?;
    if (u32::from(info.width), u32::from(info.height)) != (stored.width, stored.height) {
        return Err(Refusal::Corrupt);
    }

    let profile = decoder.icc_profile();
    let is_grey = decoder.input_colorspace() == Some(ColorSpace::Luma);
    let (colours, channels) = if is_grey { (ColorSpace::Luma, 1) } else { (ColorSpace::RGB, 3) };
    decoder.set_options(options().jpeg_set_out_colorspace(colours));
    let mut samples = vec![0; limits::frame_bytes(stored, channels)?];
    decoder.decode_into(&mut samples).map_err(|error| refusal(&error))?;

    let Dimensions { width, height } = stored;
    let pixels = if is_grey {
        GrayImage::from_raw(width, height, samples).map(DynamicImage::from)
    } else {
        RgbImage::from_raw(width, height, samples).map(DynamicImage::from)
    };
    Ok(Decoded::new(pixels.expect("there is one sample for each channel of each pixel"), profile))
}

/// Decodes CMYK and YCCK to inks, if the file has a profile for them.
pub(super) fn inks(original: &[u8], stored: Dimensions) -> Option<(RgbaImage, Inks)> {
    limits::admit(stored).ok()?;
    let mut decoder = opened(original).ok()?;
    let colours = decoder.input_colorspace().filter(|it| matches!(it, ColorSpace::CMYK | ColorSpace::YCCK))?;
    let info = decoder.info().filter(|it| (u32::from(it.width), u32::from(it.height)) == (stored.width, stored.height));
    let profile = info.and_then(|_| decoder.icc_profile()).and_then(|profile| Inks::from(&profile))?;
    decoder.set_options(options().jpeg_set_out_colorspace(colours));
    let mut samples = vec![0; limits::frame_bytes(stored, 4).ok()?];
    decoder.decode_into(&mut samples).ok()?;
    for inks in samples.as_chunks_mut::<4>().0 {
        let [first, second, third, black] = *inks;
        let [cyan, magenta, yellow] = match colours {
            // The stored inks are inverted, so the conversion from YCbCr to RGB yields CMY.
            ColorSpace::YCCK => colour::pixel_from_ycbcr(first, second, third),
            _ => [first, second, third].map(|stored| 255 - stored),
        };
        *inks = [cyan, magenta, yellow, 255 - black];
    }
    Some((RgbaImage::from_raw(stored.width, stored.height, samples)?, profile))
}

/// The smallest scales that are enough for a variant of the size `wanted`, with chroma at half the size or at the full
/// size.
pub(super) fn scales(stored: Dimensions, wanted: Dimensions, has_half_colours: bool) -> Scales {
    let has_enough = |scale: Scale, tenths: u64| {
        let side = |side: u32| u64::from(side) * scale.side() as u64 * 10 / 8;
        side(stored.width) >= u64::from(wanted.width) * tenths
            && side(stored.height) >= u64::from(wanted.height) * tenths
    };
    // Lanczos needs 1.5 samples for each pixel to look right. DC coefficients are so much cheaper, of progressive files
    // most of all, that 1.2 samples have to do at one eighth.
    let tenths = |scale| match scale {
        Scale::Eighth => 12,
        Scale::Quarter | Scale::ThreeEighths | Scale::Half => 15,
        Scale::Full => 10,
    };
    let scale = Scale::ALL.into_iter().find(|scale| has_enough(*scale, tenths(*scale))).unwrap_or(Scale::Full);
    // An image that is too large to be held is decoded at half its size at most.
    let scale = if limits::admit(stored).is_ok() { scale } else { scale.at_most_half() };
    if has_half_colours { Scales::uniform(scale) } else { Scales::with_full_chroma(scale) }
}

/// The memory that [`decode_planes`] and resizing its planes take.
pub(super) fn planes_need(original: &mut Original<'_>, stored: Dimensions, wanted: Dimensions, scales: Scales) -> u64 {
    let channels = 3;
    let streaming = need::streaming(stored, wanted, 1) + need::small(wanted);
    decode::memory(original, size(stored), scales).unwrap_or(stored.pixels() * channels) + streaming
}

/// The memory that [`decode`] and resizing its result take.
pub(super) fn whole_need(original: &mut Original<'_>, stored: Dimensions, wanted: Dimensions) -> u64 {
    let is_progressive = FirstScan::find(original).is_some_and(|it| it.process == CodingProcess::Progressive);
    // Four channels, and all coefficients of a progressive image.
    let per_pixel = if is_progressive { 4 + 8 } else { 4 };
    stored.pixels() * per_pixel + u64::from(stored.width) * 512 + need::whole(stored, wanted, 4, false)
}

/// Decodes at these scales. `None` if the file has other colours than grey and YCbCr, or is damaged, and at the deadline.
pub(super) fn decode_planes(
    original: &mut Original<'_>,
    stored: Dimensions,
    scales: Scales,
    deadline: Deadline,
) -> Option<Planar> {
    if retreat::JPEG_DECODER {
        return None;
    }
    let header = Header::read(original).filter(Header::is_grey_or_ycbcr)?;
    let profile = header.into_icc_profile(MAX_PROFILE_BYTES);
    let options = Options { scales, max_scans: MAX_SCANS, stop: &|| deadline.is_past() };
    let planes = decode::decode(original, size(stored), &options)?;
    let planes = planes.into_iter().map(|it| Plane::new(it.samples, it.stride, it.covers)).collect();
    Some(Planar { planes, range: Range::Full, profile })
}

/// Whether [`decode_planes`] decodes the image without holding more than the scaled planes.
pub(super) fn walks(original: &mut Original<'_>) -> bool {
    !retreat::JPEG_DECODER && FirstScan::find(original).is_some_and(|it| it.process.is_sequential())
}

/// The file without an Adobe segment that zune-jpeg would believe although JFIF decides.
fn without_contradicted_adobe(original: &[u8]) -> Cow<'_, [u8]> {
    let mut input = original;
    match Header::read(&mut input).and_then(|header| header.contradicted_adobe()) {
        Some(at) => {
            let mut changed = original.to_vec();
            changed[at] = b'-';
            Cow::Owned(changed)
        }
        None => Cow::Borrowed(original),
    }
}

/// The position of the first entropy-coded byte, or 0 if there is no scan.
pub(super) fn start(original: &mut Original<'_>) -> usize {
    FirstScan::find(original).map_or(0, |it| it.position)
}

/// A decoder that has read the headers.
fn opened(original: &[u8]) -> Result<JpegDecoder<ZCursor<&[u8]>>, Refusal> {
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(original), options());
    decoder.decode_headers().map_err(|error| refusal(&error))?;
    Ok(decoder)
}

fn options() -> DecoderOptions {
    let max_side = usize::try_from(MAX_SIDE).expect("a side is within 16 bits");
    DecoderOptions::default()
        .set_strict_mode(false)
        .set_max_width(max_side)
        .set_max_height(max_side)
        .jpeg_set_max_scans(MAX_SCANS)
}

fn refusal(error: &DecodeErrors) -> Refusal {
    match error {
        DecodeErrors::Unsupported(_) => Refusal::Unsupported,
        _ => Refusal::Corrupt,
    }
}
