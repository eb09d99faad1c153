//! Files made to cost as much as they can. Each is rendered in a process of its own, within the memory and processor
//! time that a worker has for one.

use std::{
    env, fs,
    path::Path,
    process::{Command, Output},
    sync::atomic::{AtomicU32, Ordering},
};

use image::{DynamicImage, Frame, GrayImage, Rgba, RgbaImage};
use jpeg_encoder::{ColorType, Encoder};
use ravif::BitDepth;
use tiff::encoder::{Compression, colortype::RGB8, compression::DeflateLevel};
use xfiles_core::variant::{ImageFormat, VariantSpec};

use super::{
    limits, render,
    tests::{
        avif, bmp, extended_webp, faded_scene, fixture, gif, ico, jpeg, jpeg_with, png, png_header, scene, tiff, webp,
        width, with_jpeg_segment,
    },
};

/// The address space, which bounds resident memory. A frame takes a quarter of it, and its copies another.
const MEMORY_KB: u32 = 1 << 20;

/// Processor seconds, in a build with overflow checks.
const SECONDS: u32 = 20;

/// The variable with what the child renders.
const DIRECTORY: &str = "XFILES_HOSTILE_FILES";

/// Renders the files of a directory in a child process within the limits, and returns what became of each, in order.
fn outcomes(files: &[Vec<u8>]) -> Vec<String> {
    outcomes_within(MEMORY_KB, files)
}

fn outcomes_within(memory_kb: u32, files: &[Vec<u8>]) -> Vec<String> {
    static NUMBER: AtomicU32 = AtomicU32::new(0);

    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let directory = env::temp_dir().join(format!("xfiles-hostile-{}-{number}", std::process::id()));
    fs::create_dir(&directory).unwrap();
    for (at, file) in files.iter().enumerate() {
        fs::write(directory.join(at.to_string()), file).unwrap();
    }
    let script = format!("ulimit -v {memory_kb} && ulimit -t {SECONDS} && exec \"$0\" \"$@\"");
    let child = Command::new("sh")
        .args(["-c", &script])
        .arg(env::current_exe().unwrap())
        .args(["render::hostile::child", "--exact", "--nocapture", "--test-threads=1"])
        .env(DIRECTORY, &directory)
        .output()
        .unwrap();
    fs::remove_dir_all(&directory).unwrap();
    let Output { status, stdout, stderr } = child;
    let stdout = String::from_utf8(stdout).unwrap();
    assert!(status.success(), "{status}\n{stdout}\n{}", String::from_utf8_lossy(&stderr));
    let outcomes: Vec<String> =
        stdout.lines().filter_map(|line| line.split_once("outcome: ")).map(|(_, it)| it.to_owned()).collect();
    assert_eq!(outcomes.len(), files.len(), "{stdout}");
    outcomes
}

/// Not a test by itself: the child process runs it.
#[test]
#[expect(clippy::disallowed_methods, reason = "a parent tells its child so where the files are")]
fn child() {
    let Some(directory) = env::var_os(DIRECTORY) else { return };
    let mut at = 0;
    while let Ok(original) = fs::read(Path::new(&directory).join(at.to_string())) {
        let spec = VariantSpec { width: width(100), format: ImageFormat::WebP };
        match render(&original, spec) {
            Ok(variant) => println!("outcome: {} x {}", variant.width, variant.height),
            Err(refusal) => println!("outcome: {refusal:?}"),
        }
        at += 1;
    }
}

fn assert_outcome(name: &str, original: Vec<u8>, expected: &str) {
    let outcomes = outcomes(&[original]);
    assert!(outcomes[0].starts_with(expected), "{name}: {} instead of {expected}", outcomes[0]);
}

/// Changes bytes behind the first occurrence of `name`.
pub(super) fn patched(mut file: Vec<u8>, name: &[u8], offset: usize, bytes: &[u8]) -> Vec<u8> {
    let at = file.windows(name.len()).position(|window| window == name).unwrap() + offset;
    file[at..at + bytes.len()].copy_from_slice(bytes);
    file
}

/// Repeats the second scan of a progressive JPEG, before the scans that complete it.
pub(super) fn with_scans(jpeg: &[u8], times: usize) -> Vec<u8> {
    let mut scans = (0..jpeg.len()).filter(|at| jpeg[*at..].starts_with(&[0xFF, 0xDA])).skip(1);
    let (second, third) = (scans.next().unwrap(), scans.next().unwrap());
    [&jpeg[..third], &jpeg[second..third].repeat(times), &jpeg[third..]].concat()
}

