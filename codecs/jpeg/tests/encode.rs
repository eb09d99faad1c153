//! Files of the encoder, read by two other decoders and marker by marker.
#![cfg(test)]
#![expect(clippy::cast_possible_truncation, reason = "samples and sides are kept small")]

use std::io::Cursor;

use proptest::prelude::{ProptestConfig, any, proptest};
use xfiles_jpeg::{
    CodingProcess, Marker,
    encode::{Image, Quality},
};
use zune_jpeg::JpegDecoder;

const SIZES: [(usize, usize); 16] = [
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

/// Pseudo-random numbers.
fn noise(seed: u32) -> impl FnMut() -> u8 {
    let mut state = seed.wrapping_mul(2_654_435_761) | 1;
    move || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        (state >> 24) as u8
    }
}

/// The planes of an image.
struct Planes {
    size: (usize, usize),
    luma: Vec<u8>,
    chroma: Option<[Vec<u8>; 2]>,
}

impl Planes {
    fn encoded(&self) -> Vec<u8> {
        let chroma = self.chroma.as_ref().map(|planes| planes.each_ref().map(Vec::as_slice));
        let image = Image::new(self.size.0, self.size.1, &self.luma, chroma).unwrap();
        xfiles_jpeg::encode::encode(&image, Quality::DEFAULT)
    }
}

fn plane(width: usize, height: usize, mut sample: impl FnMut(usize, usize) -> u8) -> Vec<u8> {
    (0..height).flat_map(|y| (0..width).map(move |x| (x, y))).map(|(x, y)| sample(x, y)).collect()
}

fn half((width, height): (usize, usize)) -> (usize, usize) {
    (width.div_ceil(2), height.div_ceil(2))
}

fn grey(size: (usize, usize), luma: Vec<u8>) -> Planes {
    Planes { size, luma, chroma: None }
}

/// Luma as given, and constant chroma, which every decoder upsamples to the same.
fn tinted(size: (usize, usize), luma: Vec<u8>) -> Planes {
    let (width, height) = half(size);
    Planes { size, luma, chroma: Some([140, 110].map(|sample| vec![sample; width * height])) }
}

/// T.871, 7.
fn to_rgb([y, cb, cr]: [u8; 3]) -> [u8; 3] {
    let [y, cb, cr] = [f64::from(y), f64::from(cb) - 128.0, f64::from(cr) - 128.0];
    [y + 1.402 * cr, y - 0.344_136 * cb - 0.714_136 * cr, y + 1.772 * cb].map(|it| it.round().clamp(0.0, 255.0) as u8)
}

fn luma_of([red, green, blue]: [u8; 3]) -> u8 {
    (0.299 * f64::from(red) + 0.587 * f64::from(green) + 0.114 * f64::from(blue)).round() as u8
}

/// The samples that two decoders make of a file, pixel by pixel.
fn decoded(file: &[u8]) -> [Vec<u8>; 2] {
    let one = JpegDecoder::new(Cursor::new(file)).decode().unwrap();
    let other = jpeg_decoder::Decoder::new(file).decode().unwrap();
    // The first converts grey to RGB.
    let channels = one.len() / other.len();
    [one.into_iter().step_by(channels).collect(), other]
}

/// Checks that both decoders agree to within `tolerance` in each sample, and returns what the first yields.
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

/// The segments of a file, each as its marker and its parameters, and the entropy-coded data.
fn segments(file: &[u8]) -> (Vec<(Marker, &[u8])>, &[u8]) {
    let (mut rest, mut segments) = (file.strip_prefix(&[0xFF, 0xD8]).unwrap(), Vec::new());
    while segments.last().is_none_or(|(marker, _)| *marker != Marker::StartOfScan) {
        assert_eq!(rest[0], 0xFF);
        let length = usize::from(u16::from_be_bytes([rest[2], rest[3]]));
        segments.push((Marker::from_code(rest[1]), &rest[4..2 + length]));
        rest = &rest[2 + length..];
    }
    (segments, rest.strip_suffix(&[0xFF, 0xD9]).unwrap())
}

