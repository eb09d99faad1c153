//! Reads a picture's size and orientation from its header. Nothing here decodes a pixel.

use super::Raster;

/// A size in pixels; neither side is zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dimensions {
    /// From left to right.
    pub width: u32,
    /// From top to bottom.
    pub height: u32,
}

impl Dimensions {
    fn new(width: impl Into<u32>, height: impl Into<u32>) -> Option<Self> {
        let (width, height) = (width.into(), height.into());
        (width > 0 && height > 0).then_some(Self { width, height })
    }

    /// How many pixels that are.
    pub fn pixels(self) -> u64 {
        u64::from(self.width) * u64::from(self.height)
    }

    /// With the sides exchanged, as after a quarter turn.
    pub fn turned(self) -> Self {
        Self { width: self.height, height: self.width }
    }
}

/// How the stored pixels have to be turned or mirrored to be upright: one of the eight values of Exif.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Orientation(u8);

impl Orientation {
    /// As stored.
    pub const UPRIGHT: Self = Self(1);

    /// The value of the Exif tag, 1..=8.
    pub const fn exif(self) -> u8 {
        self.0
    }

    /// Whether turning it upright exchanges width and height.
    pub const fn exchanges_sides(self) -> bool {
        self.0 >= 5
    }

    /// Readers take a value that is out of range for upright.
    fn from_exif(value: u32) -> Self {
        match u8::try_from(value) {
            Ok(value @ 1..=8) => Self(value),
            _ => Self::UPRIGHT,
        }
    }
}

/// What a header says of a picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The size of the stored pixels.
    pub stored: Dimensions,
    /// How they have to be turned.
    pub orientation: Orientation,
}

impl Header {
    /// The size of the picture when it is upright.
    pub fn upright(&self) -> Dimensions {
        if self.orientation.exchanges_sides() { self.stored.turned() } else { self.stored }
    }
}

pub(super) fn read(raster: Raster, head: &[u8]) -> Option<Header> {
    match raster {
        Raster::Jpeg => jpeg(head),
        Raster::Png => png(head),
        Raster::Gif => upright(gif(head)),
        Raster::WebP => webp(head),
        Raster::Avif => avif(head),
        Raster::Tiff => tiff(head),
        Raster::Bmp => upright(bmp(head)),
        Raster::Ico => upright(ico(head)),
    }
}

fn upright(stored: Option<Dimensions>) -> Option<Header> {
    Some(Header { stored: stored?, orientation: Orientation::UPRIGHT })
}

/// Walks the marker segments to the first scan, or as far as they are there once the frame header was. Exif mostly comes
/// before that.
fn jpeg(bytes: &[u8]) -> Option<Header> {
    const START_OF_SCAN: u8 = 0xDA;
    const END_OF_IMAGE: u8 = 0xD9;
    const APP1: u8 = 0xE1;

    let (mut sides, mut orientation) = (None, None);
    let mut at = 2;
    while let Some((marker, payload, next)) = jpeg_segment(bytes, at) {
        match marker {
            START_OF_SCAN | END_OF_IMAGE => break,
            // Frame headers of every coding process, and among their codes three that are not.
            0xC0..=0xC3 | 0xC5..=0xC7 | 0xC9..=0xCB | 0xCD..=0xCF if sides.is_none() => {
                sides = Some((be16(payload, 3)?, be16(payload, 1)?));
            }
            APP1 if orientation.is_none() => orientation = payload.strip_prefix(b"Exif\0\0").map(exif_orientation),
            _ => {}
        }
        at = next;
    }
    let (width, height) = sides?;
    let stored = Dimensions::new(width, if height == 0 { lines(bytes.get(at..)?)? } else { height })?;
    Some(Header { stored, orientation: orientation.unwrap_or(Orientation::UPRIGHT) })
}

/// The next marker, the payload of its segment, and where that ends.
fn jpeg_segment(bytes: &[u8], mut at: usize) -> Option<(u8, &[u8], usize)> {
    loop {
        // A marker may be preceded by any number of fill bytes, and decoders pass over stray ones as well.
        at += bytes.get(at..)?.iter().position(|byte| *byte == 0xFF)? + 1;
        match *bytes.get(at)? {
            // A fill byte, an escaped one, and the markers that stand alone.
            0xFF => {}
            0x00 | 0x01 | 0xD0..=0xD8 => at += 1,
            0xD9 => return Some((0xD9, &[], at + 1)),
            marker => {
                // The length counts itself, so less is wrong; decoders take the segment for empty then.
                let end = at + 1 + usize::from(be16(bytes, at + 1)?.max(2));
                return Some((marker, bytes.get(at + 3..end)?, end));
            }
        }
    }
}

