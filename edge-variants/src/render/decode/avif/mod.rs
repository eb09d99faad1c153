//! AVIF: 8, 10 or 12 bits, grey or colour, with alpha or without, as one item or as a grid.
//!
//! The orientation is part of the header, as for every format. High dynamic range is refused: without tone mapping it
//! would look grey.

mod container;

use std::{num::NonZeroU32, rc::Rc};

use image::{DynamicImage, ImageBuffer, Pixel, Primitive, Rgb, Rgba};
use moxcms::ColorProfile;
use xfiles_av1::{Finish, Layout, Picture, Plane, Row};
use xfiles_core::sniff::Dimensions;

use self::container::{Colour, Content, Item, Pictures};
use super::{Decoded, Source};
use crate::render::{
    self, Refusal, limits,
    planes::{Planar, Range},
};

/// The transfer characteristics PQ and HLG.
const PQ: u16 = 16;
const HLG: u16 = 18;

/// The memory that decoding takes: the decoder's planes, and pixels where planes are converted.
pub(super) fn need(original: &[u8], stored: Dimensions) -> u64 {
    let is_deep = container::read(original).is_none_or(|pictures| pictures.is_deep());
    let (plane, pixel) = if is_deep { (2, 8) } else { (1, 4) };
    stored.pixels() * (plane * 4 + pixel)
}

/// The planes of an opaque image without a grid whose matrix is JPEG's; the pixels of others.
pub(super) fn source(original: &[u8], stored: Dimensions, hides_blocks: bool) -> Result<Source, Refusal> {
    let finish = if hides_blocks { Finish::Bare } else { Finish::Whole };
    let (pictures, first) = opened(original, stored, finish)?;
    if pictures.colour.aperture.is_some() {
        return cropped(&pictures, first, stored, finish).map(Source::Pixels);
    }
    let Pictures { colour, alpha, .. } = &pictures;
    let Colour { primaries, transfer, matrix, full_range } = coding(colour, &first);
    let is_usual = alpha.is_none()
        && matches!(colour.content, Content::Bits(_))
        && (first.width(), first.height()) == sides(stored)
        && matches!(matrix, 2 | 5 | 6)
        && !matches!(transfer, PQ | HLG);
    if !is_usual {
        return painted(&pictures, first, stored, finish).map(Source::Pixels);
    }
    let range = if full_range { Range::Full } else { Range::Limited };
    let profile = pictures.colour.profile.or_else(|| wide_gamut(primaries));
    Ok(Source::Planes(Planar { planes: planes(first, stored), range, profile }))
}

fn planes(picture: Picture, stored: Dimensions) -> Vec<render::planes::Plane> {
    let picture = Rc::new(picture);
    let whole = (f64::from(stored.width), f64::from(stored.height));
    let differences = match picture.layout() {
        Layout::Grey => None,
        Layout::Full => Some(whole),
        Layout::Half => Some((whole.0 / 2.0, whole.1 / 2.0)),
        Layout::HalfWidth => Some((whole.0 / 2.0, whole.1)),
    };
    let plane = |plane, covers| render::planes::Plane::of_av1(Rc::clone(&picture), plane, covers);
    let differences = differences.map(|covers| [Plane::U, Plane::V].map(|it| plane(it, covers)));
    [plane(Plane::Y, whole)].into_iter().chain(differences.into_iter().flatten()).collect()
}

pub(super) fn decode(original: &[u8], stored: Dimensions) -> Result<Decoded, Refusal> {
    let (pictures, first) = opened(original, stored, Finish::Whole)?;
    cropped(&pictures, first, stored, Finish::Whole)
}

/// The part of the image within its clean aperture.
fn cropped(pictures: &Pictures, first: Picture, stored: Dimensions, finish: Finish) -> Result<Decoded, Refusal> {
    let (Some(whole), Some(part)) = (pictures.colour.size, pictures.colour.aperture) else {
        return painted(pictures, first, stored, finish);
    };
    if part.size != stored {
        return Err(Refusal::Corrupt);
    }
    let mut decoded = painted(pictures, first, whole, finish)?;
    decoded.pixels = decoded.pixels.crop_imm(part.left, part.top, stored.width, stored.height);
    Ok(decoded)
}

/// The items of the file, and the first tile of the image.
fn opened(original: &[u8], stored: Dimensions, finish: Finish) -> Result<(Pictures, Picture), Refusal> {
    let pictures = container::read(original).ok_or(Refusal::Corrupt)?;
    let whole = pictures.colour.size.filter(|_| pictures.colour.aperture.is_some()).unwrap_or(stored);
    limits::admit(whole)?;
    // The decoder's planes of two bytes, and the frame that is made from them.
    limits::frame_bytes(whole, 6)?;
    let first = first_tile(&pictures.colour, whole, finish)?;
    Ok((pictures, first))
}

