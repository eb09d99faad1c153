//! The decoder beside another one, at every scale, and on damaged files.
#![cfg(test)]
#![expect(clippy::cast_possible_truncation, reason = "the texture stays within the range of a sample")]

use jpeg_decoder::{ColorTransform, Decoder};
use jpeg_encoder::{ColorType, Encoder, SamplingFactor};
use proptest::prelude::{ProptestConfig, any, prop, proptest};
use xfiles_jpeg::{
    Size,
    decode::{self, Options, Plane, Scale, Scales},
};

const SIZE: Size = Size { width: 320, height: 240 };

fn decode_at(mut jpeg: &[u8], size: Size, scales: Scales) -> Option<Vec<Plane>> {
    decode::decode(&mut jpeg, size, &Options { scales, max_scans: 100, stop: &|| false })
}

fn decode(jpeg: &[u8], size: Size, scale: Scale) -> Option<Vec<Plane>> {
    decode_at(jpeg, size, Scales::with_full_chroma(scale))
}

/// Samples across and down, those included that the image covers in part.
fn size(plane: &Plane) -> (usize, usize) {
    (plane.covers.0.ceil() as usize, plane.covers.1.ceil() as usize)
}

/// The samples of a plane without padding.
fn samples(plane: &Plane) -> Vec<u8> {
    let (width, height) = size(plane);
    plane.samples.chunks(plane.stride).take(height).flat_map(|line| &line[..width]).copied().collect()
}

/// Gradients with waves of every length and some noise.
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

/// The samples of the other decoder at the same scale, without colour conversion, and how many there are for each
/// pixel.
fn reference(jpeg: &[u8], plane: &Plane) -> (usize, Vec<u8>) {
    let mut decoder = Decoder::new(jpeg);
    decoder.read_info().unwrap();
    decoder.set_color_transform(ColorTransform::None);
    let side = |side: usize| u16::try_from(side).unwrap();
    let (width, height) = size(plane);
    assert_eq!(decoder.scale(side(width), side(height)).unwrap(), (side(width), side(height)));
    let samples = decoder.decode().unwrap();
    (samples.len() / (width * height), samples)
}

/// The other decoder decodes the file without subsampling only; the luma of the other files has the same coefficients.
#[test]
fn samples_are_those_of_another_decoder_at_every_scale_and_sampling() {
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
        // The other decoder has no 3/8.
        for scale in [Scale::Eighth, Scale::Quarter, Scale::Half, Scale::Full] {
            let planes = decode(&jpeg, SIZE, scale).expect(name);
            let (channels, expected) = reference(if name == "grey" { &jpeg } else { &whole }, &planes[0]);
            for (channel, plane) in planes.iter().enumerate().take(full_planes) {
                let expected = expected.chunks(size(plane).0).skip(channel).step_by(channels).flatten();
                let most = samples(plane).iter().zip(expected).map(|(ours, theirs)| ours.abs_diff(*theirs)).max();
                assert!(most.unwrap() <= 1, "{name} at {scale:?}, plane {channel}: {most:?}");
            }
        }
    }
}

/// The progressive file has DC and AC scans, refinements and end-of-band runs.
#[test]
fn a_progressive_file_has_the_samples_of_a_baseline_one() {
    let fixtures = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures");
    let [baseline, progressive] =
        ["baseline", "progressive"].map(|name| std::fs::read(format!("{fixtures}/photo-{name}.jpg")).unwrap());
    let size = Size { width: 400, height: 300 };
    for scale in Scale::ALL {
        let [expected, found] = [&baseline, &progressive]
            .map(|jpeg| decode(jpeg, size, scale).unwrap())
            .map(|planes| planes.iter().map(samples).collect::<Vec<_>>());
        assert!(found == expected, "{scale:?}");
    }
    // Within the first refinements, and behind them.
    for end in [progressive.len() / 4, progressive.len() / 2, progressive.len() - 2] {
        assert!(decode(&progressive[..end], size, Scale::Half).is_some());
    }
}

/// The basis function of one coefficient at a sample, of blocks with this many samples on a side.
fn basis(side: usize, sample: usize, coefficient: usize) -> f64 {
    let angle = (2 * sample + 1) as f64 * coefficient as f64 * std::f64::consts::PI / (2 * side) as f64;
    angle.cos() * if coefficient == 0 { 1.0 } else { 2_f64.sqrt() }
}

/// The lowest coefficients of every block, transformed back at their own size, by the definition of the DCT.
fn by_definition(whole: &[u8], side: usize) -> Vec<f64> {
    let (columns, rows) = (SIZE.width as usize / 8, SIZE.height as usize / 8);
    let mut reduced = vec![0.0; columns * rows * side * side];
    for (row, column) in (0..rows).flat_map(|row| (0..columns).map(move |column| (row, column))) {
        let sample = |x: usize, y: usize| f64::from(whole[(row * 8 + y) * columns * 8 + column * 8 + x]) - 128.0;
        for (v, u) in (0..side).flat_map(|v| (0..side).map(move |u| (v, u))) {
            let places = (0..8).flat_map(|y| (0..8).map(move |x| (x, y)));
            let coefficient: f64 = places.map(|(x, y)| sample(x, y) * basis(8, x, u) * basis(8, y, v) / 64.0).sum();
            for (y, x) in (0..side).flat_map(|y| (0..side).map(move |x| (y, x))) {
                let place = (row * side + y) * columns * side + column * side + x;
                reduced[place] += coefficient * basis(side, x, u) * basis(side, y, v);
            }
        }
    }
    reduced.into_iter().map(|sample| (sample + 128.0).clamp(0.0, 255.0)).collect()
}

