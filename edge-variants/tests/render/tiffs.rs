//! TIFFs of the kinds that scanners, cameras, and programs for maps and print write, made by hand.

use std::io::Write as _;

use fax::{Color, VecWriter, encoder::Encoder as FaxEncoder};
use flate2::{Compression as Level, write::ZlibEncoder};
use image::{DynamicImage, RgbImage, Rgba, RgbaImage};
use jpeg_encoder::{ColorType, Encoder};
use xfiles_core::variant::{ImageFormat, VariantSpec};

use super::{
    Refusal, render,
    tests::{fixture, scene, shown, width},
};

const SHORT: u16 = 3;
const LONG: u16 = 4;

/// A tag, the type of its values, and the values.
type Entry = (u16, u16, Vec<u64>);

/// The variant of the format.
#[derive(Clone, Copy)]
struct Writing {
    is_little: bool,
    is_big: bool,
}

const LITTLE: Writing = Writing { is_little: true, is_big: false };

impl Writing {
    fn number(self, value: u64, width: usize) -> Vec<u8> {
        if self.is_little { value.to_le_bytes()[..width].to_vec() } else { value.to_be_bytes()[8 - width..].to_vec() }
    }

    /// A file of these tags and chunks, with the offsets and byte counts of the chunks under the two tags.
    fn file(self, entries: &[Entry], chunks: &[Vec<u8>], tags: [u16; 2]) -> Vec<u8> {
        let word = if self.is_big { 8 } else { 4 };
        let mut file = if self.is_little { b"II".to_vec() } else { b"MM".to_vec() };
        file.extend(self.number(if self.is_big { 43 } else { 42 }, 2));
        if self.is_big {
            file.extend([self.number(8, 2), self.number(0, 2)].concat());
        }
        let directory = file.len();
        file.extend(self.number(0, word));
        let mut places = Vec::new();
        for chunk in chunks {
            places.push(file.len() as u64);
            file.extend(chunk);
        }
        let mut entries = entries.to_vec();
        entries.push((tags[0], LONG, places));
        entries.push((tags[1], LONG, chunks.iter().map(|chunk| chunk.len() as u64).collect()));
        entries.sort_by_key(|(tag, ..)| *tag);
        let mut listed = self.number(entries.len() as u64, if self.is_big { 8 } else { 2 });
        for (tag, kind, values) in &entries {
            let width = match *kind {
                SHORT => 2,
                LONG => 4,
                _ => 1,
            };
            let bytes: Vec<u8> = values.iter().flat_map(|value| self.number(*value, width)).collect();
            listed.extend([self.number((*tag).into(), 2), self.number((*kind).into(), 2)].concat());
            listed.extend(self.number(values.len() as u64, word));
            if bytes.len() <= word {
                listed.extend(&bytes);
                listed.resize(listed.len() + word - bytes.len(), 0);
            } else {
                listed.extend(self.number(file.len() as u64, word));
                file.extend(bytes);
            }
        }
        listed.extend(self.number(0, word));
        let place = self.number(file.len() as u64, word);
        file[directory..directory + word].copy_from_slice(&place);
        file.extend(listed);
        file
    }

    /// In strips of this many rows.
    fn strips(self, size: (u32, u32), rows: u32, entries: &[Entry], strips: &[Vec<u8>]) -> Vec<u8> {
        let sides = [(256, LONG, vec![size.0.into()]), (257, LONG, vec![size.1.into()])];
        let all = [&sides[..], &[(278, LONG, vec![rows.into()])], entries].concat();
        self.file(&all, strips, [273, 279])
    }

    fn tiles(self, size: (u32, u32), tile: u32, entries: &[Entry], tiles: &[Vec<u8>]) -> Vec<u8> {
        let sides = [(256, LONG, vec![size.0.into()]), (257, LONG, vec![size.1.into()])];
        let tile = [(322, LONG, vec![tile.into()]), (323, LONG, vec![tile.into()])];
        self.file(&[&sides[..], &tile[..], entries].concat(), tiles, [324, 325])
    }
}

/// PhotometricInterpretation, samples of a pixel, and bits of each.
fn kind(colours: u64, samples: u64, bits: u64) -> Vec<Entry> {
    vec![
        (258, SHORT, vec![bits; usize::try_from(samples).unwrap()]),
        (262, SHORT, vec![colours]),
        (277, SHORT, vec![samples]),
    ]
}

