//! Scores a variant with SSIMULACRA2 against the original, resized in floating point with Lanczos3 in gamma space.
//!
//! Both are 8-bit PNGs; transparent areas are composited on white. The score is printed on standard output: 100 is the
//! reference itself.

use std::{env, f64::consts::PI, process::ExitCode};

use image::{Rgb32FImage, RgbaImage, imageops};
use ssimulacra2::{ColorPrimaries, Rgb, TransferCharacteristic, compute_frame_ssimulacra2};

fn main() -> ExitCode {
    let paths: Vec<String> = env::args().skip(1).collect();
    match paths.as_slice() {
        [original, variant] => match score(original, variant) {
            Ok(score) => {
                println!("{score:.3}");
                return ExitCode::SUCCESS;
            }
            Err(message) => eprintln!("xf-score: {message}"),
        },
        _ => eprintln!("usage: xf-score ORIGINAL.png VARIANT.png"),
    }
    ExitCode::FAILURE
}

fn score(original: &str, variant: &str) -> Result<f64, String> {
    let (original, variant) = (on_white(original)?, on_white(variant)?);
    let (width, height) = variant.dimensions();
    let reference = frame(&lanczos(&original, width, height))?;
    compute_frame_ssimulacra2(reference, frame(&variant)?).map_err(|error| error.to_string())
}

fn on_white(path: &str) -> Result<Rgb32FImage, String> {
    let picture = image::open(path).map_err(|error| format!("{path}: {error}"))?.into_rgba8();
    let mut white = RgbaImage::from_pixel(picture.width(), picture.height(), image::Rgba([255; 4]));
    imageops::overlay(&mut white, &picture, 0, 0);
    Ok(image::DynamicImage::from(white).into_rgb32f())
}

fn frame(picture: &Rgb32FImage) -> Result<Rgb, String> {
    let (width, height) = (picture.width() as usize, picture.height() as usize);
    let pixels = picture.as_raw().as_chunks::<3>().0.to_vec();
    Rgb::new(pixels, width, height, TransferCharacteristic::SRGB, ColorPrimaries::BT709)
        .map_err(|error| error.to_string())
}

/// Columns first, then rows, without rounding in between.
fn lanczos(picture: &Rgb32FImage, width: u32, height: u32) -> Rgb32FImage {
    let (from_width, from_height) = (picture.width() as usize, picture.height() as usize);
    let (width, height) = (width as usize, height as usize);
    let source = picture.as_raw();
    let mut narrow = vec![0.0_f32; width * from_height * 3];
    for (x, (first, weights)) in taps(from_width, width).into_iter().enumerate() {
        for y in 0..from_height {
            for channel in 0..3 {
                let sum =
                    weights.iter().enumerate().map(|(i, w)| w * source[(y * from_width + first + i) * 3 + channel]);
                narrow[(y * width + x) * 3 + channel] = sum.sum();
            }
        }
    }
    let mut small = vec![0.0_f32; width * height * 3];
    for (y, (first, weights)) in taps(from_height, height).into_iter().enumerate() {
        for at in 0..width * 3 {
            let sum = weights.iter().enumerate().map(|(i, w)| w * narrow[(first + i) * width * 3 + at]);
            small[y * width * 3 + at] = sum.sum::<f32>().clamp(0.0, 1.0);
        }
    }
    Rgb32FImage::from_raw(width as u32, height as u32, small).expect("three samples for each pixel")
}

/// For each target sample, the first source sample and the weights from there on.
fn taps(from: usize, to: usize) -> Vec<(usize, Vec<f32>)> {
    let ratio = from as f64 / to as f64;
    let stretch = ratio.max(1.0);
    let weight = |centre: f64, at: usize| {
        let x = (at as f64 + 0.5 - centre) / stretch;
        if x == 0.0 {
            1.0
        } else if x.abs() < 3.0 {
            3.0 * (PI * x).sin() * (PI * x / 3.0).sin() / (PI * x).powi(2)
        } else {
            0.0
        }
    };
    let taps = (0..to).map(|target| {
        let centre = (target as f64 + 0.5) * ratio;
        let first = (centre - 3.0 * stretch).floor().max(0.0) as usize;
        let last = ((centre + 3.0 * stretch).ceil() as usize).min(from);
        let weights: Vec<f64> = (first..last).map(|at| weight(centre, at)).collect();
        let sum: f64 = weights.iter().sum();
        (first, weights.into_iter().map(|weight| (weight / sum) as f32).collect())
    });
    taps.collect()
}
