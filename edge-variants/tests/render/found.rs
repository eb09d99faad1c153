//! Kinds of files that common tools write and few encoders here do, made by hand, with what they must show.

#![expect(clippy::cast_possible_truncation, reason = "samples are within a byte")]

use std::io::Write as _;

use flate2::{Compression as Level, write::ZlibEncoder};
use image::{DynamicImage, Frame, GrayImage, ImageBuffer, Luma, LumaA, Rgb, RgbImage, Rgba, RgbaImage};
use jpeg_encoder::{ColorType, Encoder, SamplingFactor};
use moxcms::ColorProfile;
use ravif::BitDepth;
use xfiles_core::{
    sniff::Raster,
    variant::{ImageFormat, VariantSpec},
};

use super::{
    Refusal, Rendered, render,
    tests::{
        avif, crc32, exif, faded_scene, fixture, gif, jpeg, jpeg_with, png, scene, shown, width, with_jpeg_segment,
        with_png_chunk,
    },
};

fn made(original: &[u8], pixels: u32) -> Result<Rendered, Refusal> {
    render(original, VariantSpec { width: width(pixels), format: ImageFormat::Png })
}

fn seen(name: &str, original: &[u8], pixels: u32) -> RgbaImage {
    let variant = made(original, pixels).unwrap_or_else(|refusal| panic!("{name}: {refusal:?}"));
    shown(&variant).into_rgba8()
}

/// Checks that an image shows another, to within `tolerance` of each sample, averaged over blocks of 8 x 8.
fn assert_same(name: &str, actual: &RgbaImage, expected: &RgbaImage, tolerance: f64) {
    assert_eq!(actual.dimensions(), expected.dimensions(), "{name}");
    let (width, height) = expected.dimensions();
    for (left, top) in (0..height).step_by(8).flat_map(|y| (0..width).step_by(8).map(move |x| (x, y))) {
        let places = || {
            let right = (left + 8).min(width);
            (top..(top + 8).min(height)).flat_map(move |y| (left..right).map(move |x| (x, y)))
        };
        for channel in 0..4 {
            let sum: f64 = places()
                .map(|(x, y)| {
                    // The colour of transparent pixels does not count.
                    let sample = |picture: &RgbaImage| {
                        let pixel = picture.get_pixel(x, y).0;
                        let alpha = if channel == 3 { 1.0 } else { f64::from(pixel[3]) / 255.0 };
                        f64::from(pixel[channel]) * alpha
                    };
                    (sample(actual) - sample(expected)).abs()
                })
                .sum();
            let mean = sum / places().count() as f64;
            assert!(mean <= tolerance, "{name}: {mean:.1} in channel {channel} at {left}, {top}");
        }
    }
}

fn rgba(picture: &DynamicImage) -> RgbaImage {
    picture.to_rgba8()
}

// --- PNG -------------------------------------------------------------------------------------------------------------

#[test]
fn grey_with_alpha_in_16_bits_is_shown_at_every_width() {
    let picture = ImageBuffer::from_fn(400, 300, |x, y| {
        LumaA([u16::try_from(x * 160).unwrap(), if y < 150 { u16::MAX } else { 0x8000 }])
    });
    let expected = DynamicImage::from(picture.clone());
    let keyed = {
        let grey = png(&DynamicImage::from(picture.clone()).to_luma16().into());
        with_png_chunk(&grey, b"tRNS", &[0x12, 0x34])
    };
    for pixels in [100, 300] {
        let reference = expected.resize_exact(pixels, pixels * 3 / 4, image::imageops::FilterType::Lanczos3);
        let name = format!("grey with alpha at {pixels}");
        assert_same(&name, &seen(&name, &png(&expected), pixels), &rgba(&reference), 4.0);
        let opaque = DynamicImage::from(expected.to_luma16());
        let reference = opaque.resize_exact(pixels, pixels * 3 / 4, image::imageops::FilterType::Lanczos3);
        assert_same("a clear grey that is not there", &seen("key", &keyed, pixels), &rgba(&reference), 4.0);
    }
}

