//! Baseline JPEG, 4:2:0 or grey, in one scan, with codes that are the shortest for the picture.

mod bits;
mod huffman;
mod steps;
mod symbols;
#[cfg(test)]
mod tests;
mod transform;

use std::iter;

use image::{DynamicImage, GrayAlphaImage, GrayImage, Luma, Rgb, RgbImage, RgbaImage};
use xfiles_core::variant::Colour;

use self::{
    bits::Bits,
    steps::{DIFFERENCE_STEPS, LUMA_STEPS, SIDE},
    symbols::{Codes, Kind, Tokens},
    transform::{Group, LANES, SPAN, Steps},
};
use super::halve::halves;
use crate::render::{
    Refusal,
    planes::{Halves, Range},
};

/// What blocks a unit of 16 x 16 pixels has, in this order: four of luma, row by row, and one of each difference.
const UNIT: [Kind; 6] = [Kind::Luma, Kind::Luma, Kind::Luma, Kind::Luma, Kind::Difference, Kind::Difference];

/// The background shows through where a picture is transparent.
pub(super) fn encode(pixels: DynamicImage, background: Colour) -> Result<Vec<u8>, Refusal> {
    let Colour { red, green, blue } = background;
    let has_color = pixels.color().has_color() || pixels.color().has_alpha() && (red != green || green != blue);
    let grey = |luma| Halves { luma, differences: None, range: Range::Full };
    encode_halves(&match (has_color, pixels.color().has_alpha()) {
        (true, true) => halves(&flatten(&pixels.into_rgba8(), background), Range::Full),
        (true, false) => halves(&pixels.into_rgb8(), Range::Full),
        (false, true) => grey(flatten_grey(&pixels.into_luma_alpha8(), red)),
        (false, false) => grey(pixels.into_luma8()),
    })
}

pub(super) fn encode_halves(halves: &Halves) -> Result<Vec<u8>, Refusal> {
    let side = |pixels: u32| u16::try_from(pixels).map_err(|_| Refusal::Unencodable);
    let (width, height) = (side(halves.luma.width())?, side(halves.luma.height())?);
    let (tokens, unit) = match &halves.differences {
        Some(differences) => (coloured(&halves.luma, differences), UNIT.as_slice()),
        None => (grey(&halves.luma), &UNIT[..1]),
    };
    let codes = tokens.codes();
    let mut file = header(width, height, &codes);
    tokens.write(&codes, unit, Bits::new(&mut file));
    file.extend(END);
    Ok(file)
}

fn grey(luma: &GrayImage) -> Tokens {
    let (width, height) = size(luma);
    let steps = Steps::new(&LUMA_STEPS);
    let (mut tokens, mut group, mut mean) = (Tokens::new(), Group::EMPTY, 0);
    for y in (0..height).step_by(SIDE) {
        for x in (0..width).step_by(SPAN) {
            group.transform(rows(luma, x, y), &steps);
            tokens.reserve(LANES);
            for block in 0..LANES.min((width - x).div_ceil(SIDE)) {
                tokens.push(Kind::Luma, &group, block, &mut mean);
            }
        }
    }
    tokens
}

fn coloured(luma: &GrayImage, differences: &[GrayImage; 2]) -> Tokens {
    let (width, height) = size(luma);
    let steps = [Steps::new(&LUMA_STEPS), Steps::new(&DIFFERENCE_STEPS)];
    let mut tokens = Tokens::new();
    // Of as many units beside each other as there are lanes: luma above and below, left and right, and the differences.
    let mut luma_groups = [[Group::EMPTY; 2], [Group::EMPTY; 2]];
    let mut difference_groups = [Group::EMPTY; 2];
    let (mut luma_mean, mut difference_means) = (0, [0; 2]);
    for y in (0..height).step_by(2 * SIDE) {
        for x in (0..width).step_by(2 * SPAN) {
            for (y, groups) in (y..height).step_by(SIDE).zip(&mut luma_groups) {
                for (x, group) in (x..width).step_by(SPAN).zip(groups) {
                    group.transform(rows(luma, x, y), &steps[0]);
                }
            }
            for (plane, group) in differences.iter().zip(&mut difference_groups) {
                group.transform(rows(plane, x / 2, y / 2), &steps[1]);
            }
            tokens.reserve(LANES * UNIT.len());
            for unit in 0..LANES.min((width - x).div_ceil(2 * SIDE)) {
                for (y, groups) in [y, y + SIDE].into_iter().zip(&luma_groups) {
                    for block in [2 * unit, 2 * unit + 1] {
                        if y < height && x + block * SIDE < width {
                            tokens.push(Kind::Luma, &groups[block / LANES], block % LANES, &mut luma_mean);
                        } else {
                            tokens.push_any(Kind::Luma);
                        }
                    }
                }
                for (group, mean) in difference_groups.iter().zip(&mut difference_means) {
                    tokens.push(Kind::Difference, group, unit, mean);
                }
            }
        }
    }
    tokens
}

