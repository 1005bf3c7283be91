//! The options of `process: resize`.

use std::fmt;
use std::ops::RangeInclusive;

use serde_json::{Value as Json, json};
use sha2::{Digest, Sha256};

use super::merge::bucket;
use super::source::Source;
use super::template::{KeyTemplate, NotATemplate};
use crate::ObjectName;
use crate::document::Mistakes;
use crate::document::decode::{Fields, Node, Schema, flag, quantity, text, whole, word};
use crate::document::quantity::{GIB, MIB, SIZE};
use crate::document::value::Value;

const SCHEMA: Schema = Schema {
    built: &["size", "fit", "enlarge", "quality", "format", "key", "bucket", "at_once", "memory"],
    not_yet: &[],
};
const SIZE_ALLOWED: &str =
    "WIDTHxHEIGHT such as 800x600, or a number for the longer edge; each from 1 to 16383 pixels";
/// What the formats that are written have in common; WebP has the least (its container, section 2.6).
const EDGE_PIXELS: RangeInclusive<u32> = 1..=16_383;
const QUALITY: RangeInclusive<u8> = 1..=100;
const AT_ONCE: RangeInclusive<u32> = 1..=64;
const MEMORY_BYTES: RangeInclusive<u64> = 16 * MIB..=8 * GIB;
/// How results are made; raised when the same options begin to give another image, so that all are made anew.
const MAKING: u32 = 1;
const SOURCE_KEY: &str = "{key}";
/// Results have a folder of their own, so that what is written is told from what is read.
const DEFAULT_KEY: &str = "resized/{key}";

/// What becomes of each image that a record names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resize {
    /// The box's width, in pixels: 1 to 16,383.
    pub width: u32,
    /// The box's height, in pixels: 1 to 16,383.
    pub height: u32,
    /// How the image is put into the box.
    pub fit: Fit,
    /// Whether an image that is smaller than the box grows.
    pub enlarge: bool,
    /// Of lossy formats, 1 to 100.
    pub quality: u8,
    /// What is written; none writes what was read.
    pub format: Option<ImageFormat>,
    /// The result's key, of the image's: it holds `{key}`.
    pub key: KeyTemplate,
    /// The bucket of results; none means that of the run's output.
    pub bucket: Option<String>,
    /// How many images of a chunk are worked on at once.
    pub at_once: u32,
    /// What all of these may take together, files and pixels, in bytes.
    pub memory_bytes: u64,
}

/// How an image is put into a box.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fit {
    /// All of it within the box, which it touches on two sides.
    Inside,
    /// All of the box full; what juts out is cut off on both sides alike.
    Cover,
}

/// A format of image files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ImageFormat {
    /// JPEG (ITU-T T.81).
    Jpeg,
    /// PNG (ISO/IEC 15948).
    Png,
    /// WebP (RFC 9649).
    Webp,
}

impl ImageFormat {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Jpeg, Self::Png, Self::Webp];

    /// Its name in documents.
    pub fn name(self) -> &'static str {
        match self {
            Self::Jpeg => "jpeg",
            Self::Png => "png",
            Self::Webp => "webp",
        }
    }
}

impl fmt::Display for ImageFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Fit {
    fn name(self) -> &'static str {
        match self {
            Self::Inside => "inside",
            Self::Cover => "cover",
        }
    }
}

