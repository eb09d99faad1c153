//! ThumbHash: an image in two dozen bytes, as a placeholder until the image itself is loaded.
//!
//! The format is Evan Wallace's, <https://evanw.github.io/thumbhash/>: the lowest DCT coefficients of lightness (L), of two
//! colour differences (P, yellow to blue, and Q, red to green) and of alpha (A), four bits each. This crate encodes only.
#![deny(missing_docs)]

use std::{f64::consts::PI, fmt, str::FromStr};

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};

/// The hash of an image. Its text is base64.
#[derive(Clone, PartialEq, Eq)]
pub struct ThumbHash(Box<[u8]>);

impl ThumbHash {
    /// Larger images are scaled down to this side first, which leaves the lowest frequencies as they are.
    const MAX_SIDE: u32 = 100;

    /// With alpha, a header of 6 bytes and 38 coefficients; without, 5 bytes and at most 37 coefficients.
    const MAX_BYTES: usize = 25;

    /// The hash of an upright sRGB image. `pixel` returns red, green, blue and alpha, not premultiplied, by column and row.
    pub fn of(width: u32, height: u32, pixel: impl Fn(u32, u32) -> [u8; 4]) -> Self {
        encode(&Thumbnail::of(width, height, pixel))
    }
}

impl fmt::Display for ThumbHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&BASE64.encode(&self.0))
    }
}

impl fmt::Debug for ThumbHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The text is not the base64 of a ThumbHash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a ThumbHash is 5 to 25 bytes in base64")]
pub struct InvalidThumbHash;

impl FromStr for ThumbHash {
    type Err = InvalidThumbHash;

    fn from_str(text: &str) -> Result<Self, InvalidThumbHash> {
        let bytes = BASE64.decode(text).map_err(|_| InvalidThumbHash)?;
        if (5..=Self::MAX_BYTES).contains(&bytes.len()) { Ok(Self(bytes.into())) } else { Err(InvalidThumbHash) }
    }
}

/// A small image with samples from 0 to 1.
struct Thumbnail {
    width: usize,
    height: usize,
    /// Red, green, blue and alpha.
    pixels: Vec<[f64; 4]>,
    /// The mean colour, weighted by alpha. It shows through where the image is transparent.
    mean: [f64; 3],
    has_alpha: bool,
}

impl Thumbnail {
    /// Scales an image down to [`ThumbHash::MAX_SIDE`]. A pixel is the mean of up to 4 x 4 pixels that it covers, weighted
    /// by alpha.
    fn of(width: u32, height: u32, pixel: impl Fn(u32, u32) -> [u8; 4]) -> Self {
        let longest = width.max(height);
        let fit = |side: u32| if longest <= ThumbHash::MAX_SIDE { side } else { scaled(side, longest) };
        let (across, down) = (fit(width), fit(height));
        let mut pixels = Vec::new();
        for y in 0..down {
            for x in 0..across {
                pixels.push(mean(&pixel, covered(x, width, across), covered(y, height, down)));
            }
        }
        let visible: f64 = pixels.iter().map(|pixel| pixel[3]).sum();
        let sum = |channel: usize| pixels.iter().map(|pixel| pixel[channel] * pixel[3]).sum::<f64>();
        let mean = [0, 1, 2].map(|channel| if visible > 0.0 { sum(channel) / visible } else { 0.0 });
        let has_alpha = pixels.iter().any(|pixel| pixel[3] < 1.0);
        Self { width: across as usize, height: down as usize, pixels, mean, has_alpha }
    }

    /// A channel, computed from each pixel's colour over the mean colour and its alpha.
    fn channel(&self, of: impl Fn([f64; 3], f64) -> f64) -> Vec<f64> {
        let over_mean = |pixel: &[f64; 4], channel: usize| {
            let alpha = pixel[3];
            self.mean[channel] * (1.0 - alpha) + pixel[channel] * alpha
        };
        self.pixels.iter().map(|pixel| of([0, 1, 2].map(|channel| over_mean(pixel, channel)), pixel[3])).collect()
    }