#[test]
fn large_pictures_of_16_bits_show_what_small_ones_show() {
    // Larger than what is held at 16 bits, and reduced to 8.
    let faded = DynamicImage::from(faded_scene(2600, 1700));
    let grey = DynamicImage::from(DynamicImage::from(scene(5200, 3400)).to_luma16());
    for (name, deep, shallow) in [
        ("colour with alpha", DynamicImage::from(faded.to_rgba16()), faded.clone()),
        ("colour", DynamicImage::from(scene(2800, 2100)).to_rgb16().into(), scene(2800, 2100).into()),
        ("grey", grey.clone(), grey.to_luma8().into()),
    ] {
        for pixels in [100, 1200] {
            let streamed = seen(name, &png(&deep), pixels);
            assert_same(name, &streamed, &seen(name, &png(&shallow), pixels), 2.0);
        }
    }
}

/// A PNG that is cut after this percentage of its pixel data.
fn cut(file: &[u8], hundredths: usize) -> Vec<u8> {
    file[..file.len() * hundredths / 100].to_vec()
}

#[test]
fn a_png_shows_what_is_there_of_it() {
    let picture = DynamicImage::from(scene(320, 240));
    let file = png(&picture);
    let without_end = &file[..file.len() - 12];
    assert_same("without its end", &seen("", without_end, 400), &rgba(&picture), 0.0);
    let mut wrong = file.clone();
    let last = wrong.len() - 14;
    wrong[last] ^= 0x55;
    assert_same("a wrong checksum", &seen("", &wrong, 400), &rgba(&picture), 0.0);
    let mut text = with_png_chunk(&file, b"tEXt", b"a\0b");
    text[33 + 8 + 3] ^= 1;
    assert_same("a wrong checksum of a text", &seen("", &text, 400), &rgba(&picture), 0.0);

    for (name, file) in [("8 bits", png(&picture)), ("16 bits", png(&picture.to_rgb16().into()))] {
        let half = seen(name, &cut(&file, 60), 400);
        assert_eq!(half.dimensions(), (320, 240));
        assert_eq!(half.get_pixel(100, 10), rgba(&picture).get_pixel(100, 10), "{name}");
        assert_eq!(half.get_pixel(100, 239)[3], 0, "{name}: what is not there is clear");
    }
    let interlaced = fixture("interlaced.png");
    let whole = seen("interlaced", &interlaced, 100);
    assert_same("interlaced, cut", &seen("interlaced, cut", &cut(&interlaced, 70), 100), &whole, 40.0);
    assert_eq!(made(&file[..50], 100), Err(Refusal::Corrupt));
}

#[test]
fn exif_behind_the_pixels_turns_a_png() {
    let file = png(&scene(200, 100).into());
    let (pixels, end) = file.split_at(file.len() - 12);
    let body = [b"eXIf".as_slice(), &exif(6)].concat();
    let length = u32::try_from(body.len() - 4).unwrap().to_be_bytes();
    let late = [pixels, &length, &body, &crc32(&body).to_be_bytes(), end].concat();
    let variant = made(&late, 400).unwrap();
    assert_eq!((variant.width, variant.height), (100, 200));
}