/// Checks that a file has what a baseline decoder expects, and one scan.
fn assert_is_baseline(file: &[u8], components: u8) {
    let (segments, scan) = segments(file);
    let markers: Vec<Marker> = segments.iter().map(|(marker, _)| *marker).collect();
    let expected = [
        Marker::Application(0),
        Marker::DefineQuantizationTables,
        Marker::StartOfFrame(CodingProcess::Baseline),
        Marker::DefineHuffmanTables,
        Marker::StartOfScan,
    ];
    assert_eq!(markers, expected);
    assert_eq!(segments[2].1[5], components);
    assert_eq!(segments[4].1[0], components);
    for (at, byte) in scan.iter().enumerate().filter(|(_, byte)| **byte == 0xFF) {
        assert_eq!(scan.get(at + 1), Some(&0), "0xFF at {at} is not stuffed: {byte}");
    }
    let (mut tables, mut count) = (segments[3].1, 0);
    while let [_, rest @ ..] = tables {
        let (counts, rest) = rest.split_first_chunk::<16>().unwrap();
        let used: u32 = (1_u32..).zip(counts).map(|(length, count)| u32::from(*count) << (16 - length)).sum();
        // If all codes were used, the last would consist of ones only.
        assert!(used < 1 << 16, "{counts:?}");
        tables = &rest[counts.iter().map(|count| usize::from(*count)).sum()..];
        count += 1;
    }
    assert_eq!(count, if components == 1 { 2 } else { 4 });
}

#[test]
fn every_size_comes_back_in_colour_and_in_grey() {
    for (width, height) in SIZES {
        let size = (width, height);
        let luma = plane(width, height, |x, y| 60 + (x / 2 + y / 4) as u8);
        let (across, down) = half(size);
        let cb = plane(across, down, |x, y| 100 + (x / 2 + y / 2) as u8);
        let cr = plane(across, down, |x, y| 150 - (x / 2 + y / 2) as u8);
        let pixel = |at: usize| {
            let half = at / width / 2 * across + at % width / 2;
            to_rgb([luma[at], cb[half], cr[half]])
        };
        let expected: Vec<u8> = (0..width * height).flat_map(pixel).collect();
        let file = Planes { size, luma: luma.clone(), chroma: Some([cb.clone(), cr.clone()]) }.encoded();
        assert_is_baseline(&file, 3);
        let distance = distance(&shown(&file, 12), &expected);
        assert!(distance < 4.0, "{width} x {height}: {distance}");

        let file = grey(size, luma.clone()).encoded();
        assert_is_baseline(&file, 1);
        let distance = self::distance(&shown(&file, 3), &luma);
        assert!(distance < 3.0, "{width} x {height}, grey: {distance}");
    }
}

#[test]
fn noise_comes_back_at_every_size() {
    for size @ (width, height) in SIZES {
        for contrast in [1, 16, 255] {
            let mut noise = noise((width * 1000 + height) as u32);
            let luma = plane(width, height, |_, _| 255 - (u16::from(noise()) * contrast / 255) as u8);
            let file = grey(size, luma.clone()).encoded();
            assert_is_baseline(&file, 1);
            let distance = distance(&shown(&file, 3), &luma);
            assert!(distance < 16.0, "{width} x {height}, {contrast}: {distance}");
            let file = tinted(size, luma).encoded();
            assert_is_baseline(&file, 3);
            shown(&file, 4);
        }
    }
}

#[test]
fn noise_in_every_plane_leaves_luma_as_it_is() {
    for size @ (width, height) in SIZES {
        let mut noise = noise((width * 1000 + height) as u32);
        let mut between = |from: u8, to: u8, width, height| plane(width, height, |_, _| from + noise() % (to - from));
        // No colour is beyond what RGB has.
        let luma = between(100, 160, width, height);
        let (across, down) = half(size);
        let chroma = [(); 2].map(|()| between(110, 146, across, down));
        let file = Planes { size, luma: luma.clone(), chroma: Some(chroma) }.encoded();
        assert_is_baseline(&file, 3);
        let [one, other] =
            decoded(&file).map(|rgb| rgb.as_chunks().0.iter().map(|pixel| luma_of(*pixel)).collect::<Vec<_>>());
        let distance = distance(&one, &luma);
        assert!(distance < 12.0, "{width} x {height}: {distance}");
        assert!(one.iter().zip(other.iter()).all(|(one, other)| one.abs_diff(*other) <= 2), "{width} x {height}");
    }
}

