//! Which of our own codecs are replaced by crates of other people, by features of this crate.
//!
//! Whoever maintains XFiles without wanting to maintain its codecs switches them off here; `.ci/run retreat` runs the
//! tests of `render` that way. What is lost is speed, memory, and JPEGs that are too large to be held.

/// `retreat-jpeg-decoder`: zune-jpeg decodes every JPEG, always whole.
pub(super) const JPEG_DECODER: bool = cfg!(feature = "retreat-jpeg-decoder");

/// `retreat-jpeg-encoder`: jpeg-encoder encodes JPEG.
pub(super) const JPEG_ENCODER: bool = cfg!(feature = "retreat-jpeg-encoder");

/// `retreat-vp8-encoder`: libwebp encodes lossy WebP.
pub(super) const VP8_ENCODER: bool = cfg!(feature = "retreat-vp8-encoder");
