//! The boxes of an AVIF file: the data, alpha, grid and colour description of its primary image.
//!
//! Nothing is decoded here. Of an image sequence, the still image that it has as well is read.

use std::ops::Range;

use xfiles_core::sniff::{Aperture, Dimensions, boxes};

use crate::render::limits::MAX_PROFILE_BYTES;

/// More than the grid of any large image has; each tile is an item.
const MAX_TILES: usize = 256;

/// Items that may be alpha of the primary image. Files have one, and perhaps a depth map.
const MAX_AUXILIARIES: usize = 16;

/// The meta box has a few hundred bytes, and a profile.
const MAX_META_BYTES: usize = MAX_PROFILE_BYTES + (1 << 20);

/// An image of the file.
pub(super) struct Item {
    pub content: Content,
    pub colour: Option<Colour>,
    /// An ICC profile.
    pub profile: Option<Vec<u8>>,
    /// The size in pixels, if the file has it.
    pub size: Option<Dimensions>,
    /// The clean aperture, if it is not the whole image.
    pub aperture: Option<Aperture>,
    /// Whether samples have more than 8 bits, by the file's properties.
    pub is_deep: bool,
}

pub(super) enum Content {
    /// OBUs.
    Bits(Vec<u8>),
    /// A grid: tiles of one size, row by row, of which the image shows as much as its own size.
    Grid { columns: usize, tiles: Vec<Vec<u8>> },
}

/// Code points of ITU-T H.273.
#[derive(Clone, Copy)]
pub(super) struct Colour {
    pub primaries: u16,
    pub transfer: u16,
    pub matrix: u16,
    pub full_range: bool,
}

/// The primary image, its alpha, and whether colours are premultiplied.
pub(super) struct Pictures {
    pub colour: Item,
    pub alpha: Option<Item>,
    pub premultiplied: bool,
}

/// `None` if the file contradicts itself or ends too early.
pub(super) fn read(file: &[u8]) -> Option<Pictures> {
    let meta = Meta::read(file)?;
    let primary = be(meta.child(b"pitm")?.get(4..)?, if version(meta.child(b"pitm")?)? == 0 { 2 } else { 4 })?;
    let is_alpha = |id: &u32| meta.properties(*id).any(|(kind, payload)| kind == *b"auxC" && is_alpha(payload));
    let auxiliaries = meta.references(b"auxl").filter(|link| link.to.contains(&primary)).map(|link| link.from);
    let alpha = auxiliaries.take(MAX_AUXILIARIES).find(is_alpha);
    let premultiplied = meta.references(b"prem").any(|link| link.from == primary);
    Some(Pictures {
        colour: meta.item(primary)?,
        alpha: match alpha {
            Some(id) => Some(meta.item(id)?),
            None => None,
        },
        premultiplied,
    })
}

fn is_alpha(payload: &[u8]) -> bool {
    let Some(kind) = payload.get(4..) else { return false };
    [b"urn:mpeg:mpegB:cicp:systems:auxiliary:alpha\0".as_slice(), b"urn:mpeg:hevc:2015:auxid:1\0"]
        .into_iter()
        .any(|urn| kind.starts_with(urn))
}

/// The meta box, with the file that its extents point into.
struct Meta<'a> {
    file: &'a [u8],
    payload: &'a [u8],
}

/// A reference from one item to others.
struct Link {
    from: u32,
    to: Vec<u32>,
}

impl Pictures {
    /// Whether samples may have more than 8 bits.
    pub(super) fn is_deep(&self) -> bool {
        self.colour.is_deep
    }
}

impl<'a> Meta<'a> {
    fn read(file: &'a [u8]) -> Option<Self> {
        let (_, payload) = boxes(file).find(|(kind, _)| kind == b"meta")?;
        if payload.len() > MAX_META_BYTES {
            return None;
        }
        Some(Self { file, payload: payload.get(4..)? })
    }