#[test]
fn black_and_white_noise_has_values_of_every_size_and_stuffed_bytes() {
    let mut noise = noise(7);
    // Blocks of contrasts from one level to all of them.
    let luma = plane(256, 256, |x, _| 128_u8.saturating_add_signed((noise() as i8 >> 7 | 1) * (x / 2) as i8));
    let file = tinted((256, 256), luma.clone()).encoded();
    assert_is_baseline(&file, 3);
    assert!(segments(&file).1.windows(2).any(|pair| pair == [0xFF, 0]));
    assert_eq!(shown(&file, 4).len(), 256 * 256 * 3);
    let file = grey((256, 256), luma.clone()).encoded();
    assert!(distance(&shown(&file, 3), &luma) < 16.0);
}

#[test]
fn a_flat_image_has_codes_of_one_bit() {
    for sample in [0, 1, 127, 128, 129, 255] {
        let file = grey((40, 24), vec![sample; 40 * 24]).encoded();
        assert_is_baseline(&file, 1);
        // Fifteen blocks: one DC difference, then EOBs and differences of zero.
        assert!(segments(&file).1.len() < 10, "{}", segments(&file).1.len());
        assert!(shown(&file, 1).iter().all(|shown| shown.abs_diff(sample) <= 1));
        assert_is_baseline(&tinted((40, 24), vec![sample; 40 * 24]).encoded(), 3);
    }
}

#[test]
fn padding_blocks_take_bits_only() {
    let mut noise = noise(3);
    let luma = plane(160, 160, |_, _| noise());
    let cut = |width: usize, height: usize| {
        luma.chunks(160).take(height).flat_map(|line| line[..width].to_vec()).collect::<Vec<_>>()
    };
    let bytes = |width, height| segments(&tinted((width, height), cut(width, height)).encoded()).1.len();
    assert!(bytes(152, 152) * 160 * 160 < bytes(160, 160) * (152 * 152 + 160 * 4));
}

#[test]
fn the_same_image_becomes_the_same_bytes() {
    let image = tinted((131, 77), plane(131, 77, |x, y| (x + 2 * y) as u8));
    assert_eq!(image.encoded(), image.encoded());
}

#[test]
fn planes_of_another_size_are_refused() {
    assert!(Image::new(1, 65_535, &[0; 65_535], None).is_some());
    assert!(Image::new(65_536, 1, &[0; 65_536], None).is_none());
    assert!(Image::new(0, 1, &[], None).is_none());
    assert!(Image::new(3, 3, &[0; 8], None).is_none());
    assert!(Image::new(3, 3, &[0; 9], Some([&[0; 4], &[0; 4]])).is_some());
    assert!(Image::new(3, 3, &[0; 9], Some([&[0; 4], &[0; 1]])).is_none());
}

#[test]
fn files_of_every_quality_are_baseline() {
    let mut noise = noise(5);
    let luma = plane(64, 64, |_, _| noise());
    let image = Image::new(64, 64, &luma, None).unwrap();
    for dc_step in [0, 1, 2, 16, 255] {
        for luma_growth in [0, 3, 255] {
            for dead_zone in [40, 50, 100] {
                let quality = Quality { dc_step, luma_growth, chroma_growth: 0, dead_zone };
                let file = xfiles_jpeg::encode::encode(&image, quality);
                assert_is_baseline(&file, 1);
                assert_eq!(decoded(&file)[0].len(), 64 * 64, "{quality:?}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) })]

    #[test]
    fn any_planes_come_back(
        width in 1_usize..150,
        height in 1_usize..70,
        seed in any::<u32>(),
        smooth in 1_usize..40,
        contrast in 0_u16..256,
        is_grey in any::<bool>(),
    ) {
        let mut noise = noise(seed);
        let tiles: Vec<u8> = (0..150 * 70).map(|_| (u16::from(noise()) * contrast / 255) as u8).collect();
        let luma = plane(width, height, |x, y| tiles[y / smooth * 150 + x / smooth]);
        let size = (width, height);
        let image = if is_grey { grey(size, luma) } else { tinted(size, luma) };
        let file = image.encoded();
        assert_is_baseline(&file, if is_grey { 1 } else { 3 });
        let shown = shown(&file, 4);
        if is_grey {
            let distance = distance(&shown, &image.luma);
            proptest::prop_assert!(distance < 16.0, "{}", distance);
        }
    }
}
