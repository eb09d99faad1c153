//! Frames are decoded by libwebp to exactly what the encoder reconstructed.

use proptest::prelude::{ProptestConfig, any, prop, proptest};
use webp::Decoder;
use xfiles_webp_planes::Finish;

use super::{
    Frame, Image, MAX_FIRST_PARTITION, MAX_SIDE, Quantization, Tuning,
    bool_encoder::BoolEncoder,
    encode,
    quantization::{Quantizer, QuantizerIndex, ZigzagBlock},
    tokens::{BlockType, Tokens},
};

const QUANTIZATION: Quantization = Quantization::new(16 * 16);

/// An image with its planes.
#[derive(Clone, Debug)]
struct Owned {
    width: usize,
    height: usize,
    planes: [Vec<u8>; 3],
}

impl Owned {
    fn new(width: usize, height: usize, sample: impl Fn(usize, usize, usize) -> u8) -> Self {
        let plane = |plane: usize, width: usize, height: usize| {
            (0..width * height).map(|at| sample(plane, at % width, at / width)).collect()
        };
        let (across, down) = (width.div_ceil(2), height.div_ceil(2));
        Self { width, height, planes: [plane(0, width, height), plane(1, across, down), plane(2, across, down)] }
    }

    fn image(&self) -> Image<'_> {
        let planes = self.planes.each_ref().map(Vec::as_slice);
        Image::new(self.width, self.height, planes).expect("the planes have the size of the image")
    }
}

fn noise(plane: usize, x: usize, y: usize) -> u8 {
    let mixed = (x * 7919 + y * 104_729 + plane * 1_299_709 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed >> 40 & 255).try_into().expect("8 bits")
}

fn slope(plane: usize, x: usize, y: usize) -> u8 {
    (40 + (x * 3 + y * 2 + plane * 40) % 180).try_into().expect("below 220")
}

/// Rings and stripes over a slope, with a little noise.
fn scene(plane: usize, x: usize, y: usize) -> u8 {
    let wave = |phase: usize| (phase % 64).abs_diff(32);
    let stripes = wave(x * 5 + y * 2) + wave((x * x + y * y).isqrt() * 3);
    let sample = usize::from(slope(plane, x / 4, y / 4)) / 2 + stripes + usize::from(noise(plane, x, y) >> 5);
    sample.try_into().expect("below 90, 64 and 8")
}

/// The frame in a WebP file.
fn file(frame: &[u8]) -> Vec<u8> {
    let size = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap().to_le_bytes();
    let mut body = [b"WEBPVP8 ".as_slice(), &size(frame), frame].concat();
    body.resize(body.len().next_multiple_of(2), 0);
    [b"RIFF", &size(&body)[..], &body].concat()
}

/// Checks that a decoder reconstructs the same samples as the encoder, and returns them.
fn check(owned: &Owned, quantization: Quantization, allows_bpred: bool) -> [Vec<u8>; 3] {
    let frame = Frame::new(&owned.image(), quantization, &Tuning::DEFAULT, allows_bpred);
    let bytes = frame.to_bytes(&Tuning::DEFAULT, MAX_FIRST_PARTITION).expect("it is small enough");
    let (width, height) = (owned.width, owned.height);
    let decoded = xfiles_webp_planes::decode(&file(&bytes), width, height, Finish::Bare).expect("it is a frame");
    let (across, down) = (width.div_ceil(2), height.div_ceil(2));
    let [u, v] = frame.reconstructed.chroma.each_ref().map(|plane| plane.cropped(across, down));
    let made = [frame.reconstructed.luma.cropped(width, height), u, v];
    for (plane, (made, decoded)) in made.iter().zip(decoded.samples()).enumerate() {
        let first = made.iter().zip(decoded).position(|(made, decoded)| made != decoded);
        assert_eq!(first, None, "plane {plane} of {width} x {height} at {quantization:?}");
    }
    made
}

fn mean_error(made: &[u8], planned: &[u8]) -> f64 {
    made.iter().zip(planned).map(|(a, b)| f64::from(a.abs_diff(*b))).sum::<f64>() / made.len() as f64
}

#[test]
fn a_decoder_reconstructs_the_same_at_every_size() {
    for (width, height) in [(1, 1), (1, 40), (40, 1), (16, 16), (17, 16), (16, 17), (33, 47), (64, 64), (150, 97)] {
        for sample in [noise, slope, scene] {
            check(&Owned::new(width, height, sample), QUANTIZATION, true);
        }
    }
}

