//! Lossy WebP to and from its planes: luma, and the two colour differences at half its width and height.
//!
//! The format stores them so, and whoever has them already is spared the way over RGB and back. It owns the calls of
//! libwebp that the crate `webp` does not make, and nothing outside this file needs `unsafe` for them. Samples are of
//! BT.601 in its limited range: luma from 16 to 235, differences from 16 to 240.

use std::{ptr, slice};

use libwebp_sys::{
    VP8StatusCode, WEBP_CSP_MODE, WebPBitstreamFeatures, WebPConfig, WebPDecode, WebPDecoderConfig, WebPEncode,
    WebPGetFeatures, WebPMemoryWrite, WebPMemoryWriter, WebPMemoryWriterClear, WebPMemoryWriterInit, WebPPicture,
};

/// The longest side of a WebP, in pixels.
pub const MAX_SIDE: usize = 16_383;

/// The planes of a picture, row by row without gaps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Planes {
    width: usize,
    height: usize,
    /// Luma; then the differences of blue and of red.
    samples: [Vec<u8>; 3],
}

/// Planes whose sizes do not belong together, or that no WebP can hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the planes are not those of a picture of that size")]
pub struct Mismatch;

/// The encoder got no memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the picture could not be encoded")]
pub struct Unencodable;

/// Not a lossy WebP without alpha, or a damaged one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a lossy WebP without alpha")]
pub struct Undecodable;

impl Planes {
    /// Luma of `width` x `height` samples, and the differences of blue and red of half as many each way, rounded up.
    ///
    /// # Errors
    /// [`Mismatch`] if there are more or fewer samples, none, or a side is longer than [`MAX_SIDE`].
    pub fn new(width: usize, height: usize, samples: [Vec<u8>; 3]) -> Result<Self, Mismatch> {
        let sides = 1..=MAX_SIDE;
        if !sides.contains(&width) || !sides.contains(&height) {
            return Err(Mismatch);
        }
        let half = width.div_ceil(2) * height.div_ceil(2);
        let fit = samples.each_ref().map(Vec::len) == [width * height, half, half];
        if fit { Ok(Self { width, height, samples }) } else { Err(Mismatch) }
    }

    /// Samples of luma from left to right.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Samples of luma from top to bottom.
    pub fn height(&self) -> usize {
        self.height
    }

    /// Luma; then the differences of blue and of red.
    pub fn samples(&self) -> &[Vec<u8>; 3] {
        &self.samples
    }

    /// The same, to keep.
    pub fn into_samples(self) -> [Vec<u8>; 3] {
        self.samples
    }
}

/// How hard the encoder tries.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Effort {
    /// 0..=100, from small to true.
    pub quality: f32,
    /// 0..=6, from fast to small.
    pub method: i32,
}

/// Encodes lossy.
///
/// # Errors
/// [`Unencodable`] if the encoder gets no memory, or `effort` is out of range.
pub fn encode(planes: &Planes, effort: Effort) -> Result<Vec<u8>, Unencodable> {
    let side = |samples: usize| i32::try_from(samples).map_err(|_| Unencodable);
    let mut config = WebPConfig::new().map_err(|()| Unencodable)?;
    config.quality = effort.quality;
    config.method = effort.method;
    let mut picture = WebPPicture::new().map_err(|()| Unencodable)?;
    picture.use_argb = 0;
    picture.width = side(planes.width)?;
    picture.height = side(planes.height)?;
    // The encoder reads them and writes to none: it would only under transparent pixels, and there are none.
    let [luma, blue, red] = planes.samples.each_ref().map(|plane| plane.as_ptr().cast_mut());
    (picture.y, picture.u, picture.v) = (luma, blue, red);
    picture.y_stride = picture.width;
    picture.uv_stride = side(planes.width.div_ceil(2))?;

    let mut written = Written::new();
    picture.writer = Some(WebPMemoryWrite);
    picture.custom_ptr = ptr::from_mut(&mut written.0).cast();
    // SAFETY: `config` and `picture` are initialised; the planes have the sizes and strides that the picture states, as
    // `Planes::new` has checked, and outlive the call; `written` is what the writer expects, and outlives it too.
    let done = unsafe { WebPEncode(&raw const config, &raw mut picture) };
    // The picture owns no memory: the planes are ours, and nothing was imported.
    if done == 0 { Err(Unencodable) } else { Ok(written.bytes().to_vec()) }
}

/// What the encoder wrote, in memory of its own.
struct Written(WebPMemoryWriter);