fn with(mut entries: Vec<Entry>, more: &[Entry]) -> Vec<Entry> {
    entries.extend_from_slice(more);
    entries
}

fn seen(name: &str, file: &[u8]) -> RgbaImage {
    let spec = VariantSpec { width: width(400), format: ImageFormat::Png };
    let variant = render(file, spec).unwrap_or_else(|refusal| panic!("{name}: {refusal:?}"));
    shown(&variant).into_rgba8()
}

fn assert_near(name: &str, actual: &RgbaImage, expected: &RgbaImage, tolerance: u8) {
    assert_eq!(actual.dimensions(), expected.dimensions(), "{name}");
    for ((x, y, is), was) in actual.enumerate_pixels().zip(expected.pixels()) {
        let near = is.0.iter().zip(was.0).all(|(is, was)| is.abs_diff(was) <= tolerance);
        assert!(near, "{name} at {x}, {y}: {is:?} instead of {was:?}");
    }
}

const SIZE: (u32, u32) = (90, 70);

fn colour() -> RgbImage {
    scene(SIZE.0, SIZE.1)
}

fn expected() -> RgbaImage {
    DynamicImage::from(colour()).to_rgba8()
}

fn grey() -> Vec<u8> {
    DynamicImage::from(colour()).to_luma8().into_raw()
}

fn expected_grey() -> RgbaImage {
    DynamicImage::from(colour()).to_luma8().enumerate_pixels().fold(
        RgbaImage::new(SIZE.0, SIZE.1),
        |mut all, (x, y, grey)| {
            let [grey] = grey.0;
            all.put_pixel(x, y, Rgba([grey, grey, grey, 255]));
            all
        },
    )
}

/// The samples of a tile, with padding that is not part of the image.
fn tile(samples: &[u8], channels: usize, side: usize, left: usize, top: usize) -> Vec<u8> {
    let (width, height) = (SIZE.0 as usize, SIZE.1 as usize);
    let mut tile = vec![0xEE; side * side * channels];
    for y in 0..side.min(height - top) {
        let count = side.min(width - left) * channels;
        let from = ((top + y) * width + left) * channels;
        tile[y * side * channels..][..count].copy_from_slice(&samples[from..from + count]);
    }
    tile
}

fn tiles(samples: &[u8], channels: usize, side: usize) -> Vec<Vec<u8>> {
    let places = (0..SIZE.1 as usize)
        .step_by(side)
        .flat_map(|top| (0..SIZE.0 as usize).step_by(side).map(move |left| (left, top)));
    places.map(|(left, top)| tile(samples, channels, side, left, top)).collect()
}

#[test]
fn chunks_of_every_form_make_the_same_picture() {
    let rgb = colour().into_raw();
    let rgb_kind = kind(2, 3, 8);
    let planes: Vec<Vec<u8>> = (0..3).map(|plane| rgb.iter().skip(plane).step_by(3).copied().collect()).collect();
    let planar = with(rgb_kind.clone(), &[(284, SHORT, vec![2])]);
    let strips: Vec<Vec<u8>> = rgb.chunks(90 * 3 * 16).map(<[u8]>::to_vec).collect();
    for is_little in [true, false] {
        for is_big in [true, false] {
            let writing = Writing { is_little, is_big };
            for (name, file) in [
                ("strips", writing.strips(SIZE, 16, &rgb_kind, &strips)),
                ("tiles", writing.tiles(SIZE, 32, &rgb_kind, &tiles(&rgb, 3, 32))),
                ("planes", writing.strips(SIZE, 70, &planar, &planes)),
                ("planes in tiles", {
                    let all: Vec<Vec<u8>> = planes.iter().flat_map(|plane| tiles(plane, 1, 32)).collect();
                    writing.tiles(SIZE, 32, &planar, &all)
                }),
            ] {
                assert_near(name, &seen(name, &file), &expected(), 0);
            }
        }
    }
    // A missing strip, and one that is cut: the rest is shown.
    let mut damaged = strips.clone();
    damaged[2].truncate(100);
    damaged[3].clear();
    let picture = seen("damaged", &LITTLE.strips(SIZE, 16, &rgb_kind, &damaged));
    for y in [0, 20, 65] {
        assert_eq!(picture.get_pixel(40, y), expected().get_pixel(40, y));
    }
    let none = LITTLE.strips(SIZE, 16, &rgb_kind, &vec![Vec::new(); 5]);
    let spec = VariantSpec { width: width(100), format: ImageFormat::Png };
    assert_eq!(render(&none, spec), Err(Refusal::Corrupt));
}

