//! The media types a file may have. The allow-list is the type: a [`ContentType`] that exists is allowed.
//!
//! One table says everything about a type that anything here depends on: its registered name, the other names that
//! browsers, recorders and operating systems give it, what its first bytes look like, what a browser may do with it, and
//! its file extensions.

use std::{borrow::Cow, fmt, str::FromStr};

/// A format of pictures made of pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Raster {
    /// JPEG, of any coding process.
    Jpeg,
    /// PNG, animated or not.
    Png,
    /// GIF.
    Gif,
    /// WebP, lossy or lossless, animated or not.
    WebP,
    /// AVIF, a still or a sequence.
    Avif,
    /// TIFF or BigTIFF, of either byte order.
    Tiff,
    /// Windows bitmap.
    Bmp,
    /// Windows icon.
    Ico,
}

/// An allowed media type: as the client declared it, and as it is served.
///
/// The two differ where the client used an alias, capitals or parameters. An upload URL is signed for the declared text,
/// because that is what the client sends with its bytes; everything else uses the served one.
#[derive(Clone, PartialEq, Eq)]
pub struct ContentType {
    declared: Cow<'static, str>,
    served: Cow<'static, str>,
    row: &'static Row,
}

/// What the bytes of a type are, as far as anything here depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nature {
    /// A picture made of pixels, from which variants are made.
    Raster,
    /// A document that can run script in a browser; it always leaves as an attachment.
    Active,
    /// Everything else.
    Passive,
}

/// What a file of a type begins with. Pictures, documents that can run script, and formats whose every file carries a
/// signature are held to it; other types only must not be something else in disguise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// A picture of this kind.
    Picture(Raster),
    /// An SVG document.
    Svg,
    /// Text that browsers interpret.
    ActiveText,
    /// Text that browsers show.
    Text,
    /// PDF, whose signature may stand anywhere in the first kilobyte.
    Pdf,
    /// One of these byte sequences, at this offset.
    Signature(usize, &'static [&'static [u8]]),
    /// Whatever the applications that use the type write.
    Any,
}

#[derive(Debug, PartialEq, Eq)]
struct Row {
    /// The name that IANA registers, or the one in common use where it registers none.
    mime: &'static str,
    nature: Nature,
    form: Form,
    /// File extensions; the first is given to a file whose own name has none.
    extensions: &'static [&'static str],
    /// Other names in use for the same type.
    aliases: &'static [&'static str],
}

const ZIP: Form = Form::Signature(0, &[b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08"]);
/// An ISO base media file begins with one of these boxes (ISO/IEC 14496-12), QuickTime included.
const BOXES: Form =
    Form::Signature(4, &[b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"pnot", b"styp", b"uuid"]);

const fn raster(
    mime: &'static str,
    kind: Raster,
    extensions: &'static [&'static str],
    aliases: &'static [&'static str],
) -> Row {
    Row { mime, nature: Nature::Raster, form: Form::Picture(kind), extensions, aliases }
}

const fn active(
    mime: &'static str,
    form: Form,
    extensions: &'static [&'static str],
    aliases: &'static [&'static str],
) -> Row {
    Row { mime, nature: Nature::Active, form, extensions, aliases }
}

const fn passive(
    mime: &'static str,
    form: Form,
    extensions: &'static [&'static str],
    aliases: &'static [&'static str],
) -> Row {
    Row { mime, nature: Nature::Passive, form, extensions, aliases }
}

/// Every Office Open XML type is allowed, and IANA registers dozens; they differ in nothing that matters here.
const OPEN_XML_PREFIX: &str = "application/vnd.openxmlformats-";
static OPEN_XML: [Row; 8] = [
    passive("officedocument.wordprocessingml.document", Form::Any, &["docx"], &[]),
    passive("officedocument.spreadsheetml.sheet", Form::Any, &["xlsx"], &[]),
    passive("officedocument.presentationml.presentation", Form::Any, &["pptx"], &[]),
    passive("officedocument.wordprocessingml.template", Form::Any, &["dotx"], &[]),
    passive("officedocument.spreadsheetml.template", Form::Any, &["xltx"], &[]),
    passive("officedocument.presentationml.template", Form::Any, &["potx"], &[]),
    passive("officedocument.presentationml.slideshow", Form::Any, &["ppsx"], &[]),
    passive("", Form::Any, &["bin"], &[]),
];