/// The height that is told behind the first scan, where the frame header leaves it open.
fn lines(scan: &[u8]) -> Option<u16> {
    const NUMBER_OF_LINES: &[u8] = b"\xFF\xDC\0\x04";

    let at = scan.windows(NUMBER_OF_LINES.len()).position(|window| window == NUMBER_OF_LINES)?;
    be16(scan, at + NUMBER_OF_LINES.len())
}

/// Walks the chunks, of which `eXIf` may be one: mostly before the pixels, but some writers put it behind them.
fn png(bytes: &[u8]) -> Option<Header> {
    if bytes.get(12..16)? != b"IHDR" {
        return None;
    }
    let stored = Dimensions::new(be32(bytes, 16)?, be32(bytes, 20)?)?;
    Some(Header { stored, orientation: png_orientation(bytes).unwrap_or(Orientation::UPRIGHT) })
}

fn png_orientation(bytes: &[u8]) -> Option<Orientation> {
    let mut rest = bytes.get(8..)?;
    loop {
        let length = usize::try_from(be32(rest, 0)?).ok()?;
        match rest.get(4..8)? {
            b"eXIf" => return rest.get(8..8_usize.checked_add(length)?).map(exif_orientation),
            b"IEND" => return None,
            // The length counts neither itself nor the name and the checksum.
            _ => rest = rest.get(length.checked_add(12)?..)?,
        }
    }
}

/// The screen, which grows to its first frame: some writers leave it empty or too small.
fn gif(bytes: &[u8]) -> Option<Dimensions> {
    let screen = (u32::from(le16(bytes, 6)?), u32::from(le16(bytes, 8)?));
    let [left, top, width, height] = gif_frame(bytes).unwrap_or_default().map(u32::from);
    Dimensions::new(screen.0.max(left + width), screen.1.max(top + height))
}

/// The place and the size of the first frame, if it is there.
fn gif_frame(bytes: &[u8]) -> Option<[u16; 4]> {
    const HEADER: usize = 13;
    const FRAME: u8 = 0x2C;
    const EXTENSION: u8 = 0x21;

    let flags = *bytes.get(10)?;
    let palette = if flags & 0x80 == 0 { 0 } else { 3 << ((flags & 7) + 1) };
    let mut rest = bytes.get(HEADER + palette..)?;
    loop {
        match *rest.first()? {
            FRAME => return Some([le16(rest, 1)?, le16(rest, 3)?, le16(rest, 5)?, le16(rest, 7)?]),
            EXTENSION => {
                rest = rest.get(2..)?;
                // Blocks, each behind its length, until an empty one.
                loop {
                    let length = usize::from(*rest.first()?);
                    rest = rest.get(1 + length..)?;
                    if length == 0 {
                        break;
                    }
                }
            }
            0 => rest = rest.get(1..)?,
            _ => return None,
        }
    }
}

fn webp(bytes: &[u8]) -> Option<Header> {
    const HAS_EXIF: u8 = 0x08;

    let payload = bytes.get(20..)?;
    match bytes.get(12..16)? {
        b"VP8 " => {
            // Three bytes of frame tag, three of start code; above each 14-bit side is a scale for the viewer to ignore.
            let side = |at| Some(le16(payload, at)? & 0x3FFF);
            upright(Dimensions::new(side(6)?, side(8)?))
        }
        b"VP8L" => {
            let sides = le32(payload, 1)?;
            upright(Dimensions::new((sides & 0x3FFF) + 1, (sides >> 14 & 0x3FFF) + 1))
        }
        b"VP8X" => {
            let stored = Dimensions::new(le24(payload, 4)? + 1, le24(payload, 7)? + 1)?;
            let orientation =
                if payload.first()? & HAS_EXIF == 0 { Orientation::UPRIGHT } else { webp_orientation(bytes)? };
            Some(Header { stored, orientation })
        }
        _ => None,
    }
}

