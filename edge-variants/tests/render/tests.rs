//! Every source in every format: upright, in sRGB, without metadata; and hostile sources refused.

use std::{
    fs,
    io::Cursor,
    path::Path,
    time::{Duration, Instant},
};

use image::{
    DynamicImage, ExtendedColorType, Frame, GenericImageView as _, GrayImage, ImageBuffer, ImageEncoder as _, Luma,
    LumaA, Rgb, RgbImage, Rgba, RgbaImage,
    codecs::{
        bmp::BmpEncoder,
        gif::GifEncoder,
        ico::{IcoEncoder, IcoFrame},
        png::PngEncoder,
    },
    imageops::{self, FilterType},
};
use jpeg_encoder::{Encoder, SamplingFactor};
use moxcms::ColorProfile;
use proptest::prelude::{Just, ProptestConfig, Strategy, any, prop, prop_oneof, proptest};
use ravif::{BitDepth, Img, RGBA8};
use tiff::encoder::{
    Compression, TiffEncoder, TiffValue,
    colortype::{ColorType, Gray8, RGB8, RGB16, RGBA8 as TiffRgba8},
    compression::DeflateLevel,
};
use xfiles_core::{
    sniff::{Dimensions, Raster},
    variant::{Colour, ImageFormat, VariantSpec, Width},
};

use super::{
    Arrival, CutOff, Decoding, Job, Original, Refusal, Rendered, decode,
    hostile::{patched, with_scans},
    limits, render,
};

pub(super) const OFFERED: [ImageFormat; 5] = ImageFormat::ALL;

pub(super) fn width(pixels: u32) -> Width {
    pixels.to_string().parse().unwrap()
}

fn make(original: &[u8], pixels: u32, format: ImageFormat) -> Rendered {
    render(original, VariantSpec { width: width(pixels), format }).unwrap()
}

fn refused(original: &[u8]) -> Refusal {
    render(original, VariantSpec { width: width(100), format: ImageFormat::WebP }).unwrap_err()
}

/// Decodes a variant, after checking its header.
pub(super) fn shown(variant: &Rendered) -> DynamicImage {
    let size = Dimensions { width: variant.width, height: variant.height };
    let raster = Raster::of(&variant.bytes).unwrap();
    assert_eq!(raster.header(&variant.bytes).unwrap().upright(), size);
    decode::decoder(raster)(&variant.bytes, size).unwrap().pixels
}

pub(super) fn fixture(name: &str) -> Vec<u8> {
    fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures").join(name)).unwrap()
}

/// An image with a different colour in each corner, soft gradients and hard edges.
pub(super) fn scene(width: u32, height: u32) -> RgbImage {
    let share = |part: u32, whole: u32| u8::try_from(part * 255 / whole).unwrap();
    RgbImage::from_fn(width, height, |x, y| match (x * 4 / width, y * 4 / height) {
        (0, 0) => Rgb([230, 30, 30]),
        (3, 0) => Rgb([30, 200, 30]),
        (0, 3) => Rgb([30, 30, 220]),
        _ => Rgb([share(x, width), share(y, height), 255 - share(x, width)]),
    })
}

/// The scene with alpha from transparent to opaque. Transparent pixels are a green that must not show.
pub(super) fn faded_scene(width: u32, height: u32) -> RgbaImage {
    let scene = scene(width, height);
    RgbaImage::from_fn(width, height, |x, y| {
        if x < width / 4 {
            return Rgba([0, 255, 0, 0]);
        }
        let Rgb([red, green, blue]) = *scene.get_pixel(x, y);
        Rgba([red, green, blue, if x < width / 2 { 128 } else { 255 }])
    })
}

fn on_white(picture: &DynamicImage) -> RgbImage {
    let mut white = RgbaImage::from_pixel(picture.width(), picture.height(), Rgba([255; 4]));
    imageops::overlay(&mut white, &picture.to_rgba8(), 0, 0);
    DynamicImage::from(white).into_rgb8()
}

/// The root mean square of the differences, in 8-bit steps.
fn distance(left: &RgbImage, right: &RgbImage) -> f64 {
    assert_eq!(left.dimensions(), right.dimensions());
    let squares = left.iter().zip(right.iter()).map(|(a, b)| f64::from(a.abs_diff(*b)).powi(2));
    (squares.sum::<f64>() / left.len() as f64).sqrt()
}

/// Checks that a variant shows `expected`, scaled by another resizer if it is larger, to within `tolerance`.
fn assert_shows(variant: &Rendered, expected: &DynamicImage, tolerance: f64, what: &str) {
    let reference = expected.resize_exact(variant.width, variant.height, FilterType::Lanczos3);
    let distance = distance(&on_white(&shown(variant)), &on_white(&reference));
    assert!(distance < tolerance, "{what}: distance {distance:.2}, at most {tolerance}");
}

pub(super) fn jpeg_with(picture: &RgbImage, set: impl FnOnce(&mut Encoder<&mut Vec<u8>>)) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = Encoder::new(&mut bytes, 92);
    set(&mut encoder);
    let side = |pixels: u32| u16::try_from(pixels).unwrap();
    encoder.encode(picture, side(picture.width()), side(picture.height()), jpeg_encoder::ColorType::Rgb).unwrap();
    bytes
}

pub(super) fn jpeg(picture: &RgbImage) -> Vec<u8> {
    jpeg_with(picture, |encoder| encoder.set_sampling_factor(SamplingFactor::R_4_2_0))
}

/// A JPEG of samples that are not converted from RGB.
fn raw_jpeg(samples: &[u8], width: u32, height: u32, colours: jpeg_encoder::ColorType) -> Vec<u8> {
    let mut bytes = Vec::new();
    let side = |pixels: u32| u16::try_from(pixels).unwrap();
    Encoder::new(&mut bytes, 92).encode(samples, side(width), side(height), colours).unwrap();
    bytes
}

pub(super) fn png(picture: &DynamicImage) -> Vec<u8> {
    let mut bytes = Vec::new();
    picture.write_with_encoder(PngEncoder::new(&mut bytes)).unwrap();
    bytes
}

pub(super) fn webp(picture: &DynamicImage, lossless: bool) -> Vec<u8> {
    let (width, height) = picture.dimensions();
    let encoded = if picture.color().has_alpha() {
        webp::Encoder::from_rgba(&picture.to_rgba8(), width, height).encode_simple(lossless, 92.0)
    } else {
        webp::Encoder::from_rgb(&picture.to_rgb8(), width, height).encode_simple(lossless, 92.0)
    };
    encoded.unwrap().to_vec()
}

