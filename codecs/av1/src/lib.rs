//! Decodes one AV1 still picture: from the OBUs of an AVIF item to planes of samples.
//!
//! The decoder is rav1d, a translation of dav1d to Rust with the interface of the C library. All calls of it are in this
//! file, so no other needs `unsafe`. Containers and colour conversion are not its concern.
//!
//! dav1d's assembly makes decoding more than twice as fast, with the same samples. It is built on arm64 always, and on
//! x86-64 with `--cfg xfiles_nasm`: see this crate's `Cargo.toml`.
//!
//! A panic in rav1d would end the process, because its functions cannot unwind. rav1d 1.1.0 panics on damaged data;
//! `re_rav1d`, a fork by the makers of Rerun, does not, so it is used here.

use std::{num::NonZeroU32, ptr::NonNull, slice};

use rav1d::{
    include::dav1d::{
        data::Dav1dData,
        dav1d::{DAV1D_INLOOPFILTER_NONE, Dav1dContext, Dav1dLogger, Dav1dSettings},
        headers::{DAV1D_PIXEL_LAYOUT_I400, DAV1D_PIXEL_LAYOUT_I420, DAV1D_PIXEL_LAYOUT_I422, DAV1D_PIXEL_LAYOUT_I444},
        picture::Dav1dPicture,
    },
    src::lib::{
        dav1d_close, dav1d_data_create, dav1d_data_unref, dav1d_default_settings, dav1d_get_picture, dav1d_open,
        dav1d_picture_unref, dav1d_send_data,
    },
};

/// A decoded picture.
pub struct Picture {
    raw: Dav1dPicture,
    width: usize,
    height: usize,
    depth: u32,
    layout: Layout,
    /// The colour description of the sequence header.
    pub coding: Coding,
}

/// The chroma subsampling (AV1, 5.5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// Monochrome: luma only.
    Grey,
    /// 4:2:0: chroma at half the width and half the height.
    Half,
    /// 4:2:2: chroma at half the width.
    HalfWidth,
    /// 4:4:4: chroma at full size.
    Full,
}

/// The colour description: code points of ITU-T H.273.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Coding {
    /// ColourPrimaries.
    pub primaries: u16,
    /// TransferCharacteristics.
    pub transfer: u16,
    /// MatrixCoefficients.
    pub matrix: u16,
    /// VideoFullRangeFlag.
    pub full_range: bool,
}

/// A plane of a picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plane {
    /// Luma, or alpha.
    Y,
    /// Cb.
    U,
    /// Cr.
    V,
}

/// A row of samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Row<'a> {
    /// Of 8 bits.
    Bytes(&'a [u8]),
    /// Of 10 or 12 bits, in the lowest bits of each word.
    Words(&'a [u16]),
}

/// The data are not an AV1 picture, or one that is too large.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an AV1 picture within the limit")]
pub struct Undecodable;

/// Which steps follow the reconstruction of blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finish {
    /// All that the data ask for.
    Whole,
    /// Neither in-loop filters nor film grain. Together they take a third to three quarters of the time, or a tenth with
    /// assembly. Intra prediction uses unfiltered samples, so errors do not spread, and a picture that is scaled down does
    /// not show them.
    Bare,
}

/// Decodes the first picture in `bits` on this thread, if it has at most `max_pixels`.
///
/// # Errors
/// [`Undecodable`]. A picture that is too large is refused before its planes are allocated.
pub fn decode(bits: &[u8], max_pixels: NonZeroU32, finish: Finish) -> Result<Picture, Undecodable> {
    let decoder = Decoder::open(max_pixels, finish)?;
    decoder.send(bits)?;
    decoder.picture()
}

struct Decoder(Option<Dav1dContext>);

