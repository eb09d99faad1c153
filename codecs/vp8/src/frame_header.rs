//! The first partition: the frame header and the modes of all macroblocks (RFC 6386, section 9; 19.2 has it in one piece).

use crate::{
    bool_encoder::{BoolEncoder, Prob},
    macroblock::{LumaMode, Macroblock},
    predict::SubblockMode,
    quantization::{QuantizerIndex, UV_DELTA_Q},
    segments::Segments,
    tables::{BMODE_PATHS, KF_BMODE_PROBS, KF_UV_MODE_PROBS, KF_YMODE_PATHS, KF_YMODE_PROBS, UV_MODE_PATHS},
    tokens::ProbUpdates,
    tuning::Tuning,
};

const EVEN: Prob = 128;

/// In place of a probability that need not be sent, because its bool is always false.
const UNSENT: Prob = 255;

/// Writes the first partition. A row has `columns` macroblocks.
pub(crate) fn write(
    segments: &Segments,
    updates: &ProbUpdates,
    macroblocks: &[Macroblock],
    columns: usize,
    tuning: &Tuning,
) -> Vec<u8> {
    let mut encoder = BoolEncoder::with_capacity(macroblocks.len() * 4);
    // color_space: BT.601. clamping_type: decoders have to clamp (9.2).
    encoder.put_literal(0b00, 2);
    let segment_probs = write_segmentation(segments, tuning, &mut encoder);
    write_filter(segments, tuning, &mut encoder);
    // log2_nbr_of_dct_partitions (9.5): one.
    encoder.put_literal(0, 2);
    write_quant_indices(segments, &mut encoder);
    // refresh_entropy_probs (9.11): no frame follows.
    encoder.put_literal(0, 1);
    updates.write(&mut encoder);

    // mb_no_coeff_skip and prob_skip_false (9.11).
    let skip_prob = prob(macroblocks.iter().map(|macroblock| macroblock.is_skipped));
    encoder.put(skip_prob != UNSENT, EVEN);
    if skip_prob != UNSENT {
        encoder.put_literal(skip_prob.into(), 8);
    }
    let mut above: Vec<[SubblockMode; 4]> = vec![[SubblockMode::default(); 4]; columns];
    let mut left = [SubblockMode::default(); 4];
    for (at, (macroblock, &segment)) in macroblocks.iter().zip(&segments.of).enumerate() {
        if at % columns == 0 {
            left = [SubblockMode::default(); 4];
        }
        // segment_id (10).
        encoder.put(segment > 1, segment_probs[0]);
        encoder.put(segment % 2 == 1, segment_probs[if segment > 1 { 2 } else { 1 }]);
        // mb_skip_coeff (11.1).
        if skip_prob != UNSENT {
            encoder.put(macroblock.is_skipped, skip_prob);
        }
        write_luma_mode(macroblock.luma, &mut above[at % columns], &mut left, &mut encoder);
        encoder.put_path(UV_MODE_PATHS[macroblock.chroma as usize], &KF_UV_MODE_PROBS);
    }
    encoder.finish()
}

/// 9.3: `update_segmentation`. Returns the probabilities of the tree of segments.
fn write_segmentation(segments: &Segments, tuning: &Tuning, encoder: &mut BoolEncoder) -> [Prob; 3] {
    // segmentation_enabled, update_mb_segmentation_map, update_segment_feature_data, segment_feature_mode: absolute.
    encoder.put_literal(0b1111, 4);
    for index in segments.indices {
        encoder.put_optional_signed(index.get(), 7);
    }
    for index in segments.indices {
        encoder.put_optional_signed(filter_level(index, tuning).into(), 6);
    }
    let of = |side: fn(&u8) -> Option<bool>| prob(segments.of.iter().filter_map(side));
    let tree = [
        of(|&segment| Some(segment > 1)),
        of(|&segment| (segment <= 1).then_some(segment == 1)),
        of(|&segment| (segment > 1).then_some(segment == 3)),
    ];
    for prob in tree {
        encoder.put(prob != UNSENT, EVEN);
        if prob != UNSENT {
            encoder.put_literal(prob.into(), 8);
        }
    }
    tree
}

/// 9.4 and 9.6: filter_type normal, loop_filter_level, sharpness_level 0, no adjustments by mode.
fn write_filter(segments: &Segments, tuning: &Tuning, encoder: &mut BoolEncoder) {
    encoder.put_literal(0, 1);
    encoder.put_literal(filter_level(segments.indices[0], tuning).into(), 6);
    encoder.put_literal(0, 3);
    encoder.put_literal(0, 1);
}

/// 0..=63.
fn filter_level(index: QuantizerIndex, tuning: &Tuning) -> u8 {
    let level = u32::from(index.ac_step()) * u32::from(tuning.filter_strength) / 256;
    u8::try_from(level).map_or(63, |level| level.min(63))
}

/// 9.6: `quant_indices`, with the deltas of Y DC, Y2 DC, Y2 AC, chroma DC and chroma AC.
fn write_quant_indices(segments: &Segments, encoder: &mut BoolEncoder) {
    encoder.put_literal(segments.indices[0].get().unsigned_abs(), 7);
    let [uv_dc, uv_ac] = UV_DELTA_Q;
    for delta in [0, 0, 0, uv_dc, uv_ac] {
        encoder.put_optional_signed(delta, 4);
    }
}

/// 11.2 and 11.3. The modes above and to the left are the context of subblock modes.
fn write_luma_mode(
    mode: LumaMode,
    above: &mut [SubblockMode; 4],
    left: &mut [SubblockMode; 4],
    encoder: &mut BoolEncoder,
) {
    match mode {
        LumaMode::Whole(mode) => {
            encoder.put_path(KF_YMODE_PATHS[mode as usize], &KF_YMODE_PROBS);
            (*above, *left) = ([mode.implied(); 4], [mode.implied(); 4]);
        }
        LumaMode::BPred(modes) => {
            encoder.put(false, KF_YMODE_PROBS[0]);
            for (at, mode) in modes.into_iter().enumerate() {
                let (above, left) = (&mut above[at % 4], &mut left[at / 4]);
                let probs = &KF_BMODE_PROBS[*above as usize][*left as usize];
                encoder.put_path(BMODE_PATHS[mode as usize], probs);
                (*above, *left) = (mode, mode);
            }
        }
    }
}

/// The probability that these are false; [`UNSENT`] if none is true.
fn prob(bools: impl Iterator<Item = bool>) -> Prob {
    let (mut falses, mut all) = (0, 0);
    for value in bools {
        falses += u64::from(!value);
        all += 1;
    }
    if falses == all {
        return UNSENT;
    }
    u8::try_from(((falses * 256 + all / 2) / all).clamp(1, 254)).expect("254 is the most")
}
