//! The planes of a lossy WebP: Y, and U and V at half its width and height.
//!
//! The format stores planes, so a caller that wants planes needs no conversion to RGB and back. libwebp decodes, by calls
//! that the crate `webp` does not offer; all of them are in this file, so no other needs `unsafe`. Samples are of BT.601 in
//! its limited range: Y from 16 to 235, U and V from 16 to 240.

use std::ptr;

use libwebp_sys::{
    VP8StatusCode, WEBP_CSP_MODE, WebPBitstreamFeatures, WebPDecode, WebPDecoderConfig, WebPGetFeatures, WebPIAppend,
    WebPIDecGetRGB, WebPIDelete, WebPINewRGB,
};

/// The planes of an image, row by row without gaps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Planes {
    width: usize,
    height: usize,
    /// Y, U and V.
    samples: [Vec<u8>; 3],
}

/// The file is not a lossy WebP without alpha, or it is damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a lossy WebP without alpha")]
pub struct Undecodable;

impl Planes {
    /// Samples of luma from left to right.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Samples of luma from top to bottom.
    pub fn height(&self) -> usize {
        self.height
    }

    /// Y, U and V.
    pub fn samples(&self) -> &[Vec<u8>; 3] {
        &self.samples
    }

    /// Y, U and V, without a copy.
    pub fn into_samples(self) -> [Vec<u8>; 3] {
        self.samples
    }
}

/// Which steps follow the reconstruction of blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finish {
    /// All that the data ask for.
    Whole,
    /// Without the loop filter, which takes up to a tenth of the time. Intra prediction uses unfiltered samples, so errors
    /// do not spread, and an image that is scaled down does not show them.
    Bare,
}

/// Decodes `file` if it is a lossy still image of this size without alpha.
///
/// # Errors
/// [`Undecodable`]. If the header claims another kind or size, nothing is allocated for it.
pub fn decode(file: &[u8], width: usize, height: usize, finish: Finish) -> Result<Planes, Undecodable> {
    const LOSSY: i32 = 1;

    let mut config = WebPDecoderConfig::new().map_err(|()| Undecodable)?;
    // SAFETY: the pointers are to `file`, with its length, and to a live value that the call fills.
    let status = unsafe { WebPGetFeatures(file.as_ptr(), file.len(), &raw mut config.input) };
    let WebPBitstreamFeatures { width: w, height: h, has_alpha: 0, has_animation: 0, format: LOSSY, .. } = config.input
    else {
        return Err(Undecodable);
    };
    let claims = |side: i32, expected: usize| usize::try_from(side) == Ok(expected);
    if status != VP8StatusCode::VP8_STATUS_OK || !claims(w, width) || !claims(h, height) {
        return Err(Undecodable);
    }
    let half = width.div_ceil(2) * height.div_ceil(2);
    let mut planes = Planes { width, height, samples: [vec![0; width * height], vec![0; half], vec![0; half]] };

    config.options.bypass_filtering = (finish == Finish::Bare).into();
    let chroma_stride = (w + 1) / 2;
    config.output.colorspace = WEBP_CSP_MODE::MODE_YUV;
    config.output.is_external_memory = 1;
    let [luma, blue, red] = &mut planes.samples;
    // SAFETY: every variant of the union is plain old data, and a cleared one was put there by `new`.
    let buffer = unsafe { &mut config.output.u.YUVA };
    (buffer.y, buffer.y_stride, buffer.y_size) = (luma.as_mut_ptr(), w, luma.len());
    (buffer.u, buffer.u_stride, buffer.u_size) = (blue.as_mut_ptr(), chroma_stride, blue.len());
    (buffer.v, buffer.v_stride, buffer.v_size) = (red.as_mut_ptr(), chroma_stride, red.len());
    // SAFETY: `file` has its length; the planes have the sizes and strides that the buffer states, which the decoder
    // compares with those of the picture, and outlive the call. With memory from outside there is none to free.
    let status = unsafe { WebPDecode(file.as_ptr(), file.len(), &raw mut config) };
    if status == VP8StatusCode::VP8_STATUS_OK { Ok(planes) } else { Err(Undecodable) }
}