#[rustfmt::skip]
static ALLOWED: [Row; 76] = [
    raster("image/jpeg", Raster::Jpeg, &["jpg", "jpeg", "jpe", "jfif"], &["image/jpg", "image/pjpeg"]),
    raster("image/png", Raster::Png, &["png", "apng"], &["image/x-png", "image/apng", "image/vnd.mozilla.apng"]),
    raster("image/gif", Raster::Gif, &["gif"], &[]),
    raster("image/webp", Raster::WebP, &["webp"], &[]),
    active("image/svg+xml", Form::Svg, &["svg"], &["image/svg"]),
    raster("image/avif", Raster::Avif, &["avif"], &["image/avif-sequence"]),
    raster("image/tiff", Raster::Tiff, &["tiff", "tif"], &["image/tif", "image/x-tiff"]),
    raster("image/bmp", Raster::Bmp, &["bmp", "dib"], &["image/x-bmp", "image/x-ms-bmp", "image/vnd.microsoft.bmp"]),
    raster("image/x-icon", Raster::Ico, &["ico"], &["image/ico", "image/vnd.microsoft.icon", "image/icon"]),
    passive("image/heic", BOXES, &["heic"], &["image/heic-sequence"]),
    passive("image/heif", BOXES, &["heif"], &["image/heif-sequence"]),
    passive("image/jxl", Form::Any, &["jxl"], &[]),
    passive("image/jp2", Form::Any, &["jp2", "jpx"], &["image/jpx"]),
    passive("image/vnd.adobe.photoshop", Form::Signature(0, &[b"8BPS"]), &["psd", "psb"],
        &["image/x-photoshop", "image/psd", "application/x-photoshop", "application/photoshop"]),
    passive("application/pdf", Form::Pdf, &["pdf"], &["application/x-pdf"]),
    passive("application/msword", Form::Any, &["doc", "dot"], &["application/vnd.ms-word"]),
    passive("application/vnd.ms-excel", Form::Any, &["xls", "xlt"], &["application/msexcel", "application/x-msexcel"]),
    passive("application/vnd.ms-powerpoint", Form::Any, &["ppt", "pps", "pot"], &["application/mspowerpoint"]),
    passive("application/vnd.ms-outlook", Form::Any, &["msg"], &[]),
    passive("application/vnd.oasis.opendocument.text", ZIP, &["odt"], &[]),
    passive("application/vnd.oasis.opendocument.spreadsheet", ZIP, &["ods"], &[]),
    passive("application/vnd.oasis.opendocument.presentation", ZIP, &["odp"], &[]),
    passive("application/vnd.oasis.opendocument.graphics", ZIP, &["odg"], &[]),
    passive("application/rtf", Form::Any, &["rtf"], &["text/rtf", "application/x-rtf", "text/richtext"]),
    passive("application/epub+zip", ZIP, &["epub"], &[]),
    passive("application/vnd.apple.pages", Form::Any, &["pages"], &["application/x-iwork-pages-sffpages"]),
    passive("application/vnd.apple.numbers", Form::Any, &["numbers"], &["application/x-iwork-numbers-sffnumbers"]),
    passive("application/vnd.apple.keynote", Form::Any, &["key"], &["application/x-iwork-keynote-sffkey"]),
    passive("text/plain", Form::Text, &["txt", "log", "text"], &[]),
    passive("text/csv", Form::Text, &["csv"], &["application/csv", "text/x-csv", "text/comma-separated-values"]),
    passive("text/tab-separated-values", Form::Text, &["tsv"], &[]),
    passive("text/markdown", Form::Text, &["md", "markdown"], &["text/x-markdown"]),
    passive("text/calendar", Form::Text, &["ics"], &[]),
    passive("text/vcard", Form::Text, &["vcf"], &["text/x-vcard", "text/directory"]),
    passive("text/vtt", Form::Text, &["vtt"], &[]),
    passive("application/x-subrip", Form::Text, &["srt"], &["text/srt", "text/x-srt"]),
    passive("application/yaml", Form::Text, &["yaml", "yml"], &["application/x-yaml", "text/yaml", "text/x-yaml"]),
    passive("application/toml", Form::Text, &["toml"], &["text/toml"]),
    active("text/html", Form::ActiveText, &["html", "htm"], &[]),
    active("application/xhtml+xml", Form::ActiveText, &["xhtml"], &[]),
    passive("text/css", Form::Text, &["css"], &[]),
    active("text/javascript", Form::ActiveText, &["js", "mjs"],
        &["application/javascript", "application/x-javascript", "text/ecmascript", "application/ecmascript"]),
    passive("application/json", Form::Text, &["json", "map"], &["text/json", "application/x-json"]),
    passive("application/geo+json", Form::Text, &["geojson"], &[]),
    active("application/xml", Form::ActiveText, &["xml", "xsd"], &["text/xml"]),
    passive("application/gpx+xml", Form::Text, &["gpx"], &[]),
    passive("application/wasm", Form::Signature(0, &[b"\0asm"]), &["wasm"], &[]),
    passive("application/zip", ZIP, &["zip"],
        &["application/x-zip-compressed", "application/x-zip", "application/zip-compressed"]),
    passive("application/gzip", Form::Signature(0, &[b"\x1F\x8B"]), &["gz", "tgz"],
        &["application/x-gzip", "application/x-gtar-compressed", "application/x-compressed-tar"]),
    passive("application/x-tar", Form::Any, &["tar"], &["application/tar", "application/x-gtar"]),
    passive("application/x-7z-compressed", Form::Signature(0, &[b"7z\xBC\xAF\x27\x1C"]), &["7z"], &["application/7z"]),
    passive("application/vnd.rar", Form::Signature(0, &[b"Rar!\x1A\x07"]), &["rar"],
        &["application/x-rar-compressed", "application/x-rar"]),
    passive("application/x-bzip2", Form::Signature(0, &[b"BZh"]), &["bz2"], &["application/bzip2", "application/x-bzip"]),
    passive("application/x-xz", Form::Signature(0, &[b"\xFD7zXZ\0"]), &["xz"], &["application/xz"]),
    passive("application/zstd", Form::Signature(0, &[b"\x28\xB5\x2F\xFD"]), &["zst"], &["application/x-zstd"]),
    passive("audio/mpeg", Form::Any, &["mp3", "mpga"], &["audio/mp3", "audio/x-mp3", "audio/x-mpeg", "audio/mpeg3"]),
    passive("audio/wav", Form::Signature(8, &[b"WAVE"]), &["wav"],
        &["audio/x-wav", "audio/wave", "audio/vnd.wave", "audio/x-pn-wav"]),
    passive("audio/ogg", Form::Signature(0, &[b"OggS"]), &["oga", "ogg", "opus"], &["audio/opus", "application/ogg"]),
    passive("audio/webm", Form::Signature(0, &[b"\x1A\x45\xDF\xA3"]), &["weba"], &[]),
    passive("audio/mp4", BOXES, &["m4a", "m4b"], &["audio/x-m4a", "audio/m4a"]),
    passive("audio/aac", Form::Any, &["aac"], &["audio/x-aac", "audio/aacp"]),
    passive("audio/flac", Form::Any, &["flac"], &["audio/x-flac"]),
    passive("audio/midi", Form::Any, &["mid", "midi"], &["audio/x-midi", "audio/mid"]),
    passive("audio/aiff", Form::Any, &["aiff", "aif"], &["audio/x-aiff"]),
    passive("video/mp4", BOXES, &["mp4", "m4v"], &["video/x-m4v", "application/mp4"]),
    passive("video/quicktime", BOXES, &["mov", "qt"], &[]),
    passive("video/webm", Form::Signature(0, &[b"\x1A\x45\xDF\xA3"]), &["webm"], &[]),
    passive("video/ogg", Form::Signature(0, &[b"OggS"]), &["ogv"], &[]),
    passive("video/matroska", Form::Signature(0, &[b"\x1A\x45\xDF\xA3"]), &["mkv"], &["video/x-matroska"]),
    passive("video/x-msvideo", Form::Signature(8, &[b"AVI "]), &["avi"], &["video/avi", "video/msvideo"]),
    passive("video/3gpp", BOXES, &["3gp"], &["audio/3gpp"]),
    passive("model/gltf-binary", Form::Signature(0, &[b"glTF"]), &["glb"], &[]),
    passive("font/woff", Form::Signature(0, &[b"wOFF"]), &["woff"], &["application/font-woff", "application/x-font-woff"]),
    passive("font/woff2", Form::Signature(0, &[b"wOF2"]), &["woff2"], &["application/font-woff2"]),
    passive("font/ttf", Form::Signature(0, &[b"\0\x01\0\0", b"true", b"ttcf", b"OTTO"]), &["ttf"],
        &["application/x-font-ttf", "application/font-sfnt", "font/sfnt"]),
    passive("font/otf", Form::Signature(0, &[b"OTTO", b"\0\x01\0\0", b"true", b"ttcf"]), &["otf"],
        &["application/x-font-otf", "application/vnd.ms-opentype"]),
];

