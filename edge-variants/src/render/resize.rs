//! Scales an image down, never up.

use std::fmt::Debug;

use image::{DynamicImage, GrayImage, ImageBuffer, LumaA, Pixel, RgbImage, RgbaImage};
use pic_scale::{ImageSize, ImageStore, ImageStoreMut, PicScaleError, Resampling, ResamplingFunction, Scaler};
use xfiles_core::sniff::Dimensions;

/// The longest side of a WebP. It limits every format, so that a variant has one size whatever its format.
const LONGEST_SIDE: u32 = 16_383;

/// The size of a variant of an upright image: the width that is asked for or the image's, whichever is less, and the
/// height in proportion, at least one pixel.
pub(super) fn fit(upright: Dimensions, width: u32) -> Dimensions {
    let Dimensions { width: from_width, height: from_height } = upright;
    let width = width.min(from_width);
    let height = in_proportion(from_height, width, from_width);
    if height <= LONGEST_SIDE {
        Dimensions { width, height }
    } else {
        Dimensions { width: in_proportion(from_width, LONGEST_SIDE, from_height), height: LONGEST_SIDE }
    }
}

/// `length * to / from`, rounded, at least 1.
fn in_proportion(length: u32, to: u32, from: u32) -> u32 {
    let (length, to, from) = (u64::from(length), u64::from(to), u64::from(from));
    let scaled = (length * to + from / 2) / from;
    u32::try_from(scaled.max(1)).expect("nothing is enlarged, so the result is within the original's sides")
}

/// Scales with Lanczos3 in gamma space, as viewers, sharp and Pillow do. Colours are weighted by alpha; an alpha that
/// is opaque everywhere is dropped. The pixels may stay weighted, after which they serve only sizes other than their
/// own.
pub(super) fn shrink(pixels: &mut DynamicImage, is_weighted: &mut bool, size: Dimensions) -> DynamicImage {
    let opaque = is_opaque(pixels);
    let small = if (pixels.width(), pixels.height()) == (size.width, size.height) {
        pixels.clone()
    } else {
        weighted(pixels, is_weighted, size, !opaque)
            .expect("decoders yield 8 or 16 bits, and both pictures have the sizes of the plan")
    };
    if opaque { without_alpha(small) } else { small }
}

/// Scales four channels of which none is alpha.
pub(super) fn shrink_inks(inks: &DynamicImage, size: Dimensions) -> RgbaImage {
    if (inks.width(), inks.height()) == (size.width, size.height) {
        return inks.to_rgba8();
    }
    let small = resample(inks, size, false).expect("both pictures have the sizes of the plan");
    small.into_rgba8()
}

/// Multiplies 8-bit colours by alpha in place. pic-scale would copy the whole image for it.
fn weighted(
    pixels: &mut DynamicImage,
    is_weighted: &mut bool,
    size: Dimensions,
    weigh: bool,
) -> Result<DynamicImage, PicScaleError> {
    let DynamicImage::ImageRgba8(image) = pixels else { return resample(pixels, size, weigh) };
    if !weigh {
        return resample(pixels, size, false);
    }
    if !std::mem::replace(is_weighted, true) {
        image.as_chunks_mut::<4>().0.iter_mut().for_each(multiply);
    }
    let mut small = resample(pixels, size, false)?;
    if let DynamicImage::ImageRgba8(image) = &mut small {
        image.as_chunks_mut::<4>().0.iter_mut().for_each(divide);
    }
    Ok(small)
}

/// Multiplies each colour by alpha / 255, rounded: two at a time, in the halves of a word.
fn multiply(pixel: &mut [u8; 4]) {
    const LOW: u32 = 0x00FF_00FF;
    const HALF: u32 = 0x0080_0080;

    let word = u32::from_le_bytes(*pixel);
    let alpha = word >> 24;
    let share = |pair: u32| {
        let product = pair * alpha + HALF;
        (product + (product >> 8 & LOW)) >> 8 & LOW
    };
    // Alpha is multiplied by 255 / 255, so that it stays.
    *pixel = (share(word & LOW) | share(word >> 8 & LOW | LOW << 16) << 8).to_le_bytes();
}