/// Rows of a group of blocks. Beyond an edge of the plane is what is on the edge.
fn rows(plane: &GrayImage, x: usize, y: usize) -> impl Fn(usize, &mut [u8; SPAN]) {
    let (width, height) = size(plane);
    move |row, samples| {
        let start = (y + row).min(height - 1) * width;
        let row = &plane.as_raw()[start..start + width][x..];
        match row.first_chunk() {
            Some(whole) => *samples = *whole,
            None => {
                let (there, beyond) = samples.split_at_mut(row.len());
                there.copy_from_slice(row);
                beyond.fill(row[row.len() - 1]);
            }
        }
    }
}

fn size(plane: &GrayImage) -> (usize, usize) {
    (plane.width() as usize, plane.height() as usize)
}

const END: [u8; 2] = [0xFF, 0xD9];

/// Everything before the scan.
fn header(width: u16, height: u16, codes: &[Codes]) -> Vec<u8> {
    let mut file = vec![0xFF, 0xD8];
    let mut segment = |marker: u8, body: &[u8]| {
        let length = u16::try_from(2 + body.len()).expect("no segment here has more than a kilobyte");
        file.extend([0xFF, marker]);
        file.extend(length.to_be_bytes());
        file.extend(body);
    };
    // Version 1.1, pixels as wide as high, no thumbnail.
    segment(0xE0, b"JFIF\0\x01\x01\0\0\x01\0\x01\0\0");
    let tables = (0..).zip([LUMA_STEPS, DIFFERENCE_STEPS]).take(codes.len());
    segment(0xDB, &tables.flat_map(|(number, steps)| iter::once(number).chain(steps)).collect::<Vec<u8>>());
    let ([top, bottom], [left, right]) = (height.to_be_bytes(), width.to_be_bytes());
    let components: &[[u8; 3]] =
        if codes.len() > 1 { &[[1, 0x22, 0], [2, 0x11, 1], [3, 0x11, 1]] } else { &[[1, 0x11, 0]] };
    let count = if codes.len() > 1 { 3 } else { 1 };
    segment(0xC0, &[&[8, top, bottom, left, right, count], components.as_flattened()].concat());
    let tables = (0_u8..).zip(codes).flat_map(|(number, codes)| {
        let means = iter::once(number).chain(codes.means.table());
        means.chain(iter::once(0x10 | number).chain(codes.waves.table()))
    });
    segment(0xC4, &tables.collect::<Vec<u8>>());
    let selectors = components.iter().flat_map(|[component, _, table]| [*component, table << 4 | table]);
    segment(0xDA, &iter::once(count).chain(selectors).chain([0, 63, 0]).collect::<Vec<u8>>());
    file
}

fn flatten(picture: &RgbaImage, background: Colour) -> RgbImage {
    RgbImage::from_fn(picture.width(), picture.height(), |x, y| {
        let [red, green, blue, alpha] = picture.get_pixel(x, y).0;
        let on = |sample, background| mixed(sample, background, alpha);
        Rgb([on(red, background.red), on(green, background.green), on(blue, background.blue)])
    })
}

fn flatten_grey(picture: &GrayAlphaImage, background: u8) -> GrayImage {
    GrayImage::from_fn(picture.width(), picture.height(), |x, y| {
        let [sample, alpha] = picture.get_pixel(x, y).0;
        Luma([mixed(sample, background, alpha)])
    })
}

fn mixed(sample: u8, background: u8, alpha: u8) -> u8 {
    let [sample, background, alpha, max] = [sample, background, alpha, u8::MAX].map(u32::from);
    let mixed = (sample * alpha + background * (max - alpha) + max / 2) / max;
    u8::try_from(mixed).expect("a mean of two samples is a sample")
}
