//! JPEG: baseline and progressive, grey, YCbCr, RGB, CMYK and YCCK.
//!
//! Most variants are much smaller than their original, so [`decode_planes`] makes no more of grey and YCbCr than they need.
//! What it does not know, the rarer kinds and files that are damaged, [`decode`] makes whole by another decoder.

mod bits;
mod head;
mod huffman;
mod progressive;
mod reduced;
#[cfg(test)]
mod tests;
mod transform;
mod usual;

use std::borrow::Cow;

use image::{DynamicImage, GrayImage, RgbImage, RgbaImage};
use xfiles_core::sniff::Dimensions;
use zune_jpeg::{
    JpegDecoder,
    errors::DecodeErrors,
    zune_core::{bytestream::ZCursor, colorspace::ColorSpace, options::DecoderOptions},
};

use self::reduced::Scale;
pub(super) use self::reduced::Scales;
use super::Decoded;
use crate::render::{
    Refusal,
    colour::{self, Inks},
    deadline::Deadline,
    limits::{self, MAX_SCANS, MAX_SIDE},
    need,
    original::Original,
    planes::{Planar, Range},
};

/// Decodes to grey or RGB. A file that ends early shows what arrived and grey below it, as in a browser.
///
/// CMYK is taken as Adobe writes it, inverted, as every program does, and converted without its profile.
pub(super) fn decode(original: &[u8], stored: Dimensions) -> Result<Decoded, Refusal> {
    limits::admit(stored)?;
    let original = plain(original);
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

/// Decodes CMYK and YCCK to inks, if there is a profile that says what those look like.
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
            // The conversion to red, green and blue leaves the inks, because they are stored inverted.
            ColorSpace::YCCK => colour::pixel_from_ycbcr(first, second, third),
            _ => [first, second, third].map(|stored| 255 - stored),
        };
        *inks = [cyan, magenta, yellow, 255 - black];
    }
    Some((RgbaImage::from_raw(stored.width, stored.height, samples)?, profile))
}

/// The scales at which a picture of the size `wanted`, with half of the colours or with all of them, is made: as few
/// eighths as it needs.
pub(super) fn scales(stored: Dimensions, wanted: Dimensions, has_half_colours: bool) -> Scales {
    let has_enough = |scale: Scale, tenths: u64| {
        let side = |side: u32| u64::from(side) * scale as u64 * 10 / 8;
        side(stored.width) >= u64::from(wanted.width) * tenths
            && side(stored.height) >= u64::from(wanted.height) * tenths
    };
    // One and a half samples to each that is wanted are what Lanczos needs to look right. Means are so much cheaper, of a
    // progressive file above all, that a little more than one will do.
    let tenths = |scale| match scale {
        Scale::Eighth => 12,
        Scale::Quarter | Scale::ThreeEighths | Scale::Half => 15,
        Scale::Whole => 10,
    };
    let scale = Scale::ALL.into_iter().find(|scale| has_enough(*scale, tenths(*scale))).unwrap_or(Scale::Whole);
    // Of what cannot be held there is no more than half.
    let scale = if limits::admit(stored).is_ok() { scale } else { scale.at_most_half() };
    if has_half_colours { Scales::for_halves(scale) } else { Scales::for_pixels(scale) }
}

/// What [`decode_planes`] takes, and making its planes smaller.
pub(super) fn planes_need(original: &mut Original<'_>, stored: Dimensions, wanted: Dimensions, scales: Scales) -> u64 {
    let channels = 3;
    let streaming = need::streaming(stored, wanted, 1) + need::small(wanted);
    reduced::need(original, stored, scales).unwrap_or(stored.pixels() * channels) + streaming
}

/// What the decoder of whole pictures takes, and making what it yields smaller.
pub(super) fn whole_need(original: &mut Original<'_>, stored: Dimensions, wanted: Dimensions) -> u64 {
    let is_progressive = reduced::process(original).is_some_and(|(process, _)| process == 0xC2);
    // Four channels, and of a progressive one all coefficients.
    let per_pixel = if is_progressive { 4 + 8 } else { 4 };
    stored.pixels() * per_pixel + u64::from(stored.width) * 512 + need::whole(stored, wanted, 4, false)
}

/// Decodes at those scales. `None` if the file is of a rarer kind or damaged, and at the deadline.
pub(super) fn decode_planes(
    original: &mut Original<'_>,
    stored: Dimensions,
    scales: Scales,
    deadline: Deadline,
) -> Option<Planar> {
    let head = head::Head::of(original)?;
    if !head.is_in_planes() {
        return None;
    }
    let profile = head.profile();
    let planes = reduced::decode(original, stored, scales, deadline)?;
    Some(Planar { planes, range: Range::Full, profile })
}

/// Whether [`decode_planes`] knows the coding process, and holds nothing but the smaller picture.
pub(super) fn walks(original: &mut Original<'_>) -> bool {
    matches!(reduced::process(original), Some((0xC0 | 0xC1, _)))
}

/// The file, without what the other decoder takes for a statement about its colours and should not: where a file says that
/// it is JFIF, its three colours are those of JFIF.
fn plain(original: &[u8]) -> Cow<'_, [u8]> {
    let head = head::Head::of(&mut Original::from(original));
    match head.and_then(|head| head.misleading_adobe()) {
        Some(at) => {
            let mut plain = original.to_vec();
            plain[at] = b'-';
            Cow::Owned(plain)
        }
        None => Cow::Borrowed(original),
    }
}

/// Where the first scan begins, or 0 if there is none.
pub(super) fn start(original: &mut Original<'_>) -> usize {
    reduced::process(original).map_or(0, |(_, start)| start)
}

/// A decoder that has read the header.
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