/// The longest declaration, parameters included, in characters. RFC 6838 allows 127 for each half of a name.
const MAX_CHARS: usize = 255;

impl ContentType {
    /// Those from which variants can be made.
    pub fn rasters() -> impl Iterator<Item = &'static str> {
        ALLOWED.iter().filter(|row| row.nature == Nature::Raster).map(|row| row.mime)
    }

    /// The name of every allowed type outside the open family of Office Open XML.
    pub fn names() -> impl Iterator<Item = &'static str> {
        ALLOWED.iter().map(|row| row.mime)
    }

    /// The other names by which clients may declare one of them.
    pub fn aliases() -> impl Iterator<Item = &'static str> {
        ALLOWED.iter().flat_map(|row| row.aliases.iter().copied())
    }

    /// The type that a file extension, lower-case and without the dot, stands for.
    pub fn of_extension(extension: &str) -> Option<Self> {
        let row = ALLOWED.iter().find(|row| row.extensions.contains(&extension));
        let open_xml = || OPEN_XML.iter().find(|row| !row.mime.is_empty() && row.extensions.contains(&extension));
        let open_xml = || open_xml().and_then(|row| format!("{OPEN_XML_PREFIX}{}", row.mime).parse().ok());
        row.map(|row| Self { declared: row.mime.into(), served: row.mime.into(), row }).or_else(open_xml)
    }

    /// The value of the `Content-Type` header with which the file is published and served: the registered name, and the
    /// charset of a text if one was declared.
    pub fn as_str(&self) -> &str {
        &self.served
    }

    /// The text that the client declared, which its upload must carry to the byte.
    pub fn declared(&self) -> &str {
        &self.declared
    }

    /// The registered name, without parameters.
    pub fn essence(&self) -> &str {
        essence(&self.served)
    }

    /// The same type without a memory of how it was declared: that of a published file.
    pub fn published(&self) -> Self {
        Self { declared: self.served.clone(), ..self.clone() }
    }

    /// Whether a `Content-Type` header names the same type, by whichever of its names.
    pub fn is(&self, header: &str) -> bool {
        header.parse::<Self>().is_ok_and(|other| other.essence() == self.essence())
    }

    /// Whether variants can be made of it.
    pub fn is_raster(&self) -> bool {
        self.row.nature == Nature::Raster
    }

    /// Whether a browser could run script in it, so that it must leave as an attachment.
    pub fn is_active(&self) -> bool {
        self.row.nature == Nature::Active
    }

    /// Whether a browser saves it rather than showing it: what could run script, and PDF, whose viewer in Chrome does not
    /// start under the `sandbox` that every file is served with.
    pub fn is_attachment(&self) -> bool {
        self.is_active() || self.row.form == Form::Pdf
    }

    /// The extension for a file whose own name has none.
    pub fn default_extension(&self) -> &'static str {
        self.row.extensions[0]
    }

    pub(crate) fn form(&self) -> Form {
        self.row.form
    }
}

