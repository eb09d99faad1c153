//! What is refused by its header alone, before anything is allocated for it.

use xfiles_core::sniff::{Dimensions, Header};

use super::Refusal;

/// Beyond what cameras and screens make; and the decoders here hold the whole frame, so a side needs a bound of its own.
pub(super) const MAX_SIDE: u32 = 16_384;

/// 50 Mi: a telephone's "50 megapixels" are up to 8192 x 6144. As RGBA they take 200 MiB.
pub(super) const MAX_PIXELS: u64 = 50 << 20;

/// What the pixels of a frame may take, which halves the largest area for 16-bit channels.
pub(super) const MAX_FRAME_BYTES: u64 = 256 << 20;

/// Each scan of a progressive JPEG goes over the whole frame. Encoders write about ten.
pub(super) const MAX_SCANS: usize = 100;

/// What a decoder may take beside the frame: for one row, for text and colour profiles inflated from a PNG.
pub(super) const MAX_SCRATCH_BYTES: u64 = 16 << 20;

/// Profiles with tables for print take 3 MB; those of cameras and screens a few kilobytes.
pub(super) const MAX_PROFILE_BYTES: usize = 4 << 20;

/// Refuses a picture that is too large.
pub(super) fn admit(header: &Header) -> Result<(), Refusal> {
    let Dimensions { width, height } = header.stored;
    if width > MAX_SIDE || height > MAX_SIDE {
        return Err(Refusal::SideTooLong { width, height });
    }
    if u64::from(width) * u64::from(height) > MAX_PIXELS {
        return Err(Refusal::TooManyPixels { width, height });
    }
    Ok(())
}

/// The bytes of a frame, if they are within the limit.
pub(super) fn frame_bytes(stored: Dimensions, bytes_per_pixel: u8) -> Result<usize, Refusal> {
    let Dimensions { width, height } = stored;
    let bytes = u64::from(width) * u64::from(height) * u64::from(bytes_per_pixel);
    let fits = if bytes <= MAX_FRAME_BYTES { usize::try_from(bytes).ok() } else { None };
    fits.ok_or(Refusal::TooManyPixels { width, height })
}