#[test]
fn colours_that_a_png_tells_by_code_points_or_by_a_curve_are_converted() {
    let picture = RgbImage::from_pixel(64, 64, Rgb([200, 60, 40]));
    let file = png(&picture.clone().into());
    let p3 = ColorProfile::new_display_p3().encode().unwrap();
    let mut deflated = ZlibEncoder::new(Vec::new(), Level::default());
    deflated.write_all(&p3).unwrap();
    let icc = with_png_chunk(&file, b"iCCP", &[b"p3\0\0".as_slice(), &deflated.finish().unwrap()].concat());
    let codes = |codes: [u8; 4]| with_png_chunk(&file, b"cICP", &codes);
    assert_same("P3", &seen("", &codes([12, 13, 0, 1]), 100), &seen("", &icc, 100), 1.0);
    assert_same("sRGB", &seen("", &codes([1, 13, 0, 1]), 100), &rgba(&picture.clone().into()), 0.0);
    for transfer in [16, 18] {
        assert_eq!(made(&codes([9, transfer, 0, 1]), 100), Err(Refusal::HighDynamicRange));
    }
    let gamma = |value: u32| with_png_chunk(&file, b"gAMA", &value.to_be_bytes());
    assert_same("a gamma as good as that of sRGB", &seen("", &gamma(45_455), 100), &rgba(&picture.into()), 0.0);
    let linear = *seen("", &gamma(100_000), 100).get_pixel(5, 5);
    // 200, 60 and 40 of 255 in linear light.
    assert!([228_u8, 133, 110].iter().zip(linear.0).all(|(wanted, is)| wanted.abs_diff(is) <= 3), "{linear:?}");
}

#[test]
fn a_picture_taller_than_any_screen_is_made() {
    let tall = RgbImage::from_fn(100, 20_000, |_, y| Rgb([u8::try_from(y / 100).unwrap(), 50, 100]));
    let variant = made(&png(&tall.into()), 100).unwrap();
    assert_eq!((variant.width, variant.height), (82, 16_383));
}

// --- GIF -------------------------------------------------------------------------------------------------------------

#[test]
fn a_gif_grows_to_its_first_frame_and_ends_where_it_ends() {
    let picture = DynamicImage::from(scene(120, 90));
    let file = gif([Frame::new(picture.to_rgba8())]);
    let whole = seen("whole", &file, 400);
    for (name, screen) in [("no screen", [0; 4]), ("a small one", [60, 0, 40, 0])] {
        let mut changed = file.clone();
        changed[6..10].copy_from_slice(&screen);
        assert_same(name, &seen(name, &changed, 400), &whole, 0.0);
    }
    let half = seen("cut", &file[..file.len() / 2], 400);
    assert_eq!(half.get_pixel(60, 3), whole.get_pixel(60, 3));
    assert_eq!(half.get_pixel(60, 89)[3], 0);
}

#[test]
fn placeholders_of_one_pixel_are_shown() {
    let head = |flags: u8| [b"GIF89a\x01\0\x01\0".as_slice(), &[flags, 0, 0]].concat();
    let palette = [0xFF, 0, 0xC0, 0xC0, 0xC0, 0];
    let clear = b"!\xF9\x04\x01\0\0\0\0";
    let frame = b",\0\0\0\0\x01\0\x01\0\0";
    for (name, file) in [
        ("codes of one bit", [head(0x80).as_slice(), &palette, clear, frame, b"\x01\x022\0;"].concat()),
        ("codes of two bits", [head(0x80).as_slice(), &palette, clear, frame, b"\x02\x02\x44\x01\0;"].concat()),
        ("no palette", [head(0).as_slice(), clear, frame, b"\x02\x02\x44\x01\0;"].concat()),
        ("no codes", [head(0).as_slice(), clear, frame, b"\x02\0;"].concat()),
    ] {
        let picture = seen(name, &file, 100);
        assert_eq!((picture.dimensions(), picture.get_pixel(0, 0)[3]), ((1, 1), 0), "{name}");
    }
}

// --- Icons -----------------------------------------------------------------------------------------------------------