/// Packs samples of few bits, row by row.
fn packed(samples: &[u8], bits: usize) -> Vec<u8> {
    let pack = |row: &[u8]| -> Vec<u8> {
        row.chunks(8 / bits)
            .map(|group| group.iter().enumerate().fold(0, |byte, (at, sample)| byte | sample << (8 - bits - at * bits)))
            .collect()
    };
    samples.chunks(SIZE.0 as usize).flat_map(pack).collect()
}

#[test]
fn samples_of_every_depth_are_shown() {
    let grey = grey();
    let whole = expected_grey();
    let format = |format: u64| (339, SHORT, vec![format]);
    let words = |value: &dyn Fn(u8) -> Vec<u8>| -> Vec<u8> { grey.iter().flat_map(|sample| value(*sample)).collect() };
    let twelve: Vec<u8> = grey
        .chunks(90)
        .flat_map(|row| {
            row.chunks(2).flat_map(|pair| {
                let [first, second] = [pair[0], pair.get(1).copied().unwrap_or_default()];
                // The lowest four bits are zero.
                [first, second >> 4, second << 4]
            })
        })
        .collect();
    let scaled = |share: f32| words(&|sample| (f32::from(sample) * share).to_le_bytes().to_vec());
    for (name, entries, samples, tolerance) in [
        ("1 bit", kind(1, 1, 1), packed(&grey.iter().map(|grey| grey >> 7).collect::<Vec<_>>(), 1), 128),
        ("2 bits", kind(1, 1, 2), packed(&grey.iter().map(|grey| grey >> 6).collect::<Vec<_>>(), 2), 64),
        ("4 bits", kind(1, 1, 4), packed(&grey.iter().map(|grey| grey >> 4).collect::<Vec<_>>(), 4), 16),
        ("8 bits, white least", kind(0, 1, 8), grey.iter().map(|grey| 255 - grey).collect(), 0),
        ("12 bits", kind(1, 1, 12), twelve, 1),
        ("16 bits", kind(1, 1, 16), words(&|sample| (u16::from(sample) * 257).to_le_bytes().to_vec()), 0),
        ("32 bits", kind(1, 1, 32), words(&|sample| (u32::from(sample) * 0x0101_0101).to_le_bytes().to_vec()), 0),
        ("32 bits, of which 8 are used", kind(1, 1, 32), words(&|sample| u32::from(sample).to_le_bytes().to_vec()), 0),
        ("floats to 1", with(kind(1, 1, 32), &[format(3)]), scaled(1.0 / 255.0), 1),
        ("floats to 255", with(kind(1, 1, 32), &[format(3)]), scaled(1.0), 1),
        (
            "doubles",
            with(kind(1, 1, 64), &[format(3)]),
            words(&|sample| (f64::from(sample) / 255.0).to_le_bytes().to_vec()),
            1,
        ),
    ] {
        assert_near(name, &seen(name, &LITTLE.strips(SIZE, 70, &entries, &[samples])), &whole, tolerance);
    }
    let signed: Vec<u8> = grey.iter().map(|grey| grey / 2).collect();
    let picture = seen("signed", &LITTLE.strips(SIZE, 70, &with(kind(1, 1, 8), &[format(2)]), &[signed]));
    assert_eq!(picture.get_pixel(80, 60).0[0], expected_grey().get_pixel(80, 60).0[0] / 2);
    let odd = LITTLE.strips(SIZE, 70, &kind(1, 1, 24), &[vec![0; 90 * 70 * 3]]);
    let spec = VariantSpec { width: width(100), format: ImageFormat::Png };
    assert_eq!(render(&odd, spec), Err(Refusal::Unsupported));
}

