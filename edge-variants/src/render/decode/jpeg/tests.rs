//! The reduced decoder beside another one, and on damaged files.
#![expect(clippy::cast_possible_truncation, reason = "the texture stays within the range of a sample")]

use std::time::Instant;

use jpeg_decoder::{ColorTransform, Decoder};
use jpeg_encoder::{ColorType, Encoder, SamplingFactor};
use proptest::prelude::{ProptestConfig, any, prop, proptest};
use xfiles_core::sniff::Dimensions;

use super::reduced::{self, Scale, Scales};
use crate::render::{deadline::Deadline, original::Original, planes::Plane};

const SIZE: Dimensions = Dimensions { width: 320, height: 240 };

fn decode(jpeg: &[u8], stored: Dimensions, scale: Scale, deadline: Deadline) -> Option<Vec<Plane>> {
    reduced::decode(&mut Original::from(jpeg), stored, Scales::for_pixels(scale), deadline)
}

/// The samples of a plane without what pads its rows.
fn samples(plane: &Plane) -> Vec<u8> {
    (0..plane.size().1).flat_map(|y| plane.row(y)).copied().collect()
}

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
    let (width, height) = plane.size();
    assert_eq!(decoder.scale(side(width), side(height)).unwrap(), (side(width), side(height)));
    let samples = decoder.decode().unwrap();
    (samples.len() / (width * height), samples)
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
        // The other decoder has no three eighths.
        for scale in [Scale::Eighth, Scale::Quarter, Scale::Half, Scale::Whole] {
            let planes = decode(&jpeg, SIZE, scale, Deadline::NEVER).expect(name);
            let (channels, expected) = reference(if name == "grey" { &jpeg } else { &whole }, &planes[0]);
            for (channel, plane) in planes.iter().enumerate().take(full_planes) {
                let expected = expected.chunks(plane.size().0).skip(channel).step_by(channels).flatten();
                let most = samples(plane).iter().zip(expected).map(|(ours, theirs)| ours.abs_diff(*theirs)).max();
                assert!(most.unwrap() <= 1, "{name} at {scale:?}, plane {channel}: {most:?}");
            }
        }
    }
}

/// Scans that tell means and others apart, the upper bits before the lower ones, and runs of blocks without more.
#[test]
fn a_progressive_file_has_the_samples_of_a_baseline_one() {
    let fixtures = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures");
    let [baseline, progressive] =
        ["baseline", "progressive"].map(|name| std::fs::read(format!("{fixtures}/photo-{name}.jpg")).unwrap());
    let size = Dimensions { width: 400, height: 300 };
    for scale in Scale::ALL {
        let [expected, gathered] = [&baseline, &progressive]
            .map(|jpeg| decode(jpeg, size, scale, Deadline::NEVER).unwrap())
            .map(|planes| planes.iter().map(samples).collect::<Vec<_>>());
        assert!(gathered == expected, "{scale:?}");
    }
    // Before the first refinements come to an end, and behind them.
    for end in [progressive.len() / 4, progressive.len() / 2, progressive.len() - 2] {
        assert!(decode(&progressive[..end], size, Scale::Half, Deadline::NEVER).is_some());
    }
}

/// One coefficient's share of a sample, of blocks with that many on a side.
fn share(side: usize, sample: usize, coefficient: usize) -> f64 {
    let angle = (2 * sample + 1) as f64 * coefficient as f64 * std::f64::consts::PI / (2 * side) as f64;
    angle.cos() * if coefficient == 0 { 1.0 } else { 2_f64.sqrt() }
}

/// The lowest coefficients of every block of whole samples, transformed back at their own size, by the definition.
fn by_definition(whole: &[u8], side: usize) -> Vec<f64> {
    let (columns, rows) = (SIZE.width as usize / 8, SIZE.height as usize / 8);
    let mut reduced = vec![0.0; columns * rows * side * side];
    for (row, column) in (0..rows).flat_map(|row| (0..columns).map(move |column| (row, column))) {
        let sample = |x: usize, y: usize| f64::from(whole[(row * 8 + y) * columns * 8 + column * 8 + x]) - 128.0;
        for (v, u) in (0..side).flat_map(|v| (0..side).map(move |u| (v, u))) {
            let places = (0..8).flat_map(|y| (0..8).map(move |x| (x, y)));
            let coefficient: f64 = places.map(|(x, y)| sample(x, y) * share(8, x, u) * share(8, y, v) / 64.0).sum();
            for (y, x) in (0..side).flat_map(|y| (0..side).map(move |x| (y, x))) {
                let place = (row * side + y) * columns * side + column * side + x;
                reduced[place] += coefficient * share(side, x, u) * share(side, y, v);
            }
        }
    }
    reduced.into_iter().map(|sample| (sample + 128.0).clamp(0.0, 255.0)).collect()
}