pub(super) fn gif(frames: impl IntoIterator<Item = Frame>) -> Vec<u8> {
    let mut bytes = Vec::new();
    GifEncoder::new(&mut bytes).encode_frames(frames).unwrap();
    bytes
}

pub(super) fn bmp(picture: &DynamicImage) -> Vec<u8> {
    let mut bytes = Vec::new();
    picture.write_with_encoder(BmpEncoder::new(&mut bytes)).unwrap();
    bytes
}

/// An icon of a small red square and, second, the image.
pub(super) fn ico(picture: &DynamicImage) -> Vec<u8> {
    let red = DynamicImage::from(RgbaImage::from_pixel(16, 16, Rgba([255, 0, 0, 255])));
    let frames = [&red, picture].map(|picture| {
        let picture = picture.to_rgba8();
        IcoFrame::as_png(&picture, picture.width(), picture.height(), ExtendedColorType::Rgba8).unwrap()
    });
    let mut bytes = Vec::new();
    IcoEncoder::new(&mut bytes).encode_images(&frames).unwrap();
    bytes
}

pub(super) fn tiff<C: ColorType<Inner = T>, T: Copy>(
    samples: &[T],
    size: (u32, u32),
    compression: Compression,
) -> Vec<u8>
where
    [T]: TiffValue,
{
    let mut bytes = Cursor::new(Vec::new());
    let mut encoder = TiffEncoder::new(&mut bytes).unwrap().with_compression(compression);
    encoder.write_image::<C>(size.0, size.1, samples).unwrap();
    bytes.into_inner()
}

pub(super) fn avif(picture: &DynamicImage, depth: BitDepth) -> Vec<u8> {
    let size = |side: u32| usize::try_from(side).unwrap();
    let (width, height) = (size(picture.width()), size(picture.height()));
    let encoder = ravif::Encoder::new().with_quality(92.0).with_speed(10).with_bit_depth(depth);
    let samples: Vec<RGBA8> = picture.to_rgba8().pixels().map(|pixel| RGBA8::from(pixel.0)).collect();
    encoder.encode_rgba(Img::new(&samples, width, height)).unwrap().avif_file
}

fn to_16_bits(picture: &DynamicImage) -> DynamicImage {
    if picture.color().has_alpha() { picture.to_rgba16().into() } else { picture.to_rgb16().into() }
}

/// CMYK by the plain conversion, without black. The encoder stores it inverted, as Adobe does.
fn cmyk(picture: &RgbImage) -> Vec<u8> {
    picture.pixels().flat_map(|Rgb([red, green, blue])| [255 - red, 255 - green, 255 - blue, 0]).collect()
}

/// Inserts a chunk into a PNG, before its pixels.
pub(super) fn with_png_chunk(png: &[u8], name: &[u8; 4], payload: &[u8]) -> Vec<u8> {
    let body = [name.as_slice(), payload].concat();
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let chunk = [length.as_slice(), &body, &crc32(&body).to_be_bytes()].concat();
    // The signature and IHDR are 33 bytes.
    [&png[..33], &chunk, &png[33..]].concat()
}

pub(super) fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xEDB8_8320 } else { crc >> 1 })
    })
}

pub(super) fn with_jpeg_segment(jpeg: &[u8], marker: u8, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(payload.len() + 2).unwrap().to_be_bytes();
    [&jpeg[..2], &[0xFF, marker], &length, payload, &jpeg[2..]].concat()
}

/// Makes an extended WebP of a simple one, with further chunks before and after the image.
pub(super) fn extended_webp(simple: &[u8], size: (u32, u32), flags: u8, before: &[u8], after: &[u8]) -> Vec<u8> {
    let side = |pixels: u32| (pixels - 1).to_le_bytes()[..3].to_vec();
    let header = webp_chunk(b"VP8X", &[vec![flags, 0, 0, 0], side(size.0), side(size.1)].concat());
    let body = [b"WEBP".as_slice(), &header, before, &simple[12..], after].concat();
    [b"RIFF".as_slice(), &u32::try_from(body.len()).unwrap().to_le_bytes(), &body].concat()
}

fn webp_chunk(name: &[u8; 4], payload: &[u8]) -> Vec<u8> {
    let mut chunk = [name.as_slice(), &u32::try_from(payload.len()).unwrap().to_le_bytes(), payload].concat();
    chunk.resize(chunk.len().next_multiple_of(2), 0);
    chunk
}