#[test]
fn colours_of_every_kind_are_shown() {
    let rgb = colour().into_raw();
    let pixels = rgb.as_chunks::<3>().0;
    let grey = grey();

    // Eight levels of red and green, and two of blue.
    let index = |[red, green, blue]: [u8; 3]| red >> 5 << 5 | green >> 5 << 2 | blue >> 6;
    let level = |level: u64, most: u64| level * 65_535 / most;
    let palette: Vec<u64> = [(5, 7), (2, 7), (0, 3)]
        .into_iter()
        .flat_map(|(shift, most)| (0..256_u64).map(move |index| level(index >> shift & most, most)))
        .collect();
    let entries = with(kind(3, 1, 8), &[(320, SHORT, palette)]);
    let samples = pixels.iter().map(|pixel| index(*pixel)).collect();
    assert_near("palette", &seen("palette", &LITTLE.strips(SIZE, 70, &entries, &[samples])), &expected(), 64);
    let few: Vec<u8> = packed(&grey.iter().map(|grey| grey >> 4).collect::<Vec<_>>(), 4);
    let ramp: Vec<u64> = (0..3).flat_map(|_| (0..16).map(|at| at * 4369)).collect();
    let entries = with(kind(3, 1, 4), &[(320, SHORT, ramp)]);
    assert_near(
        "palette of 4 bits",
        &seen("palette", &LITTLE.strips(SIZE, 70, &entries, &[few])),
        &expected_grey(),
        16,
    );

    let alpha = |kind: u64| (338, SHORT, vec![kind]);
    let share = |sample: u8| u8::try_from(u16::from(sample) * 128 / 255).unwrap();
    let faded = RgbaImage::from_fn(SIZE.0, SIZE.1, |x, y| {
        let [red, green, blue, _] = expected().get_pixel(x, y).0;
        Rgba([red, green, blue, 128])
    });
    let plain: Vec<u8> = pixels.iter().flat_map(|[red, green, blue]| [*red, *green, *blue, 128]).collect();
    let weighed: Vec<u8> =
        pixels.iter().flat_map(|[red, green, blue]| [share(*red), share(*green), share(*blue), 128]).collect();
    for (name, kind_of_alpha, samples) in [("plain alpha", 2, plain.clone()), ("associated alpha", 1, weighed)] {
        let file = LITTLE.strips(SIZE, 70, &with(kind(2, 4, 8), &[alpha(kind_of_alpha)]), &[samples]);
        assert_near(name, &seen(name, &file), &faded, 3);
    }
    let file = LITTLE.strips(SIZE, 70, &with(kind(2, 4, 8), &[alpha(0)]), &[plain]);
    assert_near("a fourth sample of no meaning", &seen("fourth", &file), &expected(), 0);
    let two: Vec<u8> = grey.iter().flat_map(|grey| [*grey, 255]).collect();
    let file = LITTLE.strips(SIZE, 70, &with(kind(1, 2, 8), &[alpha(2)]), &[two]);
    assert_near("grey with alpha", &seen("grey with alpha", &file), &expected_grey(), 0);

    let inks: Vec<u8> =
        pixels.iter().flat_map(|pixel| pixel.map(|sample| 255 - sample).into_iter().chain([0])).collect();
    let file = LITTLE.strips(SIZE, 70, &kind(5, 4, 8), std::slice::from_ref(&inks));
    assert_near("inks", &seen("inks", &file), &expected(), 1);
    let with_alpha: Vec<u8> =
        inks.as_chunks::<4>().0.iter().flat_map(|inks| inks.iter().copied().chain([128])).collect();
    let file = LITTLE.strips(SIZE, 70, &with(kind(5, 5, 8), &[alpha(2)]), &[with_alpha]);
    assert_near("inks with alpha", &seen("inks with alpha", &file), &faded, 2);

    // The mean lightness without colour, and a red of sRGB.
    let lab = |pixel: [u8; 3]| LITTLE.strips((8, 8), 8, &kind(8, 3, 8), &[pixel.repeat(64)]);
    assert_near("Lab", &seen("Lab", &lab([128, 0, 0])), &RgbaImage::from_pixel(8, 8, Rgba([119, 119, 119, 255])), 3);
    assert_near("Lab red", &seen("Lab", &lab([138, 81, 70])), &RgbaImage::from_pixel(8, 8, Rgba([254, 0, 0, 255])), 12);
}

