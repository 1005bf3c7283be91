//! Opening a file: what it is, how large, which way up; and what it takes to decode it.

use fanfold_domain::pipeline::ImageFormat;

use crate::{
    Broken, exif::Orientation, geometry::Cut, jpeg::OpenedJpeg, pixels::Pixels, png::OpenedPng,
    webp::OpenedWebp,
};

/// What a decoder and an encoder take beside pixels: tables, windows, metadata up to [`MAX_METADATA_BYTES`].
const OVERHEAD_BYTES: u64 = 6 << 20;

/// The most bytes of metadata that unpack.
pub(crate) const MAX_METADATA_BYTES: usize = 4 << 20;

/// How many bytes at the beginning are told of a file that is none of ours.
const TOLD_BYTES: usize = 8;

/// What the beginning of a file says.
#[derive(Debug, Clone)]
pub(crate) struct Header {
    pub(crate) format: ImageFormat,
    /// As stored, in pixels: at least 1.
    pub(crate) width: u32,
    /// As stored, in pixels: at least 1.
    pub(crate) height: u32,
    pub(crate) orientation: Orientation,
}

/// A file whose header was read.
pub(crate) struct Opened<'a> {
    pub(crate) header: Header,
    decoder: Decoder<'a>,
}

enum Decoder<'a> {
    Jpeg(Box<OpenedJpeg<'a>>),
    Png(Box<OpenedPng<'a>>),
    Webp(Box<OpenedWebp<'a>>),
}

/// What decoding costs.
pub(crate) struct Cost {
    /// Pixels of the decoded image.
    pub(crate) size: (u32, u32),
    /// Bytes of each of them.
    pub(crate) channels: u64,
    pub(crate) has_alpha: bool,
    /// Bytes beside the decoded image, while it is decoded.
    pub(crate) beside: u64,
}

impl<'a> Opened<'a> {
    pub(crate) fn new(file: &'a [u8]) -> Result<Self, Broken> {
        let format = recognize(file).ok_or_else(|| Broken::Unknown(beginning(file)))?;
        let (header, decoder) = match format {
            ImageFormat::Jpeg => {
                let (header, jpeg) = OpenedJpeg::new(file)?;
                (header, Decoder::Jpeg(Box::new(jpeg)))
            }
            ImageFormat::Png => {
                let (header, png) = OpenedPng::new(file)?;
                (header, Decoder::Png(Box::new(png)))
            }
            ImageFormat::Webp => {
                let (header, webp) = OpenedWebp::new(file)?;
                (header, Decoder::Webp(Box::new(webp)))
            }
        };
        if header.width == 0 || header.height == 0 {
            let size = format!("{}x{} pixels", header.width, header.height);
            return Err(Broken::Malformed(format, size));
        }
        Ok(Self { header, decoder })
    }

    /// The most memory that decoding, scaling, turning and encoding take, in bytes.
    pub(crate) fn working_bytes(&self, cut: &Cut) -> u64 {
        let cost = match &self.decoder {
            Decoder::Jpeg(jpeg) => jpeg.cost(cut),
            Decoder::Png(png) => png.cost(&self.header),
            Decoder::Webp(webp) => webp.cost(&self.header),
        };
        let decoded = area(cost.size) * cost.channels;
        // The filter goes across first, and then down. Opacity is multiplied in before, in a copy.
        let across = area((cut.width, cost.size.1)) * cost.channels;
        let scaling = across + if cost.has_alpha { decoded } else { 0 };
        // The result as it was scaled, turned, in another model, and as a file with what its encoder holds.
        let result = area((cut.width, cut.height)) * (3 * 4 + 8);
        OVERHEAD_BYTES + decoded + cost.beside.max(scaling + result)
    }

    /// Decodes the image, at a fraction of its size where that does for the cut.
    pub(crate) fn decode(self, cut: &Cut) -> Result<Pixels, Broken> {
        match self.decoder {
            Decoder::Jpeg(jpeg) => jpeg.decode(cut),
            Decoder::Png(png) => png.decode(),
            Decoder::Webp(webp) => webp.decode(),
        }
    }
}

/// Width times height.
pub(crate) fn area((width, height): (u32, u32)) -> u64 {
    u64::from(width) * u64::from(height)
}

/// What a file is, by the bytes that each format begins with.
fn recognize(file: &[u8]) -> Option<ImageFormat> {
    match file {
        [0xff, 0xd8, 0xff, ..] => Some(ImageFormat::Jpeg),
        [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1a, b'\n', ..] => Some(ImageFormat::Png),
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => Some(ImageFormat::Webp),
        _ => None,
    }
}

fn beginning(file: &[u8]) -> String {
    if file.is_empty() {
        return "nothing: it is empty".to_owned();
    }
    let bytes: Vec<_> = file.iter().take(TOLD_BYTES).map(|byte| format!("{byte:02x}")).collect();
    bytes.join(" ")
}
