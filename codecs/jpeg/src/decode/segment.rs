//! Marker segments (B.1.1.4): the structure of a file up to and between its scans.

use super::bit_reader::next_marker;
use crate::{CodingProcess, Input, Marker};

/// The next marker segment from `at` on: its marker and its parameters. Moves `at` behind it. `None` at EOI and at the end
/// of the file. Markers without a segment are skipped.
pub(super) fn next_segment<'a>(input: &'a mut dyn Input, at: &mut usize) -> Option<(Marker, &'a [u8])> {
    loop {
        *at = next_marker(input, *at);
        match Marker::from_code(input.byte(*at + 1)?) {
            Marker::EndOfImage => return None,
            Marker::Temporary | Marker::Restart(_) | Marker::StartOfImage => *at += 2,
            marker => {
                let start = *at + 4;
                let length = u16::from_be_bytes(*input.up_to(start).get(*at + 2..)?.first_chunk()?);
                // The length includes itself, so less than 2 is wrong. Like libjpeg, take such a segment as empty.
                *at += 2 + usize::from(length.max(2));
                return Some((marker, input.up_to(*at).get(start..*at)?));
            }
        }
    }
}

/// What precedes the first scan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FirstScan {
    /// The coding process of the first frame.
    pub process: CodingProcess,
    /// The position of the first entropy-coded byte.
    pub position: usize,
}

impl FirstScan {
    /// Finds the first scan, and waits for all bytes before it. `None` if there is no frame header or no scan.
    pub fn find(input: &mut dyn Input) -> Option<Self> {
        let (mut process, mut position) = (None, 2);
        while let Some((marker, _)) = next_segment(input, &mut position) {
            match marker {
                Marker::StartOfFrame(it) => process = process.or(Some(it)),
                Marker::StartOfScan => return Some(Self { process: process?, position }),
                _ => {}
            }
        }
        None
    }
}