/// A media type without its parameters.
fn essence(mime: &str) -> &str {
    mime.split(';').next().unwrap_or_default().trim()
}

impl fmt::Display for ContentType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.served)
    }
}

impl fmt::Debug for ContentType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.declared)
    }
}

/// A media type that is not allowed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an allowed media type; images, documents, archives, audio, video and fonts are")]
pub struct NotAllowed;

impl FromStr for ContentType {
    type Err = NotAllowed;

    fn from_str(text: &str) -> Result<Self, NotAllowed> {
        let text = text.trim();
        if text.len() > MAX_CHARS {
            return Err(NotAllowed);
        }
        let (name, parameters) = text.split_once(';').map_or((text, None), |(name, rest)| (name, Some(rest)));
        let (row, mime) = find(&name.trim_end().to_ascii_lowercase()).ok_or(NotAllowed)?;
        let charset = match parameters {
            Some(parameters) => charset(parameters).ok_or(NotAllowed)?,
            None => None,
        };
        let served = match charset.filter(|_| matches!(row.form, Form::Text | Form::ActiveText | Form::Svg)) {
            Some(charset) => Cow::Owned(format!("{mime}; charset={charset}")),
            None => mime,
        };
        let declared = if text == served { served.clone() } else { Cow::Owned(text.to_owned()) };
        Ok(Self { declared, served, row })
    }
}

