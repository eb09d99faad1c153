//! Decodes baseline, extended sequential and progressive JPEGs, grey or of three components, to planes.
//!
//! The decoder forms only the coefficients that the wanted scale needs, transforms them at its size and keeps the planes
//! as they are stored, subsampled chroma included. Of a progressive file it skips scans that have nothing that is wanted,
//! and stops reading after the last that has. Files that it does not support, and files that contradict themselves, yield
//! `None`: a caller has a complete decoder for those.

mod bit_reader;
mod frame;
mod header;
mod huffman;
mod idct;
mod progressive;
mod scale;
mod scan;
mod segment;
mod tables;

pub use self::{
    header::Header,
    scale::{Scale, Scales},
    segment::FirstScan,
};

use self::{
    bit_reader::EntropyCoded,
    frame::{Frame, Layout},
    segment::next_segment,
    tables::Tables,
};
use crate::{Input, Marker, Size};

/// The samples of a component.
#[derive(Clone, Debug, PartialEq)]
pub struct Plane {
    /// Lines of `stride` samples, from the top.
    pub samples: Vec<u8>,
    /// Samples from one line to the next. Those beyond the image pad it to whole MCUs.
    pub stride: usize,
    /// How many samples the image covers across and down, the last perhaps in part.
    pub covers: (f64, f64),
}

/// How to decode.
pub struct Options<'a> {
    /// The scale of each component.
    pub scales: Scales,
    /// How many scans are decoded at most. Each scan of a progressive file costs a pass over the whole image.
    pub max_scans: usize,
    /// Asked before each row of MCUs. Once it returns true, decoding ends with `None`.
    pub stop: &'a dyn Fn() -> bool,
}

/// Decodes a file whose frame header claims `size` to one or three planes. Reads as far as the last scan that it needs.
/// `None` if the file is not supported, damaged or of another size, and if it was stopped.
///
/// A file that ends early yields what it has, and grey for the rest.
pub fn decode(input: &mut dyn Input, size: Size, options: &Options<'_>) -> Option<Vec<Plane>> {
    let mut tables = Tables::new();
    let mut frame: Option<Frame> = None;
    let mut scans = 0;
    let mut at = 2;
    while let Some((marker, parameters)) = next_segment(input, &mut at) {
        match marker {
            Marker::StartOfFrame(process)
                if frame.is_none() && (process.is_sequential() || process.is_progressive()) =>
            {
                frame = Some(Frame::parse(parameters, process, size, options.scales)?);
            }
            // A second frame, or a coding process that is not decoded.
            Marker::StartOfFrame(_) | Marker::DefineArithmeticConditioning => return None,
            Marker::DefineHuffmanTables => tables.define_huffman(parameters)?,
            Marker::DefineQuantizationTables => tables.define_quantization(parameters)?,
            Marker::DefineRestartInterval => tables.define_restart_interval(parameters)?,
            Marker::StartOfScan => {
                scans += 1;
                if scans > options.max_scans {
                    return None;
                }
                let (frame, header) = (frame.as_mut()?, parameters.to_vec());
                let mut data = EntropyCoded::new(input, at);
                frame.decode_scan(&header, &tables, &mut data, options.stop)?;
                at = data.position();
                if frame.is_complete() {
                    break;
                }
            }
            _ => {}
        }
    }
    (scans > 0).then_some(())?;
    frame?.into_planes(size)
}

/// How many bytes [`decode`] allocates for planes and coefficients. `None` if it would not decode.
pub fn memory(input: &mut dyn Input, size: Size, scales: Scales) -> Option<u64> {
    let mut at = 2;
    while let Some((marker, parameters)) = next_segment(input, &mut at) {
        match marker {
            Marker::StartOfFrame(process) if process.is_sequential() || process.is_progressive() => {
                return Some(Layout::parse(parameters, size, scales)?.bytes(process));
            }
            Marker::StartOfScan => return None,
            _ => {}
        }
    }
    None
}