impl Resize {
    /// Decodes `with` of a stage.
    pub(super) fn decode(options: &Node<'_>, mistakes: &mut Mistakes) -> Option<Self> {
        let fields = Fields::open(options, &SCHEMA, mistakes)?;
        let size = fields.required("size", SIZE_ALLOWED, mistakes, decode_size);
        let fits = [Fit::Inside, Fit::Cover].map(|fit| (fit.name(), fit));
        let fit = fields.optional("fit", Fit::Inside, mistakes, |node, m| word(node, m, &fits, &[]));
        let enlarge = fields.optional("enlarge", false, mistakes, flag);
        let mut formats = vec![("same", None)];
        formats.extend(ImageFormat::ALL.map(|format| (format.name(), Some(format))));
        let format = fields.optional("format", None, mistakes, |node, m| word(node, m, &formats, &[]));
        if format == Some(ImageFormat::Png) {
            fields.refuse_all(&["quality"], "nothing: png has no quality, it loses nothing", mistakes);
        }
        let quality = fields.optional("quality", 82, mistakes, |node, m| whole(node, m, &QUALITY));
        let key = decode_key(&fields, format, mistakes);
        let bucket = fields.optional("bucket", None, mistakes, |node, m| bucket(node, m).map(Some));
        let at_once = fields.optional("at_once", 4, mistakes, |node, m| whole(node, m, &AT_ONCE));
        let memory_bytes =
            fields.optional("memory", 256 * MIB, mistakes, |node, m| quantity(node, m, &SIZE, &MEMORY_BYTES));
        let (width, height) = size?;
        let key = key?;
        Some(Self { width, height, fit, enlarge, quality, format, key, bucket, at_once, memory_bytes })
    }

    /// The options as a document writes them.
    pub(super) fn to_document(&self) -> Json {
        let mut options = json!({
            "size": format!("{}x{}", self.width, self.height),
            "fit": self.fit.name(),
            "enlarge": self.enlarge,
            "format": self.format.map_or("same", ImageFormat::name),
            "key": self.key.as_str(),
            "at_once": self.at_once,
            "memory": SIZE.format(self.memory_bytes),
        });
        if self.format != Some(ImageFormat::Png) {
            options["quality"] = json!(self.quality);
        }
        if let Some(bucket) = &self.bucket {
            options["bucket"] = json!(bucket);
        }
        options
    }

    /// What a result is made of, in 64 hexadecimal digits: the image (its version, or else its entity tag), the
    /// options that decide how it looks, and the name it gets. A SHA-256.
    pub fn recipe(&self, image: &ObjectName, version_or_etag: &str, result: &ObjectName) -> String {
        let format = self.format.map_or("same", ImageFormat::name);
        let looks = (self.width, self.height, self.fit.name(), self.enlarge, self.quality, format);
        let all = json!([MAKING, image, version_or_etag, looks, result]);
        hex::encode(Sha256::digest(all.to_string()))
    }

    /// Refuses a key that all that the source matches looks like, so that nothing could start a run.
    pub(super) fn check_source(&self, source: &Source, path: String, mistakes: &mut Mistakes) {
        if self.key.hides_all(source) {
            let found = format!("`{}`, which every key that the source matches looks like", self.key);
            let allowed =
                "a template whose text before or after the placeholders no key of the source must have";
            mistakes.add(path, found, allowed);
        }
    }
}

fn decode_size(node: &Node<'_>, mistakes: &mut Mistakes) -> Option<(u32, u32)> {
    let edge = |pixels: u32| EDGE_PIXELS.contains(&pixels).then_some(pixels);
    let found = match node.value {
        Value::Integer(number) => u32::try_from(*number).ok().and_then(edge).map(|edge| (edge, edge)),
        Value::Text(text) => text.split_once('x').and_then(|(width, height)| {
            let number = |text: &str| {
                let digits = text.bytes().all(|byte| byte.is_ascii_digit());
                digits.then(|| text.parse().ok().and_then(edge)).flatten()
            };
            Some((number(width)?, number(height)?))
        }),
        _ => None,
    };
    found.or_else(|| node.refuse(mistakes, SIZE_ALLOWED))
}

/// Two images of a run have two keys, so a template without `{key}` will not do. By default the key of an image that
/// becomes one of another format also ends in that.
fn decode_key(
    fields: &Fields<'_>,
    format: Option<ImageFormat>,
    mistakes: &mut Mistakes,
) -> Option<KeyTemplate> {
    let allowed = format!("{NotATemplate}, and {SOURCE_KEY} in any case");
    let Some(node) = fields.get("key") else {
        let extension = format.map(|format| format!(".{format}")).unwrap_or_default();
        return format!("{DEFAULT_KEY}{extension}").parse().ok();
    };
    let found = text(&node, mistakes, &allowed)?;
    match found.parse() {
        Ok(template) if found.contains(SOURCE_KEY) => Some(template),
        _ => node.refuse(mistakes, allowed),
    }
}