/// Decodes a still image that is cut short: red, green, blue and alpha of each pixel, and how many rows were decoded.
///
/// # Errors
/// [`Undecodable`], if the image has another size, is animated, or not one row was decoded.
pub fn decode_beginning(file: &[u8], width: usize, height: usize) -> Result<(Vec<u8>, usize), Undecodable> {
    let mut config = WebPDecoderConfig::new().map_err(|()| Undecodable)?;
    // SAFETY: the pointers are to `file`, with its length, and to a live value that the call fills.
    let status = unsafe { WebPGetFeatures(file.as_ptr(), file.len(), &raw mut config.input) };
    let claims = |side: i32, expected: usize| usize::try_from(side) == Ok(expected);
    let is_size = claims(config.input.width, width) && claims(config.input.height, height);
    if status != VP8StatusCode::VP8_STATUS_OK || !is_size || config.input.has_animation != 0 {
        return Err(Undecodable);
    }
    let stride = i32::try_from(width * 4).map_err(|_| Undecodable)?;
    let mut pixels = vec![0; width * height * 4];
    // SAFETY: the buffer has the size and the stride that are stated, which the decoder compares with those of the
    // picture, and outlives the decoder.
    let decoder = unsafe { WebPINewRGB(WEBP_CSP_MODE::MODE_RGBA, pixels.as_mut_ptr(), pixels.len(), stride) };
    if decoder.is_null() {
        return Err(Undecodable);
    }
    let mut rows = 0;
    // SAFETY: the decoder is live; `file` has its length and outlives it; the last row is the only result asked for, the
    // other pointers may be null; and the decoder is deleted once.
    unsafe {
        WebPIAppend(decoder, file.as_ptr(), file.len());
        WebPIDecGetRGB(decoder, &raw mut rows, ptr::null_mut(), ptr::null_mut(), ptr::null_mut());
        WebPIDelete(decoder);
    }
    match usize::try_from(rows) {
        Ok(rows) if rows > 0 => Ok((pixels, rows.min(height))),
        _ => Err(Undecodable),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{ProptestConfig, any, prop, proptest};
    use webp::{Decoder, Encoder};

    use super::*;

    /// A reddish and a bluish half.
    fn halves(width: u32, height: u32, quality: f32) -> Vec<u8> {
        let pixel = |at: u32| if at % width < width / 2 { [137, 67, 50] } else { [167, 177, 224] };
        let pixels: Vec<u8> = (0..width * height).flat_map(pixel).collect();
        Encoder::from_rgb(&pixels, width, height).encode(quality).to_vec()
    }

    #[test]
    fn the_beginning_of_a_picture_has_its_rows() {
        // Noise, so that most of the file is coefficients, which come in the order of the rows.
        let noise = (0..64 * 256 * 3_u32).map(|at| at.wrapping_mul(2_654_435_761).to_be_bytes()[0]);
        let whole = Encoder::from_rgb(&noise.collect::<Vec<_>>(), 64, 256).encode(90.0).to_vec();
        let pixels = Decoder::new(&whole).decode().unwrap();
        let pixels: Vec<u8> = pixels.chunks_exact(3).flat_map(|p| [p[0], p[1], p[2], 255]).collect();
        let (beginning, rows) = decode_beginning(&whole[..whole.len() / 2], 64, 256).unwrap();
        assert!((1..256).contains(&rows), "{rows}");
        assert_eq!(beginning[..(rows - 1) * 256], pixels[..(rows - 1) * 256]);
        for cut in [0, 10, 31] {
            assert!(decode_beginning(&whole[..cut], 64, 256).is_err(), "{cut}");
        }
        assert!(decode_beginning(&whole, 64, 255).is_err());
    }

    #[test]
    fn planes_have_the_size_of_the_picture() {
        for (width, height) in [(64, 48), (63, 47), (1, 1), (2, 1), (1, 33), (17, 16)] {
            let planes = decode(&halves(width, height, 90.0), width as usize, height as usize, Finish::Whole).unwrap();
            assert_eq!((planes.width(), planes.height()), (width as usize, height as usize));
            let half = planes.width().div_ceil(2) * planes.height().div_ceil(2);
            let whole = planes.width() * planes.height();
            assert_eq!(planes.samples().each_ref().map(Vec::len), [whole, half, half]);
        }
    }

    #[test]
    fn bare_planes_differ_by_what_the_filter_smooths() {
        let soft: Vec<u8> =
            (0..64 * 48).flat_map(|at| [u8::try_from(60 + at % 64 * 2 + at / 64).unwrap(); 3]).collect();
        let file = Encoder::from_rgb(&soft, 64, 48).encode(10.0).to_vec();
        let [whole, bare] = [Finish::Whole, Finish::Bare].map(|finish| decode(&file, 64, 48, finish).unwrap());
        let samples = |planes: &Planes| planes.samples.concat();
        let farthest = samples(&whole).iter().zip(samples(&bare)).map(|(a, b)| a.abs_diff(b)).max().unwrap();
        assert!((1..40).contains(&farthest), "{farthest}");
    }

    #[test]
    fn the_planes_are_those_of_the_colours() {
        let planes = decode(&halves(64, 64, 90.0), 64, 64, Finish::Whole).unwrap();
        // By the matrix of BT.601 in its limited range: 16 + 0.257 * 137 + 0.504 * 67 + 0.098 * 50, and so on.
        for (x, expected) in [(8, [90, 110, 160]), (56, [170, 150, 120])] {
            let at = [20 * 64 + x, 10 * 32 + x / 2, 10 * 32 + x / 2];
            let found = [0, 1, 2].map(|plane: usize| planes.samples()[plane][at[plane]]);
            let near = found.iter().zip(expected).all(|(a, b): (&u8, u8)| a.abs_diff(b) <= 4);
            assert!(near, "{found:?} instead of {expected:?}");
        }
    }

    #[test]
    fn what_has_no_such_planes_or_another_size_is_undecodable() {
        let lossy = halves(64, 48, 90.0);
        let lossless = Encoder::from_rgb(&[9; 64 * 48 * 3], 64, 48).encode_lossless().to_vec();
        let with_alpha = Encoder::from_rgba(&[9; 64 * 48 * 4], 64, 48).encode(90.0).to_vec();
        assert!(Decoder::new(&with_alpha).decode().is_some());
        assert!(decode(&lossy, 64, 48, Finish::Whole).is_ok());
        for file in [&lossless[..], &with_alpha, b"", b"RIFF", &lossy[..20], &lossy[..lossy.len() - 9]] {
            assert_eq!(decode(file, 64, 48, Finish::Whole), Err(Undecodable));
        }
        for (width, height) in [(63, 48), (64, 47), (0, 0), (1 << 40, 1)] {
            assert_eq!(decode(&lossy, width, height, Finish::Whole), Err(Undecodable));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1000))]

        #[test]
        fn damage_is_undecodable_or_a_picture(
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
            bare in any::<bool>(),
        ) {
            let mut file = halves(33, 21, 90.0);
            for (at, value) in changes {
                let at = at.index(file.len());
                file[at] = value;
            }
            let finish = if bare { Finish::Bare } else { Finish::Whole };
            if let Ok(planes) = decode(&file, 33, 21, finish) {
                assert_eq!(planes.samples().each_ref().map(Vec::len), [33 * 21, 17 * 11, 17 * 11]);
            }
        }
    }
}
