//! Which image variants exist: seven widths in four formats and one that is negotiated, and no others.

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