fn icon(pictures: &[(u8, &[u8])]) -> Vec<u8> {
    let count = u16::try_from(pictures.len()).unwrap();
    let mut file = [b"\0\0\x01\0".as_slice(), &count.to_le_bytes()].concat();
    let mut at = u32::try_from(6 + 16 * pictures.len()).unwrap();
    for (side, bytes) in pictures {
        let length = u32::try_from(bytes.len()).unwrap();
        file.extend([*side, *side, 0, 0, 1, 0, 32, 0]);
        file.extend([length.to_le_bytes(), at.to_le_bytes()].concat());
        at += length;
    }
    pictures.iter().for_each(|(_, bytes)| file.extend(*bytes));
    file
}

#[test]
fn an_icon_shows_its_largest_whole_picture_of_any_kind_at_its_own_size() {
    let colour = DynamicImage::from(scene(64, 64));
    for (name, picture) in [
        ("RGB", png(&colour)),
        ("grey", png(&colour.to_luma8().into())),
        ("grey with alpha", png(&colour.to_luma_alpha8().into())),
        ("16 bits", png(&colour.to_rgba16().into())),
    ] {
        let alone = seen(name, &picture, 100);
        assert_same(name, &seen(name, &icon(&[(64, &picture)]), 100), &alone, 0.0);
        assert_same(name, &seen(name, &icon(&[(48, &picture)]), 100), &alone, 0.0);
    }
    let large = png(&scene(512, 512).into());
    assert_same("512", &seen("512", &icon(&[(0, &large)]), 400), &seen("alone", &large, 400), 0.0);
    let small = png(&RgbImage::from_pixel(32, 32, Rgb([10, 200, 30])).into());
    let picture =
        seen("broken", &icon(&[(0, b"neither a PNG nor a bitmap, but long enough for one"), (32, &small)]), 100);
    assert_eq!(*picture.get_pixel(50, 50), Rgba([10, 200, 30, 255]));
}

// --- JPEG ------------------------------------------------------------------------------------------------------------

#[test]
fn jfif_says_of_three_colours_what_adobe_does_not() {
    let file = jpeg(&scene(160, 120));
    let adobe = |conversion: u8| [b"Adobe\0\x64\0\0\0\0".as_slice(), &[conversion]].concat();
    let both = with_jpeg_segment(&file, 0xEE, &adobe(0));
    assert!(both.windows(4).any(|window| window == b"JFIF"));
    for pixels in [100, 400] {
        assert_same("both", &seen("both", &both, pixels), &seen("plain", &file, pixels), 0.0);
    }
    // By the decoder of whole frames as well.
    let cut = |whole: &[u8]| whole[..whole.len() - file.len() / 3].to_vec();
    assert_same("cut", &seen("both", &cut(&both), 400), &seen("plain", &cut(&file), 400), 0.0);
}

/// The segments before the first scan, each with its marker, and the rest.
fn segments(file: &[u8]) -> (Vec<(u8, Vec<u8>)>, Vec<u8>) {
    let (mut segments, mut at) = (Vec::new(), 2);
    while file[at + 1] != 0xDA {
        let length = usize::from(u16::from_be_bytes([file[at + 2], file[at + 3]]));
        segments.push((file[at + 1], file[at..at + 2 + length].to_vec()));
        at += 2 + length;
    }
    (segments, file[at..].to_vec())
}

fn joined(segments: &[(u8, Vec<u8>)], rest: &[u8]) -> Vec<u8> {
    let parts: Vec<u8> = segments.iter().flat_map(|(_, bytes)| bytes.clone()).collect();
    [b"\xFF\xD8".as_slice(), &parts, rest].concat()
}