#[test]
fn the_samples_are_those_of_the_definition_at_every_scale() {
    let jpeg = encoded(1, |_| ());
    let whole = Decoder::new(jpeg.as_slice()).decode().unwrap();
    for scale in Scale::ALL {
        let ours = samples(&decode(&jpeg, SIZE, scale, Deadline::NEVER).unwrap()[0]);
        let expected = by_definition(&whole, scale as usize);
        assert_eq!(ours.len(), expected.len());
        // The whole samples were rounded, which moves each coefficient.
        let most = ours.iter().zip(&expected).map(|(a, b)| (f64::from(*a) - b).abs()).fold(0.0, f64::max);
        assert!(most < 1.5, "{scale:?}: {most}");
    }
}

#[test]
fn planes_of_half_the_samples_are_not_halved_again() {
    let jpeg = encoded(3, |it| it.set_sampling_factor(SamplingFactor::R_4_2_0));
    let sizes =
        |scale| decode(&jpeg, SIZE, scale, Deadline::NEVER).unwrap().iter().map(Plane::size).collect::<Vec<_>>();
    assert_eq!(sizes(Scale::Half), [(160, 120), (80, 60), (80, 60)]);
    // At smaller scales they are twice as large as they could be, or nearly.
    assert_eq!(sizes(Scale::ThreeEighths), [(120, 90), (80, 60), (80, 60)]);
    assert_eq!(sizes(Scale::Quarter), [(80, 60), (80, 60), (80, 60)]);
    assert_eq!(sizes(Scale::Eighth), [(40, 30), (40, 30), (40, 30)]);
}

#[test]
fn planes_of_half_the_samples_are_halved_for_a_picture_with_half_the_colours() {
    let jpeg = encoded(3, |it| it.set_sampling_factor(SamplingFactor::R_4_2_0));
    for scale in Scale::ALL {
        let planes = reduced::decode(&mut Original::from(&jpeg[..]), SIZE, Scales::for_halves(scale), Deadline::NEVER);
        let sizes: Vec<_> = planes.unwrap().iter().map(Plane::size).collect();
        let (width, height) = (40 * scale.side(), 30 * scale.side());
        let half = (width / 2, height / 2);
        assert_eq!(sizes, [(width, height), half, half], "{scale:?}");
    }
}

#[test]
fn what_a_file_that_ends_early_does_not_tell_is_grey() {
    let jpeg = encoded(1, |_| ());
    let [whole, half] = [&jpeg[..], &jpeg[..jpeg.len() / 2]]
        .map(|bytes| samples(&decode(bytes, SIZE, Scale::Quarter, Deadline::NEVER).unwrap()[0]));
    assert_eq!(half[..80 * 20], whole[..80 * 20]);
    assert_eq!(half[80 * 50..], [128; 80 * 10]);
}

/// Data of more than one window of the reader, with escaped bytes and restarts at every place.
#[test]
fn a_file_longer_than_what_is_read_at_once_has_its_samples() {
    let side = 1024_u16;
    let mut state = 7_u32;
    let noise: Vec<u8> = std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    })
    .take(usize::from(side) * usize::from(side))
    .collect();
    let size = Dimensions { width: side.into(), height: side.into() };
    // The best quality has the longest codes, with the longest magnitudes behind them.
    for (quality, restarts) in [(97, 0), (97, 1), (97, 7), (97, 128), (60, 0), (100, 0)] {
        let mut jpeg = Vec::new();
        let mut encoder = Encoder::new(&mut jpeg, quality);
        encoder.set_restart_interval(restarts);
        encoder.encode(&noise, side, side, ColorType::Luma).unwrap();
        for scale in [Scale::Eighth, Scale::Half, Scale::Whole] {
            let plane = &decode(&jpeg, size, scale, Deadline::NEVER).unwrap()[0];
            let (_, expected) = reference(&jpeg, plane);
            let most = samples(plane).iter().zip(expected).map(|(a, b)| a.abs_diff(b)).max();
            assert!(most.unwrap() <= 1, "{quality}, a restart every {restarts} at {scale:?}: {most:?}");
        }
    }
}

#[test]
fn a_size_that_differs_from_the_claim_is_not_decoded() {
    let claimed = Dimensions { width: 321, height: 240 };
    assert!(decode(&encoded(1, |_| ()), claimed, Scale::Eighth, Deadline::NEVER).is_none());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn damage_to_refinements_never_panics(
        scale in prop::sample::select(&Scale::ALL),
        changes in prop::collection::vec((any::<usize>(), any::<u8>()), 1..12),
    ) {
        let mut jpeg = std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures/photo-progressive.jpg")).unwrap();
        for (place, value) in changes {
            let at = place % jpeg.len();
            jpeg[at] = value;
        }
        decode(&jpeg, Dimensions { width: 400, height: 300 }, scale, Deadline::NEVER);
    }

    #[test]
    fn damage_never_panics(
        progressive in any::<bool>(),
        scale in prop::sample::select(&Scale::ALL),
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
        decode(&jpeg, SIZE, scale, Deadline::NEVER);
    }
}

#[test]
fn the_walk_ends_at_the_deadline() {
    let jpeg = encoded(3, |_| ());
    for scale in Scale::ALL {
        assert!(decode(&jpeg, SIZE, scale, Deadline::NEVER).is_some());
        assert!(decode(&jpeg, SIZE, scale, Deadline::at(Instant::now())).is_none());
    }
}