#[test]
fn a_decoder_reconstructs_the_same_at_every_index() {
    for index in 0..=84 {
        let owned = Owned::new(70, 50, if index % 2 == 0 { scene } else { noise });
        check(&owned, Quantization::new(index * 16), true);
    }
}

#[test]
fn a_decoder_reconstructs_the_greatest_contrasts() {
    let squares =
        |side: usize| move |_: usize, x: usize, y: usize| if (x / side + y / side).is_multiple_of(2) { 0 } else { 255 };
    for index in [0, 18, 84] {
        for side in [1, 2, 4, 8, 16] {
            check(&Owned::new(96, 80, squares(side)), Quantization::new(index * 16), true);
        }
    }
}

#[test]
fn the_reconstruction_is_near_its_source() {
    let owned = Owned::new(200, 150, scene);
    for (index, most) in [(0, 1.0), (18, 4.5), (40, 8.0)] {
        let made = check(&owned, Quantization::new(index * 16), true);
        for (made, planned) in made.iter().zip(&owned.planes) {
            let error = mean_error(made, planned);
            assert!(error < most, "{error} at {index}");
        }
    }
}

#[test]
fn a_lower_index_takes_more_bytes_and_is_nearer() {
    let owned = Owned::new(200, 150, scene);
    let at = |index| {
        let quantization = Quantization::new(index * 16);
        let error = mean_error(&check(&owned, quantization, true)[0], &owned.planes[0]);
        (encode(&owned.image(), quantization).unwrap().len(), error)
    };
    let all = [5, 18, 40, 80].map(at);
    for pair in all.windows(2) {
        assert!(pair[0].0 > pair[1].0 && pair[0].1 < pair[1].1, "{all:?}");
    }
}

#[test]
fn a_flat_image_takes_less_than_half_a_byte_for_a_macroblock() {
    let bytes = encode(&Owned::new(512, 512, |_, _, _| 90).image(), QUANTIZATION).unwrap();
    // There are 1024 macroblocks. The probabilities of modes are fixed.
    assert!(bytes.len() < 1024 / 2, "{}", bytes.len());
}

#[test]
fn colours_are_those_of_the_planes() {
    let owned = Owned::new(64, 64, |plane, x, _| match (plane, x < [32, 16, 16][plane]) {
        (0, true) => 90,
        (1, true) => 110,
        (2, true) => 160,
        (0, false) => 170,
        (1, false) => 150,
        _ => 120,
    });
    let decoded = Decoder::new(&file(&encode(&owned.image(), QUANTIZATION).unwrap())).decode().unwrap();
    // By the matrix of BT.601 in its limited range: 1.164 (90 - 16) + 1.596 (160 - 128), and so on.
    for (x, expected) in [(8, [137, 67, 50]), (56, [167, 177, 224])] {
        let at = (20 * 64 + x) * 3;
        let near = decoded[at..at + 3].iter().zip(expected).all(|(a, b): (&u8, u8)| a.abs_diff(b) <= 4);
        assert!(near, "{:?} instead of {expected:?}", &decoded[at..at + 3]);
    }
}

#[test]
fn the_same_planes_make_the_same_bytes() {
    let owned = Owned::new(120, 90, scene);
    assert_eq!(encode(&owned.image(), QUANTIZATION), encode(&owned.image(), QUANTIZATION));
}

#[test]
fn a_first_partition_that_is_too_large_is_written_without_b_pred() {
    let owned = Owned::new(320, 320, scene);
    let [bpred, whole] =
        [true, false].map(|allows_bpred| Frame::new(&owned.image(), QUANTIZATION, &Tuning::DEFAULT, allows_bpred));
    let bytes = bpred.to_bytes(&Tuning::DEFAULT, MAX_FIRST_PARTITION).unwrap();
    // The upper 19 bits of the frame tag are its length.
    let length = (usize::from(bytes[0]) | usize::from(bytes[1]) << 8 | usize::from(bytes[2]) << 16) >> 5;
    assert!(bpred.to_bytes(&Tuning::DEFAULT, length).is_some());
    assert!(bpred.to_bytes(&Tuning::DEFAULT, length - 1).is_none());
    assert!(whole.to_bytes(&Tuning::DEFAULT, length - 1).is_some());
    check(&owned, QUANTIZATION, false);
}