/// Exif comes after the pixels, so the head of a large file does not tell: `None` then, because a size with the sides
/// exchanged is worse than none.
fn webp_orientation(bytes: &[u8]) -> Option<Orientation> {
    let end = usize::try_from(le32(bytes, 4)?).ok()?.checked_add(8)?;
    let mut at = 12;
    while at < end {
        let length = usize::try_from(le32(bytes, at + 4)?).ok()?;
        let after = length.checked_add(at + 8)?;
        if bytes.get(at..at + 4)? == b"EXIF" {
            let exif = bytes.get(at + 8..after)?;
            // Some writers keep the prefix that a JPEG needs.
            return Some(exif_orientation(exif.strip_prefix(b"Exif\0\0").unwrap_or(exif)));
        }
        // A chunk of odd length is padded.
        at = after.checked_add(length % 2)?;
    }
    Some(Orientation::UPRIGHT)
}

/// What is said of the primary picture. Where that is not said of a picture in particular, the largest one in the file and
/// the first turn: a thumbnail, a tile of a grid and the plane of alpha are never larger than the picture they belong to,
/// and writers turn them together.
fn avif(bytes: &[u8]) -> Option<Header> {
    let meta = child(bytes, b"meta")?.get(4..)?;
    let properties = child(child(meta, b"iprp")?, b"ipco")?;
    let own = primary_properties(meta).unwrap_or_default();
    let of_primary = |name: &[u8; 4]| own.iter().find_map(|(kind, payload)| (kind == name).then_some(*payload));
    let size = |payload| Dimensions::new(be32(payload, 4)?, be32(payload, 8)?);
    let sizes = boxes(properties).filter(|(kind, _)| kind == b"ispe").filter_map(|(_, payload)| size(payload));
    let whole = match of_primary(b"ispe").and_then(size) {
        Some(whole) => whole,
        None => sizes.max_by_key(|size| size.pixels())?,
    };
    let aperture = of_primary(b"clap").and_then(|payload| Aperture::of(payload, whole));
    let stored = aperture.map_or(whole, |aperture| aperture.size);

    let property = |name| if own.is_empty() { child(properties, name) } else { of_primary(name) };
    let quarter_turns = property(b"irot").and_then(|payload| payload.first()).map_or(0, |turns| turns & 3);
    let mirror = property(b"imir").and_then(|payload| payload.first()).map(|axis| axis & 1);
    // Quarter turns go anticlockwise and come before the mirror, which exchanges top and bottom (0) or the sides (1).
    let exif = match mirror {
        None => [1, 8, 3, 6],
        Some(0) => [4, 5, 2, 7],
        Some(_) => [2, 7, 4, 5],
    };
    Some(Header { stored, orientation: Orientation(exif[usize::from(quarter_turns)]) })
}

/// The part of a picture that is to be shown: the property `clap`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Aperture {
    /// Pixels on its left.
    pub left: u32,
    /// Pixels above it.
    pub top: u32,
    /// What is shown.
    pub size: Dimensions,
}

impl Aperture {
    /// `None` if it does not lie in the picture on whole pixels: readers show all of it then.
    pub fn of(payload: &[u8], whole: Dimensions) -> Option<Self> {
        let fraction = |at| Some((i64::from(be32(payload, at)?.cast_signed()), i64::from(be32(payload, at + 4)?)));
        let side = |(numerator, denominator): (i64, i64)| {
            (denominator > 0 && numerator % denominator == 0).then(|| u32::try_from(numerator / denominator).ok())?
        };
        let size = Dimensions::new(side(fraction(0)?)?, side(fraction(8)?)?)?;
        // How far the middle of it is from that of the picture, in halves of a pixel.
        let start = |whole: u32, shown: u32, (numerator, denominator): (i64, i64)| {
            let twice = (denominator > 0 && numerator * 2 % denominator == 0).then(|| numerator * 2 / denominator)?;
            let twice = i64::from(whole) - i64::from(shown) + twice;
            let start = if twice % 2 == 0 { u32::try_from(twice / 2).ok()? } else { return None };
            (u64::from(start) + u64::from(shown) <= u64::from(whole)).then_some(start)
        };
        let left = start(whole.width, size.width, fraction(16)?)?;
        let top = start(whole.height, size.height, fraction(24)?)?;
        Some(Self { left, top, size })
    }
}