#[test]
fn sizes_that_are_only_claimed_are_refused() {
    let small = DynamicImage::from(scene(64, 48));
    let rgb = small.to_rgb8();
    let claimed = [u32::MAX; 2].map(u32::to_be_bytes).concat();
    let jpeg_size = |sides: [u8; 4]| patched(jpeg(&rgb), &[0xFF, 0xC0], 5, &sides);
    let webp = webp(&small, false);
    for (name, original, expected) in [
        ("PNG", png_header(60_000, 60_000, 8, 6), "TooManyPixels"),
        ("PNG of a side that no other format has", png_header(70_000, 1, 8, 6), "SideTooLong"),
        ("PNG of no width", png_header(0, 10, 8, 2), "Corrupt"),
        ("JPEG", jpeg_size([0xFF; 4]), "TooManyPixels"),
        ("JPEG, 65535 x 4095 of which 64 x 48 are there", jpeg_size([0x0F, 0xFF, 0xFF, 0xFF]), "100 x 6"),
        ("JPEG, 4095 x 65535", jpeg_size([0xFF, 0xFF, 0x0F, 0xFF]), "100 x 1600"),
        ("JPEG of no height", jpeg_size([0, 0, 0, 64]), "Corrupt"),
        ("JPEG, 16384 x 3199 of which 64 x 48 are there", jpeg_size([0x0C, 0x7F, 0x40, 0]), "100 x 20"),
        ("GIF", patched(gif([Frame::new(small.to_rgba8())]), b"GIF89a", 6, &[0xFF; 4]), "TooManyPixels"),
        ("WebP", extended_webp(&webp, (16_384, 16_384), 0, &[], &[]), "TooManyPixels"),
        ("BMP", patched(bmp(&small), b"BM", 18, &[0xFF, 0xFF, 0xFF, 0x7F, 0xFF, 0xFF, 0xFF, 0x7F]), "SideTooLong"),
        ("AVIF", patched(avif(&small, BitDepth::Eight), b"ispe", 8, &claimed), "SideTooLong"),
        (
            "AVIF that says 16384 x 3200",
            {
                let claimed = [16_384_u32, 3200].map(u32::to_be_bytes).concat();
                patched(avif(&small, BitDepth::Eight), b"ispe", 8, &claimed)
            },
            "TooManyPixels",
        ),
    ] {
        assert_outcome(name, original, expected);
    }
}

#[test]
fn a_png_too_short_for_its_pixels_is_refused_before_there_is_room_for_them() {
    // The pixels would take 256 MiB.
    let original = png_header(8192, 4096, 16, 6);
    assert_eq!(outcomes_within(192 << 10, &[original]), ["Corrupt"]);
}

#[test]
fn little_that_inflates_to_the_largest_picture_is_rendered_within_the_limits() {
    // Slightly below the limit, of one colour: as a file a thousandth of it or less.
    let largest = DynamicImage::from(GrayImage::new(16_384, 3200));
    let samples = vec![0; 5000 * 3300 * 3];
    for (name, original) in [
        ("PNG", png(&largest)),
        ("lossless WebP", webp(&DynamicImage::new_rgb8(8000, 6500), true)),
        ("TIFF", tiff::<RGB8, _>(&samples, (5000, 3300), Compression::Deflate(DeflateLevel::Fast))),
        ("TIFF LZW", tiff::<RGB8, _>(&samples, (5000, 3300), Compression::Lzw)),
        ("GIF", gif([Frame::new(RgbaImage::from_pixel(5000, 5000, Rgba([1, 2, 3, 255])))])),
        ("icon of a PNG", ico(&faded_scene(256, 256).into())),
    ] {
        assert_outcome(name, original, "100 x ");
    }
}

#[test]
fn a_jpeg_of_endless_scans_or_tables_ends() {
    let progressive = |side: u16| {
        let mut original = Vec::new();
        let mut encoder = Encoder::new(&mut original, 50);
        encoder.set_progressive(true);
        encoder.encode(&vec![0; usize::from(side) * usize::from(side)], side, side, ColorType::Luma).unwrap();
        original
    };
    let large = with_scans(&progressive(4000), limits::MAX_SCANS - 20);
    assert_outcome("nearly as many scans as are read", large, "100 x 100");
    assert_outcome("a hundred thousand scans", with_scans(&progressive(64), 100_000), "Corrupt");

    // Each a DHT of one code, for AC coefficients.
    let table = [[0x10].as_slice(), &[1], &[0; 15], &[0]].concat();
    let tables = (0..400).fold(jpeg(&scene(640, 480)), |file, _| with_jpeg_segment(&file, 0xC4, &table.repeat(3600)));
    assert!(tables.len() > 20 << 20);
    assert_outcome("a million tables", tables, "100 x 75");
}