impl Written {
    fn new() -> Self {
        let mut writer = std::mem::MaybeUninit::uninit();
        // SAFETY: the pointer is to memory of the right size, which the call fills.
        Self(unsafe {
            WebPMemoryWriterInit(writer.as_mut_ptr());
            writer.assume_init()
        })
    }

    fn bytes(&self) -> &[u8] {
        if self.0.mem.is_null() {
            return &[];
        }
        // SAFETY: the writer has put `size` bytes there, and nobody writes to them any more.
        unsafe { slice::from_raw_parts(self.0.mem, self.0.size) }
    }
}

impl Drop for Written {
    fn drop(&mut self) {
        // SAFETY: the writer was initialised and is cleared once.
        unsafe { WebPMemoryWriterClear(&raw mut self.0) };
    }
}

/// What is done to a picture once its blocks are decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finish {
    /// All that its bits ask for.
    Whole,
    /// Not the filter that smooths the edges of blocks, which takes up to a tenth of the time. No block is predicted from
    /// filtered samples, so what differs are single samples, and what is made much smaller does not show it.
    Bare,
}

/// Decodes `file` if it is a lossy still picture without alpha of the size that its reader expects.
///
/// # Errors
/// [`Undecodable`], before anything of the picture's size is allocated if the header says that it is of another kind or
/// size.
pub fn decode(file: &[u8], width: usize, height: usize, finish: Finish) -> Result<Planes, Undecodable> {
    const LOSSY: i32 = 1;

    let mut config = WebPDecoderConfig::new().map_err(|()| Undecodable)?;
    // SAFETY: the pointers are to `file`, with its length, and to a live value that the call fills.
    let status = unsafe { WebPGetFeatures(file.as_ptr(), file.len(), &raw mut config.input) };
    let WebPBitstreamFeatures { width: w, height: h, has_alpha: 0, has_animation: 0, format: LOSSY, .. } = config.input
    else {
        return Err(Undecodable);
    };
    let claims = |side: i32, expected: usize| usize::try_from(side) == Ok(expected);
    if status != VP8StatusCode::VP8_STATUS_OK || !claims(w, width) || !claims(h, height) {
        return Err(Undecodable);
    }
    let half = width.div_ceil(2) * height.div_ceil(2);
    let mut planes =
        Planes::new(width, height, [vec![0; width * height], vec![0; half], vec![0; half]]).map_err(|_| Undecodable)?;

    config.options.bypass_filtering = (finish == Finish::Bare).into();
    let chroma_stride = (w + 1) / 2;
    config.output.colorspace = WEBP_CSP_MODE::MODE_YUV;
    config.output.is_external_memory = 1;
    let [luma, blue, red] = &mut planes.samples;
    // SAFETY: every variant of the union is plain old data, and a cleared one was put there by `new`.
    let buffer = unsafe { &mut config.output.u.YUVA };
    (buffer.y, buffer.y_stride, buffer.y_size) = (luma.as_mut_ptr(), w, luma.len());
    (buffer.u, buffer.u_stride, buffer.u_size) = (blue.as_mut_ptr(), chroma_stride, blue.len());
    (buffer.v, buffer.v_stride, buffer.v_size) = (red.as_mut_ptr(), chroma_stride, red.len());
    // SAFETY: `file` has its length; the planes have the sizes and strides that the buffer states, which the decoder
    // compares with those of the picture, and outlive the call. With memory from outside there is none to free.
    let status = unsafe { WebPDecode(file.as_ptr(), file.len(), &raw mut config) };
    if status == VP8StatusCode::VP8_STATUS_OK { Ok(planes) } else { Err(Undecodable) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{ProptestConfig, any, prop, proptest};
    use webp::{Decoder, Encoder};

    use super::*;

    const EFFORT: Effort = Effort { quality: 90.0, method: 4 };

    /// Two halves, of a reddish and a bluish grey.
    fn halves(width: usize, height: usize) -> Planes {
        let plane = |width: usize, height: usize, left: u8, right: u8| {
            (0..width * height).map(|at| if at % width < width / 2 { left } else { right }).collect()
        };
        let (w, h) = (width.div_ceil(2), height.div_ceil(2));
        Planes::new(width, height, [plane(width, height, 90, 170), plane(w, h, 110, 150), plane(w, h, 160, 120)])
            .unwrap()
    }

    fn farthest(left: &Planes, right: &Planes) -> u8 {
        let samples = |planes: &Planes| planes.samples.concat();
        samples(left).iter().zip(samples(right)).map(|(a, b)| a.abs_diff(b)).max().unwrap()
    }

    #[test]
    fn planes_come_back_at_every_size() {
        for (width, height) in [(64, 48), (63, 47), (1, 1), (2, 1), (1, 33), (17, 16)] {
            let planes = halves(width, height);
            let bytes = encode(&planes, EFFORT).unwrap();
            let back = decode(&bytes, width, height, Finish::Whole).unwrap();
            assert_eq!((back.width(), back.height()), (width, height));
            if width > 2 {
                assert!(farthest(&back, &planes) < 40, "{width} x {height}: {}", farthest(&back, &planes));
            }
        }
    }

    #[test]
    fn bare_planes_differ_by_what_the_filter_smooths() {
        let soft = |width: usize, height: usize| -> Vec<u8> {
            (0..width * height).map(|at| u8::try_from(60 + at % width * 2 + at / width).unwrap()).collect()
        };
        let planes = Planes::new(64, 48, [soft(64, 48), soft(32, 24), soft(32, 24)]).unwrap();
        let bytes = encode(&planes, Effort { quality: 10.0, method: 4 }).unwrap();
        let [whole, bare] = [Finish::Whole, Finish::Bare].map(|finish| decode(&bytes, 64, 48, finish).unwrap());
        assert!((1..40).contains(&farthest(&whole, &bare)), "{}", farthest(&whole, &bare));
    }

    #[test]
    fn another_decoder_sees_the_colours_of_the_planes() {
        let bytes = encode(&halves(64, 64), EFFORT).unwrap();
        let picture = Decoder::new(&bytes).decode().unwrap();
        // By the matrix of BT.601 in its limited range: 1.164 (90 - 16) + 1.596 (160 - 128), and so on.
        for (x, expected) in [(8, [137, 67, 50]), (56, [167, 177, 224])] {
            let at = (20 * 64 + x) * 3;
            let near = picture[at..at + 3].iter().zip(expected).all(|(a, b): (&u8, u8)| a.abs_diff(b) <= 4);
            assert!(near, "{:?} instead of {expected:?}", &picture[at..at + 3]);
        }
    }

    #[test]
    fn planes_of_other_sizes_are_none_of_a_picture() {
        let planes = |luma, chroma| [vec![0; luma], vec![0; chroma], vec![0; chroma]];
        assert!(Planes::new(5, 5, planes(25, 9)).is_ok());
        for (width, height, luma, chroma) in
            [(5, 5, 25, 4), (5, 5, 24, 9), (5, 5, 26, 9), (0, 0, 0, 0), (0, 5, 0, 0), (16_384, 1, 16_384, 8192)]
        {
            assert_eq!(Planes::new(width, height, planes(luma, chroma)), Err(Mismatch));
        }
    }

    #[test]
    fn an_effort_that_is_out_of_range_is_refused() {
        for effort in [Effort { quality: 101.0, ..EFFORT }, Effort { method: 7, ..EFFORT }] {
            assert_eq!(encode(&halves(8, 8), effort), Err(Unencodable));
        }
    }

    #[test]
    fn what_has_no_such_planes_or_another_size_is_undecodable() {
        let lossy = encode(&halves(64, 48), EFFORT).unwrap();
        let lossless = Encoder::from_rgb(&[9; 64 * 48 * 3], 64, 48).encode_lossless().to_vec();
        let with_alpha = Encoder::from_rgba(&[9; 64 * 48 * 4], 64, 48).encode(90.0).to_vec();
        assert!(decode(&lossy, 64, 48, Finish::Whole).is_ok());
        for file in [&lossless[..], &with_alpha, b"", b"RIFF", &lossy[..20], &lossy[..lossy.len() - 9]] {
            assert_eq!(decode(file, 64, 48, Finish::Whole), Err(Undecodable));
        }
        for (width, height) in [(63, 48), (64, 47), (0, 0), (1 << 40, 1)] {
            assert_eq!(decode(&lossy, width, height, Finish::Whole), Err(Undecodable));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1000))]

        #[test]
        fn damage_is_undecodable_or_a_picture(
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
            bare in any::<bool>(),
        ) {
            let mut file = encode(&halves(33, 21), EFFORT).unwrap();
            for (at, value) in changes {
                let at = at.index(file.len());
                file[at] = value;
            }
            let finish = if bare { Finish::Bare } else { Finish::Whole };
            if let Ok(planes) = decode(&file, 33, 21, finish) {
                assert_eq!(planes.samples().each_ref().map(Vec::len), [33 * 21, 17 * 11, 17 * 11]);
            }
        }
    }
}
