//! Times the decoder at each scale beside zune-jpeg and jpeg-decoder, and the encoder beside jpeg-encoder.
//!
//! `cargo bench -p xfiles-jpeg [-- FILE.jpg]`; without a file, the 12-megapixel fixture of the tests.

#![expect(clippy::cast_possible_truncation, reason = "a side has 16 bits")]

use std::{fs, hint::black_box, io::Cursor, time::Instant};

use xfiles_jpeg::{
    Size,
    decode::{self, Options, Scale, Scales},
    encode::{self, Image, Quality},
};
use zune_jpeg::JpegDecoder;

const FIXTURE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures/photo-12mp.jpg");

/// The least of a few runs, in milliseconds.
fn time(name: &str, mut work: impl FnMut()) {
    let run = |work: &mut dyn FnMut()| {
        let start = Instant::now();
        work();
        start.elapsed().as_secs_f64() * 1e3
    };
    let least = (0..5).map(|_| run(&mut work)).fold(f64::INFINITY, f64::min);
    println!("{name:<28} {least:8.2} ms");
}

fn main() {
    let path = std::env::args().skip(1).find(|argument| !argument.starts_with('-')).unwrap_or(FIXTURE.to_owned());
    let jpeg = fs::read(&path).expect("the file is readable");
    let mut header = JpegDecoder::new(Cursor::new(&jpeg));
    header.decode_headers().expect("the file is a JPEG");
    let info = header.info().expect("its headers were read");
    let size = Size { width: info.width.into(), height: info.height.into() };
    println!("{path}: {} x {}", size.width, size.height);
    let at = |scale| {
        let options = Options { scales: Scales::uniform(scale), max_scans: 100, stop: &|| false };
        decode::decode(&mut &jpeg[..], size, &options).expect("the decoder supports the file")
    };
    for scale in Scale::ALL {
        time(&format!("decode at {}/8", scale.side()), || drop(black_box(at(scale))));
    }
    time("zune-jpeg, whole", || drop(black_box(JpegDecoder::new(Cursor::new(&jpeg)).decode())));
    time("jpeg-decoder at 1/8", || {
        let mut decoder = jpeg_decoder::Decoder::new(&jpeg[..]);
        decoder.scale(1, 1).expect("it has a header");
        drop(black_box(decoder.decode()));
    });

    let planes = at(Scale::Quarter);
    let (width, height) = (planes[0].covers.0.floor() as usize, planes[0].covers.1.floor() as usize);
    let luma: Vec<u8> =
        planes[0].samples.chunks(planes[0].stride).take(height).flat_map(|it| &it[..width]).copied().collect();
    let half = vec![128; width.div_ceil(2) * height.div_ceil(2)];
    let image = Image::new(width, height, &luma, Some([&half, &half])).expect("the planes have that size");
    time(&format!("encode {width} x {height}"), || drop(black_box(encode::encode(&image, Quality::DEFAULT))));
    let side = |side: usize| u16::try_from(side).expect("a side has 16 bits");
    time("jpeg-encoder, luma only", || {
        let mut file = Vec::new();
        let mut encoder = jpeg_encoder::Encoder::new(&mut file, 80);
        encoder.set_optimized_huffman_tables(true);
        encoder.encode(&luma, side(width), side(height), jpeg_encoder::ColorType::Luma).expect("it fits");
        drop(black_box(file));
    });
}
