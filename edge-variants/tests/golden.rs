//! The bytes of every variant of every fixture, compared with recorded hashes.
//!
//! A change that must not alter images proves it here; an update of a codec dependency that does alter them shows which
//! fixtures and formats to look at. If a difference is intended, copy the file that the failure names over
//! `tests/golden/FORMAT.txt` and say in the commit what changed in the images.
#![cfg(test)]

use std::{fmt::Write as _, fs, path::Path};

use jpeg_encoder::{ColorType, Encoder, SamplingFactor};
use sha2::{Digest as _, Sha256};
use xfiles_core::variant::{ImageFormat, VariantSpec, Width};
use xfiles_edge_variants::render::render;

/// Every file of tests/fixtures that is an image, by its path, and JPEGs with what no fixture has. Those cover decoding,
/// so they are left out where encoding takes long.
fn originals(format: ImageFormat) -> Vec<(String, Vec<u8>)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures");
    let mut originals = Vec::new();
    for folder in ["", "colour/", "kinds/"] {
        for entry in fs::read_dir(root.join(folder)).unwrap() {
            let name = format!("{folder}{}", entry.unwrap().file_name().into_string().unwrap());
            let is_image =
                ["avif", "bmp", "gif", "ico", "jpg", "png", "tif", "webp"].iter().any(|it| name.ends_with(it));
            if is_image {
                originals.push((name.clone(), fs::read(root.join(&name)).unwrap()));
            }
        }
    }
    originals.sort();
    if format != ImageFormat::Avif {
        originals.extend(generated().map(|(name, bytes)| (name.to_owned(), bytes)));
    }
    originals
}

/// Samplings, restart intervals and scans that the fixtures do not have.
fn generated() -> impl Iterator<Item = (&'static str, Vec<u8>)> {
    type Set = fn(&mut Encoder<&mut Vec<u8>>);
    let kinds: [(&str, Set); 9] = [
        ("4:4:4", |it| it.set_sampling_factor(SamplingFactor::R_4_4_4)),
        ("4:2:2", |it| it.set_sampling_factor(SamplingFactor::R_4_2_2)),
        ("4:4:0", |it| it.set_sampling_factor(SamplingFactor::R_4_4_0)),
        ("4:1:1", |it| it.set_sampling_factor(SamplingFactor::R_4_1_1)),
        ("4:2:0 with restarts", |it| {
            it.set_sampling_factor(SamplingFactor::R_4_2_0);
            it.set_restart_interval(7);
        }),
        ("a scan for each component", |it| it.set_optimized_huffman_tables(true)),
        ("progressive 4:4:4", |it| it.set_progressive(true)),
        ("progressive 4:2:0", |it| {
            it.set_sampling_factor(SamplingFactor::R_4_2_0);
            it.set_progressive(true);
        }),
        ("progressive with restarts", |it| {
            it.set_sampling_factor(SamplingFactor::R_4_2_0);
            it.set_progressive(true);
            it.set_restart_interval(5);
        }),
    ];
    let (width, height) = (1613_u16, 1207_u16);
    let pixels = texture(width.into(), height.into());
    kinds.into_iter().map(move |(name, set)| {
        let mut bytes = Vec::new();
        let mut encoder = Encoder::new(&mut bytes, 85);
        set(&mut encoder);
        encoder.encode(&pixels, width, height, ColorType::Rgb).unwrap();
        (name, bytes)
    })
}

/// Slopes, rings, edges and a little noise, in whole numbers.
fn texture(width: usize, height: usize) -> Vec<u8> {
    let mut state = 1_u32;
    let mut samples = Vec::with_capacity(width * height * 3);
    for (x, y) in (0..height).flat_map(|y| (0..width).map(move |x| (x, y))) {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let noise = (state >> 28) as usize;
        let ring = ((x * x + y * y).isqrt() / 3 % 64).abs_diff(32);
        let edge = if (x / 97 + y / 61) % 3 == 0 { 60 } else { 0 };
        for slope in [x * 120 / width, y * 120 / height, (x + y) * 120 / (width + height)] {
            samples.push(u8::try_from(slope + ring + edge + noise).unwrap());
        }
    }
    samples
}

fn check(name: &str, format: ImageFormat) {
    let mut found = String::new();
    for (original, bytes) in originals(format) {
        for width in Width::ALL {
            let is_last = match render(&bytes, VariantSpec { width, format }) {
                Ok(variant) => {
                    let hash = hex::encode(&Sha256::digest(&variant.bytes)[..12]);
                    let size = format!("{}x{}", variant.width, variant.height);
                    writeln!(found, "{hash} {size} {} {original}", variant.format.mime()).unwrap();
                    variant.width < width.pixels()
                }
                Err(refusal) => {
                    writeln!(found, "{} {original}", refusal.code()).unwrap();
                    true
                }
            };
            // All wider variants have the same bytes.
            if is_last {
                break;
            }
        }
    }
    let recorded = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name).with_extension("txt");
    let expected = fs::read_to_string(&recorded).unwrap_or_default();
    if found != expected {
        let written = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name).with_extension("txt");
        fs::write(&written, &found).unwrap();
        let differ: Vec<&str> = found.lines().filter(|line| !expected.lines().any(|other| other == *line)).collect();
        panic!("{} of {} lines differ, see {}: {differ:#?}", differ.len(), found.lines().count(), written.display());
    }
}

#[test]
fn webp_bytes_are_the_recorded_ones() {
    check("webp", ImageFormat::WebP);
}

#[test]
fn jpeg_bytes_are_the_recorded_ones() {
    check("jpeg", ImageFormat::Jpeg);
}

#[test]
fn png_bytes_are_the_recorded_ones() {
    check("png", ImageFormat::Png);
}

#[test]
fn avif_bytes_are_the_recorded_ones() {
    check("avif", ImageFormat::Avif);
}

#[test]
fn auto_bytes_are_the_recorded_ones() {
    check("auto", ImageFormat::Auto);
}