impl Decoder {
    fn open(max_pixels: NonZeroU32, finish: Finish) -> Result<Self, Undecodable> {
        let mut settings = std::mem::MaybeUninit::<Dav1dSettings>::uninit();
        // SAFETY: the pointer is to memory of the right size, which the call fills.
        let mut settings = unsafe {
            dav1d_default_settings(NonNull::from(&mut settings).cast());
            settings.assume_init()
        };
        settings.n_threads = 1;
        settings.max_frame_delay = 1;
        settings.frame_size_limit = max_pixels.get();
        if finish == Finish::Bare {
            settings.inloop_filters = DAV1D_INLOOPFILTER_NONE;
            settings.apply_grain = 0;
        }
        // SAFETY: there is no callback, so none can be called wrongly. Damaged data are not logged.
        settings.logger = unsafe { Dav1dLogger::new(None, None) };
        let mut context = None;
        // SAFETY: both pointers are to live values of this frame.
        let opened = unsafe { dav1d_open(Some(NonNull::from(&mut context)), Some(NonNull::from(&mut settings))) };
        if opened.0 == 0 { Ok(Self(context)) } else { Err(Undecodable) }
    }

    fn send(&self, bits: &[u8]) -> Result<(), Undecodable> {
        if bits.is_empty() {
            return Err(Undecodable);
        }
        let mut data = Dav1dData::default();
        // SAFETY: `data` is a live value that the call fills.
        let place = unsafe { dav1d_data_create(Some(NonNull::from(&mut data)), bits.len()) };
        let place = NonNull::new(place).ok_or(Undecodable)?;
        // SAFETY: the call allocated that many bytes, and nothing else has a pointer to them yet.
        unsafe { slice::from_raw_parts_mut(place.as_ptr(), bits.len()) }.copy_from_slice(bits);
        // SAFETY: the context is open and `data` was made by the decoder.
        let sent = unsafe { dav1d_send_data(self.0, Some(NonNull::from(&mut data))) };
        // SAFETY: what the decoder did not take is still ours, and what it took is gone from `data`.
        unsafe { dav1d_data_unref(Some(NonNull::from(&mut data))) };
        if sent.0 == 0 { Ok(()) } else { Err(Undecodable) }
    }

    fn picture(&self) -> Result<Picture, Undecodable> {
        let mut raw = Dav1dPicture::default();
        // SAFETY: the context is open and `raw` is a live value that the call fills.
        let got = unsafe { dav1d_get_picture(self.0, Some(NonNull::from(&mut raw))) };
        if got.0 != 0 {
            return Err(Undecodable);
        }
        // From here on, dropping the picture releases its planes.
        let mut picture = Picture {
            width: usize::try_from(raw.p.w).map_err(|_| Undecodable)?,
            height: usize::try_from(raw.p.h).map_err(|_| Undecodable)?,
            depth: u32::try_from(raw.p.bpc).map_err(|_| Undecodable)?,
            layout: layout(raw.p.layout).ok_or(Undecodable)?,
            coding: Coding { primaries: 2, transfer: 2, matrix: 2, full_range: false },
            raw,
        };
        let header = picture.raw.seq_hdr.ok_or(Undecodable)?;
        // SAFETY: the sequence header lives as long as the picture that refers to it.
        let header = unsafe { header.as_ref() };
        let code = |point: u32| u16::try_from(point).map_err(|_| Undecodable);
        picture.coding = Coding {
            primaries: code(header.pri)?,
            transfer: code(header.trc)?,
            matrix: code(header.mtrx)?,
            full_range: header.color_range != 0,
        };
        Ok(picture)
    }
}

impl Drop for Decoder {
    fn drop(&mut self) {
        // SAFETY: the context was opened by `dav1d_open` and is closed once.
        unsafe { dav1d_close(Some(NonNull::from(&mut self.0))) };
    }
}

fn layout(raw: u32) -> Option<Layout> {
    match raw {
        DAV1D_PIXEL_LAYOUT_I400 => Some(Layout::Grey),
        DAV1D_PIXEL_LAYOUT_I420 => Some(Layout::Half),
        DAV1D_PIXEL_LAYOUT_I422 => Some(Layout::HalfWidth),
        DAV1D_PIXEL_LAYOUT_I444 => Some(Layout::Full),
        _ => None,
    }
}

impl Picture {
    /// Samples of luma from left to right.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Samples of luma from top to bottom.
    pub fn height(&self) -> usize {
        self.height
    }

    /// Bits for each sample: 8, 10 or 12.
    pub fn depth(&self) -> u32 {
        self.depth
    }