/// Exif with an orientation only.
pub(super) fn exif(orientation: u8) -> Vec<u8> {
    [b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0".as_slice(), &[orientation, 0, 0, 0], &[0; 4]].concat()
}

#[test]
fn every_source_becomes_every_format() {
    let opaque = DynamicImage::from(scene(640, 480));
    let faded = DynamicImage::from(faded_scene(640, 480));
    let grey = DynamicImage::from(opaque.to_luma8());
    let rgb = opaque.to_rgb8();
    let size = (640, 480);
    let sources = [
        ("JPEG 4:2:0", jpeg(&rgb), &opaque),
        ("JPEG 4:4:4", jpeg_with(&rgb, |it| it.set_sampling_factor(SamplingFactor::R_4_4_4)), &opaque),
        ("JPEG 4:2:2", jpeg_with(&rgb, |it| it.set_sampling_factor(SamplingFactor::R_4_2_2)), &opaque),
        ("JPEG 4:4:0", jpeg_with(&rgb, |it| it.set_sampling_factor(SamplingFactor::R_4_4_0)), &opaque),
        ("JPEG 4:1:1", jpeg_with(&rgb, |it| it.set_sampling_factor(SamplingFactor::R_4_1_1)), &opaque),
        ("JPEG progressive", jpeg_with(&rgb, |it| it.set_progressive(true)), &opaque),
        ("JPEG in a scan for each component", jpeg_with(&rgb, |it| it.set_optimized_huffman_tables(true)), &opaque),
        (
            "JPEG 4:2:0 in a scan for each component",
            jpeg_with(&rgb, |it| {
                it.set_sampling_factor(SamplingFactor::R_4_2_0);
                it.set_optimized_huffman_tables(true);
            }),
            &opaque,
        ),
        ("JPEG with restarts", jpeg_with(&rgb, |it| it.set_restart_interval(4)), &opaque),
        ("JPEG grey", raw_jpeg(grey.as_bytes(), 640, 480, jpeg_encoder::ColorType::Luma), &grey),
        ("JPEG CMYK", raw_jpeg(&cmyk(&rgb), 640, 480, jpeg_encoder::ColorType::Cmyk), &opaque),
        ("JPEG YCCK", raw_jpeg(&cmyk(&rgb), 640, 480, jpeg_encoder::ColorType::CmykAsYcck), &opaque),
        ("PNG", png(&opaque), &opaque),
        ("PNG with alpha", png(&faded), &faded),
        ("PNG 16 bits", png(&to_16_bits(&opaque)), &opaque),
        ("PNG 16 bits with alpha", png(&to_16_bits(&faded)), &faded),
        ("PNG grey", png(&grey), &grey),
        ("PNG grey 16 bits", png(&grey.to_luma16().into()), &grey),
        ("PNG grey with alpha", png(&faded.to_luma_alpha8().into()), &faded.to_luma_alpha8().into()),
        ("WebP", webp(&opaque, false), &opaque),
        ("WebP lossless", webp(&opaque, true), &opaque),
        ("WebP with alpha", webp(&faded, false), &faded),
        ("WebP lossless with alpha", webp(&faded, true), &faded),
        ("GIF", gif([Frame::new(opaque.to_rgba8())]), &opaque),
        ("AVIF", avif(&opaque, BitDepth::Eight), &opaque),
        ("AVIF 10 bits", avif(&opaque, BitDepth::Ten), &opaque),
        ("AVIF with alpha", avif(&faded, BitDepth::Eight), &faded),
        ("AVIF 10 bits with alpha", avif(&faded, BitDepth::Ten), &faded),
        ("TIFF", tiff::<RGB8, _>(&rgb, size, Compression::Uncompressed), &opaque),
        ("TIFF LZW", tiff::<RGB8, _>(&rgb, size, Compression::Lzw), &opaque),
        ("TIFF deflate", tiff::<RGB8, _>(&rgb, size, Compression::Deflate(DeflateLevel::Fast)), &opaque),
        ("TIFF packed", tiff::<RGB8, _>(&rgb, size, Compression::Packbits), &opaque),
        ("TIFF 16 bits", tiff::<RGB16, _>(&opaque.to_rgb16(), size, Compression::Lzw), &opaque),
        ("TIFF grey", tiff::<Gray8, _>(grey.as_bytes(), size, Compression::Lzw), &grey),
        ("TIFF with alpha", tiff::<TiffRgba8, _>(&faded.to_rgba8(), size, Compression::Lzw), &faded),
        ("BMP", bmp(&opaque), &opaque),
        ("BMP with alpha", bmp(&faded), &faded),
    ];
    for (name, original, expected) in sources {
        // At the first width a JPEG is decoded at a fraction, at the second whole. Narrower variants have more hard
        // edges, where subsampled chroma loses more.
        for (width, height, tolerance) in [(100, 75, 9.0), (300, 225, 6.0)] {
            for format in OFFERED {
                let variant = make(&original, width, format);
                assert_eq!((variant.width, variant.height), (width, height), "{name}");
                assert_shows(&variant, expected, tolerance, &format!("{name} as {} of {width}", format.mime()));
            }
        }
    }
}

#[test]
fn the_largest_picture_of_an_icon_is_shown() {
    let faded = DynamicImage::from(faded_scene(256, 256));
    let variant = make(&ico(&faded), 100, ImageFormat::Png);
    assert_eq!((variant.width, variant.height), (100, 100));
    assert_shows(&variant, &faded, 2.0, "icon");
}

#[test]
fn avif_by_another_encoder_has_its_colours_its_alpha_and_its_turn() {
    let photo = shown(&make(&fixture("photo-12mp.jpg"), 300, ImageFormat::Png));
    for name in ["photo-420.avif", "photo-grey.avif"] {
        let expected = if name == "photo-grey.avif" { photo.grayscale() } else { photo.clone() };
        assert_shows(&make(&fixture(name), 100, ImageFormat::Png), &expected, 6.0, name);
    }
    for name in ["turned.avif", "mirrored.avif"] {
        let variant = make(&fixture(name), 100, ImageFormat::Png);
        assert_eq!((variant.width, variant.height), (100, 75), "{name}");
        assert_shows(&variant, &photo, 6.0, name);
    }
    let faded = shown(&make(&fixture("alpha.avif"), 100, ImageFormat::Png)).into_rgba8();
    let alphas = [5, 50, 95].map(|x| faded.get_pixel(x, 40)[3]);
    assert!(alphas[0] < 20 && alphas[1].abs_diff(128) < 8 && alphas[2] > 235, "{alphas:?}");
}

#[test]
fn a_tiff_in_tiles_is_rendered() {
    let photo = shown(&make(&fixture("photo-12mp.jpg"), 300, ImageFormat::Png));
    assert_shows(&make(&fixture("photo-tiled.tif"), 100, ImageFormat::Png), &photo, 6.0, "tiles");
}

#[test]
fn a_photo_looks_like_itself_at_every_width() {
    let original = fixture("photo-12mp.jpg");
    let size = Dimensions { width: 4000, height: 3000 };
    let photo = decode::decoder(Raster::Jpeg)(&original, size).unwrap().pixels;
    // The reference averages blocks, because the other resizer takes seconds at this size.
    let photo = photo.thumbnail_exact(2000, 1500);
    for width in Width::ALL {
        let variant = render(&original, VariantSpec { width, format: ImageFormat::WebP }).unwrap();
        assert_eq!((variant.width, variant.height), (width.pixels(), width.pixels() * 3 / 4));
        assert_shows(&variant, &photo, 6.0, &format!("width {width}"));
    }
}

#[test]
fn every_orientation_is_turned_upright_and_the_width_is_the_upright_one() {
    let upright = DynamicImage::from(scene(200, 320));
    for orientation in 1..=8 {
        let mut stored = upright.clone();
        let inverse = [1, 2, 3, 4, 5, 8, 7, 6][usize::from(orientation - 1)];
        stored.apply_orientation(image::metadata::Orientation::from_exif(inverse).unwrap());
        let exif = exif(orientation);
        let in_segment = [b"Exif\0\0".as_slice(), &exif].concat();
        let chunk = webp_chunk(b"EXIF", &exif);
        for (name, original) in [
            ("JPEG", with_jpeg_segment(&jpeg(&stored.to_rgb8()), 0xE1, &in_segment)),
            ("PNG", with_png_chunk(&png(&stored), b"eXIf", &exif)),
            ("WebP", extended_webp(&webp(&stored, false), stored.dimensions(), 0x08, &[], &chunk)),
        ] {
            for format in OFFERED {
                let variant = make(&original, 100, format);
                assert_eq!((variant.width, variant.height), (100, 160), "{name}, orientation {orientation}");
                assert_shows(&variant, &upright, 8.0, &format!("{name}, orientation {orientation}"));
            }
        }
    }
}

#[test]
fn planes_are_turned_upright_where_a_side_is_odd() {
    let upright = DynamicImage::from(scene(803, 1213));
    for orientation in 1..=8 {
        let mut stored = upright.clone();
        let inverse = [1, 2, 3, 4, 5, 8, 7, 6][usize::from(orientation - 1)];
        stored.apply_orientation(image::metadata::Orientation::from_exif(inverse).unwrap());
        let in_segment = [b"Exif\0\0".as_slice(), &exif(orientation)].concat();
        let original = with_jpeg_segment(&jpeg(&stored.to_rgb8()), 0xE1, &in_segment);
        for format in [ImageFormat::WebP, ImageFormat::Jpeg, ImageFormat::Png] {
            let variant = make(&original, 100, format);
            assert_eq!((variant.width, variant.height), (100, 151), "orientation {orientation}");
            assert_shows(&variant, &upright, 8.0, &format!("orientation {orientation} as {}", format.mime()));
        }
    }
}

#[test]
fn a_photo_from_a_camera_held_upright_comes_out_upright() {
    let variant = make(&fixture("portrait-exif6.jpg"), 300, ImageFormat::Jpeg);
    assert_eq!((variant.width, variant.height), (300, 400));
    // The left part of the large photograph.
    let photo = shown(&make(&fixture("photo-12mp.jpg"), 1200, ImageFormat::Png)).crop_imm(0, 0, 675, 900);
    assert_shows(&variant, &photo, 8.0, "portrait");
}

#[test]
fn nothing_is_enlarged() {
    let small = DynamicImage::from(scene(50, 40));
    for original in [png(&small), jpeg(&small.to_rgb8()), webp(&small, true), gif([Frame::new(small.to_rgba8())])] {
        for format in OFFERED {
            let variant = make(&original, 1200, format);
            assert_eq!((variant.width, variant.height), (50, 40));
            assert_shows(&variant, &small, 20.0, format.mime());
        }
    }
}

#[test]
fn extreme_proportions_are_rendered() {
    for (size, expected) in [((16_384, 1), (100, 1)), ((1, 16_384), (1, 16_383)), ((1, 1), (1, 1)), ((3, 7), (3, 7))] {
        let original = png(&DynamicImage::new_rgb8(size.0, size.1));
        for format in OFFERED {
            let variant = make(&original, 100, format);
            assert_eq!((variant.width, variant.height), expected);
            shown(&variant);
        }
    }
}

#[test]
fn metadata_stays_behind() {
    let original = fixture("photo-12mp.jpg");
    let holds = |bytes: &[u8], text: &str| bytes.windows(text.len()).any(|window| window == text.as_bytes());
    assert!(holds(&original, "Exif") && holds(&original, "Fixture Camera"));
    let tagged = {
        let profile = ColorProfile::new_display_p3().encode().unwrap();
        let icc = [b"ICC_PROFILE\0\x01\x01".as_slice(), &profile].concat();
        with_jpeg_segment(&jpeg(&scene(200, 100)), 0xE2, &icc)
    };
    for original in [original, tagged] {
        for format in OFFERED {
            let bytes = make(&original, 100, format).bytes;
            for trace in ["Exif", "EXIF", "eXIf", "Fixture", "ICC_PROFILE", "ICCP", "iCCP", "XMP", "tEXt"] {
                assert!(!holds(&bytes, trace), "{} holds {trace}", format.mime());
            }
        }
    }
}

#[test]
fn transparency_is_kept_or_becomes_white_and_hidden_colours_do_not_show() {
    let original = png(&faded_scene(640, 480).into());
    for format in [ImageFormat::WebP, ImageFormat::Png] {
        let variant = shown(&make(&original, 300, format)).into_rgba8();
        assert_eq!(variant.get_pixel(10, 100)[3], 0);
        assert!(variant.get_pixel(110, 100)[3].abs_diff(128) <= 2);
        assert_eq!(variant.get_pixel(250, 100)[3], 255);
        // Premultiplied alpha keeps the hidden green out of visible colours.
        let Rgba([_, green, _, alpha]) = *variant.get_pixel(76, 110);
        assert!(alpha > 100 && green.abs_diff(125) < 20, "{:?}", variant.get_pixel(76, 110));
    }
    let flat = shown(&make(&original, 300, ImageFormat::Jpeg)).into_rgb8();
    assert!(flat.get_pixel(10, 100).0.iter().all(|sample| *sample >= 250), "{:?}", flat.get_pixel(10, 100));
}

#[test]
fn a_jpeg_shows_the_background_that_it_is_given_and_no_other_format_does() {
    let clear =
        DynamicImage::from(RgbaImage::from_fn(64, 64, |x, _| Rgba([200, 30, 30, if x < 32 { 0 } else { 255 }])));
    let grey = clear.grayscale();
    let background: Colour = "#204080".parse().unwrap();
    for (original, opaque) in [(png(&clear), [200, 30, 30]), (png(&grey), [66; 3])] {
        let made = |format| Job::new(VariantSpec { width: width(100), format }).on(background).run(&original).unwrap();
        let shown = shown(&made(ImageFormat::Jpeg)).into_rgb8();
        for (x, expected) in [(8, [0x20, 0x40, 0x80]), (56, opaque)] {
            let Rgb(actual) = *shown.get_pixel(x, 32);
            assert!(actual.into_iter().zip(expected).all(|(a, b): (u8, u8)| a.abs_diff(b) < 8), "{actual:?}");
        }
        for format in [ImageFormat::WebP, ImageFormat::Png, ImageFormat::Auto] {
            assert_eq!(made(format), make(&original, 100, format), "{}", format.mime());
        }
    }
}

#[test]
fn what_is_left_to_the_worker_is_jpeg_or_png_of_what_is_transparent() {
    let opaque = DynamicImage::from(scene(200, 100));
    let hides_nothing = DynamicImage::from(opaque.to_rgba8());
    let faded = DynamicImage::from(faded_scene(200, 100));
    for (picture, expected) in
        [(opaque, ImageFormat::Jpeg), (hides_nothing, ImageFormat::Jpeg), (faded, ImageFormat::Png)]
    {
        let variant = make(&png(&picture), 100, ImageFormat::Auto);
        assert_eq!(variant.format, expected);
        let raster = if expected == ImageFormat::Png { Raster::Png } else { Raster::Jpeg };
        assert_eq!(Raster::of(&variant.bytes), Some(raster));
    }
}

#[test]
fn an_alpha_that_hides_nothing_is_dropped() {
    let opaque = DynamicImage::from(DynamicImage::from(scene(200, 100)).to_rgba8());
    for original in [png(&opaque), png(&to_16_bits(&opaque)), webp(&opaque, true), gif([Frame::new(opaque.to_rgba8())])]
    {
        for format in OFFERED {
            assert!(!shown(&make(&original, 100, format)).color().has_alpha());
        }
    }
}

#[test]
fn grey_stays_grey() {
    let grey = GrayImage::from_fn(200, 100, |x, _| Luma([u8::try_from(x).unwrap()]));
    let variant = make(&png(&grey.clone().into()), 100, ImageFormat::Png);
    assert_eq!(shown(&variant).color(), image::ColorType::L8);
    let variant = make(&png(&grey.into()), 100, ImageFormat::Jpeg);
    assert_eq!(shown(&variant).color(), image::ColorType::L8);
    let clear = ImageBuffer::from_pixel(200, 100, LumaA([7_u8, 9]));
    let variant = make(&png(&clear.into()), 100, ImageFormat::Png);
    assert_eq!(shown(&variant).color(), image::ColorType::La8);
}

#[test]
fn a_palette_with_transparency_is_rendered() {
    // Bars of 20 pixels: a transparent and a half-transparent one, repeated.
    let variant = shown(&make(&fixture("palette-alpha.png"), 400, ImageFormat::Png)).into_rgba8();
    assert_eq!(variant.dimensions(), (320, 100));
    assert_eq!(variant.get_pixel(10, 50)[3], 0);
    assert_eq!(*variant.get_pixel(30, 50), Rgba([16, 239, 128, 128]));
    assert_eq!(*variant.get_pixel(50, 50), Rgba([32, 223, 128, 255]));
}

#[test]
fn an_interlaced_png_is_rendered() {
    let photo = shown(&make(&fixture("photo-12mp.jpg"), 300, ImageFormat::Png));
    assert_shows(&make(&fixture("interlaced.png"), 100, ImageFormat::WebP), &photo, 6.0, "interlaced");
}

#[test]
fn a_cmyk_jpeg_by_another_encoder_has_its_colours() {
    let photo = shown(&make(&fixture("photo-12mp.jpg"), 300, ImageFormat::Png));
    assert_shows(&make(&fixture("photo-cmyk.jpg"), 100, ImageFormat::Png), &photo, 6.0, "CMYK");
}

#[test]
fn the_first_frame_of_an_animation_stands_in_its_place() {
    let disc = |variant: &Rendered, name: &str| {
        let picture = shown(variant).into_rgba8();
        assert_eq!(picture.dimensions(), (200, 150), "{name}");
        let Rgba([red, green, blue, alpha]) = *picture.get_pixel(45, 75);
        assert!(red > 200 && green < 60 && blue < 60 && alpha == 255, "{name}: {:?}", picture.get_pixel(45, 75));
        assert_eq!(picture.get_pixel(155, 75)[3], 0, "{name}");
        assert_eq!(picture.get_pixel(5, 5)[3], 0, "{name}");
    };
    disc(&make(&fixture("animated.webp"), 300, ImageFormat::Png), "WebP");

    let canvas = RgbaImage::from_fn(200, 150, |x, y| {
        let inside = (10..80).contains(&x) && (40..110).contains(&y);
        if inside { Rgba([220, 40, 40, 255]) } else { Rgba([0; 4]) }
    });
    let part = RgbaImage::from_pixel(70, 70, Rgba([40, 40, 220, 255]));
    let frames = [Frame::new(canvas), Frame::from_parts(part, 120, 40, image::Delay::from_numer_denom_ms(200, 1))];
    disc(&make(&gif(frames), 300, ImageFormat::Png), "GIF");
}

#[test]
fn an_animation_that_lies_about_its_frame_is_refused() {
    let original = fixture("animated.webp");
    let at = original.windows(4).position(|window| window == b"ANMF").unwrap() + 8;
    for (field, value) in [(0, 100_u8), (2, 1), (3, 50), (6, 200), (8, 60), (9, 0)] {
        let mut broken = original.clone();
        broken[at + field] = value;
        assert_eq!(refused(&broken), Refusal::Corrupt, "field {field}");
    }
}

fn with_profile(profile: &[u8], picture: &DynamicImage) -> [Vec<u8>; 3] {
    let icc = [b"ICC_PROFILE\0\x01\x01".as_slice(), profile].concat();
    let mut png = Vec::new();
    let mut encoder = PngEncoder::new(&mut png);
    encoder.set_icc_profile(profile.to_vec()).unwrap();
    let colour: ExtendedColorType = picture.color().into();
    encoder.write_image(picture.as_bytes(), picture.width(), picture.height(), colour).unwrap();
    [
        with_jpeg_segment(&jpeg_with(&picture.to_rgb8(), |_| ()), 0xE2, &icc),
        png,
        extended_webp(&webp(picture, true), picture.dimensions(), 0x20, &webp_chunk(b"ICCP", profile), &[]),
    ]
}

fn assert_colour(original: &[u8], expected: [u8; 3], what: &str) {
    let variant = shown(&make(original, 100, ImageFormat::Png)).into_rgb8();
    let Rgb(actual) = *variant.get_pixel(50, 25);
    let near = actual.iter().zip(expected).all(|(a, b)| a.abs_diff(b) <= 3);
    assert!(near, "{what}: {actual:?} instead of {expected:?}");
}

#[test]
fn other_colour_spaces_are_brought_to_srgb() {
    let flat = |colour| DynamicImage::from(RgbImage::from_pixel(200, 100, Rgb(colour)));
    // By the matrices of both colour spaces: Display P3 has the transfer function of sRGB, Adobe RGB gamma 2.2.
    let p3 = ColorProfile::new_display_p3().encode().unwrap();
    let adobe = ColorProfile::new_adobe_rgb().encode().unwrap();
    for (name, profile, colour, expected) in [
        ("Display P3", &p3, [200, 100, 50], [213, 96, 34]),
        ("Display P3", &p3, [128, 128, 128], [128, 128, 128]),
        ("Adobe RGB", &adobe, [100, 150, 100], [65, 151, 97]),
    ] {
        for original in with_profile(profile, &flat(colour)) {
            assert_colour(&original, expected, name);
        }
        let [_, deep, _] = with_profile(profile, &to_16_bits(&flat(colour)));
        assert_colour(&deep, expected, &format!("{name} in 16 bits"));
    }
}

/// The tolerance beside LittleCMS, of 255: for two JPEG decoders, two interpolations of a table, and a rounding each.
const COLOUR_TOLERANCE: u8 = 3;

#[test]
fn charts_in_other_colour_spaces_show_what_littlecms_shows() {
    let expected: serde_json::Map<String, serde_json::Value> =
        serde_json::from_slice(&fixture("colour/expected.json")).unwrap();
    assert!(expected.len() >= 12);
    for (name, patches) in expected {
        // Narrower than the chart, so that it is scaled, and wide enough that it is not; as pixels and as planes.
        for (width, format) in [(100, ImageFormat::Png), (400, ImageFormat::Png), (100, ImageFormat::WebP)] {
            let variant = shown(&make(&fixture(&format!("colour/{name}")), width, format)).into_rgb8();
            for (at, patch) in (0..).zip(patches.as_array().unwrap()) {
                let middle = |at: u32, count: u32, side: u32| (2 * at + 1) * side / (2 * count);
                let (x, y) = (middle(at % 6, 6, variant.width()), middle(at / 6, 4, variant.height()));
                let Rgb(actual) = *variant.get_pixel(x, y);
                let wanted = [0, 1, 2].map(|channel| u8::try_from(patch[channel].as_u64().unwrap()).unwrap());
                // WebP subsamples chroma and is lossy.
                let tolerance = COLOUR_TOLERANCE + if format == ImageFormat::WebP { 9 } else { 0 };
                let near = actual.iter().zip(wanted).all(|(a, b)| a.abs_diff(b) <= tolerance);
                assert!(near, "{name} of {width}, patch {at}: {actual:?} instead of {wanted:?}");
            }
        }
    }
}

#[test]
fn a_grey_profile_is_applied_to_grey() {
    let mut linear = ColorProfile::new_gray_with_gamma(1.0);
    linear.description = None;
    let grey = DynamicImage::from(GrayImage::from_pixel(200, 100, Luma([55])));
    let [_, png, _] = with_profile(&linear.encode().unwrap(), &grey);
    assert_colour(&png, [128; 3], "linear grey");
}

#[test]
fn a_profile_that_is_srgb_or_damaged_or_for_other_channels_changes_nothing() {
    let scene = DynamicImage::from(scene(200, 100));
    let plain = make(&png(&scene), 100, ImageFormat::Png);
    let plain_webp = make(&webp(&scene, true), 100, ImageFormat::Png);
    let srgb = ColorProfile::new_srgb().encode().unwrap();
    let grey = ColorProfile::new_gray_with_gamma(1.0).encode().unwrap();
    for profile in [srgb.as_slice(), &grey, &srgb[..srgb.len() / 2], b"no profile"] {
        let [_, png, webp] = with_profile(profile, &scene);
        assert_eq!(make(&png, 100, ImageFormat::Png), plain);
        assert_eq!(make(&webp, 100, ImageFormat::Png), plain_webp);
    }
}

#[test]
fn the_same_original_makes_the_same_bytes() {
    for name in ["photo-12mp.jpg", "animated.webp", "palette-alpha.png"] {
        let original = fixture(name);
        for format in OFFERED {
            assert_eq!(make(&original, 300, format), make(&original, 300, format), "{name}");
        }
    }
}

#[test]
fn what_is_not_ready_in_time_is_given_up_whatever_it_is() {
    let scene = DynamicImage::from(scene(160, 120));
    for original in [
        jpeg(&scene.to_rgb8()),
        jpeg_with(&scene.to_rgb8(), |encoder| encoder.set_progressive(true)),
        fixture("colour/cmyk.jpg"),
        png(&scene),
        webp(&scene, false),
        webp(&scene, true),
        gif([Frame::new(scene.to_rgba8())]),
        avif(&scene, BitDepth::Eight),
    ] {
        for format in OFFERED {
            let job = Job::new(VariantSpec { width: width(100), format });
            let later = Instant::now() + Duration::from_secs(600);
            assert!(job.until(later).run(&original).is_ok());
            assert_eq!(job.until(Instant::now()).run(&original), Err(Refusal::OutOfTime));
        }
    }
}

#[test]
fn what_is_not_decoded_is_unsupported() {
    for other in [b"".as_slice(), b"<svg xmlns='http://www.w3.org/2000/svg'/>", b"%PDF-1.7"] {
        assert_eq!(refused(other), Refusal::Unsupported, "{other:?}");
    }
}

/// A PNG of IHDR and the beginning of its pixels.
pub(super) fn png_header(width: u32, height: u32, depth: u8, colours: u8) -> Vec<u8> {
    let header = [width.to_be_bytes().as_slice(), &height.to_be_bytes(), &[depth, colours, 0, 0, 0]].concat();
    let body = [b"IHDR".as_slice(), &header].concat();
    let start = [b"\x89PNG\r\n\x1A\n\0\0\0\x0D".as_slice(), &body, &crc32(&body).to_be_bytes()].concat();
    with_png_chunk(&start, b"IDAT", b"\x78\x9C\x03\0\0\0\0\x01")
}

#[test]
fn a_picture_that_is_too_large_is_refused_by_its_header() {
    let jpeg = |width: u16, height: u16| {
        let sides = [height.to_be_bytes(), width.to_be_bytes()].concat();
        let frame = [b"\x08".as_slice(), &sides, b"\x01\x01\x11\0"].concat();
        with_jpeg_segment(b"\xFF\xD8\xFF\xDA\0\x08\x01\x01\0\0\x3F\0\0\0\xFF\xD9", 0xC0, &frame)
    };
    let progressive = |width, height| patched(jpeg(width, height), &[0xFF, 0xC0], 1, &[0xC2]);
    let gif = |side: u16| [b"GIF89a".as_slice(), &side.to_le_bytes(), &side.to_le_bytes(), b"\0\0\0;"].concat();
    let long = |width, height| Refusal::SideTooLong { width, height };
    let many = |width, height| Refusal::TooManyPixels { width, height };
    for (original, expected) in [
        (png_header(60_000, 60_000, 8, 2), many(60_000, 60_000)),
        (png_header(65_536, 1, 8, 2), long(65_536, 1)),
        (png_header(1, u32::MAX, 8, 2), long(1, u32::MAX)),
        (png_header(10_000, 10_000, 1, 0), many(10_000, 10_000)),
        // Its rows are streamed, so the failure is that rows are missing.
        (png_header(8192, 6144, 16, 6), Refusal::Corrupt),
        (jpeg(65_500, 65_500), many(65_500, 65_500)),
        (jpeg(16_384, 16_384), many(16_384, 16_384)),
        (progressive(16_000, 4000), many(16_000, 4000)),
        (jpeg(16_000, 4000), many(16_000, 4000)),
        (gif(65_535), many(65_535, 65_535)),
        (gif(8000), many(8000, 8000)),
        (
            extended_webp(&webp(&DynamicImage::new_rgb8(1, 1), true), (1 << 24, 1 << 24), 0, &[], &[]),
            long(1 << 24, 1 << 24),
        ),
    ] {
        assert_eq!(refused(&original), expected);
    }
}

/// A small JPEG that claims another size.
fn claiming(width: u16, height: u16) -> Vec<u8> {
    let sides = [height.to_be_bytes(), width.to_be_bytes()].concat();
    patched(jpeg(&scene(640, 480)), &[0xFF, 0xC0], 5, &sides)
}

#[test]
fn a_jpeg_that_cannot_be_held_is_walked_and_shown_at_half_its_size_at_most() {
    for ((width, height), expected) in [
        ((65_500, 4090), [(1200, 75), (100, 6)]),
        ((65_535, 1), [(1200, 1), (100, 1)]),
        // Half of it is narrower than what is asked for, and shorter than WebP's limit.
        ((2000, 30_000), [(1000, 15_000), (100, 1500)]),
    ] {
        for (pixels, expected) in [1200, 100].into_iter().zip(expected) {
            let variant = make(&claiming(width, height), pixels, ImageFormat::WebP);
            assert_eq!((variant.width, variant.height), expected, "{width} x {height} at {pixels}");
        }
    }
    // Only grey and YCbCr are decoded without holding the frame.
    let cmyk = patched(fixture("photo-cmyk.jpg"), &[0xFF, 0xC0], 5, &[0x20, 0, 0x20, 0]);
    assert_eq!(refused(&cmyk), Refusal::TooManyPixels { width: 0x2000, height: 0x2000 });
}

#[test]
fn a_tall_picture_is_webp_where_avif_would_take_too_long() {
    let tall = |height| png(&DynamicImage::new_luma8(1200, height));
    let variant = make(&tall(7000), 1200, ImageFormat::Avif);
    assert_eq!((variant.format, variant.height), (ImageFormat::WebP, 7000));
    assert_eq!(Raster::of(&variant.bytes), Some(Raster::WebP));
    assert_eq!(variant, make(&tall(7000), 1200, ImageFormat::WebP));
    assert_eq!(make(&tall(7000), 300, ImageFormat::Avif).format, ImageFormat::Avif);
}

/// Sends an original in pieces, with an end or without, and counts the bytes that were taken.
fn sent<T>(bytes: &[u8], piece: usize, ends: bool, work: impl FnOnce(Original<'static>) -> T) -> (T, usize) {
    let (arrival, original) = Original::arriving(bytes.len() as u64);
    let send = async |arrival: Arrival| {
        let mut taken = 0;
        for piece in bytes.chunks(piece) {
            if arrival.send(piece.to_vec().into()).await.is_err() {
                return taken;
            }
            taken += piece.len();
        }
        if ends {
            let _ = arrival.end().await;
        }
        taken
    };
    std::thread::scope(|scope| {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let sender = scope.spawn(move || runtime.block_on(send(arrival)));
        (work(original), sender.join().unwrap())
    })
}

/// Originals that are read in different ways: baseline, by scans, whole, with profiles, turned.
fn arrivals() -> Vec<(&'static str, Vec<u8>)> {
    let picture = scene(1600, 1200);
    let small = DynamicImage::from(scene(160, 120));
    vec![
        ("baseline", jpeg(&picture)),
        ("restarts", jpeg_with(&picture, |encoder| encoder.set_restart_interval(7))),
        ("scans", jpeg_with(&picture, |encoder| encoder.set_optimized_huffman_tables(true))),
        ("progressive", jpeg_with(&picture, |encoder| encoder.set_progressive(true))),
        ("turned", fixture("portrait-exif6.jpg")),
        ("CMYK", fixture("photo-cmyk.jpg")),
        ("PNG", png(&small)),
        ("WebP", webp(&small, false)),
        ("AVIF", fixture("turned.avif")),
        ("GIF", gif([Frame::new(small.to_rgba8())])),
        ("tiled TIFF", fixture("photo-tiled.tif")),
        ("BMP", bmp(&small)),
        ("ICO", ico(&small)),
        ("no picture", b"no picture".to_vec()),
    ]
}

#[test]
fn what_arrives_in_pieces_is_what_was_there_at_once() {
    for (name, original) in arrivals() {
        for pixels in [100, 400] {
            let job = Job::new(VariantSpec { width: width(pixels), format: ImageFormat::WebP });
            for piece in [997, 100_000] {
                let (arrived, _) = sent(&original, piece, true, |original| job.run_on(original));
                assert!(arrived.unwrap() == job.run(&original), "{name} at {pixels} in pieces of {piece}");
            }
        }
    }
}

#[test]
fn what_is_cut_off_is_never_shown_unless_all_that_was_needed_is_there() {
    for (name, original) in arrivals() {
        let job = Job::new(VariantSpec { width: width(100), format: ImageFormat::WebP });
        for tenth in 0..10 {
            let there = &original[..original.len() * tenth / 10];
            match sent(there, 1000, false, |original| job.run_on(original)).0 {
                Err(CutOff) => {}
                Ok(made) => {
                    assert_eq!(name, "progressive", "{tenth} tenths of {name}");
                    assert!(made == job.run(&original), "{tenth} tenths of {name}");
                }
            }
        }
    }
}

#[test]
fn variants_of_one_decoding_are_those_made_alone_and_share_what_can_be_shared() {
    let small = DynamicImage::from(scene(160, 120));
    for (name, original, most) in [
        // One for each scale that the widths need, with subsampled chroma and with full chroma.
        ("baseline", fixture("photo-12mp.jpg"), 7),
        ("turned", fixture("portrait-exif6.jpg"), 7),
        ("CMYK", fixture("photo-cmyk.jpg"), 7),
        ("transparent PNG", png(&faded_scene(1600, 1200).into()), 1),
        // One that is scaled, and one at its own size.
        ("small transparent PNG", png(&faded_scene(160, 120).into()), 2),
        ("WebP", webp(&small, false), 2),
        // Scaled down far without filters, scaled, and at its own size.
        ("AVIF", fixture("turned.avif"), 3),
        ("GIF", gif([Frame::new(small.to_rgba8())]), 2),
    ] {
        let mut decoding = Decoding::new(Original::from(original.as_slice()));
        let formats = [ImageFormat::WebP, ImageFormat::Jpeg, ImageFormat::Png];
        let specs = Width::ALL.into_iter().flat_map(|width| formats.map(|format| VariantSpec { width, format }));
        let mut jobs: Vec<Job> = specs.map(|spec| Job::new(spec).with_placeholder(true)).collect();
        while !jobs.is_empty() {
            // In the order of the worker.
            let same = jobs.iter().position(|job| decoding.has_pixels_for(job));
            let job = jobs.remove(same.unwrap_or(0));
            let before = decoding.decodes();
            let variant = decoding.shrink(job).unwrap().and_then(|small| job.encode(small));
            assert!(variant == job.run(&original), "{name}: {:?}", job.spec);
            assert_eq!(decoding.decodes() == before, same.is_some(), "{name}: {:?}", job.spec);
        }
        assert!((1..=most).contains(&decoding.decodes()), "{name}: {}", decoding.decodes());
    }
}

#[test]
fn no_more_is_read_than_is_needed() {
    let progressive = jpeg_with(&scene(1600, 1200), |encoder| encoder.set_progressive(true));
    let baseline = [jpeg(&scene(1600, 1200)), vec![0x55; 1 << 20]].concat();
    let header = [png_header(60_000, 60_000, 8, 6), vec![0x55; 1 << 20]].concat();
    for (name, original, most) in [
        ("mean values", &progressive, progressive.len() * 3 / 4),
        ("a picture with something behind", &baseline, baseline.len() - (900 << 10)),
        ("a header that is refused", &header, 80 << 10),
    ] {
        let job = Job::new(VariantSpec { width: width(100), format: ImageFormat::WebP });
        let (_, taken) = sent(original, 1000, true, |original| job.run_on(original));
        assert!(taken <= most, "{name}: {taken} of {}", original.len());
    }
}

#[test]
fn the_largest_pictures_of_telephones_are_within_the_limits() {
    for (width, height) in [(8192, 6144), (8160, 6120), (12_000, 4000)] {
        let header = Raster::Png.header(&png_header(width, height, 8, 6)).unwrap();
        assert_eq!(limits::admit(header.stored), Ok(()));
        assert!(limits::frame_bytes(header.stored, 4).is_ok());
    }
}

#[test]
fn a_frame_larger_than_its_canvas_is_refused() {
    let large = webp(&scene(640, 480).into(), false);
    assert_eq!(refused(&extended_webp(&large, (100, 100), 0, &[], &[])), Refusal::Corrupt);
    let large = webp(&scene(640, 480).into(), true);
    assert_eq!(refused(&extended_webp(&large, (100, 100), 0, &[], &[])), Refusal::Corrupt);
}

#[test]
fn a_progressive_jpeg_of_endless_scans_is_refused() {
    let original = jpeg_with(&scene(64, 64), |encoder| encoder.set_progressive(true));
    make(&with_scans(&original, 1), 100, ImageFormat::WebP);
    assert_eq!(refused(&with_scans(&original, limits::MAX_SCANS)), Refusal::Corrupt);
}

#[test]
fn an_original_cut_short_is_refused_or_shown_as_far_as_it_goes() {
    let scene = DynamicImage::from(scene(160, 120));
    let animation = [Frame::new(scene.to_rgba8()), Frame::new(scene.to_rgba8())];
    for (name, original) in [
        ("JPEG", jpeg(&scene.to_rgb8())),
        ("progressive JPEG", jpeg_with(&scene.to_rgb8(), |encoder| encoder.set_progressive(true))),
        ("PNG", png(&scene)),
        ("interlaced PNG", fixture("interlaced.png")),
        ("WebP", webp(&scene, false)),
        ("lossless WebP", webp(&scene, true)),
        ("animated WebP", fixture("animated.webp")),
        ("GIF", gif(animation)),
        ("AVIF", avif(&scene, BitDepth::Eight)),
        ("TIFF", tiff::<RGB8, _>(&scene.to_rgb8(), (160, 120), Compression::Lzw)),
        ("tiled TIFF", fixture("photo-tiled.tif")),
        ("BMP", bmp(&scene)),
        ("ICO", ico(&scene)),
    ] {
        let step = (original.len() / 150).max(1);
        for end in (0..original.len()).step_by(step) {
            match render(&original[..end], VariantSpec { width: width(100), format: ImageFormat::Png }) {
                Ok(variant) => drop(shown(&variant)),
                Err(refusal) => {
                    assert!(matches!(refusal, Refusal::Corrupt | Refusal::Unsupported), "{name}: {refusal:?}");
                }
            }
        }
    }
}

#[test]
fn a_jpeg_without_its_end_shows_its_beginning() {
    let scene = scene(320, 240);
    let original = jpeg(&scene);
    let variant = make(&original[..original.len() * 2 / 3], 400, ImageFormat::Png);
    let top = shown(&variant).crop_imm(0, 0, 320, 80).into_rgb8();
    assert!(distance(&top, &imageops::crop_imm(&scene, 0, 0, 320, 80).to_image()) < 6.0);
}

/// A small original of any format with a few bytes changed, mostly near its beginning.
fn damaged() -> impl Strategy<Value = Vec<u8>> {
    let scene = DynamicImage::from(scene(40, 30));
    let originals = [
        jpeg(&scene.to_rgb8()),
        jpeg_with(&scene.to_rgb8(), |encoder| encoder.set_progressive(true)),
        png(&scene),
        png(&faded_scene(40, 30).into()),
        webp(&scene, false),
        webp(&scene, true),
        webp(&faded_scene(40, 30).into(), false),
        fixture("animated.webp"),
        gif([Frame::new(scene.to_rgba8())]),
        avif(&scene, BitDepth::Eight),
        avif(&faded_scene(40, 30).into(), BitDepth::Ten),
        tiff::<RGB8, _>(&scene.to_rgb8(), (40, 30), Compression::Lzw),
        tiff::<RGB8, _>(&scene.to_rgb8(), (40, 30), Compression::Deflate(DeflateLevel::Fast)),
        bmp(&scene),
        ico(&scene),
    ];
    let place = prop_oneof![3 => 0..200_usize, 1 => any::<usize>()];
    let changes = prop::collection::vec((place, any::<u8>()), 1..6);
    let original = prop::sample::select(originals.to_vec());
    (original, changes, prop_oneof![Just(usize::MAX), any::<usize>()]).prop_map(|(mut bytes, changes, end)| {
        for (place, value) in changes {
            let at = place % bytes.len();
            bytes[at] = value;
        }
        bytes.truncate(end.max(1));
        bytes
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn damage_is_refused_or_rendered_and_never_panics(original in damaged(), format in prop::sample::select(&OFFERED)) {
        if let Ok(variant) = render(&original, VariantSpec { width: width(100), format }) {
            shown(&variant);
        }
    }
}
