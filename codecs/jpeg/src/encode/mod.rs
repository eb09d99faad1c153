//! Encodes baseline JPEGs: YCbCr 4:2:0 or grey, in one scan, with optimal Huffman tables.

mod bit_writer;
mod fdct;
mod huffman;
mod quantization;
mod symbols;

use std::iter;

pub use self::quantization::Quality;
use self::{
    bit_writer::BitWriter,
    fdct::{BlockGroup, LANES, Quantizer, SPAN},
    symbols::{TableClass, Tables, Tokens},
};
use crate::{BLOCK_SIDE, CodingProcess, Marker};

/// The blocks of an MCU of 16 x 16 pixels (A.2.3): four of luma, line by line, and one each of Cb and Cr.
const MCU: [TableClass; 6] =
    [TableClass::Luma, TableClass::Luma, TableClass::Luma, TableClass::Luma, TableClass::Chroma, TableClass::Chroma];

/// An image to be encoded: full-range samples by BT.601, as JFIF has them (T.871, 7), line by line without gaps.
#[derive(Clone, Copy)]
pub struct Image<'a> {
    width: u16,
    height: u16,
    luma: &'a [u8],
    chroma: Option<[&'a [u8]; 2]>,
}

impl<'a> Image<'a> {
    /// An image of this size. `chroma` is Cb and Cr at half the width and height, rounded up; without it the image is
    /// grey. `None` if a plane has another size, or a side is 0 or above 65,535.
    pub fn new(width: usize, height: usize, luma: &'a [u8], chroma: Option<[&'a [u8]; 2]>) -> Option<Self> {
        let sides = (u16::try_from(width).ok()?, u16::try_from(height).ok()?);
        let half = width.div_ceil(2) * height.div_ceil(2);
        let has_size = luma.len() == width * height && chroma.is_none_or(|planes| planes.map(<[u8]>::len) == [half; 2]);
        (width > 0 && height > 0 && has_size).then_some(Self { width: sides.0, height: sides.1, luma, chroma })
    }

    fn luma(&self) -> Plane<'a> {
        Plane { width: self.width.into(), height: self.height.into(), samples: self.luma }
    }
}

#[derive(Clone, Copy)]
struct Plane<'a> {
    width: usize,
    height: usize,
    samples: &'a [u8],
}

/// Encodes an image as a JFIF file.
pub fn encode(image: &Image<'_>, quality: Quality) -> Vec<u8> {
    let (tokens, mcu) = match image.chroma {
        Some(chroma) => (ycbcr(image.luma(), chroma, quality), MCU.as_slice()),
        None => (grey(image.luma(), quality), &MCU[..1]),
    };
    let tables = tokens.tables();
    let mut file = headers(image, &tables, quality);
    tokens.write(&tables, mcu, BitWriter::new(&mut file));
    file.extend(Marker::EndOfImage.bytes());
    file
}

fn grey(luma: Plane<'_>, quality: Quality) -> Tokens {
    let quantizer = Quantizer::new(&quality.luma(), quality.dead_zone);
    let (mut tokens, mut group, mut prediction) = (Tokens::new(), BlockGroup::EMPTY, 0);
    for y in (0..luma.height).step_by(BLOCK_SIDE) {
        for x in (0..luma.width).step_by(SPAN) {
            group.transform(luma.lines(x, y), &quantizer);
            tokens.reserve(LANES);
            for block in 0..LANES.min((luma.width - x).div_ceil(BLOCK_SIDE)) {
                tokens.push(TableClass::Luma, &group, block, &mut prediction);
            }
        }
    }
    tokens
}