    /// Which planes there are, and their size.
    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// The width and height of a plane. `None` if the picture does not have it.
    pub fn size(&self, plane: Plane) -> Option<(usize, usize)> {
        let half = |side: usize| side.div_ceil(2);
        match (plane, self.layout) {
            (Plane::Y, _) | (_, Layout::Full) => Some((self.width, self.height)),
            (_, Layout::Grey) => None,
            (_, Layout::Half) => Some((half(self.width), half(self.height))),
            (_, Layout::HalfWidth) => Some((half(self.width), self.height)),
        }
    }

    /// A row of a plane, counted from the top. `None` beyond the last, and of a plane that the picture does not have.
    pub fn row(&self, plane: Plane, y: usize) -> Option<Row<'_>> {
        let (width, height) = self.size(plane)?;
        let (data, stride) = match plane {
            Plane::Y => (self.raw.data[0]?, self.raw.stride[0]),
            Plane::U => (self.raw.data[1]?, self.raw.stride[1]),
            Plane::V => (self.raw.data[2]?, self.raw.stride[1]),
        };
        if y >= height {
            return None;
        }
        let offset = isize::try_from(y).ok()?.checked_mul(stride)?;
        // SAFETY: the decoder allocated `height` rows of at least `width` samples at this stride, two aligned bytes for
        // each if they have more than 8 bits. The decoder does not write to them any more, and they live as long as `self`.
        Some(unsafe {
            let row = data.as_ptr().cast::<u8>().offset(offset);
            if self.depth == 8 {
                Row::Bytes(slice::from_raw_parts(row, width))
            } else {
                Row::Words(slice::from_raw_parts(row.cast(), width))
            }
        })
    }
}

impl Drop for Picture {
    fn drop(&mut self) {
        // SAFETY: the picture was filled by `dav1d_get_picture` and is given back once.
        unsafe { dav1d_picture_unref(Some(NonNull::from(&mut self.raw))) };
    }
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use proptest::prelude::{ProptestConfig, any, prop, proptest};
    use rav1d::src::cpu::dav1d_set_cpu_flags_mask;
    use ravif::{BitDepth, Encoder, Img, RGB8};

    use super::*;

    const ENOUGH: NonZeroU32 = NonZeroU32::new(1 << 20).unwrap();

    static EIGHT: LazyLock<Vec<u8>> = LazyLock::new(|| bits(BitDepth::Eight));
    static TEN: LazyLock<Vec<u8>> = LazyLock::new(|| bits(BitDepth::Ten));

    /// The bits of a picture that is red on the left and grey on the right.
    fn bits(depth: BitDepth) -> Vec<u8> {
        let (red, grey) = (RGB8::new(255, 0, 0), RGB8::new(128, 128, 128));
        bits_of(depth, 95.0, |x, _| if x < 32 { red } else { grey })
    }

    /// The bits of a picture with that colour in each place.
    fn bits_of(depth: BitDepth, quality: f32, colour: impl Fn(usize, usize) -> RGB8) -> Vec<u8> {
        let samples: Vec<RGB8> = (0..64 * 48).map(|at| colour(at % 64, at / 64)).collect();
        let encoder = Encoder::new().with_quality(quality).with_speed(10).with_bit_depth(depth);
        let file = encoder.encode_rgb(Img::new(&samples, 64, 48)).unwrap().avif_file;
        // The bits are the last box; before them are its length and its name.
        let at = file.windows(4).position(|window| window == b"mdat").unwrap();
        file[at + 4..].to_vec()
    }

    fn sample(picture: &Picture, plane: Plane, x: usize, y: usize) -> u16 {
        match picture.row(plane, y).unwrap() {
            Row::Bytes(row) => row[x].into(),
            Row::Words(row) => row[x],
        }
    }

