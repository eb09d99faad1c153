//! Makes a variant of an original: bytes in, bytes out.
//!
//! [`render`] is the list of steps, one file each, in the order that makes it safe: nothing is allocated before the
//! header has been read and its claims are within the limits, and nothing but pixels reaches an encoder, so no metadata
//! can leave. It knows nothing of storage, requests or records, keeps no state, and writes the same bytes for the same
//! input.

mod colour;
mod decode;
mod encode;
mod limits;
mod orient;
mod refusal;
mod resize;
#[cfg(test)]
mod tests;

use xfiles_core::{
    sniff::Raster,
    variant::{ImageFormat, VariantSpec},
};

pub use self::refusal::Refusal;

/// A variant: upright, in sRGB, without metadata, encoded as asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rendered {
    /// The encoded picture.
    pub bytes: Vec<u8>,
    /// As what it is encoded: as asked for, or what `auto` came to.
    pub format: ImageFormat,
    /// Pixels from left to right: the width asked for, or the original's if that is smaller.
    pub width: u32,
    /// Pixels from top to bottom.
    pub height: u32,
}

/// Makes the variant `spec` of `original`.
///
/// It takes a fraction of a second of one core and up to a few hundred megabytes, so callers bound how many run at
/// once.
///
/// # Errors
/// Whatever is wrong is wrong with the original or the format, and will be wrong again: see [`Refusal`].
pub fn render(original: &[u8], spec: VariantSpec) -> Result<Rendered, Refusal> {
    let raster = Raster::of(original).ok_or(Refusal::Unsupported)?;
    let decoder = decode::decoder(raster);
    let header = raster.header(original).ok_or(Refusal::Corrupt)?;
    limits::admit(&header)?;

    let size = resize::fit(header.upright(), spec.width);
    let stored_size = if header.orientation.exchanges_sides() { size.turned() } else { size };
    let reduced = match raster {
        Raster::Jpeg => decode::jpeg::decode_reduced(original, header.stored, stored_size),
        _ => None,
    };
    let (small, profile) = if let Some(reduced) = reduced {
        (resize::shrink_planes(&reduced.planes, stored_size), reduced.profile)
    } else {
        let decoded = decoder(original, header.stored)?;
        (resize::shrink(decoded.pixels, stored_size), decoded.profile)
    };
    let upright = orient::turn(small, header.orientation);
    let pixels = colour::to_srgb(upright, profile.as_deref());

    let format = encode::settle(spec.format, &pixels);
    let bytes = encode::encode(pixels, format)?;
    Ok(Rendered { bytes, format, width: size.width, height: size.height })
}
