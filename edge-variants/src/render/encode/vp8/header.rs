//! The first partition of a frame: all but its levels. RFC 6386, section 9 and, in one piece, section 19.2.

use super::{
    bits::{Probability, Writer},
    macroblock::{Choice, Luma},
    predict::SmallMode,
    quantize::{CHROMA_OFFSETS, Index},
    segments::Segments,
    tables::{CHROMA_MODE_PATHS, CHROMA_MODES, LUMA_MODE_PATHS, LUMA_MODES, SMALL_MODE_PATHS, SMALL_MODES},
    tokens::Probabilities,
};

/// How strongly a decoder smooths the edges of blocks, in parts of 256 of their step.
const SMOOTHING: u16 = 38;

/// A probability of which nothing is known, and one that is not sent.
const EVEN: Probability = 128;
const UNSENT: Probability = 255;

/// Writes it for macroblocks of which so many are in a row.
pub(super) fn write(segments: &Segments, probabilities: &Probabilities, choices: &[Choice], columns: usize) -> Vec<u8> {
    let mut writer = Writer::with_capacity(choices.len() * 4);
    // The colours of BT.601; what is decoded may have to be clamped.
    writer.put_number(0b00, 2);
    let tree = write_segments(segments, &mut writer);
    write_filter(segments, &mut writer);
    // Levels are in one partition.
    writer.put_number(0, 2);
    write_indices(segments, &mut writer);
    // No frame follows that could use the probabilities.
    writer.put_number(0, 1);
    probabilities.write(&mut writer);

    let empty = probability(choices.iter().map(|choice| choice.is_empty));
    writer.put(empty != UNSENT, EVEN);
    if empty != UNSENT {
        writer.put_number(empty.into(), 8);
    }
    let mut above: Vec<[SmallMode; 4]> = vec![[0; 4]; columns];
    let mut left = [0; 4];
    for (at, (choice, &segment)) in choices.iter().zip(&segments.of).enumerate() {
        if at % columns == 0 {
            left = [0; 4];
        }
        writer.put(segment > 1, tree[0]);
        writer.put(segment % 2 == 1, tree[if segment > 1 { 2 } else { 1 }]);
        if empty != UNSENT {
            writer.put(choice.is_empty, empty);
        }
        write_luma(choice.luma, &mut above[at % columns], &mut left, &mut writer);
        writer.put_path(CHROMA_MODE_PATHS[choice.chroma as usize], &CHROMA_MODES);
    }
    writer.finish()
}

/// Section 9.3. The probabilities of the tree of segments.
fn write_segments(segments: &Segments, writer: &mut Writer) -> [Probability; 3] {
    // There are segments, and both their map and what they are follow, as it is rather than by how much it differs.
    writer.put_number(0b1111, 4);
    for index in segments.indices {
        writer.put_signed(index.get(), 7);
    }
    for index in segments.indices {
        writer.put_signed(strength(index).into(), 6);
    }
    let of = |side: fn(&u8) -> Option<bool>| probability(segments.of.iter().filter_map(side));
    let tree = [
        of(|&segment| Some(segment > 1)),
        of(|&segment| (segment <= 1).then_some(segment == 1)),
        of(|&segment| (segment > 1).then_some(segment == 3)),
    ];
    for probability in tree {
        writer.put(probability != UNSENT, EVEN);
        if probability != UNSENT {
            writer.put_number(probability.into(), 8);
        }
    }
    tree
}

/// Section 9.4: the normal filter, without sharpness, and the same for all kinds of macroblocks.
fn write_filter(segments: &Segments, writer: &mut Writer) {
    writer.put_number(0, 1);
    writer.put_number(strength(segments.indices[0]).into(), 6);
    writer.put_number(0, 3);
    writer.put_number(0, 1);
}

/// Section 9.4: 0..=63.
fn strength(index: Index) -> u8 {
    u8::try_from(index.step() * SMOOTHING / 256).map_or(63, |strength| strength.min(63))
}

/// Section 9.6: the index of luma, and by how much those of its first coefficient, of the means and of the differences
/// differ from it.
fn write_indices(segments: &Segments, writer: &mut Writer) {
    writer.put_number(segments.indices[0].get().unsigned_abs(), 7);
    let [first, other] = CHROMA_OFFSETS;
    for offset in [0, 0, 0, first, other] {
        writer.put_signed(offset, 4);
    }
}

fn write_luma(luma: Luma, above: &mut [SmallMode; 4], left: &mut [SmallMode; 4], writer: &mut Writer) {
    match luma {
        Luma::Whole(mode) => {
            writer.put_path(LUMA_MODE_PATHS[mode as usize], &LUMA_MODES);
            (*above, *left) = ([mode.as_small(); 4], [mode.as_small(); 4]);
        }
        Luma::Small(modes) => {
            writer.put(false, LUMA_MODES[0]);
            for (at, mode) in modes.into_iter().enumerate() {
                let (above, left) = (&mut above[at % 4], &mut left[at / 4]);
                let nodes = &SMALL_MODES[usize::from(*above)][usize::from(*left)];
                writer.put_path(SMALL_MODE_PATHS[usize::from(mode)], nodes);
                (*above, *left) = (mode, mode);
            }
        }
    }
}

/// How likely these bits are 0; if none of them is 1, it need not be sent.
fn probability(bits: impl Iterator<Item = bool>) -> Probability {
    let (mut zeros, mut all) = (0, 0);
    for bit in bits {
        zeros += u64::from(!bit);
        all += 1;
    }
    if zeros == all {
        return UNSENT;
    }
    u8::try_from(((zeros * 256 + all / 2) / all).clamp(1, 254)).expect("254 is the most")
}