fn painted(pictures: &Pictures, first: Picture, stored: Dimensions, finish: Finish) -> Result<Decoded, Refusal> {
    let Pictures { colour, alpha, premultiplied } = pictures;
    let premultiplied = *premultiplied;
    let coding = coding(colour, &first);
    let conversion = Conversion::of(coding, first.depth())?;
    let profile = colour.profile.clone().or_else(|| wide_gamut(coding.primaries));
    let deep = first.depth() > 8;
    let pixels = match (alpha, deep) {
        (None, false) => paint::<Rgb<u8>>(colour, first, None, &conversion, stored, finish)?.into(),
        (None, true) => paint::<Rgb<u16>>(colour, first, None, &conversion, stored, finish)?.into(),
        (Some(alpha), false) => {
            let mut canvas = paint::<Rgba<u8>>(colour, first, Some(alpha), &conversion, stored, finish)?;
            if premultiplied {
                unmultiply(&mut canvas);
            }
            canvas.into()
        }
        (Some(alpha), true) => {
            let mut canvas = paint::<Rgba<u16>>(colour, first, Some(alpha), &conversion, stored, finish)?;
            if premultiplied {
                unmultiply(&mut canvas);
            }
            DynamicImage::from(canvas)
        }
    };
    Ok(Decoded::new(pixels, profile))
}

fn bits_of(item: &Item) -> (usize, &[Vec<u8>]) {
    match &item.content {
        Content::Bits(bits) => (1, std::slice::from_ref(bits)),
        Content::Grid { columns, tiles } => (*columns, tiles),
    }
}

fn decode_tile(bits: &[u8], whole: Dimensions, finish: Finish) -> Result<Picture, Refusal> {
    // The tiles of a grid may exceed the image by less than one tile.
    let pixels = u64::from(whole.width).saturating_mul(u64::from(whole.height)).saturating_mul(4);
    let pixels = u32::try_from(pixels).unwrap_or(u32::MAX).clamp(1 << 16, u32::MAX);
    let pixels = NonZeroU32::new(pixels).expect("clamped above zero");
    xfiles_av1::decode(bits, pixels, finish).map_err(|_| Refusal::Corrupt)
}

fn first_tile(item: &Item, stored: Dimensions, finish: Finish) -> Result<Picture, Refusal> {
    let (_, tiles) = bits_of(item);
    decode_tile(tiles.first().ok_or(Refusal::Corrupt)?, stored, finish)
}

/// Calls `put` for each tile with its position, and checks that the tiles cover the image.
fn each_tile(
    item: &Item,
    mut first: Option<Picture>,
    stored: Dimensions,
    finish: Finish,
    mut put: impl FnMut(&Picture, usize, usize) -> Result<(), Refusal>,
) -> Result<(), Refusal> {
    let (columns, tiles) = bits_of(item);
    let (width, height) = sides(stored);
    let mut size = None;
    for (at, bits) in tiles.iter().enumerate() {
        let picture = match first.take() {
            Some(first) => first,
            None => decode_tile(bits, stored, finish)?,
        };
        let tile = *size.get_or_insert((picture.width(), picture.height()));
        let rows = tiles.len() / columns;
        let covers = tile.0 * columns >= width && tile.1 * rows >= height;
        let fits = tiles.len() > 1 || tile == (width, height);
        if (picture.width(), picture.height()) != tile || !covers || !fits {
            return Err(Refusal::Corrupt);
        }
        put(&picture, at % columns * tile.0, at / columns * tile.1)?;
    }
    Ok(())
}

fn sides(size: Dimensions) -> (usize, usize) {
    let side = |pixels: u32| usize::try_from(pixels).expect("a side is within 14 bits");
    (side(size.width), side(size.height))
}

/// A sample of the frame, converted from 16 bits.
trait Sample: Primitive {
    fn from_16(value: i32) -> Self;
}

impl Sample for u8 {
    fn from_16(value: i32) -> Self {
        let rounded = (value.clamp(0, 65_535) + 128) / 257;
        Self::try_from(rounded).expect("a 257th of 16 bits is 8")
    }
}

impl Sample for u16 {
    fn from_16(value: i32) -> Self {
        Self::try_from(value.clamp(0, 65_535)).expect("clamped")
    }
}