/// The properties of the primary picture.
fn primary_properties(meta: &[u8]) -> Option<Vec<([u8; 4], &[u8])>> {
    let primary = child(meta, b"pitm")?;
    let id = if *primary.first()? == 0 { u32::from(be16(primary, 4)?) } else { be32(primary, 4)? };
    let properties = child(meta, b"iprp")?;
    let listed = child(properties, b"ipco")?;
    let map = child(properties, b"ipma")?;
    let (item_width, index_width) = (if *map.first()? == 0 { 2 } else { 4 }, if *map.get(3)? & 1 == 0 { 1 } else { 2 });
    let number = |at: usize, width: usize| match width {
        1 => map.get(at).map(|byte| u32::from(*byte)),
        2 => be16(map, at).map(u32::from),
        _ => be32(map, at),
    };
    let mut at = 8;
    for _ in 0..be32(map, 4)? {
        let found = number(at, item_width)? == id;
        let count = usize::try_from(number(at + item_width, 1)?).ok()?;
        let first = at + item_width + 1;
        at = first + count * index_width;
        if found {
            // The highest bit says whether a reader must understand the property.
            let mask = if index_width == 1 { 0x7F } else { 0x7FFF };
            let place = |n: usize| usize::try_from(number(first + n * index_width, index_width)? & mask).ok();
            let places = (0..count).map(place).collect::<Option<Vec<_>>>()?;
            return Some(places.into_iter().filter_map(|place| boxes(listed).nth(place.checked_sub(1)?)).collect());
        }
    }
    None
}

fn child<'a>(bytes: &'a [u8], name: &[u8; 4]) -> Option<&'a [u8]> {
    boxes(bytes).find_map(|(kind, payload)| (kind == *name).then_some(payload))
}

/// The boxes of an ISO base media file, or in a box of one. The payload of the last may be cut short.
pub fn boxes(bytes: &[u8]) -> impl Iterator<Item = ([u8; 4], &[u8])> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let kind = *rest.get(4..)?.first_chunk()?;
        let (start, length) = match be32(rest, 0)? {
            // To the end of the file.
            0 => (8, rest.len()),
            1 => (16, usize::try_from(be64(rest, 8)?).ok()?),
            length => (8, usize::try_from(length).ok()?),
        };
        let length = length.min(rest.len());
        let payload = rest.get(start..length)?;
        rest = rest.get(length..)?;
        Some((kind, payload))
    })
}

/// The first picture of the file, if its directory is in the head.
fn tiff(bytes: &[u8]) -> Option<Header> {
    const IMAGE_WIDTH: u16 = 256;
    const IMAGE_LENGTH: u16 = 257;

    let stored = Dimensions::new(tiff_value(bytes, IMAGE_WIDTH)?, tiff_value(bytes, IMAGE_LENGTH)?)?;
    Some(Header { stored, orientation: exif_orientation(bytes) })
}

/// Exif is a TIFF without a picture.
fn exif_orientation(exif: &[u8]) -> Orientation {
    const ORIENTATION: u16 = 274;

    tiff_value(exif, ORIENTATION).map_or(Orientation::UPRIGHT, Orientation::from_exif)
}

/// The number that the first directory of a TIFF or BigTIFF holds under `tag`.
fn tiff_value(bytes: &[u8], tag: u16) -> Option<u32> {
    const BYTE: u16 = 1;
    const SHORT: u16 = 3;
    const LONG: u16 = 4;
    const LONG8: u16 = 16;

    let (is_little, is_big) = match bytes.get(..4)? {
        b"II*\0" => (true, false),
        b"II+\0" => (true, true),
        b"MM\0*" => (false, false),
        b"MM\0+" => (false, true),
        _ => return None,
    };
    let read16 = |bytes: &[u8], at| if is_little { le16(bytes, at) } else { be16(bytes, at) };
    let read32 = |bytes: &[u8], at| if is_little { le32(bytes, at) } else { be32(bytes, at) };
    let read64 = |bytes: &[u8], at| if is_little { le64(bytes, at) } else { be64(bytes, at) };
    let place = if is_big { read64(bytes, 8)? } else { u64::from(read32(bytes, 4)?) };
    let directory = bytes.get(usize::try_from(place).ok()?..)?;
    // How many entries there are, how long each is, and where in it the value stands.
    let (count, entries, length, value) = if is_big {
        (usize::try_from(read64(directory, 0)?).ok()?, directory.get(8..)?, 20, 12)
    } else {
        (usize::from(read16(directory, 0)?), directory.get(2..)?, 12, 8)
    };
    let mut entries = entries.chunks_exact(length).take(count);
    let entry = entries.find(|entry| read16(entry, 0) == Some(tag))?;
    match read16(entry, 2)? {
        BYTE => entry.get(value).map(|byte| u32::from(*byte)),
        SHORT => read16(entry, value).map(u32::from),
        LONG => read32(entry, value),
        LONG8 if is_big => u32::try_from(read64(entry, value)?).ok(),
        _ => None,
    }
}

