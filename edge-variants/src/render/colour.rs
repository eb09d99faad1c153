//! Converts the colours of an image to sRGB. Variants carry no profile, and viewers take an image without one for sRGB.

use std::sync::Arc;

use image::{DynamicImage, RgbImage, RgbaImage};
use moxcms::{
    Chromaticity, CicpColorPrimaries, CmsError, ColorPrimaries, ColorProfile, DataColorSpace, Layout, ParsingOptions,
    Transform8BitExecutor, TransformOptions, curve_from_gamma,
};

use super::{Refusal, limits::MAX_PROFILE_BYTES};

/// Converts from `profile`. A profile that is damaged, or for other channels than the image has, is ignored, as viewers
/// do.
pub(super) fn to_srgb(mut pixels: DynamicImage, profile: Option<&[u8]>) -> DynamicImage {
    let layout = layout(&pixels);
    if let Some(conversion) = profile.and_then(|profile| Conversion::from(profile, layout)) {
        // An image that cannot be converted stays as it is.
        let _: Result<(), CmsError> = conversion.apply(&mut pixels);
    }
    pixels
}

/// Whether [`to_srgb`] would change RGB, or grey, with this profile.
pub(super) fn changes(profile: &[u8], is_grey: bool) -> bool {
    Conversion::from(profile, if is_grey { Layout::Gray } else { Layout::Rgb }).is_some()
}

/// Converts full-range YCbCr, as in JPEG, to RGB.
pub(super) fn rgb_from_ycbcr(luma: &[u8], blue: &[u8], red: &[u8]) -> Vec<u8> {
    let mut rgb = vec![0; luma.len() * 3];
    for (((pixel, y), cb), cr) in rgb.as_chunks_mut::<3>().0.iter_mut().zip(luma).zip(blue).zip(red) {
        *pixel = pixel_from_ycbcr(*y, *cb, *cr);
    }
    rgb
}

#[inline]
pub(super) fn pixel_from_ycbcr(luma: u8, blue: u8, red: u8) -> [u8; 3] {
    /// The fractional bits of the factors of BT.601.
    const BITS: i32 = 16;
    const RED: i32 = 91_881;
    const GREEN_BY_BLUE: i32 = 22_554;
    const GREEN_BY_RED: i32 = 46_802;
    const BLUE: i32 = 116_130;

    let sample = |value: i32| (value >> BITS).clamp(0, 255) as u8;
    let y = (i32::from(luma) << BITS) + (1 << (BITS - 1));
    let (cb, cr) = (i32::from(blue) - 128, i32::from(red) - 128);
    [sample(y + RED * cr), sample(y - GREEN_BY_BLUE * cb - GREEN_BY_RED * cr), sample(y + BLUE * cb)]
}

/// Converts CMYK to sRGB by a printing profile.
pub(super) struct Inks(Arc<Transform8BitExecutor>);

impl Inks {
    /// `None` if the profile cannot be used, or is not for CMYK.
    pub(super) fn from(profile: &[u8]) -> Option<Self> {
        let from = parse(profile).filter(|from| from.color_space == DataColorSpace::Cmyk)?;
        let (inks, to) = (Layout::Rgba, ColorProfile::new_srgb());
        from.create_transform_8bit(inks, &to, Layout::Rgb, TransformOptions::default()).ok().map(Self)
    }

    /// Converts CMYK samples, in which 255 is full ink.
    pub(super) fn to_srgb(&self, inks: &RgbaImage) -> RgbImage {
        let mut rgb = RgbImage::new(inks.width(), inks.height());
        self.0.transform(inks, &mut rgb).expect("both have their channels for each pixel");
        rgb
    }
}

/// The profile for code points of ITU-T H.273. `None` if they are those of sRGB, or close to them.
pub(super) fn of_code_points(primaries: u16, transfer: u16, is_grey: bool) -> Result<Option<Vec<u8>>, Refusal> {
    /// The transfer characteristics PQ and HLG.
    const PQ: u16 = 16;
    const HLG: u16 = 18;
    /// The transfer characteristics of BT.709, which have several code points.
    const BT709: [u16; 4] = [1, 6, 14, 15];

    let curve = match transfer {
        PQ | HLG => return Err(Refusal::HighDynamicRange),
        4 => Some(2.2),
        5 => Some(2.8),
        8 => Some(1.0),
        // Viewers show it as sRGB.
        _ => None,
    };
    if is_grey {
        return Ok(curve.and_then(|exponent| ColorProfile::new_gray_with_gamma(exponent).encode().ok()));
    }
    let mut profile = match primaries {
        9 if BT709.contains(&transfer) => ColorProfile::new_bt2020(),
        12 => ColorProfile::new_display_p3(),
        _ => ColorProfile::new_srgb(),
    };
    // Primaries with the white point D65 or that of DCI.
    let white = match primaries {
        5..=7 | 9 => Some(Chromaticity::new(0.3127, 0.329)),
        11 => Some(Chromaticity::new(0.314, 0.351)),
        _ => None,
    };
    let code = u8::try_from(primaries).ok().and_then(|code| CicpColorPrimaries::try_from(code).ok());
    let known = white.zip(code.and_then(|code| ColorPrimaries::try_from(code).ok()));
    if let Some((white, primaries)) = known {
        profile.update_rgb_colorimetry(white.to_xyyb(), primaries);
    }
    // Otherwise moxcms would prefer the code points to the curves.
    profile.cicp = None;
    if let Some(curve) = curve.map(curve_from_gamma) {
        (profile.red_trc, profile.green_trc, profile.blue_trc) =
            (Some(curve.clone()), Some(curve.clone()), Some(curve));
    }
    let is_srgb = curve.is_none() && known.is_none() && primaries != 12;
    Ok(if is_srgb { None } else { profile.encode().ok() })
}