fn paint<P: Pixel<Subpixel: Sample>>(
    colour: &Item,
    first: Picture,
    alpha: Option<&Item>,
    conversion: &Conversion,
    stored: Dimensions,
    finish: Finish,
) -> Result<ImageBuffer<P, Vec<P::Subpixel>>, Refusal> {
    let (width, height) = sides(stored);
    let channels = usize::from(P::CHANNEL_COUNT);
    let mut canvas = ImageBuffer::<P, _>::new(stored.width, stored.height);
    let (layout, depth) = (first.layout(), first.depth());
    each_tile(colour, Some(first), stored, finish, |tile, left, top| {
        if (tile.layout(), tile.depth()) != (layout, depth) {
            return Err(Refusal::Corrupt);
        }
        let shown = tile.width().min(width.saturating_sub(left));
        let mut chroma = Chroma::new(tile);
        for y in 0..tile.height().min(height.saturating_sub(top)) {
            let luma = tile.row(Plane::Y, y).ok_or(Refusal::Corrupt)?;
            chroma.upsample(tile, y);
            let start = ((top + y) * width + left) * channels;
            let row = canvas.get_mut(start..start + shown * channels).ok_or(Refusal::Corrupt)?;
            for (x, pixel) in row.chunks_exact_mut(channels).enumerate() {
                let colours = conversion.rgb(sample(luma, x), chroma.u[x], chroma.v[x]);
                for (channel, value) in pixel.iter_mut().zip(colours) {
                    *channel = P::Subpixel::from_16(value);
                }
            }
        }
        Ok(())
    })?;
    if let Some(alpha) = alpha {
        each_tile(alpha, None, stored, finish, |tile, left, top| {
            // Alpha is full-range unless its colour description says otherwise.
            let levels = Levels::of(tile.depth(), tile.coding.full_range);
            let shown = tile.width().min(width.saturating_sub(left));
            for y in 0..tile.height().min(height.saturating_sub(top)) {
                let luma = tile.row(Plane::Y, y).ok_or(Refusal::Corrupt)?;
                let start = ((top + y) * width + left) * channels;
                let row = canvas.get_mut(start..start + shown * channels).ok_or(Refusal::Corrupt)?;
                for (x, pixel) in row.chunks_exact_mut(channels).enumerate() {
                    pixel[channels - 1] = P::Subpixel::from_16(levels.luma(sample(luma, x)));
                }
            }
            Ok(())
        })?;
    }
    Ok(canvas)
}

fn sample(row: Row<'_>, x: usize) -> i32 {
    match row {
        Row::Bytes(row) => i32::from(row[x]),
        Row::Words(row) => i32::from(row[x]),
    }
}

/// A row of both chroma planes, upsampled to the width of luma.
struct Chroma {
    u: Vec<i32>,
    v: Vec<i32>,
}

impl Chroma {
    fn new(picture: &Picture) -> Self {
        let middle = 1 << (picture.depth() - 1);
        Self { u: vec![middle; picture.width()], v: vec![middle; picture.width()] }
    }

    /// Interpolates chroma that is sited at the center of its luma samples.
    fn upsample(&mut self, picture: &Picture, y: usize) {
        for (plane, out) in [(Plane::U, &mut self.u), (Plane::V, &mut self.v)] {
            let Some((width, height)) = picture.size(plane) else { return };
            let (near, far) = match picture.layout() {
                Layout::Half => (y / 2, second_nearest(y, height)),
                Layout::Grey | Layout::HalfWidth | Layout::Full => (y, y),
            };
            let (Some(near), Some(far)) = (picture.row(plane, near), picture.row(plane, far)) else { return };
            let mixed = |x: usize| 3 * sample(near, x) + sample(far, x);
            if picture.layout() == Layout::Full {
                for (x, value) in out.iter_mut().enumerate() {
                    *value = sample(near, x);
                }
                continue;
            }
            for (x, value) in out.iter_mut().enumerate() {
                *value = (3 * mixed(x / 2) + mixed(second_nearest(x, width)) + 8) >> 4;
            }
        }
    }
}

/// The second-nearest of the samples of a plane at half the size.
fn second_nearest(at: usize, samples: usize) -> usize {
    if at.is_multiple_of(2) { (at / 2).saturating_sub(1) } else { (at / 2 + 1).min(samples - 1) }
}

/// The range of samples.
#[derive(Clone, Copy)]
struct Levels {
    black: i32,
    /// 2^16 times 65,535, divided by the range of luma.
    luma: i64,
    chroma: f64,
    middle: i32,
}

impl Levels {
    fn of(depth: u32, full_range: bool) -> Self {
        let up = depth - 8;
        let (black, luma, chroma) = if full_range {
            let all = (1 << depth) - 1;
            (0, all, all)
        } else {
            (16 << up, 219 << up, 224 << up)
        };
        Self {
            black,
            luma: (65_535_i64 << 16) / i64::from(luma),
            chroma: 65_535.0 / f64::from(chroma),
            middle: 1 << (depth - 1),
        }
    }