fn bmp(bytes: &[u8]) -> Option<Dimensions> {
    const CORE_HEADER: u32 = 12;

    match le32(bytes, 14)? {
        CORE_HEADER => Dimensions::new(le16(bytes, 18)?, le16(bytes, 20)?),
        // Rows are stored from the bottom, or from the top if the height is negative.
        _ => Dimensions::new(le32(bytes, 18)?, le32(bytes, 22)?.cast_signed().unsigned_abs()),
    }
}

/// A picture in an icon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IconPicture<'a> {
    /// By its own header, or by the directory if that is not there.
    pub size: Dimensions,
    /// A PNG, or a bitmap without its file header, perhaps cut short.
    pub bytes: &'a [u8],
}

/// The pictures of an icon, the largest first, and of equal ones those with the most colours.
pub fn icon_pictures(icon: &[u8]) -> Vec<IconPicture<'_>> {
    const ENTRY: usize = 16;
    /// Programs have a dozen.
    const MAX_PICTURES: usize = 256;

    // A side of 256 does not fit its byte and is written as 0.
    let side = |byte: u8| if byte == 0 { 256 } else { u32::from(byte) };
    let entries = icon.get(6..).unwrap_or_default().chunks_exact(ENTRY);
    let count = usize::from(le16(icon, 4).unwrap_or_default()).min(MAX_PICTURES);
    let picture = |entry: &[u8]| {
        let listed = Dimensions::new(side(*entry.first()?), side(*entry.get(1)?))?;
        let (length, at) = (usize::try_from(le32(entry, 8)?).ok()?, usize::try_from(le32(entry, 12)?).ok()?);
        let bytes = icon.get(at..).unwrap_or_default();
        let bytes = bytes.get(..length).unwrap_or(bytes);
        let own = match bytes.get(..8) {
            Some(b"\x89PNG\r\n\x1A\n") => png(bytes).map(|header| header.stored),
            // The height of a bitmap counts its mask as well.
            Some(_) if le32(bytes, 0) == Some(40) => {
                Dimensions::new(le32(bytes, 4)?, le32(bytes, 8)?.cast_signed().unsigned_abs() / 2)
            }
            _ => None,
        };
        Some((IconPicture { size: own.unwrap_or(listed), bytes }, le16(entry, 6)?))
    };
    let mut pictures: Vec<_> = entries.take(count).filter_map(picture).collect();
    pictures.sort_by_key(|(picture, depth)| std::cmp::Reverse((picture.size.pixels(), *depth)));
    pictures.into_iter().map(|(picture, _)| picture).collect()
}

