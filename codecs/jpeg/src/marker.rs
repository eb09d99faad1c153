//! Marker codes: B.1.1.3, table B.1.

/// The byte that begins every marker.
pub(crate) const PREFIX: u8 = 0xFF;

/// A marker, identified by the byte after 0xFF.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Marker {
    /// SOFn, 0xC0 to 0xCF but for DHT, JPG and DAC: begins a frame header.
    StartOfFrame(CodingProcess),
    /// DHT: Huffman tables follow.
    DefineHuffmanTables,
    /// DAC: conditioning of the arithmetic coder, which is not supported.
    DefineArithmeticConditioning,
    /// RSTm, with m from 0 to 7: ends a restart interval.
    Restart(u8),
    /// SOI: begins the file.
    StartOfImage,
    /// EOI: ends it.
    EndOfImage,
    /// SOS: begins a scan header, behind which entropy-coded data follow.
    StartOfScan,
    /// DQT: quantization tables follow.
    DefineQuantizationTables,
    /// DRI: the restart interval follows.
    DefineRestartInterval,
    /// APPn, with n from 0 to 15: data of an application such as JFIF, Exif or Adobe.
    Application(u8),
    /// TEM: has no segment.
    Temporary,
    /// Any other code: COM, DNL, DHP, EXP, JPG and the reserved ones. The segment is skipped.
    Other(u8),
}

/// How the coefficients of a frame are coded, by its SOFn marker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CodingProcess {
    /// SOF0: baseline sequential DCT, Huffman coded.
    Baseline,
    /// SOF1: extended sequential DCT, Huffman coded.
    ExtendedSequential,
    /// SOF2: progressive DCT, Huffman coded.
    Progressive,
    /// Lossless, differential (hierarchical) and arithmetic-coded processes, by their marker code.
    Unsupported(u8),
}

impl CodingProcess {
    /// Whether each component is complete after one scan (F), so that no coefficients have to be kept.
    pub fn is_sequential(self) -> bool {
        matches!(self, Self::Baseline | Self::ExtendedSequential)
    }

    /// Whether several scans together have the coefficients of a component (G).
    pub fn is_progressive(self) -> bool {
        self == Self::Progressive
    }
}

impl Marker {
    /// The marker with this code.
    pub fn from_code(code: u8) -> Self {
        match code {
            0x01 => Self::Temporary,
            0xC0 => Self::StartOfFrame(CodingProcess::Baseline),
            0xC1 => Self::StartOfFrame(CodingProcess::ExtendedSequential),
            0xC2 => Self::StartOfFrame(CodingProcess::Progressive),
            0xC3 | 0xC5..=0xC7 | 0xC9..=0xCB | 0xCD..=0xCF => Self::StartOfFrame(CodingProcess::Unsupported(code)),
            0xC4 => Self::DefineHuffmanTables,
            0xCC => Self::DefineArithmeticConditioning,
            0xD0..=0xD7 => Self::Restart(code - 0xD0),
            0xD8 => Self::StartOfImage,
            0xD9 => Self::EndOfImage,
            0xDA => Self::StartOfScan,
            0xDB => Self::DefineQuantizationTables,
            0xDD => Self::DefineRestartInterval,
            0xE0..=0xEF => Self::Application(code - 0xE0),
            _ => Self::Other(code),
        }
    }

    /// The code of this marker.
    pub fn code(self) -> u8 {
        match self {
            Self::Temporary => 0x01,
            Self::StartOfFrame(CodingProcess::Baseline) => 0xC0,
            Self::StartOfFrame(CodingProcess::ExtendedSequential) => 0xC1,
            Self::StartOfFrame(CodingProcess::Progressive) => 0xC2,
            Self::StartOfFrame(CodingProcess::Unsupported(code)) | Self::Other(code) => code,
            Self::DefineHuffmanTables => 0xC4,
            Self::DefineArithmeticConditioning => 0xCC,
            Self::Restart(number) => 0xD0 | (number & 7),
            Self::StartOfImage => 0xD8,
            Self::EndOfImage => 0xD9,
            Self::StartOfScan => 0xDA,
            Self::DefineQuantizationTables => 0xDB,
            Self::DefineRestartInterval => 0xDD,
            Self::Application(number) => 0xE0 | (number & 15),
        }
    }

    /// The two bytes of this marker in a file.
    pub(crate) fn bytes(self) -> [u8; 2] {
        [PREFIX, self.code()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_one_marker() {
        for code in 0..=u8::MAX {
            assert_eq!(Marker::from_code(code).code(), code);
        }
    }
}
