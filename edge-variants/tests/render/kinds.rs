//! The rarer kinds of every format, written by another program, show in each format what that program shows.

use image::Rgba;
use serde_json::{Map, Value};
use xfiles_core::variant::{ImageFormat, VariantSpec};

use super::{
    render,
    tests::{OFFERED, fixture, shown, width},
};

/// The tolerance beside the other decoder, of 255: less where the format is lossless.
fn tolerance(format: ImageFormat) -> u8 {
    match format {
        ImageFormat::Png => 3,
        ImageFormat::WebP | ImageFormat::Jpeg | ImageFormat::Avif | ImageFormat::Auto => 12,
    }
}

/// The image on white, as JPEG shows it.
fn on_white(Rgba([red, green, blue, alpha]): Rgba<u8>) -> [u8; 3] {
    let mixed = |sample: u8| (u32::from(sample) * u32::from(alpha) + 255 * (255 - u32::from(alpha))) / 255;
    [red, green, blue].map(|sample| mixed(sample).to_le_bytes()[0])
}

#[test]
fn every_kind_by_another_encoder_shows_its_colours_in_every_format() {
    let expected: Map<String, Value> = serde_json::from_slice(&fixture("kinds/expected.json")).unwrap();
    assert!(expected.len() >= 40);
    let number = |value: &Value| u32::try_from(value.as_u64().unwrap()).unwrap();
    let mut wrong = Vec::new();
    for (name, picture) in expected {
        let original = fixture(&format!("kinds/{name}"));
        for format in OFFERED {
            let variant = match render(&original, VariantSpec { width: width(100), format }) {
                Ok(variant) => variant,
                Err(refusal) => {
                    wrong.push(format!("{name} as {}: {refusal}", format.mime()));
                    continue;
                }
            };
            let size = (number(&picture["size"][0]), number(&picture["size"][1]));
            if (variant.width, variant.height) != size {
                wrong.push(format!("{name} as {}: {} x {}", format.mime(), variant.width, variant.height));
                continue;
            }
            let pixels = shown(&variant).into_rgba8();
            let has_alpha = !matches!(variant.format, ImageFormat::Jpeg);
            for patch in picture["patches"].as_array().unwrap() {
                let [x, y] = [0, 1].map(|at| number(&patch[at]));
                let wanted = Rgba([2, 3, 4, 5].map(|at| number(&patch[at]).to_le_bytes()[0]));
                let actual = *pixels.get_pixel(x, y);
                let near = |a: u8, b: u8| a.abs_diff(b) <= tolerance(format);
                let shows = on_white(actual).into_iter().zip(on_white(wanted)).all(|(a, b)| near(a, b));
                if !shows || has_alpha && !near(actual[3], wanted[3]) {
                    wrong.push(format!("{name} as {} at {x}, {y}: {actual:?} instead of {wanted:?}", format.mime()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
