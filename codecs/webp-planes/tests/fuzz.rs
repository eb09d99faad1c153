//! Damaged files are undecodable or have planes of the expected size. `tests/fuzz -p xfiles-webp-planes files 600` runs
//! this with libFuzzer.
#![cfg(test)]

use webp::Encoder;
use xfiles_webp_planes::{Finish, decode, decode_beginning};

const SIZE: (usize, usize) = (33, 21);

/// Lossy, lossless, and with alpha.
fn seeds() -> Vec<Vec<u8>> {
    let samples: Vec<u8> = (0..33 * 21 * 4_u32).map(|at| (at * at / 5).to_le_bytes()[0]).collect();
    let rgb: Vec<u8> = samples.chunks(4).flat_map(|pixel| pixel[..3].to_vec()).collect();
    vec![
        Encoder::from_rgb(&rgb, 33, 21).encode(80.0).to_vec(),
        Encoder::from_rgb(&rgb, 33, 21).encode_lossless().to_vec(),
        Encoder::from_rgba(&samples, 33, 21).encode(80.0).to_vec(),
    ]
}

#[test]
fn files() {
    let seeds = seeds();
    bolero::check!(name = "webp-files").with_iterations(1000).with_max_len(64).for_each(move |input: &[u8]| {
        let mut damaged = seeds[input.len() % seeds.len()].clone();
        for [high, low, value] in input.as_chunks::<3>().0 {
            let at = usize::from(u16::from_be_bytes([*high, *low])) % damaged.len();
            damaged[at] = *value;
        }
        for file in [input, &damaged] {
            for finish in [Finish::Whole, Finish::Bare] {
                if let Ok(planes) = decode(file, SIZE.0, SIZE.1, finish) {
                    assert_eq!(planes.samples().each_ref().map(Vec::len), [33 * 21, 17 * 11, 17 * 11]);
                }
            }
            if let Ok((pixels, rows)) = decode_beginning(file, SIZE.0, SIZE.1) {
                assert!((1..=SIZE.1).contains(&rows) && pixels.len() == SIZE.0 * SIZE.1 * 4);
            }
        }
    });
}
