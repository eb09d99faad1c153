//! Times the hash of images of a few sizes: `cargo bench -p xfiles-thumbhash`.

use std::{hint::black_box, time::Instant};

use xfiles_thumbhash::ThumbHash;

fn main() {
    for (width, height) in [(32, 24), (100, 75), (1200, 900)] {
        let pixel = |x: u32, y: u32| [x.to_le_bytes()[0], y.to_le_bytes()[0], (x ^ y).to_le_bytes()[0], 255];
        let start = Instant::now();
        for _ in 0..100 {
            black_box(ThumbHash::of(width, height, black_box(pixel)));
        }
        println!("{width} x {height}: {:.3} ms", start.elapsed().as_secs_f64() * 10.0);
    }
}
