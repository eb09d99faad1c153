//! Times the encoder beside libwebp at its method 4, on the planes of a photograph at three widths.
//!
//! `cargo bench -p xfiles-vp8 [-- FILE.webp]`; without a file, on a synthetic image.

use std::{fs, hint::black_box, time::Instant};

use webp::{Encoder, WebPConfig};
use xfiles_vp8::{Image, Quantization, encode};
use xfiles_webp_planes::Finish;

/// The least of a few runs, in milliseconds.
fn time(work: &mut dyn FnMut()) -> f64 {
    let run = |work: &mut dyn FnMut()| {
        let start = Instant::now();
        work();
        start.elapsed().as_secs_f64() * 1e3
    };
    (0..5).map(|_| run(work)).fold(f64::INFINITY, f64::min)
}

/// Rings and slopes with noise.
fn synthetic(width: usize, height: usize) -> Vec<u8> {
    let mut state = 1_u32;
    let mut sample = |x: usize, y: usize| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let ring = ((x * x + y * y).isqrt() / 3 % 64).abs_diff(32);
        u8::try_from(40 + ring + x * 90 / width + y * 60 / height + (state >> 29) as usize).expect("below 256")
    };
    (0..height).flat_map(|y| (0..width).map(move |x| (x, y))).map(|(x, y)| sample(x, y)).collect()
}

fn main() {
    let file = std::env::args().skip(1).find(|argument| !argument.starts_with('-'));
    let images = match file {
        Some(path) => {
            let webp = fs::read(&path).expect("the file is readable");
            let features = webp::BitstreamFeatures::new(&webp).expect("the file is a WebP");
            let (width, height) = (features.width() as usize, features.height() as usize);
            let planes = xfiles_webp_planes::decode(&webp, width, height, Finish::Whole).expect("it is lossy");
            vec![(width, height, planes.into_samples())]
        }
        None => [(400, 300), (800, 600), (1200, 900)]
            .map(|(width, height)| {
                let half = vec![128; width / 2 * height / 2];
                (width, height, [synthetic(width, height), half.clone(), half])
            })
            .into(),
    };
    for (width, height, planes) in images {
        let image = Image::new(width, height, planes.each_ref().map(Vec::as_slice)).expect("the planes have that size");
        let mut bytes = 0;
        let ours = time(&mut || bytes = black_box(encode(&image, Quantization::new(254))).map_or(0, |it| it.len()));
        let rgb: Vec<u8> = planes[0].iter().flat_map(|luma| [*luma; 3]).collect();
        let mut config = WebPConfig::new().expect("libwebp has defaults");
        (config.method, config.quality) = (4, 80.0);
        let side = |side: usize| u32::try_from(side).expect("a side has 14 bits");
        let encoder = Encoder::from_rgb(&rgb, side(width), side(height));
        let theirs = time(&mut || drop(black_box(encoder.encode_advanced(&config))));
        println!("{width} x {height}: {ours:.2} ms for {bytes} bytes; libwebp, RGB without colours: {theirs:.2} ms");
    }
}