#[test]
fn what_other_decoders_step_over_in_a_jpeg_is_stepped_over() {
    let file = jpeg(&scene(160, 120));
    let plain = seen("plain", &file, 400);
    let (parts, scan) = segments(&file);
    let insert = |at: usize, marker: u8, bytes: &[u8]| {
        let mut changed = parts.clone();
        changed.insert(at, (marker, bytes.to_vec()));
        joined(&changed, &scan)
    };
    assert_same("a segment of no length", &seen("", &insert(1, 0xE5, b"\xFF\xE5\0\0"), 400), &plain, 0.0);

    let without_codes: Vec<_> = parts.iter().filter(|(marker, _)| *marker != 0xC4).cloned().collect();
    assert_same("motion JPEG", &seen("", &joined(&without_codes, &scan), 400), &plain, 0.0);

    let mut same = parts.clone();
    let frame = &mut same.iter_mut().find(|(marker, _)| *marker == 0xC0).unwrap().1;
    for component in 0..3 {
        frame[10 + 3 * component] = 7;
    }
    let mut same_scan = scan.clone();
    for component in 0..3 {
        same_scan[5 + 2 * component] = 7;
    }
    assert_same("components of one number", &seen("", &joined(&same, &same_scan), 400), &plain, 0.0);

    let mut open = parts.clone();
    let frame = &mut open.iter_mut().find(|(marker, _)| *marker == 0xC0).unwrap().1;
    frame[5..7].fill(0);
    let lines = [&scan[..scan.len() - 2], b"\xFF\xDC\0\x04\0\x78\xFF\xD9"].concat();
    assert_same("lines told at the end", &seen("", &joined(&open, &lines), 400), &plain, 0.0);

    let turn = [b"Exif\0\0".as_slice(), &exif(6)].concat();
    let segment = with_jpeg_segment(b"\xFF\xD8", 0xE1, &turn)[2..].to_vec();
    let at = parts.iter().position(|(marker, _)| *marker == 0xC0).unwrap() + 1;
    let variant = made(&insert(at, 0xE1, &segment), 400).unwrap();
    assert_eq!((variant.width, variant.height), (120, 160), "Exif behind the frame header");
}

#[test]
fn colours_at_a_third_of_the_samples_are_shown() {
    let picture = DynamicImage::from(scene(240, 120)).to_rgb8();
    let ycbcr = |Rgb([red, green, blue]): Rgb<u8>| {
        let [red, green, blue] = [red, green, blue].map(f32::from);
        [
            0.299 * red + 0.587 * green + 0.114 * blue,
            128.0 - 0.168_736 * red - 0.331_264 * green + 0.5 * blue,
            128.0 + 0.5 * red - 0.418_688 * green - 0.081_312 * blue,
        ]
    };
    for (across, down) in [(3, 1), (3, 2)] {
        let plane = |channel: usize, across: u32, down: u32| {
            GrayImage::from_fn(240 / across, 120 / down, |x, y| {
                Luma([ycbcr(*picture.get_pixel(x * across, y * down))[channel] as u8])
            })
        };
        let grey = |plane: &GrayImage| {
            let mut bytes = Vec::new();
            let side = |side: u32| u16::try_from(side).unwrap();
            let (width, height) = (side(plane.width()), side(plane.height()));
            Encoder::new(&mut bytes, 95).encode(plane, width, height, ColorType::Luma).unwrap();
            bytes
        };
        let scans: Vec<_> = (0..3)
            .map(|channel| {
                let (across, down) = if channel == 0 { (1, 1) } else { (across, down) };
                let (parts, mut scan) = segments(&grey(&plane(channel, across, down)));
                scan.truncate(scan.len() - 2);
                scan[5] = u8::try_from(channel).unwrap() + 1;
                (parts, scan)
            })
            .collect();
        let mut parts = scans[0].0.clone();
        let frame = parts.iter_mut().find(|(marker, _)| *marker == 0xC0).unwrap();
        let luma = u8::try_from(across << 4 | down).unwrap();
        let specs = [3, 1, luma, 0, 2, 0x11, 0, 3, 0x11, 0];
        frame.1 = [&frame.1[..9], &specs].concat();
        frame.1[3] += 6;
        let all: Vec<u8> = scans.iter().flat_map(|(_, scan)| scan.clone()).chain([0xFF, 0xD9]).collect();
        let file = joined(&parts, &all);
        let name = format!("{across} x {down}");
        assert_same(
            &name,
            &seen(&name, &file, 100),
            &{
                rgba(&DynamicImage::from(picture.clone()).resize_exact(100, 50, image::imageops::FilterType::Lanczos3))
            },
            16.0,
        );
    }
}