    fn child(&self, name: &[u8; 4]) -> Option<&'a [u8]> {
        boxes(self.payload).find_map(|(kind, payload)| (kind == *name).then_some(payload))
    }

    fn item(&self, id: u32) -> Option<Item> {
        let mut colour = None;
        let mut profile = None;
        for (_, payload) in self.properties(id).filter(|(kind, _)| kind == b"colr") {
            match payload.split_at_checked(4)? {
                (b"nclx", codes) => {
                    let point = |at| be(codes.get(at..)?, 2).and_then(|point| u16::try_from(point).ok());
                    colour = Some(Colour {
                        primaries: point(0)?,
                        transfer: point(2)?,
                        matrix: point(4)?,
                        full_range: codes.get(6)? & 0x80 != 0,
                    });
                }
                (b"prof" | b"rICC", icc) => profile = Some(icc.to_vec()),
                _ => {}
            }
        }
        let of = |name: &[u8; 4]| self.properties(id).find_map(|(kind, payload)| (kind == *name).then_some(payload));
        let size = of(b"ispe").and_then(|payload| {
            let (width, height) = (be(payload.get(4..)?, 4)?, be(payload.get(8..)?, 4)?);
            (width > 0 && height > 0).then_some(Dimensions { width, height })
        });
        let aperture = of(b"clap").zip(size).and_then(|(payload, size)| Aperture::of(payload, size));
        // The bits of each channel (pixi), or those of the decoder configuration (av1C).
        let is_deep = match (of(b"pixi").and_then(|payload| payload.get(5)), of(b"av1C").and_then(|it| it.get(2))) {
            (Some(bits), _) => *bits > 8,
            (None, Some(flags)) => flags & 0x40 != 0,
            (None, None) => true,
        };
        let content = match &self.kind(id)? {
            b"av01" => Content::Bits(self.data(id)?),
            b"grid" => self.grid(id)?,
            _ => return None,
        };
        Some(Item { content, colour, profile, size, aperture, is_deep })
    }

    fn grid(&self, id: u32) -> Option<Content> {
        let description = self.data(id)?;
        let (rows, columns) = (usize::from(*description.get(2)?) + 1, usize::from(*description.get(3)?) + 1);
        let ids = self.references(b"dimg").find(|link| link.from == id)?.to;
        if ids.len() != rows * columns || ids.len() > MAX_TILES {
            return None;
        }
        let tile = |id: &u32| if self.kind(*id)? == *b"av01" { self.data(*id) } else { None };
        Some(Content::Grid { columns, tiles: ids.iter().map(tile).collect::<Option<_>>()? })
    }

    /// The type of an item.
    fn kind(&self, id: u32) -> Option<[u8; 4]> {
        let entries = self.child(b"iinf")?;
        let entries = entries.get(if version(entries)? == 0 { 6 } else { 8 }..)?;
        boxes(entries).filter(|(kind, _)| kind == b"infe").find_map(|(_, entry)| {
            let width = match version(entry)? {
                2 => 2,
                3 => 4,
                _ => return None,
            };
            let found = be(entry.get(4..)?, width)? == id;
            if found { entry.get(4 + width + 2..)?.first_chunk().copied() } else { None }
        })
    }

    /// The properties of an item.
    fn properties(&self, id: u32) -> impl Iterator<Item = ([u8; 4], &'a [u8])> {
        let properties = self.child(b"iprp").unwrap_or_default();
        let listed =
            boxes(properties).find(|(kind, _)| kind == b"ipco").map(|(_, payload)| payload).unwrap_or_default();
        let of_item = boxes(properties).filter(|(kind, _)| kind == b"ipma").find_map(|(_, map)| associations(map, id));
        of_item.unwrap_or_default().into_iter().filter_map(|index| boxes(listed).nth(index.checked_sub(1)?))
    }

    fn references(&self, name: &'static [u8; 4]) -> impl Iterator<Item = Link> {
        let links = self.child(b"iref").unwrap_or_default();
        let width = if version(links) == Some(0) { 2 } else { 4 };
        let links = boxes(links.get(4..).unwrap_or_default()).filter(move |(kind, _)| kind == name);
        links.filter_map(move |(_, link)| {
            let mut words = Words(link);
            let (from, count) = (words.next(width)?, words.next(2)?);
            Some(Link { from, to: (0..count).map(|_| words.next(width)).collect::<Option<_>>()? })
        })
    }

    /// The data of an item, in one or more extents.
    fn data(&self, id: u32) -> Option<Vec<u8>> {
        let locations = self.child(b"iloc")?;
        let version = version(locations)?;
        let mut words = Words(locations.get(4..)?);
        let sizes = words.next(2)?;
        let nibble = |shift: u32| usize::try_from(sizes >> shift & 15).ok();
        let (offset, length, base) = (nibble(12)?, nibble(8)?, nibble(4)?);
        let index = if version == 0 { 0 } else { nibble(0)? };
        let wide = if version < 2 { 2 } else { 4 };
        for _ in 0..words.next(wide)? {
            let item = words.next(wide)?;
            let method = if version == 0 { 0 } else { words.next(2)? & 15 };
            let _data_reference = words.next(2)?;
            let base = words.offset(base)?;
            let mut extents = Vec::new();
            for _ in 0..words.next(2)? {
                words.offset(index)?;
                let start = base.checked_add(words.offset(offset)?)?;
                let end = start.checked_add(words.offset(length)?)?;
                if item == id {
                    extents.push(start..end);
                }
            }
            if item == id {
                let source = match method {
                    0 => self.file,
                    1 => self.child(b"idat")?,
                    _ => return None,
                };
                return join(source, &extents);
            }
        }
        None
    }
}