    /// The lowest DCT coefficients of a channel: those of a triangle of `across` x `down`.
    fn coefficients(&self, channel: &[f64], across: usize, down: usize) -> Coefficients {
        let cosines = |side: usize, count: usize| -> Vec<Vec<f64>> {
            let cosine =
                |k: usize| (0..side).map(|at| (PI / side as f64 * k as f64 * (at as f64 + 0.5)).cos()).collect();
            (0..count).map(cosine).collect()
        };
        let (columns, rows) = (cosines(self.width, across), cosines(self.height, down));
        let mut found = Coefficients { dc: 0.0, ac: Vec::new(), scale: 0.0 };
        for (cy, vertical) in rows.iter().enumerate() {
            for (cx, horizontal) in columns.iter().enumerate().take_while(|(cx, _)| cx * down < across * (down - cy)) {
                let row = |row: &[f64]| row.iter().zip(horizontal).map(|(sample, cosine)| sample * cosine).sum::<f64>();
                let sum: f64 =
                    channel.chunks(self.width).zip(vertical).map(|(samples, cosine)| row(samples) * cosine).sum();
                let coefficient = sum / channel.len() as f64;
                if (cx, cy) == (0, 0) {
                    found.dc = coefficient;
                } else {
                    found.scale = found.scale.max(coefficient.abs());
                    found.ac.push(coefficient);
                }
            }
        }
        // In an image of one colour, AC coefficients are rounding errors.
        if found.scale < 1e-9 {
            found.scale = 0.0;
        }
        found
    }
}

/// `side`, scaled so that `longest` becomes [`ThumbHash::MAX_SIDE`]; at least 1.
fn scaled(side: u32, longest: u32) -> u32 {
    let scaled = (u64::from(side) * u64::from(ThumbHash::MAX_SIDE) + u64::from(longest) / 2) / u64::from(longest);
    u32::try_from(scaled).map_or(1, |side| side.max(1))
}

/// At most four of the pixels that pixel `at` covers when `from` pixels are scaled to `to`.
fn covered(at: u32, from: u32, to: u32) -> impl Iterator<Item = u32> + Clone {
    let edge = |at: u32| u32::try_from(u64::from(at) * u64::from(from) / u64::from(to)).unwrap_or(from);
    let (start, end) = (edge(at), edge(at + 1));
    let step = (end - start).div_ceil(4).max(1);
    (start + step / 2..end).step_by(step as usize).take(4)
}

fn mean(
    pixel: impl Fn(u32, u32) -> [u8; 4],
    columns: impl Iterator<Item = u32> + Clone,
    rows: impl Iterator<Item = u32>,
) -> [f64; 4] {
    let (mut colours, mut alphas, mut count) = ([0.0; 3], 0.0, 0.0);
    for y in rows {
        for x in columns.clone() {
            let [red, green, blue, alpha] = pixel(x, y).map(|sample| f64::from(sample) / 255.0);
            for (sum, sample) in colours.iter_mut().zip([red, green, blue]) {
                *sum += sample * alpha;
            }
            alphas += alpha;
            count += 1.0;
        }
    }
    let [red, green, blue] = colours.map(|sum| if alphas > 0.0 { sum / alphas } else { 0.0 });
    [red, green, blue, alphas / count]
}

struct Coefficients {
    dc: f64,
    ac: Vec<f64>,
    /// The largest magnitude of `ac`.
    scale: f64,
}

fn encode(image: &Thumbnail) -> ThumbHash {
    let longest = image.width.max(image.height);
    let most = if image.has_alpha { 5 } else { 7 };
    // The number of coefficients for a side, rounded.
    let share = |side: usize| ((2 * most * side + longest) / (2 * longest)).max(1);
    let (across, down) = (share(image.width), share(image.height));

    let lightness = image.channel(|[red, green, blue], _| (red + green + blue) / 3.0);
    let lightness = image.coefficients(&lightness, across.max(3), down.max(3));
    let yellow = image.coefficients(&image.channel(|[red, green, blue], _| (red + green) / 2.0 - blue), 3, 3);
    let red = image.coefficients(&image.channel(|[red, green, _], _| red - green), 3, 3);
    let alpha = image.has_alpha.then(|| image.coefficients(&image.channel(|_, alpha| alpha), 5, 5));

    let is_landscape = image.width > image.height;
    let constants = field(63.0 * lightness.dc, 0)
        | field(31.5 + 31.5 * yellow.dc, 6)
        | field(31.5 + 31.5 * red.dc, 12)
        | field(31.0 * lightness.scale, 18)
        | u32::from(image.has_alpha) << 23;
    let scales = field(if is_landscape { down } else { across } as f64, 0)
        | field(63.0 * yellow.scale, 3)
        | field(63.0 * red.scale, 9)
        | u32::from(is_landscape) << 15;
    let mut bytes = [&constants.to_le_bytes()[..3], &scales.to_le_bytes()[..2]].concat();
    if let Some(alpha) = &alpha {
        let constants = field(15.0 * alpha.dc, 0) | field(15.0 * alpha.scale, 4);
        bytes.push(constants.to_le_bytes()[0]);
    }

    let fours: Vec<u8> = [Some(lightness), Some(yellow), Some(red), alpha]
        .into_iter()
        .flatten()
        .flat_map(|Coefficients { ac, scale, .. }| {
            let share = move |it: f64| if scale > 0.0 { 0.5 + 0.5 / scale * it } else { 0.0 };
            ac.into_iter().map(move |it| field(15.0 * share(it), 0).to_le_bytes()[0])
        })
        .collect();
    bytes.extend(fours.chunks(2).map(|pair| pair[0] | pair.get(1).map_or(0, |high| high << 4)));
    ThumbHash(bytes.into())
}

