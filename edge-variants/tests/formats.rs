//! Variants in each format, read by other decoders, are near the lossless one. This holds with our own codecs and with those
//! that can replace them: `--features retreat` runs it with them.
#![cfg(test)]

use std::{fs, io::Cursor, path::Path};

use xfiles_core::{
    sniff::Raster,
    variant::{ImageFormat, VariantSpec, Width},
};
use xfiles_edge_variants::render::{Rendered, render};
use zune_jpeg::JpegDecoder;

fn fixture(name: &str) -> Vec<u8> {
    fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures").join(name)).unwrap()
}

fn variant(original: &[u8], pixels: u32, format: ImageFormat) -> Rendered {
    let width = Width::ALL.into_iter().find(|width| width.pixels() == pixels).unwrap();
    render(original, VariantSpec { width, format }).unwrap()
}

/// Red, green, blue and alpha of each pixel.
fn pixels(variant: &Rendered) -> Vec<[u8; 4]> {
    let opaque = |rgb: &[u8]| rgb.as_chunks::<3>().0.iter().map(|[r, g, b]| [*r, *g, *b, 255]).collect();
    match Raster::of(&variant.bytes) {
        Some(Raster::WebP) => {
            let decoded = webp::Decoder::new(&variant.bytes).decode().unwrap();
            match decoded.layout() {
                webp::PixelLayout::Rgb => opaque(&decoded),
                webp::PixelLayout::Rgba => decoded.as_chunks().0.to_vec(),
            }
        }
        Some(Raster::Jpeg) => opaque(&JpegDecoder::new(Cursor::new(&variant.bytes)).decode().unwrap()),
        Some(Raster::Png) => image::load_from_memory(&variant.bytes).unwrap().into_rgba8().as_chunks().0.to_vec(),
        other => panic!("{other:?}"),
    }
}

/// The root of the mean square of the differences of colours, weighted by alpha.
fn distance(left: &[[u8; 4]], right: &[[u8; 4]]) -> f64 {
    assert_eq!(left.len(), right.len());
    let square = |a: u8, b: u8, alpha: u8| (f64::from(a.abs_diff(b)) * f64::from(alpha) / 255.0).powi(2);
    let squares =
        left.iter().zip(right).flat_map(|(a, b)| [0, 1, 2].map(|channel| square(a[channel], b[channel], b[3])));
    (squares.sum::<f64>() / (3 * left.len()) as f64).sqrt()
}

#[test]
fn lossy_variants_are_near_the_lossless_one() {
    // The charts have hard edges between saturated colours, where subsampled chroma loses most.
    let (photograph, chart) = (10.0, 20.0);
    for (name, tolerance) in [
        ("photo-12mp.jpg", photograph),
        ("photo-baseline.jpg", photograph),
        ("photo-progressive.jpg", photograph),
        ("photo-cmyk.jpg", photograph),
        ("portrait-exif6.jpg", photograph),
        ("photo-420.avif", photograph),
        ("photo-grey.avif", photograph),
        ("photo-tiled.tif", photograph),
        ("interlaced.png", chart),
        ("colour/grey.jpg", chart),
        ("colour/p3.jpg", chart),
        ("colour/ycck.jpg", chart),
        ("kinds/lossy.webp", chart),
    ] {
        let original = fixture(name);
        for width in [100, 400] {
            let lossless = variant(&original, width, ImageFormat::Png);
            for format in [ImageFormat::WebP, ImageFormat::Jpeg, ImageFormat::Auto] {
                let lossy = variant(&original, width, format);
                assert_eq!((lossy.width, lossy.height), (lossless.width, lossless.height), "{name}");
                let distance = distance(&pixels(&lossy), &pixels(&lossless));
                assert!(distance < tolerance, "{name} of {width} as {}: {distance}", format.mime());
            }
        }
    }
}

#[test]
fn alpha_is_lossless_in_webp() {
    for name in ["palette-alpha.png", "alpha.avif", "animated.webp"] {
        let original = fixture(name);
        for width in [100, 400] {
            let [lossless, lossy] =
                [ImageFormat::Png, ImageFormat::WebP].map(|format| pixels(&variant(&original, width, format)));
            let alpha = |pixels: &[[u8; 4]]| pixels.iter().map(|pixel| pixel[3]).collect::<Vec<_>>();
            assert!(alpha(&lossy) == alpha(&lossless), "{name} of {width}");
            let distance = distance(&lossy, &lossless);
            assert!(distance < 16.0, "{name} of {width}: {distance}");
        }
    }
}

#[test]
fn the_same_original_becomes_the_same_bytes() {
    let original = fixture("photo-baseline.jpg");
    for format in [ImageFormat::WebP, ImageFormat::Jpeg] {
        assert_eq!(variant(&original, 300, format), variant(&original, 300, format));
    }
}