fn parse(profile: &[u8]) -> Option<ColorProfile> {
    let options = ParsingOptions { max_profile_size: MAX_PROFILE_BYTES, ..ParsingOptions::default() };
    ColorProfile::new_from_slice_with_options(profile, options).ok()
}

fn layout(pixels: &DynamicImage) -> Layout {
    match (pixels.color().has_color(), pixels.color().has_alpha()) {
        (true, true) => Layout::Rgba,
        (true, false) => Layout::Rgb,
        (false, true) => Layout::GrayAlpha,
        (false, false) => Layout::Gray,
    }
}

/// A conversion to sRGB. Alpha is not changed.
struct Conversion {
    layout: Layout,
    from: ColorProfile,
    to: ColorProfile,
}

impl Conversion {
    /// `None` if the profile cannot be used or is sRGB.
    fn from(profile: &[u8], layout: Layout) -> Option<Self> {
        let from = parse(profile)?;
        let (space, to) = match layout {
            Layout::Gray | Layout::GrayAlpha => (DataColorSpace::Gray, grey_srgb()),
            _ => (DataColorSpace::Rgb, ColorProfile::new_srgb()),
        };
        let conversion = Self { layout, from, to };
        (conversion.from.color_space == space && conversion.changes_colours().ok()?).then_some(conversion)
    }

    /// Whether the conversion changes any of a sample of colours by more than rounding does. The many variants of the
    /// sRGB profile do not, and images that carry one need no conversion.
    fn changes_colours(&self) -> Result<bool, CmsError> {
        const STEPS: [u8; 6] = [0, 51, 102, 153, 204, 255];

        let (layout, probe): (_, Vec<u8>) = if self.from.color_space == DataColorSpace::Gray {
            (Layout::Gray, STEPS.to_vec())
        } else {
            let pairs = STEPS.into_iter().flat_map(|green| STEPS.map(|blue| [green, blue]));
            let colours = pairs.flat_map(|[green, blue]| STEPS.map(|red| [red, green, blue]));
            (Layout::Rgb, colours.flatten().collect())
        };
        let mut moved = vec![0; probe.len()];
        let options = TransformOptions::default();
        self.from.create_transform_8bit(layout, &self.to, layout, options)?.transform(&probe, &mut moved)?;
        Ok(probe.into_iter().zip(moved).any(|(before, after)| before.abs_diff(after) > 1))
    }

    fn apply(&self, pixels: &mut DynamicImage) -> Result<(), CmsError> {
        match pixels {
            DynamicImage::ImageLuma8(image) => self.apply8(image),
            DynamicImage::ImageLumaA8(image) => self.apply8(image),
            DynamicImage::ImageRgb8(image) => self.apply8(image),
            DynamicImage::ImageRgba8(image) => self.apply8(image),
            DynamicImage::ImageLuma16(image) => self.apply16(image),
            DynamicImage::ImageLumaA16(image) => self.apply16(image),
            DynamicImage::ImageRgb16(image) => self.apply16(image),
            DynamicImage::ImageRgba16(image) => self.apply16(image),
            _ => Err(CmsError::InvalidLayout),
        }
    }

    fn apply8(&self, samples: &mut [u8]) -> Result<(), CmsError> {
        let options = TransformOptions::default();
        let transform = self.from.create_transform_8bit(self.layout, &self.to, self.layout, options)?;
        let source = samples.to_vec();
        transform.transform(&source, samples)
    }

    fn apply16(&self, samples: &mut [u16]) -> Result<(), CmsError> {
        let options = TransformOptions::default();
        let transform = self.from.create_transform_16bit(self.layout, &self.to, self.layout, options)?;
        let source = samples.to_vec();
        transform.transform(&source, samples)
    }
}

/// The transfer function of sRGB for one channel.
fn grey_srgb() -> ColorProfile {
    let mut grey = ColorProfile::new_gray_with_gamma(2.2);
    grey.gray_trc = ColorProfile::new_srgb().red_trc;
    grey
}