    #[test]
    fn a_picture_has_its_planes() {
        for (bits, depth, scale) in [(&*EIGHT, 8, 1), (&*TEN, 10, 4)] {
            let picture = decode(bits, ENOUGH, Finish::Whole).unwrap();
            assert_eq!((picture.width(), picture.height(), picture.depth()), (64, 48, depth));
            assert_eq!((picture.layout(), picture.coding.full_range), (Layout::Full, true));
            assert_eq!(picture.coding.matrix, 6);
            // By the matrix of BT.601: red is 76, 85, 255, and grey is 128 in all three.
            for (plane, red) in [(Plane::Y, 76), (Plane::U, 85), (Plane::V, 255)] {
                assert!(sample(&picture, plane, 5, 20).abs_diff(red * scale) <= 6 * scale, "{plane:?}");
                assert!(sample(&picture, plane, 60, 47).abs_diff(128 * scale) <= 6 * scale, "{plane:?}");
            }
            assert_eq!(picture.row(Plane::Y, 48), None);
        }
    }

    #[test]
    fn a_bare_picture_differs_by_what_filters_smooth() {
        let rough = bits_of(BitDepth::Eight, 10.0, |x, y| {
            let [x, y] = [x, y].map(|at| u8::try_from(at * 3).unwrap());
            RGB8::new(x, y, x ^ y)
        });
        let [whole, bare] = [Finish::Whole, Finish::Bare].map(|finish| decode(&rough, ENOUGH, finish).unwrap());
        let places = || (0..48).flat_map(|y| (0..64).map(move |x| (x, y)));
        let differs = |(x, y): (usize, usize)| sample(&whole, Plane::Y, x, y).abs_diff(sample(&bare, Plane::Y, x, y));
        assert!(places().any(|place| differs(place) > 0));
        let sum: u64 = places().map(|place| u64::from(differs(place))).sum();
        assert!(sum < 64 * 48 * 4, "{sum}");
    }

    #[test]
    fn every_processor_makes_the_same_samples() {
        let rough = |depth| {
            bits_of(depth, 40.0, |x, y| {
                let [x, y] = [x, y].map(|at| u8::try_from(at * 3).unwrap());
                RGB8::new(x, y, x.wrapping_mul(y))
            })
        };
        let samples = |bits: &[u8], finish| -> Vec<u16> {
            let picture = decode(bits, ENOUGH, finish).unwrap();
            let places = (0..48).flat_map(|y| (0..64).map(move |x| (x, y)));
            let all =
                places.flat_map(|(x, y)| [Plane::Y, Plane::U, Plane::V].map(|plane| sample(&picture, plane, x, y)));
            all.collect()
        };
        for bits in [rough(BitDepth::Eight), rough(BitDepth::Ten)] {
            for finish in [Finish::Whole, Finish::Bare] {
                let fast = samples(&bits, finish);
                // Without the instructions that not every processor has.
                dav1d_set_cpu_flags_mask(0);
                let plain = samples(&bits, finish);
                dav1d_set_cpu_flags_mask(u32::MAX);
                assert_eq!(fast, plain);
            }
        }
    }

    #[test]
    fn a_picture_beyond_the_limit_is_not_decoded() {
        assert!(decode(&EIGHT, NonZeroU32::new(64 * 48).unwrap(), Finish::Whole).is_ok());
        assert!(decode(&EIGHT, NonZeroU32::new(64 * 48 - 1).unwrap(), Finish::Whole).is_err());
    }

    #[test]
    fn what_is_no_picture_is_undecodable() {
        for other in [b"".as_slice(), b"no bits", &[0; 100], &EIGHT[..10], &EIGHT[..EIGHT.len() / 2]] {
            assert!(decode(other, ENOUGH, Finish::Whole).is_err());
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn damaged_bits_are_undecodable_or_a_picture_of_readable_rows(
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
            ten in any::<bool>(),
            bare in any::<bool>(),
        ) {
            let mut bits = if ten { TEN.clone() } else { EIGHT.clone() };
            for (at, value) in changes {
                let at = at.index(bits.len());
                bits[at] = value;
            }
            let finish = if bare { Finish::Bare } else { Finish::Whole };
            if let Ok(picture) = decode(&bits, ENOUGH, finish) {
                for plane in [Plane::Y, Plane::U, Plane::V] {
                    let Some((width, height)) = picture.size(plane) else { continue };
                    for y in 0..height {
                        sample(&picture, plane, width - 1, y);
                    }
                }
            }
        }
    }
}
