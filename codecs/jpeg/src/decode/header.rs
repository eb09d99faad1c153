//! What the segments before the first scan say about colours: JFIF, Adobe and ICC.

use super::segment::next_segment;
use crate::{Input, Marker};

/// The signature of an APP2 segment with a part of an ICC profile (ICC.1, annex B.4): the part's number and the number of
/// parts follow.
const ICC_SIGNATURE: &[u8] = b"ICC_PROFILE\0";

/// The signature of an APP0 segment of JFIF (T.871, 10.1).
const JFIF_SIGNATURE: &[u8] = b"JFIF\0";

/// The signature of an APP14 segment of Adobe (T.872, 6.5.3).
const ADOBE_SIGNATURE: &[u8] = b"Adobe";

/// Where the colour transform stands in an Adobe segment.
const ADOBE_TRANSFORM: usize = 11;

/// The colour transform that says that components are RGB or CMYK as they are.
const ADOBE_NO_TRANSFORM: u8 = 0;

/// The declarations about colours in the segments before the first scan.
pub struct Header {
    /// The identifiers of the components, in the order of the frame header.
    component_ids: Vec<u8>,
    is_jfif: bool,
    /// The position of the Adobe segment's parameters, and its colour transform.
    adobe: Option<(usize, u8)>,
    /// The parts of an ICC profile, by number.
    icc_parts: Vec<(u8, Vec<u8>)>,
    /// How many parts it has.
    icc_count: usize,
}

impl Header {
    /// Reads the segments before the first scan. `None` if there is no frame header or no scan.
    pub fn read(input: &mut dyn Input) -> Option<Self> {
        let mut header =
            Self { component_ids: Vec::new(), is_jfif: false, adobe: None, icc_parts: Vec::new(), icc_count: 0 };
        let mut at = 2;
        while let Some((marker, parameters)) = next_segment(input, &mut at) {
            match marker {
                Marker::Application(0) if parameters.starts_with(JFIF_SIGNATURE) => header.is_jfif = true,
                Marker::Application(2) => header.add_icc_part(parameters),
                Marker::Application(14) if parameters.starts_with(ADOBE_SIGNATURE) => {
                    let transform = parameters.get(ADOBE_TRANSFORM).copied().unwrap_or_default();
                    header.adobe = Some((at - parameters.len(), transform));
                }
                Marker::StartOfFrame(_) if header.component_ids.is_empty() => {
                    let specifications = parameters.get(6..).unwrap_or_default().as_chunks::<3>().0;
                    let count = parameters.get(5).copied().unwrap_or_default();
                    header.component_ids = specifications.iter().take(usize::from(count)).map(|it| it[0]).collect();
                }
                Marker::StartOfScan => return Some(header).filter(|header| !header.component_ids.is_empty()),
                _ => {}
            }
        }
        None
    }

    /// Whether the components are grey or YCbCr, by libjpeg's rules: JFIF counts before Adobe, and Adobe before the
    /// identifiers of the components.
    pub fn is_grey_or_ycbcr(&self) -> bool {
        match (self.component_ids.as_slice(), self.adobe) {
            ([_], _) => true,
            (&[_, _, _], _) if self.is_jfif => true,
            (&[_, _, _], Some((_, transform))) => transform != ADOBE_NO_TRANSFORM,
            (ids @ &[_, _, _], None) => ids != b"RGB",
            _ => false,
        }
    }

    /// The position of an Adobe segment's parameters that declare RGB in a JFIF file with three components. JFIF decides,
    /// so a decoder that believes Adobe must not see the segment.
    pub fn contradicted_adobe(&self) -> Option<usize> {
        let (at, _) = self.adobe.filter(|(_, transform)| *transform == ADOBE_NO_TRANSFORM)?;
        (self.is_jfif && self.component_ids.len() == 3).then_some(at)
    }

    /// The ICC profile, unless a part is missing or it has more than `max_bytes`.
    pub fn into_icc_profile(mut self, max_bytes: usize) -> Option<Vec<u8>> {
        self.icc_parts.sort_by_key(|(number, _)| *number);
        let is_complete = !self.icc_parts.is_empty() && self.icc_parts.len() == self.icc_count;
        let profile: Vec<u8> = self.icc_parts.into_iter().flat_map(|(_, part)| part).collect();
        (is_complete && profile.len() <= max_bytes).then_some(profile)
    }

    fn add_icc_part(&mut self, parameters: &[u8]) {
        let part = parameters.strip_prefix(ICC_SIGNATURE).and_then(<[u8]>::split_first_chunk);
        let Some((&[number, count], part)) = part else { return };
        // A second profile, or a repeated part, is ignored.
        if self.icc_parts.iter().all(|(other, _)| *other != number) {
            self.icc_parts.push((number, part.to_vec()));
            self.icc_count = usize::from(count);
        }
    }
}
