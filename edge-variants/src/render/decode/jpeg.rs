//! JPEG: baseline and progressive, grey, YCbCr, RGB, CMYK and YCCK.

use image::{DynamicImage, GrayImage, RgbImage};
use xfiles_core::sniff::Dimensions;
use zune_jpeg::{
    JpegDecoder,
    errors::DecodeErrors,
    zune_core::{bytestream::ZCursor, colorspace::ColorSpace, options::DecoderOptions},
};

use super::Decoded;
use crate::render::{
    Refusal,
    limits::{self, MAX_SCANS, MAX_SIDE},
};

/// Decodes to grey or RGB. A file that ends early shows what arrived and grey below it, as in a browser.
///
/// CMYK is taken as Adobe writes it, inverted, as every program does, and converted without a profile.
pub(super) fn decode(original: &[u8], stored: Dimensions) -> Result<Decoded, Refusal> {
    let max_side = usize::try_from(MAX_SIDE).map_err(|_| Refusal::Unsupported)?;
    let options = DecoderOptions::default()
        .set_strict_mode(false)
        .set_max_width(max_side)
        .set_max_height(max_side)
        .jpeg_set_max_scans(MAX_SCANS);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(original), options);
    decoder.decode_headers().map_err(|error| refusal(&error))?;
    let info = decoder.info().ok_or(Refusal::Corrupt)?;
    if (u32::from(info.width), u32::from(info.height)) != (stored.width, stored.height) {
        return Err(Refusal::Corrupt);
    }

    let profile = decoder.icc_profile();
    let is_grey = decoder.input_colorspace() == Some(ColorSpace::Luma);
    let (colours, channels) = if is_grey { (ColorSpace::Luma, 1) } else { (ColorSpace::RGB, 3) };
    decoder.set_options(options.jpeg_set_out_colorspace(colours));
    let mut samples = vec![0; limits::frame_bytes(stored, channels)?];
    decoder.decode_into(&mut samples).map_err(|error| refusal(&error))?;

    let Dimensions { width, height } = stored;
    let pixels = if is_grey {
        GrayImage::from_raw(width, height, samples).map(DynamicImage::from)
    } else {
        RgbImage::from_raw(width, height, samples).map(DynamicImage::from)
    };
    Ok(Decoded { pixels: pixels.expect("there is one sample for each channel of each pixel"), profile })
}

fn refusal(error: &DecodeErrors) -> Refusal {
    match error {
        DecodeErrors::Unsupported(_) => Refusal::Unsupported,
        _ => Refusal::Corrupt,
    }
}
