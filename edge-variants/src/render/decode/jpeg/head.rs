//! What a JPEG says before its first scan of its colours.

use super::reduced::{START_OF_SCAN, next_segment};
use crate::render::{limits::MAX_PROFILE_BYTES, original::Original};

/// The beginning of the segments of a profile, before their number and how many there are.
const PROFILE: &[u8] = b"ICC_PROFILE\0";

const ADOBE: &[u8] = b"Adobe";

pub(super) struct Head {
    /// The numbers of the components.
    components: Vec<u8>,
    is_jfif: bool,
    /// Where a segment of Adobe begins, and which conversion it names: none, YCbCr, YCCK.
    adobe: Option<(usize, u8)>,
    /// The parts of a profile, by number.
    profile: Vec<(u8, Vec<u8>)>,
    /// In how many parts it comes.
    parts: usize,
}

impl Head {
    /// `None` if there is no picture.
    pub(super) fn of(original: &mut Original<'_>) -> Option<Self> {
        let mut head = Self { components: Vec::new(), is_jfif: false, adobe: None, profile: Vec::new(), parts: 0 };
        let mut at = 2;
        while let Some((marker, payload)) = next_segment(original, &mut at) {
            match marker {
                0xE0 if payload.starts_with(b"JFIF\0") => head.is_jfif = true,
                0xE2 => head.put_profile(payload),
                0xEE if payload.starts_with(ADOBE) => {
                    let conversion = payload.get(11).copied().unwrap_or_default();
                    head.adobe = Some((at - payload.len(), conversion));
                }
                0xC0..=0xC3 | 0xC5..=0xC7 | 0xC9..=0xCB | 0xCD..=0xCF if head.components.is_empty() => {
                    let specs = payload.get(6..).unwrap_or_default().as_chunks::<3>().0;
                    let count = payload.get(5).copied().unwrap_or_default();
                    head.components = specs.iter().take(usize::from(count)).map(|spec| spec[0]).collect();
                }
                START_OF_SCAN => return Some(head).filter(|head| !head.components.is_empty()),
                _ => {}
            }
        }
        None
    }

    /// Whether it is grey or in YCbCr, by the rules of libjpeg: JFIF before Adobe before the names of the components.
    pub(super) fn is_in_planes(&self) -> bool {
        match (self.components.as_slice(), self.adobe) {
            ([_], _) => true,
            (&[_, _, _], _) if self.is_jfif => true,
            (&[_, _, _], Some((_, conversion))) => conversion != 0,
            (names @ &[_, _, _], None) => names != b"RGB",
            _ => false,
        }
    }

    /// The place of a segment that says of three colours what is not so.
    pub(super) fn misleading_adobe(&self) -> Option<usize> {
        let (at, _) = self.adobe.filter(|(_, conversion)| *conversion == 0)?;
        (self.is_jfif && self.components.len() == 3).then_some(at)
    }

    /// The profile, if all of it is there.
    pub(super) fn profile(mut self) -> Option<Vec<u8>> {
        self.profile.sort_by_key(|(number, _)| *number);
        let is_whole = !self.profile.is_empty() && self.profile.len() == self.parts;
        let profile: Vec<u8> = self.profile.into_iter().flat_map(|(_, part)| part).collect();
        (is_whole && profile.len() <= MAX_PROFILE_BYTES).then_some(profile)
    }

    fn put_profile(&mut self, payload: &[u8]) {
        let Some((&[number, count], part)) = payload.strip_prefix(PROFILE).and_then(<[u8]>::split_first_chunk) else {
            return;
        };
        // A second profile, or a part that came before, is passed over.
        if self.profile.iter().all(|(other, _)| *other != number) {
            self.profile.push((number, part.to_vec()));
            self.parts = usize::from(count);
        }
    }
}