/// The row of a name in lower case, and the registered name.
fn find(name: &str) -> Option<(&'static Row, Cow<'static, str>)> {
    let named = |row: &&Row| row.mime == name || row.aliases.contains(&name);
    if let Some(row) = ALLOWED.iter().find(named) {
        return Some((row, row.mime.into()));
    }
    let subtype = name.strip_prefix(OPEN_XML_PREFIX)?;
    if subtype.is_empty() || subtype.len() > 100 || !subtype.bytes().all(is_token) {
        return None;
    }
    let [known @ .., other] = &OPEN_XML;
    Some((known.iter().find(|row| row.mime == subtype).unwrap_or(other), name.to_owned().into()))
}

/// A character of a name or an unquoted value (RFC 9110, section 5.6.2).
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// The charset among the parameters, in lower case. `None`: they are not well formed (RFC 9110, section 5.6.6).
fn charset(parameters: &str) -> Option<Option<String>> {
    let mut found = None;
    for parameter in parameters.split(';').map(str::trim).filter(|parameter| !parameter.is_empty()) {
        let (name, value) = parameter.split_once('=')?;
        let quoted = value.strip_prefix('"').and_then(|value| value.strip_suffix('"'));
        let value_fits = match quoted {
            Some(text) => text.bytes().all(|b| (b' '..=b'~').contains(&b) && b != b'"' && b != b'\\'),
            // MediaRecorder writes a list of codecs without quotes.
            None => !value.is_empty() && value.bytes().all(|b| is_token(b) || b == b','),
        };
        if name.is_empty() || !name.bytes().all(is_token) || !value_fits {
            return None;
        }
        if name.eq_ignore_ascii_case("charset") {
            let value = quoted.unwrap_or(value);
            let known = !value.is_empty() && value.bytes().all(is_token);
            found = Some(value.to_ascii_lowercase()).filter(|_| known);
        }
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn served(text: &str) -> Option<String> {
        text.parse::<ContentType>().ok().map(|parsed| parsed.as_str().to_owned())
    }

    #[test]
    fn every_name_extension_and_alias_belongs_to_one_type() {
        let rows = || ALLOWED.iter();
        let names: Vec<&str> = rows().map(|row| row.mime).chain(ContentType::aliases()).collect();
        assert_eq!(names.iter().collect::<HashSet<_>>().len(), names.len());
        let extensions: Vec<&str> = rows().chain(&OPEN_XML).flat_map(|row| row.extensions.iter().copied()).collect();
        assert_eq!(extensions.iter().collect::<HashSet<_>>().len(), extensions.len());
        for row in rows() {
            assert!(row.mime.bytes().all(|b| b == b'/' || is_token(b)), "{}", row.mime);
            assert_eq!(ContentType::of_extension(row.extensions[0]).unwrap().as_str(), row.mime);
        }
    }

    #[test]
    fn case_and_aliases_are_normalised_and_the_declaration_is_kept() {
        for (declared, as_served) in [
            ("IMAGE/JPEG", "image/jpeg"),
            ("image/jpg", "image/jpeg"),
            ("image/vnd.microsoft.icon", "image/x-icon"),
            ("text/xml", "application/xml"),
            ("application/x-zip-compressed", "application/zip"),
            ("audio/x-wav", "audio/wav"),
            ("audio/mp3", "audio/mpeg"),
            ("application/x-gzip", "application/gzip"),
            ("application/javascript", "text/javascript"),
        ] {
            let parsed: ContentType = declared.parse().unwrap();
            assert_eq!((parsed.declared(), parsed.as_str()), (declared, as_served));
            assert_eq!(parsed.published().declared(), as_served);
            assert!(parsed.is(as_served) && parsed.is(declared));
        }
    }

    #[test]
    fn parameters_are_accepted_and_the_charset_of_a_text_is_served() {
        for (declared, as_served) in [
            ("text/plain;charset=UTF-8", "text/plain; charset=utf-8"),
            ("text/plain; charset=\"iso-8859-1\"; format=flowed", "text/plain; charset=iso-8859-1"),
            ("text/csv; header=present", "text/csv"),
            ("video/webm;codecs=vp9,opus", "video/webm"),
            ("video/webm; codecs=\"vp8, opus\"", "video/webm"),
            ("audio/mp4;codecs=mp4a.40.2", "audio/mp4"),
            ("image/jpeg; charset=utf-8", "image/jpeg"),
        ] {
            assert_eq!(served(declared).as_deref(), Some(as_served), "{declared}");
        }
        for refused in ["text/plain;charset", "text/plain; =x", "text/plain;a=\r\nb", "text/plain;a=\u{e9}"] {
            assert_eq!(served(refused), None, "{refused}");
        }
    }

    #[test]
    fn what_is_not_on_the_list_is_refused() {
        for refused in ["", "image/", "application/x-msdownload", "application/vnd.openxmlformats-", "image/*", "jpeg"]
        {
            assert_eq!(refused.parse::<ContentType>(), Err(NotAllowed), "{refused}");
        }
        assert_eq!(format!("text/plain; a={}", "x".repeat(300)).parse::<ContentType>(), Err(NotAllowed));
    }

    #[test]
    fn any_office_open_xml_type_is_allowed() {
        let known = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet";
        assert_eq!(known.parse::<ContentType>().unwrap().default_extension(), "xlsx");
        let rare = "application/vnd.openxmlformats-officedocument.presentationml.slide";
        assert_eq!(served(rare).as_deref(), Some(rare));
        assert_eq!(ContentType::of_extension("docx").unwrap().default_extension(), "docx");
    }

    #[test]
    fn svg_is_active_and_never_a_raster() {
        let svg: ContentType = "image/svg+xml".parse().unwrap();
        assert!(svg.is_active() && !svg.is_raster());
    }
}
