//! Files of the encoder, read by two decoders of other people and marker by marker.
#![expect(clippy::cast_possible_truncation, reason = "samples and sides are kept small")]

use std::{f64::consts::PI, io::Cursor};

use image::{DynamicImage, GrayImage, Luma, Rgb, RgbImage, RgbaImage};
use proptest::prelude::{ProptestConfig, any, prop, proptest};
use xfiles_core::variant::Colour;
use zune_jpeg::JpegDecoder;

use super::{
    bits::Bits,
    encode, encode_halves, halves,
    huffman::Code,
    steps::SIDE,
    transform::{Group, LANES, SPAN, Steps},
};
use crate::render::{
    Refusal,
    planes::{Halves, Range},
};

const SIZES: [(u32, u32); 16] = [
    (1, 1),
    (1, 17),
    (17, 1),
    (2, 2),
    (7, 9),
    (8, 8),
    (9, 8),
    (15, 16),
    (16, 16),
    (17, 17),
    (24, 40),
    (63, 5),
    (64, 64),
    (65, 31),
    (128, 16),
    (161, 99),
];

/// Numbers that look random and are the same each time.
fn noise(seed: u32) -> impl FnMut() -> u8 {
    let mut state = seed.wrapping_mul(2_654_435_761) | 1;
    move || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        (state >> 24) as u8
    }
}

fn plane(width: u32, height: u32, mut sample: impl FnMut(u32, u32) -> u8) -> GrayImage {
    GrayImage::from_fn(width, height, |x, y| Luma([sample(x, y)]))
}

fn gradient(width: u32, height: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| Rgb([20 + x as u8, 40 + 2 * y as u8, 200 - x as u8]))
}

fn grey(luma: GrayImage) -> Halves {
    Halves { luma, differences: None, range: Range::Full }
}

/// Luma as given, and colours that are the same all over, which no decoder can spread in its own way.
fn tinted(luma: GrayImage) -> Halves {
    let (width, height) = (luma.width().div_ceil(2), luma.height().div_ceil(2));
    let differences = [140, 110].map(|sample| plane(width, height, |_, _| sample));
    Halves { luma, differences: Some(differences), range: Range::Full }
}

/// What two decoders make of a file, the samples of each pixel after the other.
fn decoded(file: &[u8]) -> [Vec<u8>; 2] {
    let one = JpegDecoder::new(Cursor::new(file)).decode().unwrap();
    let other = jpeg_decoder::Decoder::new(file).decode().unwrap();
    // The first makes colours of grey.
    let channels = one.len() / other.len();
    [one.into_iter().step_by(channels).collect(), other]
}

/// Checks that both decoders show the same, to within `tolerance` in each sample, and returns what that is.
fn shown(file: &[u8], tolerance: u8) -> Vec<u8> {
    let [one, other] = decoded(file);
    assert_eq!(one.len(), other.len());
    let furthest = one.iter().zip(&other).map(|(one, other)| one.abs_diff(*other)).max().unwrap();
    assert!(furthest <= tolerance, "the decoders are {furthest} apart");
    one
}

/// The root of the mean square of the differences.
fn distance(left: &[u8], right: &[u8]) -> f64 {
    assert_eq!(left.len(), right.len());
    let squares: f64 = left.iter().zip(right).map(|(a, b)| f64::from(a.abs_diff(*b)).powi(2)).sum();
    (squares / left.len() as f64).sqrt()
}

/// The segments of a file, each as its marker and its body, and the scan behind them.
fn segments(file: &[u8]) -> (Vec<(u8, &[u8])>, &[u8]) {
    let (mut rest, mut segments) = (file.strip_prefix(&[0xFF, 0xD8]).unwrap(), Vec::new());
    while segments.last().is_none_or(|(marker, _)| *marker != 0xDA) {
        assert_eq!(rest[0], 0xFF);
        let length = usize::from(u16::from_be_bytes([rest[2], rest[3]]));
        segments.push((rest[1], &rest[4..2 + length]));
        rest = &rest[2 + length..];
    }
    (segments, rest.strip_suffix(&[0xFF, 0xD9]).unwrap())
}

