//! Any pixels have a hash that its text stands for, and any text is a hash or refused. `tests/fuzz -p xfiles-thumbhash
//! pixels_and_texts 600` runs this with libFuzzer.
#![cfg(test)]

use xfiles_thumbhash::ThumbHash;

#[test]
fn pixels_and_texts() {
    bolero::check!(name = "thumbhash").with_iterations(2000).with_max_len(256).for_each(|input: &[u8]| {
        if let Ok(hash) = String::from_utf8_lossy(input).parse::<ThumbHash>() {
            assert_eq!(hash.to_string().parse(), Ok(hash));
        }
        let Some((&[width, height], samples)) = input.split_first_chunk() else { return };
        let (width, height) = (u32::from(width) + 1, u32::from(height) + 1);
        let sample = |at: u32| samples.get(at as usize % samples.len().max(1)).copied().unwrap_or_default();
        let hash =
            ThumbHash::of(width, height, |x, y| [0, 1, 2, 3].map(|channel| sample((y * width + x) * 4 + channel)));
        assert_eq!(hash.to_string().parse(), Ok(hash));
    });
}