#[test]
fn damage_between_restart_markers_reaches_no_further() {
    let file = jpeg_with(&scene(640, 480), |encoder| {
        encoder.set_sampling_factor(SamplingFactor::R_4_4_4);
        encoder.set_restart_interval(80);
    });
    let whole = seen("whole", &file, 1200);
    let restarts: Vec<usize> =
        (0..file.len() - 1).filter(|at| file[*at] == 0xFF && (0xD0..=0xD7).contains(&file[*at + 1])).collect();
    let damaged = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut changed = file.clone();
        change(&mut changed);
        seen("damaged", &changed, 1200)
    };
    let middle = restarts[20];
    for (name, picture) in [
        ("bytes that make no sense", damaged(&|file| file[middle + 10..middle + 50].fill(0x55))),
        (
            "bytes that look like a marker",
            damaged(&|file| file[middle + 10..middle + 14].copy_from_slice(&[0xFF, 0x3C, 0x55, 0x55])),
        ),
        ("an interval that is gone", damaged(&|file| drop(file.drain(middle..restarts[21])))),
        (
            "an interval twice",
            damaged(&|file| {
                let interval = file[middle..restarts[21]].to_vec();
                file.splice(middle..middle, interval);
            }),
        ),
    ] {
        // Each interval is a row of blocks. At most three may be wrong.
        let wrong = (0..480).filter(|y| {
            (0..640).any(|x| {
                let (is, was) = (picture.get_pixel(x, *y).0, whole.get_pixel(x, *y).0);
                is.iter().zip(was).any(|(is, was)| is.abs_diff(was) > 8)
            })
        });
        assert!(wrong.clone().count() <= 3 * 8, "{name}: {:?}", wrong.collect::<Vec<_>>());
    }
}

// --- AVIF ------------------------------------------------------------------------------------------------------------

fn boxed(name: &[u8; 4], parts: &[&[u8]]) -> Vec<u8> {
    let payload = parts.concat();
    [&u32::try_from(payload.len() + 8).unwrap().to_be_bytes(), name.as_slice(), &payload].concat()
}

/// A file with these OBUs and properties, and with a second, unreferenced item of a larger size.
fn avif_with(bits: &[u8], size: (u32, u32), more: &[Vec<u8>]) -> Vec<u8> {
    let sides = |size: (u32, u32)| [0, size.0, size.1].map(u32::to_be_bytes).concat();
    let mut properties = vec![boxed(b"ispe", &[&sides((4000, 3000))]), boxed(b"ispe", &[&sides(size)])];
    properties.extend(more.iter().cloned());
    let own: Vec<u8> = (2..=properties.len()).map(|place| u8::try_from(place).unwrap()).collect();
    let ipco = boxed(b"ipco", &[&properties.concat()]);
    let count = u8::try_from(own.len()).unwrap();
    let ipma = boxed(b"ipma", &[&[0; 4], &2_u32.to_be_bytes(), b"\0\x01", &[count], &own, b"\0\x02\x01\x01"]);
    let entry = |id: u8| boxed(b"infe", &[&[2, 0, 0, 0, 0, id, 0, 0], b"av01\0"]);
    let meta = |start: u32| {
        let length = u32::try_from(bits.len()).unwrap().to_be_bytes();
        let place = [start.to_be_bytes(), length].concat();
        let item = |id: u8| [&[0, id, 0, 0, 0, 1], place.as_slice()].concat();
        let iloc = boxed(b"iloc", &[&[0, 0, 0, 0, 0x44, 0, 0, 2], &item(1), &item(2)]);
        let parts: [&[u8]; 6] = [
            &[0; 4],
            &boxed(b"hdlr", &[&[0; 8], b"pict", &[0; 13]]),
            &boxed(b"pitm", &[&[0, 0, 0, 0, 0, 1]]),
            &iloc,
            &boxed(b"iinf", &[&[0, 0, 0, 0, 0, 2], &entry(1), &entry(2)]),
            &boxed(b"iprp", &[&ipco, &ipma]),
        ];
        boxed(b"meta", &parts)
    };
    let head = boxed(b"ftyp", &[b"avif\0\0\0\0avifmif1"]);
    let start = u32::try_from(head.len() + meta(0).len() + 8).unwrap();
    [head, meta(start), boxed(b"mdat", &[bits])].concat()
}

