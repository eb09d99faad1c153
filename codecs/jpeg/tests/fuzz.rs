//! Damaged and random files. `tests/fuzz -p xfiles-jpeg files 600` runs this with libFuzzer.
#![cfg(test)]
#![expect(clippy::cast_possible_truncation, reason = "an image has few samples")]

use xfiles_jpeg::{
    Size,
    decode::{self, FirstScan, Header, Options, Scale, Scales},
};

/// Small files of each kind that the decoder supports.
fn seeds() -> Vec<Vec<u8>> {
    let pixels: Vec<u8> = (0..40 * 30 * 3_u32).map(|at| (at * at / 7 % 251).to_le_bytes()[0]).collect();
    let encoded = |set: fn(&mut jpeg_encoder::Encoder<&mut Vec<u8>>)| {
        let mut file = Vec::new();
        let mut encoder = jpeg_encoder::Encoder::new(&mut file, 80);
        set(&mut encoder);
        encoder.encode(&pixels, 40, 30, jpeg_encoder::ColorType::Rgb).expect("it fits");
        file
    };
    vec![
        encoded(|it| it.set_sampling_factor(jpeg_encoder::SamplingFactor::R_4_2_0)),
        encoded(|it| it.set_restart_interval(2)),
        encoded(|it| it.set_progressive(true)),
        encoded(|it| it.set_optimized_huffman_tables(true)),
    ]
}

/// A seed, changed as the input says: the first byte chooses it, then each three are a position and a value.
fn damaged(seeds: &[Vec<u8>], input: &[u8]) -> Vec<u8> {
    let Some((first, changes)) = input.split_first() else { return Vec::new() };
    let mut file = seeds[usize::from(*first) % seeds.len()].clone();
    for [high, low, value] in changes.as_chunks::<3>().0 {
        let at = usize::from(u16::from_be_bytes([*high, *low])) % file.len();
        file[at] = *value;
    }
    file
}

#[test]
fn files() {
    let seeds = seeds();
    bolero::check!(name = "jpeg-files").with_iterations(1000).with_max_len(256).for_each(move |input: &[u8]| {
        for file in [input.to_vec(), damaged(&seeds, input)] {
            let mut bytes = &file[..];
            let (header, first) = (Header::read(&mut bytes), FirstScan::find(&mut bytes));
            assert!(header.is_none() || first.is_some(), "both need a frame header and a scan");
            for scale in Scale::ALL {
                let scales = Scales::with_full_chroma(scale);
                let size = Size { width: 40, height: 30 };
                let options = Options { scales, max_scans: 20, stop: &|| false };
                let planes = decode::decode(&mut bytes, size, &options);
                assert!(planes.is_none() || decode::memory(&mut bytes, size, scales).is_some());
                for plane in planes.into_iter().flatten() {
                    assert!(plane.covers.0.ceil() as usize <= plane.stride);
                    assert!(plane.samples.len() >= plane.stride * plane.covers.1.ceil() as usize);
                }
            }
        }
    });
}
