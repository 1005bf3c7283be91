//! WebP.

use std::io::Cursor;

use fanfold_domain::pipeline::ImageFormat;
use image_webp::{DecodingError, WebPDecoder};

use crate::{
    Broken,
    decode::{Cost, Header, MAX_METADATA_BYTES},
    exif::Orientation,
    pixels::{Model, Pixels},
};

/// Bytes a pixel that the decoder holds beside the image: planes of samples, opacity, and the image once more where
/// it drops its opacity.
const BESIDE_BYTES: u64 = 8;

/// A WebP whose header was read.
pub(crate) struct OpenedWebp<'a> {
    decoder: WebPDecoder<Cursor<&'a [u8]>>,
    model: Model,
    profile: Option<Vec<u8>>,
}

impl<'a> OpenedWebp<'a> {
    pub(crate) fn new(file: &'a [u8]) -> Result<(Header, Self), Broken> {
        let mut decoder = WebPDecoder::new(Cursor::new(file)).map_err(broken)?;
        decoder.set_memory_limit(MAX_METADATA_BYTES);
        if decoder.is_animated() {
            return Err(Broken::Animated(ImageFormat::Webp));
        }
        let (width, height) = decoder.dimensions();
        let exif = decoder.exif_metadata().map_err(broken)?;
        let profile = decoder.icc_profile().map_err(broken)?;
        let model = if decoder.has_alpha() { Model::Rgba } else { Model::Rgb };
        let orientation = Orientation::of(exif.as_deref());
        let header = Header { format: ImageFormat::Webp, width, height, orientation };
        Ok((header, Self { decoder, model, profile }))
    }

    pub(crate) fn cost(&self, header: &Header) -> Cost {
        let size = (header.width, header.height);
        let beside = u64::from(header.width) * u64::from(header.height) * BESIDE_BYTES;
        Cost { size, channels: self.model.channels() as u64, has_alpha: self.model.has_alpha(), beside }
    }

    pub(crate) fn decode(mut self) -> Result<Pixels, Broken> {
        let size = self.decoder.output_buffer_size().ok_or_else(|| malformed("too many pixels"))?;
        let mut bytes = vec![0; size];
        // What was read of the header was checked against what is allowed; the limit was for the metadata.
        self.decoder.set_memory_limit(usize::MAX);
        self.decoder.read_image(&mut bytes).map_err(broken)?;
        let (width, height) = self.decoder.dimensions();
        Ok(Pixels { width, height, model: self.model, bytes, eighths: 8, profile: self.profile })
    }
}

/// Writes a lossy WebP.
///
/// # Errors
/// The encoder's, which has no memory for what it needs.
pub(crate) fn encode(pixels: &Pixels, quality: u8) -> Result<Vec<u8>, String> {
    let coloured;
    let bytes = if matches!(pixels.model, Model::Grey | Model::GreyAlpha) {
        coloured = pixels.coloured();
        &coloured
    } else {
        &pixels.bytes
    };
    let encoder = if pixels.model.has_alpha() {
        webp::Encoder::from_rgba(bytes, pixels.width, pixels.height)
    } else {
        webp::Encoder::from_rgb(bytes, pixels.width, pixels.height)
    };
    let file = encoder.encode_simple(false, quality.into()).map_err(|error| format!("{error:?}"))?;
    Ok(match &pixels.profile {
        Some(profile) => with_profile(&file, profile, pixels),
        None => file.to_vec(),
    })
}

/// The file with a colour profile, which the encoder writes none of: an extended file (RFC 9649, section 2.7) has
/// its features first, then the profile, then the chunks of the image.
fn with_profile(file: &[u8], profile: &[u8], pixels: &Pixels) -> Vec<u8> {
    const RIFF_HEADER: usize = 12;
    const EXTENDED_CHUNK: usize = 18;
    let chunks = &file[RIFF_HEADER..];
    let image = if chunks.starts_with(b"VP8X") { &chunks[EXTENDED_CHUNK..] } else { chunks };
    let has_alpha = pixels.model.has_alpha();
    let edge = |pixels: u32| (pixels - 1).to_le_bytes();
    let (width, height) = (edge(pixels.width), edge(pixels.height));
    let features = [&[0x20 | (u8::from(has_alpha) << 4), 0, 0, 0], &width[..3], &height[..3]].concat();
    let body =
        [b"WEBP".to_vec(), chunk(*b"VP8X", &features), chunk(*b"ICCP", profile), image.to_vec()].concat();
    chunk(*b"RIFF", &body)
}

/// A chunk of a RIFF file: its name, its length, and an even number of bytes.
fn chunk(name: [u8; 4], body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).unwrap_or(u32::MAX).to_le_bytes();
    let padding: &[u8] = if body.len().is_multiple_of(2) { &[] } else { &[0] };
    [&name[..], &length, body, padding].concat()
}

fn broken(error: DecodingError) -> Broken {
    malformed(error.to_string())
}

fn malformed(reason: impl Into<String>) -> Broken {
    Broken::Malformed(ImageFormat::Webp, reason.into())
}