/// Checks that a file consists of what a baseline decoder expects, and of one scan.
fn assert_is_baseline(file: &[u8], components: u8) {
    let (segments, scan) = segments(file);
    let markers: Vec<u8> = segments.iter().map(|(marker, _)| *marker).collect();
    assert_eq!(markers, [0xE0, 0xDB, 0xC0, 0xC4, 0xDA]);
    assert_eq!(segments[2].1[5], components);
    assert_eq!(segments[4].1[0], components);
    for (at, byte) in scan.iter().enumerate().filter(|(_, byte)| **byte == 0xFF) {
        assert_eq!(scan.get(at + 1), Some(&0), "a byte of ones is not stuffed: {byte}");
    }
    let (mut tables, mut count) = (segments[3].1, 0);
    while let [_, rest @ ..] = tables {
        let (counts, rest) = rest.split_first_chunk::<16>().unwrap();
        let used: u32 = (1_u32..).zip(counts).map(|(length, count)| u32::from(*count) << (16 - length)).sum();
        // Were all of them used, the last would be of ones alone.
        assert!(used < 1 << 16, "{counts:?}");
        tables = &rest[counts.iter().map(|count| usize::from(*count)).sum()..];
        count += 1;
    }
    assert_eq!(count, if components == 1 { 2 } else { 4 });
}

#[test]
fn every_size_comes_back_in_colour_and_in_grey() {
    for (width, height) in SIZES {
        let picture = gradient(width, height);
        let file = encode(picture.clone().into(), Colour::WHITE).unwrap();
        assert_is_baseline(&file, 3);
        let distance = distance(&shown(&file, 12), &picture);
        assert!(distance < 4.0, "{width} x {height}: {distance}");

        let picture = DynamicImage::from(picture).into_luma8();
        let file = encode(picture.clone().into(), Colour::WHITE).unwrap();
        assert_is_baseline(&file, 1);
        let distance = self::distance(&shown(&file, 3), &picture);
        assert!(distance < 3.0, "{width} x {height}, grey: {distance}");
    }
}

#[test]
fn noise_comes_back_at_every_size() {
    for (width, height) in SIZES {
        for contrast in [1, 16, 255] {
            let mut noise = noise(width * 1000 + height);
            let luma = plane(width, height, |_, _| 255 - (u16::from(noise()) * contrast / 255) as u8);
            let file = encode_halves(&grey(luma.clone())).unwrap();
            assert_is_baseline(&file, 1);
            let distance = distance(&shown(&file, 3), &luma);
            assert!(distance < 16.0, "{width} x {height}, {contrast}: {distance}");
            let file = encode_halves(&tinted(luma)).unwrap();
            assert_is_baseline(&file, 3);
            shown(&file, 4);
        }
    }
}

#[test]
fn noise_in_every_plane_leaves_luma_as_it_is() {
    for (width, height) in SIZES {
        let mut noise = noise(width * 1000 + height);
        let mut between = |from: u8, to: u8, width, height| plane(width, height, |_, _| from + noise() % (to - from));
        // No colour goes beyond what RGB can say.
        let luma = between(100, 160, width, height);
        let differences = [(); 2].map(|()| between(110, 146, width.div_ceil(2), height.div_ceil(2)));
        let halves = Halves { luma, differences: Some(differences), range: Range::Full };
        let file = encode_halves(&halves).unwrap();
        assert_is_baseline(&file, 3);
        let luma = |rgb| self::halves(&RgbImage::from_raw(width, height, rgb).unwrap(), Range::Full).luma;
        let [one, other] = decoded(&file).map(luma);
        let distance = distance(&one, &halves.luma);
        assert!(distance < 12.0, "{width} x {height}: {distance}");
        assert!(one.iter().zip(other.iter()).all(|(one, other)| one.abs_diff(*other) <= 2), "{width} x {height}");
    }
}

#[test]
fn black_and_white_noise_has_every_size_of_value_and_stuffed_bytes() {
    let mut noise = noise(7);
    // Blocks from one level to all of them.
    let luma = plane(256, 256, |x, _| 128_u8.saturating_add_signed((noise() as i8 >> 7 | 1) * (x / 2) as i8));
    let file = encode_halves(&tinted(luma.clone())).unwrap();
    assert_is_baseline(&file, 3);
    assert!(segments(&file).1.windows(2).any(|pair| pair == [0xFF, 0]));
    let rgb = shown(&file, 4);
    assert_eq!(rgb.len(), 256 * 256 * 3);
    let file = encode_halves(&grey(luma.clone())).unwrap();
    assert!(distance(&shown(&file, 3), &luma) < 16.0);
}

