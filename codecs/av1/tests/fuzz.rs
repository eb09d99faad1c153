//! Damaged data are undecodable or a picture whose rows can be read. `tests/fuzz -p xfiles-av1 pictures 600` runs this with
//! libFuzzer.
#![cfg(test)]

use std::num::NonZeroU32;

use ravif::{BitDepth, Encoder, Img, RGB8};
use xfiles_av1::{Finish, Plane, decode};

const MAX_PIXELS: NonZeroU32 = NonZeroU32::new(1 << 16).unwrap();

/// The OBUs of small pictures.
fn seeds() -> Vec<Vec<u8>> {
    let samples: Vec<RGB8> =
        (0..32 * 24_u32).map(|at| RGB8::from([at, at * 7, at / 5].map(|it| it.to_le_bytes()[0]))).collect();
    let encoded = |depth| {
        let encoder = Encoder::new().with_quality(70.0).with_speed(10).with_bit_depth(depth);
        let file = encoder.encode_rgb(Img::new(&samples, 32, 24)).expect("it is small").avif_file;
        // The last box has the OBUs, behind its length and its name.
        let at = file.windows(4).position(|window| window == b"mdat").expect("an AVIF has data");
        file[at + 4..].to_vec()
    };
    vec![encoded(BitDepth::Eight), encoded(BitDepth::Ten)]
}

#[test]
fn pictures() {
    let seeds = seeds();
    bolero::check!(name = "av1-pictures").with_iterations(1000).with_max_len(64).for_each(move |input: &[u8]| {
        let mut damaged = seeds[input.len() % seeds.len()].clone();
        for [high, low, value] in input.as_chunks::<3>().0 {
            let at = usize::from(u16::from_be_bytes([*high, *low])) % damaged.len();
            damaged[at] = *value;
        }
        for bits in [input, &damaged] {
            for finish in [Finish::Whole, Finish::Bare] {
                let Ok(picture) = decode(bits, MAX_PIXELS, finish) else { continue };
                for plane in [Plane::Y, Plane::U, Plane::V] {
                    let height = picture.size(plane).map_or(0, |(_, height)| height);
                    assert!((0..height).all(|y| picture.row(plane, y).is_some()));
                    assert!(picture.row(plane, height).is_none());
                }
            }
        }
    });
}