fn ico(bytes: &[u8]) -> Option<Dimensions> {
    icon_pictures(bytes).first().map(|picture| picture.size)
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

fn be16(bytes: &[u8], at: usize) -> Option<u16> {
    array(bytes, at).map(u16::from_be_bytes)
}

fn be32(bytes: &[u8], at: usize) -> Option<u32> {
    array(bytes, at).map(u32::from_be_bytes)
}

fn le64(bytes: &[u8], at: usize) -> Option<u64> {
    array(bytes, at).map(u64::from_le_bytes)
}

fn be64(bytes: &[u8], at: usize) -> Option<u64> {
    array(bytes, at).map(u64::from_be_bytes)
}

fn le16(bytes: &[u8], at: usize) -> Option<u16> {
    array(bytes, at).map(u16::from_le_bytes)
}

fn le24(bytes: &[u8], at: usize) -> Option<u32> {
    array(bytes, at).map(|[low, middle, high]: [u8; 3]| u32::from_le_bytes([low, middle, high, 0]))
}

fn le32(bytes: &[u8], at: usize) -> Option<u32> {
    array(bytes, at).map(u32::from_le_bytes)
}

#[cfg(test)]
mod tests {
    use crate::sniff::dimensions;

    fn shown(mime: &str, head: &[u8]) -> Option<(u32, u32)> {
        dimensions(&mime.parse().unwrap(), head).map(|size| (size.width, size.height))
    }

    /// An Exif block, big-endian, with nothing but an orientation.
    fn exif(orientation: u8) -> Vec<u8> {
        [b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0".as_slice(), &[orientation], b"\0\0\0\0\0\0"].concat()
    }

    fn jpeg(segments: &[(u8, &[u8])]) -> Vec<u8> {
        let mut file = vec![0xFF, 0xD8];
        for (marker, payload) in segments {
            let length = u16::try_from(payload.len() + 2).unwrap();
            file.extend([[0xFF, *marker], length.to_be_bytes()].concat());
            file.extend(*payload);
        }
        file
    }

    const FRAME: (u8, &[u8]) = (0xC2, b"\x08\x01\x2C\x01\x90\x01\x01\x11\0");

    fn webp(chunks: &[(&[u8; 4], &[u8])]) -> Vec<u8> {
        let mut body = b"WEBP".to_vec();
        for (name, payload) in chunks {
            body.extend([name.as_slice(), &u32::try_from(payload.len()).unwrap().to_le_bytes(), payload].concat());
            body.resize(body.len().next_multiple_of(2), 0);
        }
        [b"RIFF".as_slice(), &u32::try_from(body.len()).unwrap().to_le_bytes(), &body].concat()
    }

    fn isobmff(name: &[u8; 4], children: &[&[u8]]) -> Vec<u8> {
        let payload = children.concat();
        [&u32::try_from(payload.len() + 8).unwrap().to_be_bytes(), name.as_slice(), &payload].concat()
    }

    #[test]
    fn jpeg_is_measured_at_its_frame_header_and_turned_by_exif() {
        assert_eq!(shown("image/jpeg", &jpeg(&[(0xE0, b"JFIF\0"), (0xC4, b"table"), FRAME])), Some((400, 300)));
        for orientation in 0..=9 {
            let app1 = [b"Exif\0\0".as_slice(), &exif(orientation)].concat();
            let expected = if (5..=8).contains(&orientation) { (300, 400) } else { (400, 300) };
            let file = jpeg(&[(0xE1, b"http://ns.adobe.com/xap/1.0/\0"), (0xE1, &app1), FRAME]);
            assert_eq!(shown("image/jpeg", &file), Some(expected), "orientation {orientation}");
        }
    }

    #[test]
    fn jpeg_markers_may_be_padded() {
        let mut file = jpeg(&[(0xE0, b"JFIF\0")]);
        file.extend([0xFF, 0xFF, 0xFF]);
        file.extend(&jpeg(&[FRAME])[2..]);
        assert_eq!(shown("image/jpeg", &file), Some((400, 300)));
    }

    #[test]
    fn jpeg_without_a_frame_header_in_the_head_has_no_size() {
        let whole = jpeg(&[(0xE2, &[7; 500]), FRAME]);
        for cut in 0..510 {
            assert_eq!(shown("image/jpeg", &whole[..cut]), None, "cut at {cut}");
        }
        assert_eq!(shown("image/jpeg", &jpeg(&[(0xDA, b"scan"), FRAME])), None);
    }

    #[test]
    fn png_is_measured_at_its_first_chunk_and_turned_by_exif() {
        let chunk = |name: &[u8], payload: &[u8]| {
            [&u32::try_from(payload.len()).unwrap().to_be_bytes(), name, payload, b"crc!"].concat()
        };
        let start =
            [b"\x89PNG\r\n\x1A\n".as_slice(), &chunk(b"IHDR", b"\0\0\x01\x90\0\0\x01\x2C\x08\x02\0\0\0")].concat();
        assert_eq!(shown("image/png", &start), Some((400, 300)));
        let turned = [start.as_slice(), &chunk(b"gAMA", b"1234"), &chunk(b"eXIf", &exif(6))].concat();
        assert_eq!(shown("image/png", &turned), Some((300, 400)));
        let late = [start.as_slice(), &chunk(b"IDAT", b"pixels"), &chunk(b"eXIf", &exif(6))].concat();
        assert_eq!(shown("image/png", &late), Some((300, 400)));
    }

    #[test]
    fn webp_is_measured_in_all_three_forms() {
        let lossy = webp(&[(b"VP8 ", b"\x10\0\0\x9D\x01\x2A\x90\x41\x2C\x01\0\0")]);
        assert_eq!(shown("image/webp", &lossy), Some((400, 300)));
        let sides = (399_u32 | 299 << 14).to_le_bytes();
        assert_eq!(shown("image/webp", &webp(&[(b"VP8L", &[b"\x2F".as_slice(), &sides].concat())])), Some((400, 300)));
        let canvas = b"\0\0\0\0\x8F\x01\0\x2B\x01\0";
        assert_eq!(shown("image/webp", &webp(&[(b"VP8X", canvas), (b"VP8 ", b"")])), Some((400, 300)));
    }

    #[test]
    fn webp_is_turned_by_exif_and_unmeasured_while_exif_is_out_of_sight() {
        let canvas = b"\x08\0\0\0\x8F\x01\0\x2B\x01\0";
        let whole = webp(&[(b"VP8X", canvas), (b"VP8 ", &[0; 301]), (b"EXIF", &exif(8))]);
        assert_eq!(shown("image/webp", &whole), Some((300, 400)));
        assert_eq!(shown("image/webp", &whole[..200]), None);
        let promised = webp(&[(b"VP8X", canvas), (b"VP8 ", &[0; 301])]);
        assert_eq!(shown("image/webp", &promised), Some((400, 300)));
    }

    #[test]
    fn avif_is_measured_by_its_largest_picture_and_turned() {
        let size = |width: u32, height: u32| isobmff(b"ispe", &[&[0; 4], &width.to_be_bytes(), &height.to_be_bytes()]);
        let file = |properties: &[&[u8]]| {
            let ipco = isobmff(b"ipco", properties);
            let meta = isobmff(b"meta", &[&[0; 4], &isobmff(b"hdlr", &[&[0; 20]]), &isobmff(b"iprp", &[&ipco])]);
            [isobmff(b"ftyp", &[b"avif\0\0\0\0mif1"]), meta, isobmff(b"mdat", &[&[0; 9]])].concat()
        };
        let sizes = [size(160, 120), size(400, 300)].concat();
        assert_eq!(shown("image/avif", &file(&[&sizes])), Some((400, 300)));
        assert_eq!(shown("image/avif", &file(&[&sizes, &isobmff(b"irot", &[&[1]])])), Some((300, 400)));
        assert_eq!(shown("image/avif", &file(&[&sizes, &isobmff(b"irot", &[&[2]])])), Some((400, 300)));
        assert_eq!(shown("image/avif", &file(&[])), None);
    }

    #[test]
    fn the_other_pictures_are_measured() {
        assert_eq!(shown("image/gif", b"GIF89a\x90\x01\x2C\x01\0\0\0"), Some((400, 300)));

        let bmp = |height: i32| {
            let start = b"BM\0\0\0\0\0\0\0\0\x36\0\0\0\x28\0\0\0\x90\x01\0\0".as_slice();
            [start, &height.to_le_bytes(), &[0; 28]].concat()
        };
        assert_eq!(shown("image/bmp", &bmp(300)), Some((400, 300)));
        assert_eq!(shown("image/bmp", &bmp(-300)), Some((400, 300)));
        assert_eq!(shown("image/bmp", &bmp(0)), None);
        assert_eq!(shown("image/bmp", b"BM\0\0\0\0\0\0\0\0\x1A\0\0\0\x0C\0\0\0\x90\x01\x2C\x01"), Some((400, 300)));

        let entry = |side: u8| [[side, side, 0, 0], [1, 0, 32, 0], [0; 4], [0; 4]].concat();
        let icon = [b"\0\0\x01\0\x03\0".to_vec(), entry(16), entry(0), entry(48)].concat();
        assert_eq!(shown("image/x-icon", &icon), Some((256, 256)));

        let tiff = b"II*\0\x08\0\0\0\x03\0\0\x01\x03\0\x01\0\0\0\x90\x01\0\0\x01\x01\x04\0\x01\0\0\0\x2C\x01\0\0\x12\x01\x03\0\x01\0\0\0\x05\0\0\0";
        assert_eq!(shown("image/tiff", tiff), Some((300, 400)));
    }

    #[test]
    fn only_rasters_are_measured() {
        assert_eq!(shown("image/svg+xml", b"GIF89a\x90\x01\x2C\x01\0\0\0"), None);
        assert_eq!(shown("application/pdf", b"%PDF-1.7"), None);
    }
}
