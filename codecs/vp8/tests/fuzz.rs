//! Any planes become a frame that libwebp decodes. `tests/fuzz -p xfiles-vp8 planes 600` runs this with libFuzzer.
#![cfg(test)]

use xfiles_vp8::{Image, Quantization, encode};
use xfiles_webp_planes::Finish;

/// The frame in a WebP file.
fn file(frame: &[u8]) -> Vec<u8> {
    let size = |bytes: &[u8]| u32::try_from(bytes.len()).expect("it is small").to_le_bytes();
    let mut body = [b"WEBPVP8 ".as_slice(), &size(frame), frame].concat();
    body.resize(body.len().next_multiple_of(2), 0);
    [b"RIFF", &size(&body)[..], &body].concat()
}

/// The first bytes of an input are the size and the quantization; the samples repeat the rest.
#[test]
fn planes() {
    bolero::check!(name = "vp8-planes").with_iterations(500).with_max_len(512).for_each(|input: &[u8]| {
        let Some((&[width, height, quantization], rest)) = input.split_first_chunk() else { return };
        let (width, height) = (usize::from(width % 70) + 1, usize::from(height % 70) + 1);
        let half = width.div_ceil(2) * height.div_ceil(2);
        let mut samples = rest.iter().copied().chain([128]).cycle();
        let planes = [width * height, half, half].map(|length| samples.by_ref().take(length).collect::<Vec<u8>>());
        let image = Image::new(width, height, planes.each_ref().map(Vec::as_slice)).expect("the planes have that size");
        let frame = encode(&image, Quantization::new(i32::from(quantization) * 6)).expect("it is small");
        assert!(xfiles_webp_planes::decode(&file(&frame), width, height, Finish::Whole).is_ok());
    });
}