/// Divides each colour by alpha / 255, rounded.
fn divide(pixel: &mut [u8; 4]) {
    /// 255 / alpha, with 16 fractional bits, which replaces three divisions for each pixel.
    const SHARES: [u32; 256] = {
        let mut shares = [0; 256];
        let mut alpha = 1_u32;
        while alpha < 256 {
            shares[alpha as usize] = ((255 << 16) + alpha / 2) / alpha;
            alpha += 1;
        }
        shares
    };

    let [red, green, blue, alpha] = *pixel;
    let share = SHARES[usize::from(alpha)];
    let colour = |sample: u8| u8::try_from((u32::from(sample) * share + (1 << 15)) >> 16).unwrap_or(u8::MAX);
    *pixel = [colour(red), colour(green), colour(blue), alpha];
}

type GrayAlphaImage = ImageBuffer<LumaA<u8>, Vec<u8>>;

/// An image of samples, whose colours are weighted by alpha if there is alpha. `None` if there are too few samples.
pub(super) fn from_weighted(mut samples: Vec<u8>, width: u32, height: u32, channels: usize) -> Option<DynamicImage> {
    match channels {
        1 => GrayImage::from_raw(width, height, samples).map(DynamicImage::from),
        2 => {
            for pixel in samples.as_chunks_mut::<2>().0 {
                let [grey, alpha] = *pixel;
                let mut whole = [grey, grey, grey, alpha];
                divide(&mut whole);
                pixel[0] = whole[0];
            }
            GrayAlphaImage::from_raw(width, height, samples).map(DynamicImage::from)
        }
        3 => RgbImage::from_raw(width, height, samples).map(DynamicImage::from),
        _ => {
            samples.as_chunks_mut::<4>().0.iter_mut().for_each(divide);
            RgbaImage::from_raw(width, height, samples).map(DynamicImage::from)
        }
    }
}

fn resample(pixels: &DynamicImage, size: Dimensions, weigh: bool) -> Result<DynamicImage, PicScaleError> {
    /// The significant bits of a 16-bit sample.
    const ALL: usize = 16;

    let scaler = Scaler::new(ResamplingFunction::Lanczos3);
    let from = image_size(pixels.width(), pixels.height());
    let to = image_size(size.width, size.height);
    match pixels {
        DynamicImage::ImageLuma8(image) => run(&*scaler.plan_planar_resampling(from, to)?, image, size),
        DynamicImage::ImageLumaA8(image) => run(&*scaler.plan_gray_alpha_resampling(from, to, weigh)?, image, size),
        DynamicImage::ImageRgb8(image) => run(&*scaler.plan_rgb_resampling(from, to)?, image, size),
        DynamicImage::ImageRgba8(image) => run(&*scaler.plan_rgba_resampling(from, to, weigh)?, image, size),
        DynamicImage::ImageLuma16(image) => run(&*scaler.plan_planar_resampling16(from, to, ALL)?, image, size),
        // pic-scale yields transparent pixels only for grey with alpha in 16 bits, so it is scaled as colour.
        DynamicImage::ImageLumaA16(_) => {
            let small = resample(&pixels.to_rgba16().into(), size, weigh)?;
            Ok(small.into_luma_alpha16().into())
        }
        DynamicImage::ImageRgb16(image) => run(&*scaler.plan_rgb_resampling16(from, to, ALL)?, image, size),
        DynamicImage::ImageRgba16(image) => run(&*scaler.plan_rgba_resampling16(from, to, weigh, ALL)?, image, size),
        _ => Err(PicScaleError::UnsupportedBitDepth(32)),
    }
}

fn run<P, const CHANNELS: usize>(
    plan: &Resampling<P::Subpixel, CHANNELS>,
    source: &ImageBuffer<P, Vec<P::Subpixel>>,
    size: Dimensions,
) -> Result<DynamicImage, PicScaleError>
where
    P: Pixel<Subpixel: Debug + Default>,
    DynamicImage: From<ImageBuffer<P, Vec<P::Subpixel>>>,
{
    let ImageSize { width, height } = plan.source_size();
    let source = ImageStore::borrow(source, width, height)?;
    let mut target = ImageBuffer::new(size.width, size.height);
    let ImageSize { width, height } = plan.target_size();
    let mut store = ImageStoreMut::borrow(&mut target, width, height)?;
    store.bit_depth = size_of::<P::Subpixel>() * 8;
    plan.resample(&source, &mut store)?;
    Ok(target.into())
}

