//! The tables that DQT, DHT and DRI define (B.2.4).

use super::huffman::TableSpec;
use crate::BLOCK_SIZE;

/// What scans are decoded with.
pub(super) struct Tables {
    /// By destination Tq, in zig-zag order.
    pub quantization: [Option<[u8; BLOCK_SIZE]>; 4],
    /// By destination Td.
    pub dc: [Option<TableSpec>; 4],
    /// By destination Ta.
    pub ac: [Option<TableSpec>; 4],
    /// MCUs between restart markers, or 0.
    pub restart_interval: usize,
}

impl Tables {
    /// The Huffman tables are at first those of annex K, because frames of Motion JPEG come without.
    pub(super) fn new() -> Self {
        let mut tables =
            Self { quantization: [None; 4], dc: Default::default(), ac: Default::default(), restart_interval: 0 };
        for (destination, [dc, ac]) in TYPICAL_TABLES.into_iter().enumerate() {
            tables.dc[destination] = Some(TableSpec::new(*dc.0, dc.1));
            tables.ac[destination] = Some(TableSpec::new(*ac.0, ac.1));
        }
        tables
    }

    /// B.2.4.1. Elements of 16 bits are accepted if their values have 8.
    pub(super) fn define_quantization(&mut self, mut parameters: &[u8]) -> Option<()> {
        while let Some((&precision_and_destination, rest)) = parameters.split_first() {
            let (precision, destination) = (precision_and_destination >> 4, precision_and_destination & 15);
            let table = self.quantization.get_mut(usize::from(destination)).filter(|_| precision < 2)?;
            if precision == 0 {
                *table = Some(*rest.first_chunk::<BLOCK_SIZE>()?);
                parameters = &rest[BLOCK_SIZE..];
            } else {
                let wide = rest.first_chunk::<{ 2 * BLOCK_SIZE }>()?.as_chunks::<2>().0;
                let mut elements = [0; BLOCK_SIZE];
                for (element, wide) in elements.iter_mut().zip(wide) {
                    *element = u8::try_from(u16::from_be_bytes(*wide)).ok()?;
                }
                *table = Some(elements);
                parameters = &rest[2 * BLOCK_SIZE..];
            }
        }
        Some(())
    }

    /// B.2.4.2. The specifications are kept as they are; a scan expands those that it uses.
    pub(super) fn define_huffman(&mut self, mut parameters: &[u8]) -> Option<()> {
        while let Some((&class_and_destination, rest)) = parameters.split_first() {
            let (class, destination) = (class_and_destination >> 4, class_and_destination & 15);
            let counts = rest.first_chunk::<16>()?;
            let total = counts.iter().map(|count| usize::from(*count)).sum();
            let (symbols, after) = rest[16..].split_at_checked(total)?;
            let tables = if class == 1 { &mut self.ac } else { &mut self.dc };
            *tables.get_mut(usize::from(destination)).filter(|_| class < 2)? = Some(TableSpec::new(*counts, symbols));
            parameters = after;
        }
        Some(())
    }

    /// B.2.4.4.
    pub(super) fn define_restart_interval(&mut self, parameters: &[u8]) -> Option<()> {
        self.restart_interval = usize::from(u16::from_be_bytes(*parameters.first_chunk()?));
        Some(())
    }
}

/// BITS and HUFFVAL.
type Typical = (&'static [u8; 16], &'static [u8]);

/// The typical Huffman tables of K.3, for luminance and for chrominance: DC and AC of each.
const TYPICAL_TABLES: [[Typical; 2]; 2] = [
    [(&LUMINANCE_DC, &DC_SIZES), (&LUMINANCE_AC, &LUMINANCE_SYMBOLS)],
    [(&CHROMINANCE_DC, &DC_SIZES), (&CHROMINANCE_AC, &CHROMINANCE_SYMBOLS)],
];

const LUMINANCE_DC: [u8; 16] = [0, 1, 5, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0];

const CHROMINANCE_DC: [u8; 16] = [0, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0];

const DC_SIZES: [u8; 12] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11];

const LUMINANCE_AC: [u8; 16] = [0, 2, 1, 3, 3, 2, 4, 3, 5, 5, 4, 4, 0, 0, 1, 125];

const CHROMINANCE_AC: [u8; 16] = [0, 2, 1, 2, 4, 4, 3, 4, 7, 5, 4, 4, 0, 1, 2, 119];

const LUMINANCE_SYMBOLS: [u8; 162] = [
    1, 2, 3, 0, 4, 17, 5, 18, 33, 49, 65, 6, 19, 81, 97, 7, 34, 113, 20, 50, 129, 145, 161, 8, 35, 66, 177, 193, 21,
    82, 209, 240, 36, 51, 98, 114, 130, 9, 10, 22, 23, 24, 25, 26, 37, 38, 39, 40, 41, 42, 52, 53, 54, 55, 56, 57, 58,
    67, 68, 69, 70, 71, 72, 73, 74, 83, 84, 85, 86, 87, 88, 89, 90, 99, 100, 101, 102, 103, 104, 105, 106, 115, 116,
    117, 118, 119, 120, 121, 122, 131, 132, 133, 134, 135, 136, 137, 138, 146, 147, 148, 149, 150, 151, 152, 153, 154,
    162, 163, 164, 165, 166, 167, 168, 169, 170, 178, 179, 180, 181, 182, 183, 184, 185, 186, 194, 195, 196, 197, 198,
    199, 200, 201, 202, 210, 211, 212, 213, 214, 215, 216, 217, 218, 225, 226, 227, 228, 229, 230, 231, 232, 233, 234,
    241, 242, 243, 244, 245, 246, 247, 248, 249, 250,
];

const CHROMINANCE_SYMBOLS: [u8; 162] = [
    0, 1, 2, 3, 17, 4, 5, 33, 49, 6, 18, 65, 81, 7, 97, 113, 19, 34, 50, 129, 8, 20, 66, 145, 161, 177, 193, 9, 35, 51,
    82, 240, 21, 98, 114, 209, 10, 22, 36, 52, 225, 37, 241, 23, 24, 25, 26, 38, 39, 40, 41, 42, 53, 54, 55, 56, 57,
    58, 67, 68, 69, 70, 71, 72, 73, 74, 83, 84, 85, 86, 87, 88, 89, 90, 99, 100, 101, 102, 103, 104, 105, 106, 115,
    116, 117, 118, 119, 120, 121, 122, 130, 131, 132, 133, 134, 135, 136, 137, 138, 146, 147, 148, 149, 150, 151, 152,
    153, 154, 162, 163, 164, 165, 166, 167, 168, 169, 170, 178, 179, 180, 181, 182, 183, 184, 185, 186, 194, 195, 196,
    197, 198, 199, 200, 201, 202, 210, 211, 212, 213, 214, 215, 216, 217, 218, 226, 227, 228, 229, 230, 231, 232, 233,
    234, 242, 243, 244, 245, 246, 247, 248, 249, 250,
];