#[test]
fn planes_of_other_sizes_are_refused() {
    let planes = [vec![0; 25], vec![0; 9], vec![0; 9]];
    let [y, u, v] = planes.each_ref().map(Vec::as_slice);
    assert!(Image::new(5, 5, [y, u, v]).is_some());
    for (width, height, planes) in [
        (5, 5, [y, u, &v[1..]]),
        (5, 5, [&y[1..], u, v]),
        (4, 5, [y, u, v]),
        (0, 0, [&[], &[], &[]]),
        (0, 5, [&[], &[], &[]]),
    ] {
        assert!(Image::new(width, height, planes).is_none());
    }
    let (long, half) = (vec![0; MAX_SIDE + 1], vec![0; MAX_SIDE.div_ceil(2)]);
    assert!(Image::new(MAX_SIDE + 1, 1, [&long, &half, &half]).is_none());
    assert!(Image::new(MAX_SIDE, 1, [&long[1..], &half, &half]).is_some());
}

#[test]
fn the_counted_cost_of_tokens_is_their_size() {
    // With the default probabilities.
    let costs = Tokens::new().costs();
    let quantizer = Quantizer::new(QuantizerIndex::new(16), &Tuning::DEFAULT);
    let mut tokens = Tokens::new();
    let mut sum = 0;
    for at in 0..2000_usize {
        let mut rows = [0; 16];
        for (place, value) in rows.iter_mut().enumerate() {
            *value = (i16::from(noise(0, at, place)) - 128) * 4 / i16::try_from(1 + place).unwrap();
        }
        let block = quantizer.luma.quantize(&ZigzagBlock::from_rows(&rows), 0);
        let neighbours = [at % 2 == 0, at % 3 == 0];
        sum += costs.of(BlockType::YWithDc, neighbours, &block);
        tokens.push(BlockType::YWithDc, neighbours, &block);
    }
    let written = tokens.write(&Tokens::new().prob_updates()).len() as f64 * 8.0;
    let counted = f64::from(sum) / 256.0;
    assert!((written / counted - 1.0).abs() < 0.01, "{written} bits instead of {counted}");
}

/// `bool_decoder`: RFC 6386, section 7.3.
struct BoolDecoder<'a> {
    bytes: &'a [u8],
    value: u32,
    range: u32,
    bits: u32,
}

impl<'a> BoolDecoder<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        let mut reader = Self { bytes, value: 0, range: 255, bits: 0 };
        reader.value = u32::from(reader.next()) << 8 | u32::from(reader.next());
        reader
    }

    fn next(&mut self) -> u8 {
        let (first, rest) = self.bytes.split_first().unwrap_or((&0, &[]));
        self.bytes = rest;
        *first
    }

    fn get(&mut self, zero: u8) -> bool {
        let split = 1 + (((self.range - 1) * u32::from(zero)) >> 8);
        let bit = self.value >= split << 8;
        if bit {
            self.range -= split;
            self.value -= split << 8;
        } else {
            self.range = split;
        }
        while self.range < 128 {
            self.value <<= 1;
            self.range <<= 1;
            self.bits += 1;
            if self.bits == 8 {
                self.bits = 0;
                self.value |= u32::from(self.next());
            }
        }
        bit
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn bools_are_decoded(bits in prop::collection::vec((any::<bool>(), 1..=255_u8), 0..2000)) {
        let mut writer = BoolEncoder::with_capacity(0);
        for &(bit, zero) in &bits {
            writer.put(bit, zero);
        }
        let bytes = writer.finish();
        let mut reader = BoolDecoder::new(&bytes);
        for (bit, zero) in bits {
            assert_eq!(reader.get(zero), bit);
        }
    }

    #[test]
    fn a_decoder_reconstructs_the_same_of_any_image(
        (width, height) in (1..70_usize, 1..70_usize),
        seed in any::<u16>(),
        rough in 0..8_u32,
        index in 0..=84,
    ) {
        let sample = |plane, x: usize, y: usize| noise(plane, x + usize::from(seed), y >> rough) >> (rough / 2);
        check(&Owned::new(width, height, sample), Quantization::new(index * 16), true);
    }
}

#[test]
fn a_carry_goes_through_bytes_of_0xff() {
    // Unlikely values raise the bottom until it overflows into bytes that are already written.
    let bits: Vec<(bool, u8)> = (0..4000).map(|at| (at % 97 != 0, if at % 97 == 0 { 255 } else { 1 })).collect();
    let mut writer = BoolEncoder::with_capacity(0);
    for &(bit, zero) in &bits {
        writer.put(bit, zero);
    }
    for &(bit, _) in &bits {
        writer.put(bit, 254);
    }
    let bytes = writer.finish();
    let mut reader = BoolDecoder::new(&bytes);
    assert!(bits.iter().all(|&(bit, zero)| reader.get(zero) == bit));
    assert!(bits.iter().all(|&(bit, _)| reader.get(254) == bit));
}