#[test]
fn inks_with_a_profile_are_converted_by_it() {
    // The same inks as in a JPEG, which stores them inverted.
    let jpeg = fixture("colour/cmyk.jpg");
    let start = jpeg.windows(12).position(|window| window == b"ICC_PROFILE\0").unwrap();
    let mut profile = Vec::new();
    let mut at = start - 4;
    while jpeg[at + 1] == 0xE2 {
        let length = usize::from(u16::from_be_bytes([jpeg[at + 2], jpeg[at + 3]]));
        profile.extend(jpeg[at + 4 + 14..at + 2 + length].iter().map(|byte| u64::from(*byte)));
        at += 2 + length;
    }
    let entries = with(kind(5, 4, 8), &[(34_675, 7, profile)]);
    let file = LITTLE.strips((64, 64), 64, &entries, &[[0, 255, 255, 0].repeat(64 * 64)]);
    let Rgba([red, green, blue, _]) = *seen("inks", &file).get_pixel(30, 30);
    assert!(red > 180 && red < 250 && green < 90 && blue < 90, "print red: {:?}", [red, green, blue]);
    assert_ne!([red, green, blue], [255, 0, 0], "the plain conversion");
}

fn deflated(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Level::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn colours_told_once_for_several_pixels_are_shown() {
    let coding = |code: u64| (259, SHORT, vec![code]);
    let flat = [113, 98, 175];
    let expected = RgbaImage::from_pixel(SIZE.0, SIZE.1, Rgba([179, 90, 60, 255]));
    for (across, down) in [(1, 1), (2, 1), (2, 2), (4, 2)] {
        let units = SIZE.0.div_ceil(across) * SIZE.1.div_ceil(down);
        let unit: Vec<u8> = std::iter::repeat_n(flat[0], (across * down) as usize).chain([flat[1], flat[2]]).collect();
        let samples = unit.repeat(units as usize);
        let sampling = (530, SHORT, vec![across.into(), down.into()]);
        for (name, entries, samples) in [
            ("plain", with(kind(6, 3, 8), std::slice::from_ref(&sampling)), samples.clone()),
            ("deflated", with(kind(6, 3, 8), &[sampling.clone(), coding(8)]), deflated(&samples)),
        ] {
            let name = format!("{name} {across} x {down}");
            assert_near(&name, &seen(&name, &LITTLE.strips(SIZE, 70, &entries, &[samples])), &expected, 2);
        }
    }
    // In JPEG tiles, as libtiff and programs for maps write them.
    let mut jpegs = Vec::new();
    for tile in tiles(&colour().into_raw(), 3, 32) {
        let mut bytes = Vec::new();
        Encoder::new(&mut bytes, 95).encode(&tile, 32, 32, ColorType::Rgb).unwrap();
        jpegs.push(bytes);
    }
    let entries = with(kind(6, 3, 8), &[coding(7), (530, SHORT, vec![2, 2])]);
    let picture = seen("JPEG", &LITTLE.tiles(SIZE, 32, &entries, &jpegs));
    assert_eq!(picture.dimensions(), SIZE);
    for (x, y) in [(5, 5), (60, 30), (80, 60)] {
        let near =
            picture.get_pixel(x, y).0.iter().zip(self::expected().get_pixel(x, y).0).all(|(a, b)| a.abs_diff(b) < 24);
        assert!(near, "{x}, {y}: {:?}", picture.get_pixel(x, y));
    }
}

#[test]
fn differences_between_samples_are_undone() {
    let rgb = colour().into_raw();
    let rows = |channels: usize| {
        let difference = move |row: &[u8]| -> Vec<u8> {
            (0..row.len())
                .map(|at| if at < channels { row[at] } else { row[at].wrapping_sub(row[at - channels]) })
                .collect()
        };
        move |samples: &[u8]| -> Vec<u8> { samples.chunks(90 * channels).flat_map(difference).collect() }
    };
    let more = [(317, SHORT, vec![2]), (259, SHORT, vec![8])];
    let file = LITTLE.strips(SIZE, 70, &with(kind(2, 3, 8), &more), &[deflated(&rows(3)(&rgb))]);
    assert_near("8 bits", &seen("8 bits", &file), &expected(), 0);
    let sixteen: Vec<u16> = grey().iter().map(|grey| u16::from(*grey) * 257).collect();
    let differences: Vec<u8> = sixteen
        .chunks(90)
        .flat_map(|row| {
            (0..row.len()).flat_map(|at| row[at].wrapping_sub(if at == 0 { 0 } else { row[at - 1] }).to_le_bytes())
        })
        .collect();
    let file = LITTLE.strips(SIZE, 70, &with(kind(1, 1, 16), &more), &[deflated(&differences)]);
    assert_near("16 bits", &seen("16 bits", &file), &expected_grey(), 0);
}

/// The runs of a row of pixels, white first.
fn runs(row: &[bool]) -> Vec<u16> {
    let (mut runs, mut is_black) = (vec![0], false);
    for pixel in row {
        if *pixel != is_black {
            runs.push(0);
            is_black = *pixel;
        }
        *runs.last_mut().unwrap() += 1;
    }
    runs
}

/// The codes of runs as a string of bits, for the runs of this test.
fn run_codes(runs: &[u16]) -> String {
    let white = [(0, "00110101"), (2, "0111"), (5, "1100"), (8, "10011"), (16, "101010"), (64, "11011")];
    let black = [(0, "0000110111"), (2, "11"), (5, "0011"), (8, "000101"), (16, "0000010111"), (64, "0000001111")];
    let mut bits = String::new();
    for (at, run) in runs.iter().enumerate() {
        let table = if at % 2 == 0 { white } else { black };
        let code = |length: u16| table.iter().find(|(run, _)| *run == length).unwrap().1;
        if *run >= 64 {
            bits += code(64);
        }
        bits += code(run % 64);
    }
    bits
}

fn bytes_of(bits: &str) -> Vec<u8> {
    let byte = |bits: &[u8]| bits.iter().enumerate().fold(0, |byte, (at, bit)| byte | (bit - b'0') << (7 - at));
    bits.as_bytes().chunks(8).map(byte).collect()
}

#[test]
fn facsimiles_of_every_group_are_shown_in_either_order_of_bits() {
    let (width, height) = (88_u32, 24_u32);
    // Runs of 0, 2, 5, 8, 16 and 64 pixels.
    let row = |y: u32| -> Vec<bool> {
        let ends: &[u16] = match y % 3 {
            0 => &[64 + 8, 64 + 16, 88],
            1 => &[0, 8, 24, 88],
            _ => &[16, 16 + 64, 88],
        };
        let mut pixels = Vec::new();
        for (at, end) in ends.iter().enumerate() {
            pixels.resize(usize::from(*end), at % 2 == 1);
        }
        pixels
    };
    let expected = RgbaImage::from_fn(width, height, |x, y| {
        let grey = if row(y)[x as usize] { 0 } else { 255 };
        Rgba([grey, grey, grey, 255])
    });
    let lengths = |y: u32| runs(&row(y));
    let end = "000000000001";
    let rows = || (0..height).map(lengths).map(|runs| run_codes(&runs));
    let aligned = |bits: String| {
        let length = bits.len().next_multiple_of(8);
        format!("{bits:0<length$}")
    };
    let rle: String = rows().map(aligned).collect();
    let group3: String = rows().map(|bits| format!("{end}{bits}")).collect();
    let two_dimensional: String = rows().map(|bits| format!("{end}1{bits}")).collect();
    let mut encoder = FaxEncoder::new(VecWriter::new());
    for y in 0..height {
        let pixels = row(y).into_iter().map(|is_black| if is_black { Color::Black } else { Color::White });
        encoder.encode_line(pixels, u16::try_from(width).unwrap()).unwrap();
    }
    let group4 = encoder.finish().unwrap().finish();
    for (name, code, options, data) in [
        ("RLE", 2, 0, bytes_of(&rle)),
        ("group 3", 3, 0, bytes_of(&group3)),
        ("group 3 in two dimensions", 3, 1, bytes_of(&two_dimensional)),
        ("group 4", 4, 0, group4),
    ] {
        for order in [1, 2] {
            let data: Vec<u8> =
                if order == 2 { data.iter().map(|byte| byte.reverse_bits()).collect() } else { data.clone() };
            let more = [(259, SHORT, vec![code]), (266, SHORT, vec![order]), (292, LONG, vec![options])];
            let file = LITTLE.strips((width, height), height, &with(kind(0, 1, 1), &more), &[data]);
            assert_near(name, &seen(name, &file), &expected, 0);
        }
    }
}