#[test]
fn files_that_refer_to_themselves_are_refused() {
    let tiff = tiff::<RGB8, _>(scene(64, 48).as_raw(), (64, 48), Compression::Uncompressed);
    let directory = u32::from_le_bytes(tiff[4..8].try_into().unwrap());
    let entries = usize::try_from(directory).unwrap();
    let count = usize::from(u16::from_le_bytes([tiff[entries], tiff[entries + 1]]));
    let mut cyclic = tiff.clone();
    cyclic[entries + 2 + 12 * count..][..4].copy_from_slice(&directory.to_le_bytes());
    // Further images are not read.
    assert_outcome("a TIFF whose next directory is its first", cyclic, "64 x 48");
    let mut nowhere = tiff;
    nowhere[4..8].copy_from_slice(&u32::MAX.to_le_bytes());
    assert_outcome("a TIFF whose directory is nowhere", nowhere, "Corrupt");
    // LZW codes that grow by themselves: the clear code is never sent again.
    let mut cyclic = gif([Frame::new(RgbaImage::from_pixel(64, 48, Rgba([9, 9, 9, 255])))]);
    let at = cyclic.len() - 12;
    cyclic[at..at + 8].fill(0xFF);
    assert!(!outcomes(&[cyclic])[0].is_empty());
}

/// Overwrites bytes in the innermost of nested boxes, `offset` bytes behind its name.
fn with_in_box(mut file: Vec<u8>, boxes: &[&[u8]], offset: usize, bytes: &[u8]) -> Vec<u8> {
    let place = |file: &[u8], name: &[u8]| file.windows(name.len()).position(|window| window == name).unwrap();
    for name in boxes {
        let length = place(&file, name) - 4;
        let old = u32::from_be_bytes(*file[length..].first_chunk().unwrap());
        let grown = old + u32::try_from(bytes.len()).unwrap();
        file[length..length + 4].copy_from_slice(&grown.to_be_bytes());
    }
    let at = place(&file, boxes.last().unwrap()) + offset;
    file.splice(at..at, bytes.iter().copied());
    file
}

#[test]
fn an_avif_of_endless_links_ends() {
    const LINKS: usize = 30_000;
    const PROPERTIES: u32 = 300_000;

    let links = b"\0\0\0\x0Eauxl\0\x63\0\x01\0\x01".repeat(LINKS);
    let file = with_in_box(fixture("alpha.avif"), &[b"meta", b"iref"], 8, &links);
    let at = file.windows(4).position(|window| window == b"ipma").unwrap() + 8;
    let count = u32::from_be_bytes(*file[at..].first_chunk().unwrap()) + PROPERTIES;
    let properties = b"\0\x64\0".repeat(usize::try_from(PROPERTIES).unwrap());
    let file =
        with_in_box(patched(file, b"ipma", 8, &count.to_be_bytes()), &[b"meta", b"iprp", b"ipma"], 12, &properties);
    assert_outcome("pictures that may be the alpha of another", file, "Corrupt");
}

#[test]
fn a_file_cut_at_every_tenth_byte_is_refused_or_shown_as_far_as_it_goes() {
    let scene = DynamicImage::from(scene(48, 36));
    let rgb = scene.to_rgb8();
    let mut cuts = Vec::new();
    for original in [
        jpeg(&rgb),
        jpeg_with(&rgb, |encoder| encoder.set_progressive(true)),
        jpeg(&self::scene(640, 480)),
        png(&scene),
        png(&faded_scene(48, 36).into()),
        webp(&scene, false),
        webp(&scene, true),
        webp(&faded_scene(48, 36).into(), false),
        fixture("animated.webp"),
        gif([Frame::new(scene.to_rgba8())]),
        avif(&scene, BitDepth::Eight),
        tiff::<RGB8, _>(&rgb, (48, 36), Compression::Lzw),
        bmp(&scene),
        ico(&scene),
    ] {
        cuts.extend((0..original.len()).step_by(10).map(|end| original[..end].to_vec()));
    }
    for outcome in outcomes(&cuts) {
        let is_expected = outcome.contains(" x ") || outcome == "Corrupt" || outcome == "Unsupported";
        assert!(is_expected, "{outcome}");
    }
}