/// Concatenates extents. Together they must not be longer than `source`: overlapping extents could make much of little.
fn join(source: &[u8], extents: &[Range<usize>]) -> Option<Vec<u8>> {
    let mut joined = Vec::new();
    for extent in extents {
        // A length of zero reaches to the end.
        let end = if extent.is_empty() { source.len() } else { extent.end };
        joined.extend_from_slice(source.get(extent.start..end)?);
        if joined.len() > source.len() {
            return None;
        }
    }
    Some(joined)
}

/// The indices of an item's properties in ipco, from 1.
fn associations(map: &[u8], id: u32) -> Option<Vec<usize>> {
    let (item, index) = (if version(map)? == 0 { 2 } else { 4 }, if map.get(3)? & 1 == 0 { 1 } else { 2 });
    let mut words = Words(map.get(4..)?);
    for _ in 0..words.next(4)? {
        let found = words.next(item)? == id;
        let count = words.next(1)?;
        // The highest bit is the essential flag.
        let mask = if index == 1 { 0x7F } else { 0x7FFF };
        let places = (0..count).map(|_| usize::try_from(words.next(index)? & mask).ok()).collect::<Option<Vec<_>>>()?;
        if found {
            return Some(places);
        }
    }
    None
}

fn version(full_box: &[u8]) -> Option<u8> {
    full_box.first().copied()
}

fn be(bytes: &[u8], width: usize) -> Option<u32> {
    Words(bytes).next(width)
}

/// A reader of big-endian numbers.
struct Words<'a>(&'a [u8]);

impl Words<'_> {
    /// A number of at most four bytes.
    fn next(&mut self, width: usize) -> Option<u32> {
        u32::try_from(self.offset(width)?).ok()
    }

    /// A number of zero, one, two, four or eight bytes.
    fn offset(&mut self, width: usize) -> Option<usize> {
        let (number, rest) = self.0.split_at_checked(width)?;
        self.0 = rest;
        number.iter().try_fold(0_usize, |sum, byte| sum.checked_mul(256)?.checked_add(usize::from(*byte)))
    }
}