/// The OBUs of an image.
fn av1(picture: &DynamicImage) -> Vec<u8> {
    let file = avif(picture, BitDepth::Eight);
    let at = file.windows(4).position(|window| window == b"mdat").unwrap();
    file[at + 4..].to_vec()
}

#[test]
fn an_avif_has_the_size_of_its_primary_picture_and_shows_its_aperture() {
    let picture = DynamicImage::from(scene(160, 120));
    let bits = av1(&picture);
    let whole = seen("whole", &avif_with(&bits, (160, 120), &[]), 400);
    assert_same("a larger picture beside it", &whole, &seen("plain", &avif(&picture, BitDepth::Eight), 400), 0.0);
    let aperture = |numbers: [i32; 8]| boxed(b"clap", &[&numbers.map(i32::to_be_bytes).concat()]);
    let part = avif_with(&bits, (160, 120), &[aperture([100, 1, 60, 1, -10, 1, 20, 1])]);
    assert_eq!(Raster::Avif.header(&part).unwrap().upright().width, 100);
    let cropped = DynamicImage::from(whole.clone()).crop_imm(20, 50, 100, 60).into_rgba8();
    assert_same("an aperture", &seen("part", &part, 400), &cropped, 2.0);
    let beyond = avif_with(&bits, (160, 120), &[aperture([100, 1, 60, 1, 500, 1, 0, 1])]);
    assert_same("an aperture outside", &seen("beyond", &beyond, 400), &whole, 0.0);
}

#[test]
fn the_rarer_matrices_of_avif_are_converted() {
    let bits = av1(&RgbImage::from_pixel(64, 64, Rgb([180, 90, 60])).into());
    // This colour in YCbCr by BT.601.
    let [y, u, v] = [113.5, 97.8, 175.4];
    for (matrix, expected) in [
        (8_u16, [y - (u - 128.0) + (v - 128.0), y + (u - 128.0), y - (u - 128.0) - (v - 128.0)]),
        (4, [y + 1.4 * (v - 128.0), y - 0.3316 * (u - 128.0) - 0.7119 * (v - 128.0), y + 1.78 * (u - 128.0)]),
        (7, [y + 1.576 * (v - 128.0), y - 0.2266 * (u - 128.0) - 0.4766 * (v - 128.0), y + 1.826 * (u - 128.0)]),
        (12, [y + 1.5748 * (v - 128.0), y - 0.1873 * (u - 128.0) - 0.4681 * (v - 128.0), y + 1.8556 * (u - 128.0)]),
    ] {
        let codes = [1_u16, 13, matrix].map(u16::to_be_bytes).concat();
        let colours = boxed(b"colr", &[b"nclx", &codes, &[0x80]]);
        let Rgba([red, green, blue, _]) =
            *seen("matrix", &avif_with(&bits, (64, 64), &[colours]), 100).get_pixel(30, 30);
        let near = |is: u8, wanted: f64| (f64::from(is) - wanted.clamp(0.0, 255.0)).abs() < 5.0;
        let all = near(red, expected[0]) && near(green, expected[1]) && near(blue, expected[2]);
        assert!(all, "{matrix}: {:?} instead of {expected:?}", [red, green, blue]);
    }
}
