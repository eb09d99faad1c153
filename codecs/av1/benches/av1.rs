//! Times decoding with and without in-loop filters: `cargo bench -p xfiles-av1`.

use std::{hint::black_box, num::NonZeroU32, time::Instant};

use ravif::{Encoder, Img, RGB8};
use xfiles_av1::{Finish, decode};

const SIDE: usize = 1024;

fn main() {
    let sample = |at: usize| {
        let (x, y) = (at % SIDE, at / SIDE);
        let ring = ((x * x + y * y).isqrt() / 3 % 64).abs_diff(32);
        RGB8::from([x / 8 + ring, y / 8 + ring, (x + y) / 16 + ring].map(|it| it.to_le_bytes()[0]))
    };
    let samples: Vec<RGB8> = (0..SIDE * SIDE).map(sample).collect();
    let encoder = Encoder::new().with_quality(60.0).with_speed(10);
    let file = encoder.encode_rgb(Img::new(&samples, SIDE, SIDE)).expect("it is small").avif_file;
    let at = file.windows(4).position(|window| window == b"mdat").expect("an AVIF has data");
    for finish in [Finish::Whole, Finish::Bare] {
        let start = Instant::now();
        for _ in 0..5 {
            assert!(black_box(decode(&file[at + 4..], NonZeroU32::MAX, finish)).is_ok());
        }
        println!("{SIDE} x {SIDE}, {finish:?}: {:.2} ms", start.elapsed().as_secs_f64() * 200.0);
    }
}
