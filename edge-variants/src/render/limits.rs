//! Limits that the header alone decides, before anything is allocated.
//!
//! Most decoders hold the whole frame. Sequential JPEGs are decoded without holding more than the scaled image.

use xfiles_core::sniff::Dimensions;

use super::Refusal;

/// The maximum of JPEG: screenshots of whole conversations are 20,000 pixels tall. The area bounds the memory.
pub(super) const MAX_SIDE: u32 = 65_535;

/// 50 Mi: the "50 megapixels" of telephones are up to 8192 x 6144. As RGBA they take 200 MiB.
pub(super) const MAX_PIXELS: u64 = 50 << 20;

/// The square of 16,383, which is sharp's limit as well. The planes at half the size take 100 MiB.
pub(super) const MAX_WALKED_PIXELS: u64 = 16_383 * 16_383;

/// The memory of a frame, which halves the largest area for 16-bit channels.
pub(super) const MAX_FRAME_BYTES: u64 = 256 << 20;

/// The largest AVIF: 1200 x 6990. A megapixel takes 0.8 s and 27 MB, and the function has 55 s for everything.
pub(super) const MAX_AVIF_PIXELS: u64 = 8 << 20;

/// Each scan of a progressive JPEG is a pass over the whole frame. Encoders write about ten.
pub(super) const MAX_SCANS: usize = 100;

/// The memory of a decoder besides the frame: for a row, and for text and profiles inflated from a PNG.
pub(super) const MAX_SCRATCH_BYTES: u64 = 16 << 20;

/// Printing profiles have 3 MB, those of cameras and screens a few kilobytes.
pub(super) const MAX_PROFILE_BYTES: usize = 4 << 20;

/// Refuses an image whose frame is too large to be held.
pub(super) fn admit(stored: Dimensions) -> Result<(), Refusal> {
    within(stored, MAX_PIXELS)
}

/// Refuses an image that is too large even for decoders that do not hold the frame.
pub(super) fn admit_walked(stored: Dimensions) -> Result<(), Refusal> {
    within(stored, MAX_WALKED_PIXELS)
}

fn within(stored: Dimensions, max_pixels: u64) -> Result<(), Refusal> {
    let Dimensions { width, height } = stored;
    if width > MAX_SIDE || height > MAX_SIDE {
        return Err(Refusal::SideTooLong { width, height });
    }
    if stored.pixels() > max_pixels {
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
