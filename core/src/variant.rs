//! Which image variants exist: seven widths in four formats and one that is negotiated, and no others. And the colour
//! behind those that cannot be transparent.

use std::{fmt, str::FromStr};

/// A variant's width in pixels, one of seven.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Width(u32);

impl Width {
    /// Every width, narrowest first.
    pub const ALL: [Self; 7] = [Self(100), Self(300), Self(400), Self(600), Self(800), Self(1000), Self(1200)];

    /// Pixels.
    pub const fn pixels(self) -> u32 {
        self.0
    }
}

impl fmt::Display for Width {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A width that is not offered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a variant width is one of 100, 300, 400, 600, 800, 1000, 1200")]
pub struct UnknownWidth;

impl FromStr for Width {
    type Err = UnknownWidth;

    fn from_str(text: &str) -> Result<Self, UnknownWidth> {
        // Compared as text, so that `0400` and `+400` are not second names of one variant.
        Self::ALL.into_iter().find(|w| w.to_string() == text).ok_or(UnknownWidth)
    }
}

/// The encoding of a variant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ImageFormat {
    /// WebP, the default.
    #[default]
    WebP,
    /// JPEG.
    Jpeg,
    /// PNG.
    Png,
    /// AVIF.
    Avif,
    /// Whatever the viewer's `Accept` prefers. The CDN turns it into AVIF or WebP where it can; what is stored under
    /// this name is for everybody else: JPEG, or PNG of a picture that is transparent.
    Auto,
}

impl ImageFormat {
    /// Every format, the default first.
    pub const ALL: [Self; 5] = [Self::WebP, Self::Jpeg, Self::Png, Self::Avif, Self::Auto];

    /// The file extension, which is also the format's name in requests.
    pub const fn extension(self) -> &'static str {
        match self {
            Self::WebP => "webp",
            Self::Jpeg => "jpeg",
            Self::Png => "png",
            Self::Avif => "avif",
            Self::Auto => "auto",
        }
    }

    /// The media type; of what is negotiated, that of any image.
    pub const fn mime(self) -> &'static str {
        match self {
            Self::WebP => "image/webp",
            Self::Jpeg => "image/jpeg",
            Self::Png => "image/png",
            Self::Avif => "image/avif",
            Self::Auto => "image/*",
        }
    }
}

/// A word that names no variant format.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a variant format is one of webp, jpeg, png, avif, auto")]
pub struct UnknownFormat;

impl FromStr for ImageFormat {
    type Err = UnknownFormat;

    fn from_str(text: &str) -> Result<Self, UnknownFormat> {
        Self::ALL.into_iter().find(|f| f.extension() == text).ok_or(UnknownFormat)
    }
}

/// A colour in sRGB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Colour {
    /// 0..=255.
    pub red: u8,
    /// 0..=255.
    pub green: u8,
    /// 0..=255.
    pub blue: u8,
}

impl Colour {
    /// That of paper.
    pub const WHITE: Self = Self { red: 255, green: 255, blue: 255 };
}

impl fmt::Display for Colour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{:02x}{:02x}{:02x}", self.red, self.green, self.blue)
    }
}

/// A text that is no colour.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a colour is # and three or six hexadecimal digits, as #fff or #ffffff")]
pub struct UnknownColour;

/// The hexadecimal notation of CSS (CSS Color 4, section 5.2) without alpha.
impl FromStr for Colour {
    type Err = UnknownColour;

    fn from_str(text: &str) -> Result<Self, UnknownColour> {
        let digits = text.strip_prefix('#').filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()));
        let digits = digits.ok_or(UnknownColour)?;
        let number = u32::from_str_radix(digits, 16).map_err(|_| UnknownColour)?;
        let [_, red, green, blue] = match digits.len() {
            // Each digit stands for two of itself.
            3 => [0, number >> 8, number >> 4 & 15, number & 15].map(|digit| digit.to_le_bytes()[0] * 17),
            6 => number.to_be_bytes(),
            _ => return Err(UnknownColour),
        };
        Ok(Self { red, green, blue })
    }
}

/// One variant: a width and a format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VariantSpec {
    /// How wide; never wider than the original.
    pub width: Width,
    /// How encoded.
    pub format: ImageFormat,
}

impl VariantSpec {
    /// All 35 variants.
    pub fn all() -> impl Iterator<Item = Self> {
        Width::ALL.into_iter().flat_map(|width| ImageFormat::ALL.into_iter().map(move |format| Self { width, format }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_colour_is_written_as_in_css_in_three_digits_or_six() {
        for (text, shown) in [("#fff", "#ffffff"), ("#1aB", "#11aabb"), ("#1A2b3C", "#1a2b3c"), ("#000", "#000000")] {
            assert_eq!(text.parse::<Colour>().map(|colour| colour.to_string()).as_deref(), Ok(shown), "{text}");
        }
    }

    #[test]
    fn nothing_else_is_a_colour() {
        for text in ["", "#", "fff", "#ff", "#ffff", "#ffffffff", "#ggg", "#+ff", "# ff", "white", "#ffffff ", "##fff"]
        {
            assert_eq!(text.parse::<Colour>(), Err(UnknownColour), "{text}");
        }
    }
}