    fn luma(self, sample: i32) -> i32 {
        let scaled = (i64::from(sample - self.black) * self.luma + (1 << 15)) >> 16;
        i32::try_from(scaled.clamp(0, 65_535)).expect("clamped")
    }
}

/// The conversion of YCbCr to RGB of 16 bits.
struct Conversion {
    levels: Levels,
    matrix: Matrix,
}

enum Matrix {
    /// Identity: the planes are G, B and R.
    None,
    Differences(Weights),
    /// YCgCo: the factor of both.
    GreenOrange(i64),
}

/// What a step of chroma adds, in 2^-12 of a 16-bit step.
#[derive(Clone, Copy)]
struct Weights {
    red_by_v: i64,
    green_by_u: i64,
    green_by_v: i64,
    blue_by_u: i64,
}

impl Conversion {
    fn of(coding: Colour, depth: u32) -> Result<Self, Refusal> {
        if matches!(coding.transfer, PQ | HLG) {
            return Err(Refusal::HighDynamicRange);
        }
        let levels = Levels::of(depth, coding.full_range);
        #[expect(clippy::cast_possible_truncation, reason = "at most twice 65535 over 224, times 2^12")]
        let weight = |factor: f64| (factor * levels.chroma * 4096.0).round() as i64;
        let (red, blue) = match coding.matrix {
            0 => return Ok(Self { levels, matrix: Matrix::None }),
            1 => (0.2126, 0.0722),
            // Unspecified means BT.601, as in JPEG.
            2 | 5 | 6 => (0.299, 0.114),
            4 => (0.30, 0.11),
            7 => (0.212, 0.087),
            8 => return Ok(Self { levels, matrix: Matrix::GreenOrange(weight(1.0)) }),
            9 => (0.2627, 0.0593),
            // Derived from the primaries.
            12 => match coding.primaries {
                9 => (0.2627, 0.0593),
                12 => (0.229, 0.0793),
                5..=7 => (0.2124, 0.0866),
                _ => (0.2126, 0.0722),
            },
            _ => return Err(Refusal::Unsupported),
        };
        let green = 1.0 - red - blue;
        let weights = Weights {
            red_by_v: weight(2.0 * (1.0 - red)),
            green_by_u: weight(-2.0 * (1.0 - blue) * blue / green),
            green_by_v: weight(-2.0 * (1.0 - red) * red / green),
            blue_by_u: weight(2.0 * (1.0 - blue)),
        };
        Ok(Self { levels, matrix: Matrix::Differences(weights) })
    }

    fn rgb(&self, y: i32, u: i32, v: i32) -> [i32; 3] {
        let Levels { middle, .. } = self.levels;
        if matches!(self.matrix, Matrix::None) {
            return [v, y, u].map(|sample| self.levels.luma(sample));
        }
        let (luma, u, v) = (i64::from(self.levels.luma(y)), i64::from(u - middle), i64::from(v - middle));
        let add = |chroma: i64| i32::try_from((luma + ((chroma + 2048) >> 12)).clamp(0, 65_535)).expect("clamped");
        match self.matrix {
            Matrix::Differences(Weights { red_by_v, green_by_u, green_by_v, blue_by_u }) => {
                [add(red_by_v * v), add(green_by_u * u + green_by_v * v), add(blue_by_u * u)]
            }
            Matrix::GreenOrange(weight) => [add(weight * (v - u)), add(weight * u), add(weight * (-u - v))],
            Matrix::None => [0; 3],
        }
    }
}

/// The colour description of the file, or else that of the AV1 data.
fn coding(item: &Item, picture: &Picture) -> Colour {
    let bits = picture.coding;
    item.colour.unwrap_or(Colour {
        primaries: bits.primaries,
        transfer: bits.transfer,
        matrix: bits.matrix,
        full_range: bits.full_range,
    })
}

/// A profile for primaries other than those of sRGB.
fn wide_gamut(primaries: u16) -> Option<Vec<u8>> {
    match primaries {
        9 => ColorProfile::new_bt2020().encode().ok(),
        12 => ColorProfile::new_display_p3().encode().ok(),
        _ => None,
    }
}

/// Divides colours by alpha.
fn unmultiply<S: Sample + Into<i64>>(canvas: &mut ImageBuffer<Rgba<S>, Vec<S>>)
where
    Rgba<S>: Pixel<Subpixel = S>,
{
    for Rgba([red, green, blue, alpha]) in canvas.pixels_mut() {
        let whole: i64 = (*alpha).into();
        if whole > 0 {
            for channel in [red, green, blue] {
                let value: i64 = (*channel).into();
                let divided = (value * 65_535 / whole).min(65_535);
                *channel = S::from_16(i32::try_from(divided).expect("at most 16 bits"));
            }
        }
    }
}