/// A number, rounded and shifted to its place. It is not negative.
#[expect(clippy::cast_possible_truncation, reason = "a field has six bits at the most")]
fn field(value: f64, shift: u32) -> u32 {
    (value.round() as u32) << shift
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn hash(width: u32, height: u32, pixel: impl Fn(u32, u32) -> [u8; 4]) -> ThumbHash {
        ThumbHash::of(width, height, pixel)
    }

    /// The images of `vectors.mjs`, which made the vectors.
    fn drawn(pattern: &str, width: u32, height: u32, x: u32, y: u32) -> [u8; 4] {
        let times = |a: u8, b: u8| (u16::from(a) * u16::from(b) / 255).to_le_bytes()[0];
        let share = |part: u32, whole: u32| (part * 255 / whole.saturating_sub(1).max(1)).to_le_bytes()[0];
        let (across, down) = (share(x, width), share(y, height));
        let (right, bottom) = (times(across, across), times(down, down));
        let (is_left, is_top) = (8 * x < 3 * width, 5 * y < 3 * height);
        match (pattern, is_left, is_top) {
            ("gradient", ..) => [times(right, down), times(bottom, 255 - right), times(across, 255 - bottom), 255],
            ("parts", true, true) => [220, 30, 40, 255],
            ("parts", true, false) => [250, 240, 20, 255],
            ("parts", false, true) => [10, 160, 70, 255],
            ("parts", false, false) => [20, 40, 200, 255],
            ("grey", ..) => [times(right, bottom), times(right, bottom), times(right, bottom), 255],
            ("faded", ..) => [200, right, times(across, bottom), times(255 - right, down)],
            ("hole", ..) => [times(right, down), 120, bottom, if is_left && is_top { 0 } else { 255 }],
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_hash_is_that_of_the_reference_implementation() {
        let vectors: Value = serde_json::from_str(include_str!("../tests/vectors.json")).unwrap();
        let vectors = vectors.as_array().unwrap();
        assert!(vectors.len() >= 20);
        for vector in vectors {
            let side = |name: &str| u32::try_from(vector[name].as_u64().unwrap()).unwrap();
            let (width, height, pattern) = (side("width"), side("height"), vector["pattern"].as_str().unwrap());
            let made = hash(width, height, |x, y| drawn(pattern, width, height, x, y));
            assert_eq!(made.to_string(), vector["hash"], "{pattern} of {width} x {height}");
        }
    }

    #[test]
    fn a_large_image_has_nearly_the_hash_of_a_small_one() {
        let [small, large] = [75, 900]
            .map(|height| hash(height * 4 / 3, height, |x, y| drawn("gradient", height * 4 / 3, height, x, y)));
        let steps =
            small.0.iter().zip(&large.0).flat_map(|(a, b)| [(a & 15).abs_diff(b & 15), (a >> 4).abs_diff(b >> 4)]);
        assert!(steps.max() <= Some(1), "{small} and {large}");
    }

    #[test]
    fn an_image_of_one_colour_has_no_ac_coefficients() {
        for side in [37, 100, 1001] {
            let flat = hash(side, side, |_, _| [137, 12, 201, 255]);
            assert!(flat.0[5..].iter().all(|byte| *byte == 0), "{flat:?}");
        }
        assert_eq!(hash(10, 10, |_, _| [1, 2, 3, 0]).0[0] & 63, 0, "a transparent image is black");
    }

    #[test]
    fn extreme_proportions_have_a_hash() {
        for (width, height) in [(1, 1), (16_384, 1), (1, 16_384), (1200, 3), (101, 100)] {
            let made = hash(width, height, |x, y| drawn("gradient", width, height, x, y));
            assert_eq!(made.to_string().parse(), Ok(made));
        }
    }

    #[test]
    fn only_the_base64_of_a_hash_is_one() {
        assert_eq!(
            "1QcSHQRnh493V4dIh4eXh1h4kJUI".parse::<ThumbHash>().map(|it| it.to_string()).as_deref(),
            Ok("1QcSHQRnh493V4dIh4eXh1h4kJUI")
        );
        for other in ["", "AAAA", "not base64!", &"A".repeat(36)] {
            assert_eq!(other.parse::<ThumbHash>(), Err(InvalidThumbHash), "{other}");
        }
    }
}