#[test]
fn samples_are_those_of_the_definition_at_every_scale() {
    let jpeg = encoded(1, |_| ());
    let whole = Decoder::new(jpeg.as_slice()).decode().unwrap();
    for scale in Scale::ALL {
        let ours = samples(&decode(&jpeg, SIZE, scale).unwrap()[0]);
        let expected = by_definition(&whole, scale as usize);
        assert_eq!(ours.len(), expected.len());
        // The full-size samples were rounded, which moves each coefficient.
        let most = ours.iter().zip(&expected).map(|(a, b)| (f64::from(*a) - b).abs()).fold(0.0, f64::max);
        assert!(most < 1.5, "{scale:?}: {most}");
    }
}

#[test]
fn subsampled_planes_keep_a_colour_for_each_pixel() {
    let jpeg = encoded(3, |it| it.set_sampling_factor(SamplingFactor::R_4_2_0));
    let sizes = |scale| decode(&jpeg, SIZE, scale).unwrap().iter().map(size).collect::<Vec<_>>();
    assert_eq!(sizes(Scale::Half), [(160, 120), (80, 60), (80, 60)]);
    // At smaller scales they are decoded at twice the scale, or nearly.
    assert_eq!(sizes(Scale::ThreeEighths), [(120, 90), (80, 60), (80, 60)]);
    assert_eq!(sizes(Scale::Quarter), [(80, 60), (80, 60), (80, 60)]);
    assert_eq!(sizes(Scale::Eighth), [(40, 30), (40, 30), (40, 30)]);
}

#[test]
fn subsampled_planes_stay_subsampled_at_a_uniform_scale() {
    let jpeg = encoded(3, |it| it.set_sampling_factor(SamplingFactor::R_4_2_0));
    for scale in Scale::ALL {
        let sizes: Vec<_> = decode_at(&jpeg, SIZE, Scales::uniform(scale)).unwrap().iter().map(size).collect();
        let (width, height) = (40 * scale.side(), 30 * scale.side());
        let half = (width / 2, height / 2);
        assert_eq!(sizes, [(width, height), half, half], "{scale:?}");
    }
}

#[test]
fn what_a_file_that_ends_early_lacks_is_grey() {
    let jpeg = encoded(1, |_| ());
    let [whole, half] =
        [&jpeg[..], &jpeg[..jpeg.len() / 2]].map(|bytes| samples(&decode(bytes, SIZE, Scale::Quarter).unwrap()[0]));
    assert_eq!(half[..80 * 20], whole[..80 * 20]);
    assert_eq!(half[80 * 50..], [128; 80 * 10]);
}

/// Data of more than one window of the reader, with stuffed bytes and restart markers at every offset.
#[test]
fn a_file_longer_than_a_window_is_decoded() {
    let side = 1024_u16;
    let mut state = 7_u32;
    let noise: Vec<u8> = std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    })
    .take(usize::from(side) * usize::from(side))
    .collect();
    let size = Size { width: side.into(), height: side.into() };
    // The best quality has the longest codes and the most additional bits.
    for (quality, restarts) in [(97, 0), (97, 1), (97, 7), (97, 128), (60, 0), (100, 0)] {
        let mut jpeg = Vec::new();
        let mut encoder = Encoder::new(&mut jpeg, quality);
        encoder.set_restart_interval(restarts);
        encoder.encode(&noise, side, side, ColorType::Luma).unwrap();
        for scale in [Scale::Eighth, Scale::Half, Scale::Full] {
            let plane = &decode(&jpeg, size, scale).unwrap()[0];
            let (_, expected) = reference(&jpeg, plane);
            let most = samples(plane).iter().zip(expected).map(|(a, b)| a.abs_diff(b)).max();
            assert!(most.unwrap() <= 1, "{quality}, a restart every {restarts} at {scale:?}: {most:?}");
        }
    }
}

#[test]
fn a_size_that_differs_from_the_claim_is_not_decoded() {
    let claimed = Size { width: 321, height: 240 };
    assert!(decode(&encoded(1, |_| ()), claimed, Scale::Eighth).is_none());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn damage_to_refinements_never_panics(
        scale in prop::sample::select(&Scale::ALL),
        changes in prop::collection::vec((any::<usize>(), any::<u8>()), 1..12),
    ) {
        let mut jpeg = std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures/photo-progressive.jpg")).unwrap();
        for (place, value) in changes {
            let at = place % jpeg.len();
            jpeg[at] = value;
        }
        decode(&jpeg, Size { width: 400, height: 300 }, scale);
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
        // Half of the changes are in the headers.
        for (number, (place, value)) in changes.into_iter().enumerate() {
            let at = place % if number % 2 == 0 { 700 } else { jpeg.len() };
            jpeg[at] = value;
        }
        jpeg.truncate(end % (2 * jpeg.len()) + 2);
        decode(&jpeg, SIZE, scale);
    }
}

#[test]
fn decoding_stops_when_it_is_told_to() {
    let jpeg = encoded(3, |_| ());
    for scale in Scale::ALL {
        let asked = std::cell::Cell::new(0);
        let stop = || asked.replace(asked.get() + 1) == 3;
        let options = Options { scales: Scales::uniform(scale), max_scans: 100, stop: &stop };
        assert!(decode::decode(&mut &jpeg[..], SIZE, &options).is_none());
        assert_eq!(asked.get(), 4);
    }
}