#[test]
fn a_flat_picture_has_codes_of_one_bit() {
    for sample in [0, 1, 127, 128, 129, 255] {
        let file = encode_halves(&grey(plane(40, 24, |_, _| sample))).unwrap();
        assert_is_baseline(&file, 1);
        // Fifteen blocks: a first difference, then nothing but ends and equal means.
        assert!(segments(&file).1.len() < 10, "{}", segments(&file).1.len());
        assert!(shown(&file, 1).iter().all(|shown| shown.abs_diff(sample) <= 1));
        assert_is_baseline(&encode_halves(&tinted(plane(40, 24, |_, _| sample))).unwrap(), 3);
    }
}

#[test]
fn what_lies_beyond_the_edge_takes_no_more_than_bits() {
    let mut noise = noise(3);
    let luma = plane(160, 160, |_, _| noise());
    let cut = |width, height| DynamicImage::from(luma.clone()).crop_imm(0, 0, width, height).into_luma8();
    let size = |width, height| segments(&encode_halves(&tinted(cut(width, height))).unwrap()).1.len();
    assert!(size(152, 152) * 160 * 160 < size(160, 160) * (152 * 152 + 160 * 4));
}

#[test]
fn the_same_picture_becomes_the_same_bytes() {
    let picture = DynamicImage::from(gradient(131, 77));
    assert_eq!(encode(picture.clone(), Colour::WHITE).unwrap(), encode(picture, Colour::WHITE).unwrap());
}

#[test]
fn a_side_beyond_sixteen_bits_is_refused() {
    assert!(encode_halves(&grey(GrayImage::new(1, 65_535))).is_ok());
    assert_eq!(encode_halves(&grey(GrayImage::new(65_536, 1))).unwrap_err(), Refusal::Unencodable);
}

#[test]
fn the_background_is_encoded_where_nothing_is() {
    let clear = DynamicImage::from(RgbaImage::new(20, 20));
    let file = encode(clear, "#204080".parse().unwrap()).unwrap();
    assert!(shown(&file, 3).as_chunks::<3>().0.iter().all(|pixel| distance(pixel, &[0x20, 0x40, 0x80]) < 4.0));
}

#[test]
fn the_transform_is_that_of_cosines() {
    const STEP: u8 = 2;

    let mut noise = noise(11);
    for contrast in [2, 30, 255] {
        let samples: [[u8; SPAN]; SIDE] =
            std::array::from_fn(|_| std::array::from_fn(|_| (u16::from(noise()) * contrast / 255) as u8));
        let mut group = Group::EMPTY;
        group.transform(|y, row| *row = samples[y], &Steps::new(&[STEP; 64]));
        for block in 0..LANES {
            let mut waves = 0;
            let mut order: Vec<(usize, usize)> = (0..64).map(|at| (at % SIDE, at / SIDE)).collect();
            order.sort_by_key(|(x, y)| (x + y, if (x + y) % 2 == 0 { *x } else { *y }));
            for (place, (u, v)) in order.into_iter().enumerate() {
                let cosine = |at: usize, wave: usize| (PI * (2 * at + 1) as f64 * wave as f64 / 16.0).cos();
                let part = |wave: usize| if wave == 0 { 0.5_f64.sqrt() } else { 1.0 };
                let sum: f64 = (0..64)
                    .map(|at| (at % SIDE, at / SIDE))
                    .map(|(x, y)| (f64::from(samples[y][block * SIDE + x]) - 128.0) * cosine(x, u) * cosine(y, v))
                    .sum();
                let exact = sum * part(u) * part(v) / 4.0 / f64::from(STEP);
                let rounded = group.coefficient(place, block);
                // Half a step, what is dropped while transforming, and what rounds towards zero.
                assert!((exact - f64::from(rounded)).abs() < 0.7, "{place} of {block}: {exact} as {rounded}");
                waves |= u64::from(place > 0 && rounded != 0) << place;
            }
            assert_eq!(group.waves(block), waves);
        }
    }
}

