//! Measured memory beside estimates: images of every kind, each in a process of its own, whose memory the system
//! measures, so that decoders in C count as well.

use std::{
    env, fs,
    path::Path,
    process::{Command, Output},
};

use image::{DynamicImage, Frame};
use jpeg_encoder::{ColorType, Encoder, SamplingFactor};
use ravif::BitDepth;
use tiff::encoder::{
    Compression,
    colortype::{RGB8, RGB16},
};
use xfiles_core::variant::{ImageFormat, VariantSpec};

use super::{
    Decoding, Job, Original,
    tests::{avif, bmp, faded_scene, gif, ico, jpeg, jpeg_with, png, scene, tiff, webp, width},
};

/// The variable with what the child renders, and how.
const ORIGINAL: &str = "XFILES_MEMORY_FILE";
const SPEC: &str = "XFILES_MEMORY_SPEC";

/// A line of /proc/self/status, in bytes.
fn status(name: &str) -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    line.split_whitespace().next().unwrap().parse::<u64>().unwrap() << 10
}

/// Not a test by itself: the child process runs it.
#[test]
#[expect(clippy::disallowed_methods, reason = "a parent tells its child so what to render")]
fn child() {
    let (Some(path), Ok(spec)) = (env::var_os(ORIGINAL), env::var(SPEC)) else { return };
    let original = fs::read(path).unwrap();
    let (pixels, format) = spec.split_once(' ').unwrap();
    let format = ImageFormat::ALL.into_iter().find(|other| other.mime() == format).unwrap();
    let job = Job::new(VariantSpec { width: width(pixels.parse().unwrap()), format });
    let before = status("VmRSS:");
    let mut asked = 0;
    let mut decoding = Decoding::new(Original::from(original.as_slice())).within(|bytes| {
        asked = asked.max(bytes);
        true
    });
    let small = decoding.shrink(job).unwrap().unwrap();
    drop(decoding);
    let encoding = job.encoding_bytes(&small);
    job.encode(small).unwrap();
    println!("took: {} {asked} {encoding}", status("VmHWM:").saturating_sub(before));
}

/// How much more memory a process took for a render, and how much the render had asked for.
fn taken(original: &Path, pixels: u32, format: ImageFormat) -> (u64, u64) {
    let Output { status, stdout, stderr } = Command::new(env::current_exe().unwrap())
        .args(["render::memory::child", "--exact", "--nocapture", "--test-threads=1"])
        .env(ORIGINAL, original)
        .env(SPEC, format!("{pixels} {}", format.mime()))
        .output()
        .unwrap();
    let stdout = String::from_utf8(stdout).unwrap();
    assert!(status.success(), "{status}\n{stdout}\n{}", String::from_utf8_lossy(&stderr));
    let line = stdout.lines().find_map(|line| Some(line.split_once("took: ")?.1)).unwrap();
    let numbers: Vec<u64> = line.split_whitespace().map(|number| number.parse().unwrap()).collect();
    (numbers[0], numbers[1].max(numbers[2]))
}

#[test]
fn no_rendering_takes_more_memory_than_it_asks_for() {
    let (large, middle) = ((2048, 1536), (1024, 768));
    let opaque = DynamicImage::from(scene(large.0, large.1));
    let faded = DynamicImage::from(faded_scene(large.0, large.1));
    let less = DynamicImage::from(scene(middle.0, middle.1));
    let faded_less = DynamicImage::from(faded_scene(middle.0, middle.1));
    let rgb = opaque.to_rgb8();
    let inks = |colours| {
        let mut bytes = Vec::new();
        let samples: Vec<u8> = less.to_rgba8().into_raw();
        Encoder::new(&mut bytes, 90).encode(&samples, 1024, 768, colours).unwrap();
        bytes
    };
    let progressive = |sampling| {
        jpeg_with(&rgb, |encoder| {
            encoder.set_progressive(true);
            encoder.set_sampling_factor(sampling);
        })
    };
    let originals = [
        ("PNG", png(&opaque)),
        ("PNG with alpha", png(&faded)),
        ("PNG grey", png(&opaque.to_luma8().into())),
        ("PNG 16 bits", png(&less.to_rgb16().into())),
        ("PNG 16 bits with alpha", png(&faded_less.to_rgba16().into())),
        ("PNG 16 bits, larger", png(&opaque.to_rgb16().into())),
        ("PNG 16 bits with alpha, larger", png(&faded.to_rgba16().into())),
        ("PNG 16 bits by rows, of which most are left out", png(&DynamicImage::new_rgba16(16_384, 400))),
        ("PNG grey with alpha, 16 bits", png(&faded_less.to_luma_alpha16().into())),
        ("GIF", gif([Frame::new(opaque.to_rgba8())])),
        ("WebP", webp(&opaque, false)),
        ("WebP lossless", webp(&opaque, true)),
        ("WebP with alpha", webp(&faded, false)),
        ("WebP lossless with alpha", webp(&faded, true)),
        ("JPEG", jpeg(&rgb)),
        ("JPEG 4:4:4", jpeg_with(&rgb, |encoder| encoder.set_sampling_factor(SamplingFactor::R_4_4_4))),
        ("JPEG progressive", progressive(SamplingFactor::R_4_2_0)),
        ("JPEG progressive 4:4:4", progressive(SamplingFactor::R_4_4_4)),
        ("JPEG CMYK", inks(ColorType::Cmyk)),
        ("JPEG YCCK", inks(ColorType::CmykAsYcck)),
        ("TIFF", tiff::<RGB8, _>(&rgb, large, Compression::Lzw)),
        ("TIFF 16 bits", tiff::<RGB16, _>(&less.to_rgb16(), middle, Compression::Uncompressed)),
        ("BMP", bmp(&opaque)),
        ("AVIF", avif(&less, BitDepth::Eight)),
        ("AVIF 10 bits", avif(&less, BitDepth::Ten)),
        ("AVIF 10 bits with alpha", avif(&faded_less, BitDepth::Ten)),
        ("ICO", ico(&faded_scene(256, 256).into())),
    ];
    let mut wrong = Vec::new();
    let path = env::temp_dir().join(format!("xfiles-memory-{}", std::process::id()));
    for (name, original) in &originals {
        fs::write(&path, original).unwrap();
        for (pixels, format) in [(100, ImageFormat::WebP), (1200, ImageFormat::Png), (1200, ImageFormat::Jpeg)] {
            let (took, asked) = taken(&path, pixels, format);
            println!("{name} to {pixels} as {}: took {} KiB of {}", format.mime(), took >> 10, asked >> 10);
            if took > asked {
                wrong.push(format!("{name} to {pixels} as {}: took {took} and asked for {asked}", format.mime()));
            }
        }
    }
    for (name, original) in [("AVIF", &originals[0].1), ("AVIF with alpha", &originals[1].1)] {
        fs::write(&path, original).unwrap();
        for format in [ImageFormat::Avif, ImageFormat::WebP] {
            let (took, asked) = taken(&path, 1200, format);
            println!("{name} as {}: took {} KiB of {}", format.mime(), took >> 10, asked >> 10);
            if took > asked {
                wrong.push(format!("to {}, {name}: took {took} and asked for {asked}", format.mime()));
            }
        }
    }
    fs::remove_file(&path).unwrap();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