fn image_size(width: u32, height: u32) -> ImageSize {
    let side = |pixels: u32| usize::try_from(pixels).expect("a side is within 14 bits");
    ImageSize::new(side(width), side(height))
}

fn is_opaque(pixels: &DynamicImage) -> bool {
    match pixels {
        DynamicImage::ImageLumaA8(image) => image.as_chunks::<2>().0.iter().all(|pixel| pixel[1] == u8::MAX),
        DynamicImage::ImageRgba8(image) => image.as_chunks::<4>().0.iter().all(|pixel| pixel[3] == u8::MAX),
        DynamicImage::ImageLumaA16(image) => image.as_chunks::<2>().0.iter().all(|pixel| pixel[1] == u16::MAX),
        DynamicImage::ImageRgba16(image) => image.as_chunks::<4>().0.iter().all(|pixel| pixel[3] == u16::MAX),
        _ => true,
    }
}

pub(super) fn without_alpha(pixels: DynamicImage) -> DynamicImage {
    match pixels {
        DynamicImage::ImageLumaA8(_) => pixels.into_luma8().into(),
        DynamicImage::ImageRgba8(_) => pixels.into_rgb8().into(),
        DynamicImage::ImageLumaA16(_) => pixels.into_luma16().into(),
        DynamicImage::ImageRgba16(_) => pixels.into_rgb16().into(),
        _ => pixels,
    }
}

#[cfg(test)]
mod tests {
    use xfiles_core::variant::Width;

    use super::*;

    fn fitted(width: u32, height: u32, to: Width) -> (u32, u32) {
        let size = fit(Dimensions { width, height }, to.pixels());
        (size.width, size.height)
    }

    #[test]
    fn colours_are_multiplied_with_alpha_and_divided_by_it() {
        for (colour, alpha) in (0..=255_u8).flat_map(|colour| (0..=255_u8).map(move |alpha| (colour, alpha))) {
            let near = |sample: u8, exact: f64| (f64::from(sample) - exact.min(255.0)).abs() < 0.51;
            let mut pixel = [colour, 255 - colour, 0, alpha];
            multiply(&mut pixel);
            let share = f64::from(alpha) / 255.0;
            assert!(near(pixel[0], f64::from(colour) * share), "{colour} x {alpha}: {pixel:?}");
            assert!(near(pixel[1], f64::from(255 - colour) * share), "{colour} x {alpha}: {pixel:?}");
            assert_eq!((pixel[2], pixel[3]), (0, alpha));

            let mut pixel = [colour, 0, 255 - colour, alpha];
            divide(&mut pixel);
            if alpha > 0 {
                assert!(near(pixel[0], f64::from(colour) / share), "{colour} / {alpha}: {pixel:?}");
                assert!(near(pixel[2], f64::from(255 - colour) / share), "{colour} / {alpha}: {pixel:?}");
            }
            assert_eq!((pixel[1], pixel[3]), (0, alpha));
        }
    }

    #[test]
    fn a_variant_keeps_the_proportion_and_is_never_enlarged() {
        let [w100, .., w1200] = Width::ALL;
        assert_eq!(fitted(4000, 3000, w1200), (1200, 900));
        assert_eq!(fitted(3000, 4000, w100), (100, 133));
        assert_eq!(fitted(1201, 801, w1200), (1200, 800));
        assert_eq!(fitted(640, 480, w1200), (640, 480));
        assert_eq!(fitted(1, 1, w100), (1, 1));
    }

    #[test]
    fn extreme_proportions_keep_at_least_a_pixel_and_at_most_what_webp_holds() {
        let [w100, .., w1200] = Width::ALL;
        assert_eq!(fitted(16_384, 1, w100), (100, 1));
        assert_eq!(fitted(1, 16_384, w100), (1, 16_383));
        assert_eq!(fitted(1080, 16_384, w1200), (1080, 16_383));
    }
}