/// How many bits the codes of these symbols have together.
fn cost(frequencies: &[u32; 256]) -> u64 {
    let words = Code::shortest(frequencies).words();
    frequencies.iter().zip(words).map(|(count, (_, length))| u64::from(*count) * u64::from(length)).sum()
}

#[test]
fn codes_are_as_short_as_can_be_and_never_longer_than_sixteen_bits() {
    let mut frequencies = [0; 256];
    frequencies[5] = 9;
    assert_eq!(Code::shortest(&frequencies).words()[5], (0, 1));
    frequencies[200] = 4;
    frequencies[7] = 1;
    let words = Code::shortest(&frequencies).words();
    assert_eq!([words[5], words[200], words[7]], [(0, 1), (2, 2), (6, 3)]);

    // Each as frequent as the two before it together: the longest of 30 codes would have 29 bits.
    let (mut one, mut two) = (1, 1);
    for frequency in &mut frequencies[40..70] {
        *frequency = one;
        (one, two) = (two, one + two);
    }
    let words = Code::shortest(&frequencies).words();
    let lengths = words.map(|(_, length)| length);
    assert_eq!(lengths.iter().max(), Some(&16));
    let used: u32 = lengths.iter().filter(|length| **length > 0).map(|length| 1 << (16 - length)).sum();
    assert_eq!(used, (1 << 16) - 1);
    // All 256 have room as well.
    assert!(Code::shortest(&[1; 256]).words().iter().all(|(_, length)| (8..=9).contains(length)));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) })]

    #[test]
    fn codes_take_what_huffmans_would_where_those_are_short(counts in prop::collection::vec(500_u32..5000, 2..200)) {
        let mut frequencies = [0; 256];
        frequencies[..counts.len()].copy_from_slice(&counts);
        // What joins the two lightest until one is left, with one that never comes for the code of ones.
        let mut weights: Vec<u64> = frequencies.iter().filter(|count| **count > 0).map(|count| u64::from(*count)).collect();
        weights.push(0);
        let mut bits = 0;
        while weights.len() > 1 {
            weights.sort_unstable_by(|left, right| right.cmp(left));
            let joined = weights.pop().unwrap() + weights.pop().unwrap();
            bits += joined;
            weights.push(joined);
        }
        proptest::prop_assert_eq!(cost(&frequencies), bits);
    }

    #[test]
    fn bits_are_put_one_after_the_other(numbers in prop::collection::vec((any::<u32>(), 0_u32..28), 0..200)) {
        let (mut file, mut expected) = (Vec::new(), Vec::new());
        let mut bits = Bits::new(&mut file);
        for (number, size) in numbers {
            // Ones alone as well, so that there is something to stuff.
            let number = if number % 3 == 0 { u32::MAX } else { number } & ((1 << size) - 1);
            bits.put(number, size);
            expected.extend((0..size).rev().map(|bit| number >> bit & 1));
        }
        bits.finish();
        expected.resize(expected.len().next_multiple_of(8), 1);
        let bytes = expected.chunks(8).map(|bits| bits.iter().fold(0, |byte, bit| byte << 1 | *bit as u8));
        let stuffed: Vec<u8> = bytes.flat_map(|byte| if byte == 0xFF { vec![byte, 0] } else { vec![byte] }).collect();
        proptest::prop_assert_eq!(file, stuffed);
    }

    #[test]
    fn any_planes_come_back(
        width in 1_u32..150,
        height in 1_u32..70,
        seed in any::<u32>(),
        smooth in 1_u32..40,
        contrast in 0_u16..256,
        is_grey in any::<bool>(),
    ) {
        let mut noise = noise(seed);
        let tiles: Vec<u8> = (0..150 * 70).map(|_| (u16::from(noise()) * contrast / 255) as u8).collect();
        let luma = plane(width, height, |x, y| tiles[(y / smooth * 150 + x / smooth) as usize]);
        let halves = if is_grey { grey(luma) } else { tinted(luma) };
        let file = encode_halves(&halves).unwrap();
        assert_is_baseline(&file, if is_grey { 1 } else { 3 });
        let shown = shown(&file, 4);
        if is_grey {
            let distance = distance(&shown, &halves.luma);
            proptest::prop_assert!(distance < 16.0, "{}", distance);
        }
    }
}