fn ycbcr(luma: Plane<'_>, chroma: [&[u8]; 2], quality: Quality) -> Tokens {
    let Plane { width, height, .. } = luma;
    let chroma = chroma.map(|samples| Plane { width: width.div_ceil(2), height: height.div_ceil(2), samples });
    let quantizers = [quality.luma(), quality.chroma()].map(|table| Quantizer::new(&table, quality.dead_zone));
    let mut tokens = Tokens::new();
    // As many MCUs side by side as there are lanes: luma above and below, left and right, and chroma.
    let mut luma_groups = [[BlockGroup::EMPTY; 2], [BlockGroup::EMPTY; 2]];
    let mut chroma_groups = [BlockGroup::EMPTY; 2];
    let (mut luma_prediction, mut chroma_predictions) = (0, [0; 2]);
    for y in (0..height).step_by(2 * BLOCK_SIDE) {
        for x in (0..width).step_by(2 * SPAN) {
            for (y, groups) in (y..height).step_by(BLOCK_SIDE).zip(&mut luma_groups) {
                for (x, group) in (x..width).step_by(SPAN).zip(groups) {
                    group.transform(luma.lines(x, y), &quantizers[0]);
                }
            }
            for (plane, group) in chroma.iter().zip(&mut chroma_groups) {
                group.transform(plane.lines(x / 2, y / 2), &quantizers[1]);
            }
            tokens.reserve(LANES * MCU.len());
            for mcu in 0..LANES.min((width - x).div_ceil(2 * BLOCK_SIDE)) {
                for (y, groups) in [y, y + BLOCK_SIDE].into_iter().zip(&luma_groups) {
                    for block in [2 * mcu, 2 * mcu + 1] {
                        if y < height && x + block * BLOCK_SIDE < width {
                            let group = &groups[block / LANES];
                            tokens.push(TableClass::Luma, group, block % LANES, &mut luma_prediction);
                        } else {
                            tokens.push_padding(TableClass::Luma);
                        }
                    }
                }
                for (group, prediction) in chroma_groups.iter().zip(&mut chroma_predictions) {
                    tokens.push(TableClass::Chroma, group, mcu, prediction);
                }
            }
        }
    }
    tokens
}

impl<'a> Plane<'a> {
    /// The lines of a group of blocks. Beyond an edge, the samples at the edge are repeated (A.2.4).
    fn lines(self, x: usize, y: usize) -> impl Fn(usize, &mut [u8; SPAN]) + 'a {
        move |line, samples| {
            let start = (y + line).min(self.height - 1) * self.width;
            let line = &self.samples[start..start + self.width][x..];
            match line.first_chunk() {
                Some(whole) => *samples = *whole,
                None => {
                    let (inside, beyond) = samples.split_at_mut(line.len());
                    inside.copy_from_slice(line);
                    beyond.fill(line[line.len() - 1]);
                }
            }
        }
    }
}

/// Everything before the entropy-coded data (B.2).
fn headers(image: &Image<'_>, tables: &[Tables], quality: Quality) -> Vec<u8> {
    let mut file = Marker::StartOfImage.bytes().to_vec();
    let mut segment = |marker: Marker, parameters: &[u8]| {
        let length = u16::try_from(2 + parameters.len()).expect("no segment here has more than a kilobyte");
        file.extend(marker.bytes());
        file.extend(length.to_be_bytes());
        file.extend(parameters);
    };
    // T.871, 10.1: version 1.1, square pixels, no thumbnail.
    segment(Marker::Application(0), b"JFIF\0\x01\x01\0\0\x01\0\x01\0\0");
    let quantization = (0..).zip([quality.luma(), quality.chroma()]).take(tables.len());
    let quantization: Vec<u8> =
        quantization.flat_map(|(destination, table)| iter::once(destination).chain(table)).collect();
    segment(Marker::DefineQuantizationTables, &quantization);
    let ([y1, y0], [x1, x0]) = (image.height.to_be_bytes(), image.width.to_be_bytes());
    // Ci, Hi and Vi, Tqi.
    let components: &[[u8; 3]] =
        if tables.len() > 1 { &[[1, 0x22, 0], [2, 0x11, 1], [3, 0x11, 1]] } else { &[[1, 0x11, 0]] };
    let count = if tables.len() > 1 { 3 } else { 1 };
    let frame = [&[8, y1, y0, x1, x0, count], components.as_flattened()].concat();
    segment(Marker::StartOfFrame(CodingProcess::Baseline), &frame);
    let huffman = (0_u8..).zip(tables).flat_map(|(destination, tables)| {
        let dc = iter::once(destination).chain(tables.dc.specification());
        dc.chain(iter::once(0x10 | destination).chain(tables.ac.specification()))
    });
    segment(Marker::DefineHuffmanTables, &huffman.collect::<Vec<u8>>());
    let selectors = components.iter().flat_map(|[id, _, table]| [*id, table << 4 | table]);
    // Ss, Se, Ah and Al of a sequential scan.
    let scan: Vec<u8> = iter::once(count).chain(selectors).chain([0, 63, 0]).collect();
    segment(Marker::StartOfScan, &scan);
    file
}
