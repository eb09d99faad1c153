//! PNG, fast rather than small: fast deflate with adaptive filters is smaller than zlib's default without filters.

use image::{
    DynamicImage,
    codecs::png::{CompressionType, FilterType, PngEncoder},
};

use crate::render::Refusal;

pub(super) fn encode(pixels: DynamicImage) -> Result<Vec<u8>, Refusal> {
    let mut bytes = Vec::new();
    let encoder = PngEncoder::new_with_quality(&mut bytes, CompressionType::Fast, FilterType::Adaptive);
    in_8_bits(pixels).write_with_encoder(encoder).map_err(|_| Refusal::Unencodable)?;
    Ok(bytes)
}

fn in_8_bits(pixels: DynamicImage) -> DynamicImage {
    match (pixels.color().has_color(), pixels.color().has_alpha()) {
        (true, true) => pixels.into_rgba8().into(),
        (true, false) => pixels.into_rgb8().into(),
        (false, true) => pixels.into_luma_alpha8().into(),
        (false, false) => pixels.into_luma8().into(),
    }
}
