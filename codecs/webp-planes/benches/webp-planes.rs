//! Times decoding to planes beside decoding to RGB: `cargo bench -p xfiles-webp-planes`.

use std::{hint::black_box, time::Instant};

use webp::{Decoder, Encoder};
use xfiles_webp_planes::{Finish, decode};

const SIDE: u32 = 1024;

/// The mean of a few runs, in milliseconds.
fn time(mut work: impl FnMut()) -> f64 {
    let start = Instant::now();
    (0..5).for_each(|_| work());
    start.elapsed().as_secs_f64() * 200.0
}

fn main() {
    let sample = |at: u32| {
        let (x, y) = (at % SIDE, at / SIDE);
        let ring = ((x * x + y * y).isqrt() / 3 % 64).abs_diff(32);
        [x / 8 + ring, y / 8 + ring, (x + y) / 16 + ring].map(|it| it.to_le_bytes()[0])
    };
    let rgb: Vec<u8> = (0..SIDE * SIDE).flat_map(sample).collect();
    let file = Encoder::from_rgb(&rgb, SIDE, SIDE).encode(80.0).to_vec();
    for finish in [Finish::Whole, Finish::Bare] {
        let planes = || assert!(black_box(decode(&file, SIDE as usize, SIDE as usize, finish)).is_ok());
        println!("{SIDE} x {SIDE} to planes, {finish:?}: {:.2} ms", time(planes));
    }
    println!("{SIDE} x {SIDE} to RGB: {:.2} ms", time(|| drop(black_box(Decoder::new(&file).decode()))));
}
