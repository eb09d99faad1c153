//! The reduced decoder beside another one, and on damaged files.
#![expect(clippy::cast_possible_truncation, reason = "the texture stays within the range of a sample")]

use jpeg_decoder::{ColorTransform, Decoder};
use jpeg_encoder::{ColorType, Encoder, SamplingFactor};
use proptest::prelude::{ProptestConfig, any, prop, proptest};
use xfiles_core::sniff::Dimensions;

use super::{
    Plane,
    reduced::{self, Scale},
};

const SIZE: Dimensions = Dimensions { width: 320, height: 240 };
const SCALES: [Scale; 3] = [Scale::Eighth, Scale::Quarter, Scale::Half];

/// Gradients with waves of every length and some noise, in as many channels as asked.
fn texture(channels: usize) -> Vec<u8> {
    let (width, height) = (SIZE.width as usize, SIZE.height as usize);
    let mut state = 1_u32;
    let mut samples = Vec::new();
    for at in 0..width * height * channels {
        let (x, y) = ((at / channels % width) as f64, (at / channels / width) as f64);
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let wave = (x * x / 90.0 + (at % channels) as f64).sin() * 50.0 + (y * y / 70.0).cos() * 40.0;
        samples.push((128.0 + wave + f64::from(state >> 28)) as u8);
    }
    samples
}

fn encoded(channels: usize, set: impl FnOnce(&mut Encoder<&mut Vec<u8>>)) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = Encoder::new(&mut bytes, 85);
    set(&mut encoder);
    let colours = if channels == 1 { ColorType::Luma } else { ColorType::Ycbcr };
    encoder.encode(&texture(channels), 320, 240, colours).unwrap();
    bytes
}

/// The samples of the other decoder at the same scale, without conversion of colours: row by row, and of each row one
/// component after the other.
fn reference(jpeg: &[u8], plane: &Plane) -> (usize, Vec<u8>) {
    let mut decoder = Decoder::new(jpeg);
    decoder.read_info().unwrap();
    decoder.set_color_transform(ColorTransform::None);
    let side = |side: usize| u16::try_from(side).unwrap();
    let size = decoder.scale(side(plane.width), side(plane.height)).unwrap();
    assert_eq!(size, (side(plane.width), side(plane.height)));
    let samples = decoder.decode().unwrap();
    (samples.len() / plane.samples.len(), samples)
}

/// The other decoder is asked of the file without subsampling alone: the luma of the others has the same coefficients.
#[test]
fn the_samples_are_those_of_another_decoder_at_every_scale_and_sampling() {
    let whole = encoded(3, |it| it.set_sampling_factor(SamplingFactor::R_4_4_4));
    for (name, jpeg, full_planes) in [
        ("grey", encoded(1, |_| ()), 1),
        ("4:4:4", whole.clone(), 3),
        ("4:2:2", encoded(3, |it| it.set_sampling_factor(SamplingFactor::R_4_2_2)), 1),
        ("4:2:0", encoded(3, |it| it.set_sampling_factor(SamplingFactor::R_4_2_0)), 1),
        ("4:4:0", encoded(3, |it| it.set_sampling_factor(SamplingFactor::R_4_4_0)), 1),
        ("4:1:1", encoded(3, |it| it.set_sampling_factor(SamplingFactor::R_4_1_1)), 1),
        ("restarts", encoded(3, |it| it.set_restart_interval(3)), 1),
        ("a scan for each component", encoded(3, |it| it.set_optimized_huffman_tables(true)), 1),
        ("progressive", encoded(3, |it| it.set_progressive(true)), 1),
    ] {
        for scale in SCALES {
            let Some(planes) = reduced::decode(&jpeg, SIZE, scale) else {
                assert!(name == "progressive" && scale != Scale::Eighth, "{name} at {scale:?}");
                continue;
            };
            let (channels, samples) = reference(if name == "grey" { &jpeg } else { &whole }, &planes[0]);
            for (channel, plane) in planes.iter().enumerate().take(full_planes) {
                let expected = samples.chunks(plane.width).skip(channel).step_by(channels).flatten();
                let most = plane.samples.iter().zip(expected).map(|(ours, theirs)| ours.abs_diff(*theirs)).max();
                assert!(most.unwrap() <= 1, "{name} at {scale:?}, plane {channel}: {most:?}");
            }
        }
    }
}

#[test]
fn planes_of_fewer_samples_are_smaller() {
    let jpeg = encoded(3, |it| it.set_sampling_factor(SamplingFactor::R_4_2_0));
    let planes = reduced::decode(&jpeg, SIZE, Scale::Half).unwrap();
    let sizes: Vec<_> = planes.iter().map(|plane| (plane.width, plane.height, plane.samples.len())).collect();
    assert_eq!(sizes, [(160, 120, 160 * 120), (80, 60, 80 * 60), (80, 60, 80 * 60)]);
}

#[test]
fn what_a_file_that_ends_early_does_not_tell_is_grey() {
    let jpeg = encoded(1, |_| ());
    let [whole, half] = [&jpeg[..], &jpeg[..jpeg.len() / 2]].map(|bytes| {
        let mut planes = reduced::decode(bytes, SIZE, Scale::Quarter).unwrap();
        planes.remove(0).samples
    });
    assert_eq!(half[..80 * 20], whole[..80 * 20]);
    assert_eq!(half[80 * 50..], [128; 80 * 10]);
}

#[test]
fn a_size_that_differs_from_the_claim_is_not_decoded() {
    let claimed = Dimensions { width: 321, height: 240 };
    assert!(reduced::decode(&encoded(1, |_| ()), claimed, Scale::Eighth).is_none());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn damage_never_panics(
        progressive in any::<bool>(),
        scale in prop::sample::select(&SCALES),
        changes in prop::collection::vec((any::<usize>(), any::<u8>()), 0..12),
        end in any::<usize>(),
    ) {
        let mut jpeg = encoded(3, |it| {
            it.set_progressive(progressive);
            it.set_restart_interval(u16::from(!progressive) * 5);
        });
        // Half of the changes in the headers.
        for (number, (place, value)) in changes.into_iter().enumerate() {
            let at = place % if number % 2 == 0 { 700 } else { jpeg.len() };
            jpeg[at] = value;
        }
        jpeg.truncate(end % (2 * jpeg.len()) + 2);
        reduced::decode(&jpeg, SIZE, scale);
    }
}
