//! PNG.

use std::{borrow::Cow, io::Cursor};

use fanfold_domain::pipeline::ImageFormat;
use png::{
    BitDepth, ColorType, Compression, Decoder, DecodingError, Encoder, Info, Limits, Reader, Transformations,
};

use crate::{
    Broken,
    decode::{Cost, Header, MAX_METADATA_BYTES},
    exif::Orientation,
    pixels::{Model, Pixels},
};

/// A PNG whose header was read.
pub(crate) struct OpenedPng<'a> {
    reader: Reader<Cursor<&'a [u8]>>,
    model: Model,
}

impl<'a> OpenedPng<'a> {
    pub(crate) fn new(file: &'a [u8]) -> Result<(Header, Self), Broken> {
        let mut decoder = Decoder::new_with_limits(Cursor::new(file), Limits { bytes: MAX_METADATA_BYTES });
        decoder.set_ignore_text_chunk(true);
        decoder.set_transformations(Transformations::normalize_to_color8());
        let reader = decoder.read_info().map_err(broken)?;
        let info = reader.info();
        if info.animation_control.is_some_and(|animation| animation.num_frames > 1) {
            return Err(Broken::Animated(ImageFormat::Png));
        }
        let header = Header {
            format: ImageFormat::Png,
            width: info.width,
            height: info.height,
            orientation: Orientation::of(info.exif_metadata.as_deref()),
        };
        let model = match reader.output_color_type().0 {
            ColorType::Grayscale => Model::Grey,
            ColorType::GrayscaleAlpha => Model::GreyAlpha,
            ColorType::Rgb => Model::Rgb,
            ColorType::Rgba => Model::Rgba,
            ColorType::Indexed => return Err(malformed("a palette that is none")),
        };
        Ok((header, Self { reader, model }))
    }

    pub(crate) fn cost(&self, header: &Header) -> Cost {
        // Lines as they are stored, up to 16 bits a channel, two of them, and their unpacked neighbours.
        let beside = u64::from(header.width) * 8 * 4;
        let size = (header.width, header.height);
        let (channels, has_alpha) = (self.model.channels() as u64, self.model.has_alpha());
        Cost { size, channels, has_alpha, beside }
    }

    pub(crate) fn decode(mut self) -> Result<Pixels, Broken> {
        let size = self.reader.output_buffer_size().ok_or_else(|| malformed("too many pixels"))?;
        let mut bytes = vec![0; size];
        let frame = self.reader.next_frame(&mut bytes).map_err(broken)?;
        bytes.truncate(frame.buffer_size());
        let profile = self.reader.info().icc_profile.as_deref().map(<[u8]>::to_vec);
        Ok(Pixels { width: frame.width, height: frame.height, model: self.model, bytes, eighths: 8, profile })
    }
}

/// Writes a PNG.
///
/// # Errors
/// The encoder's, of which none is known.
pub(crate) fn encode(pixels: &Pixels) -> Result<Vec<u8>, String> {
    let mut info = Info::with_size(pixels.width, pixels.height);
    info.bit_depth = BitDepth::Eight;
    info.color_type = match pixels.model {
        Model::Grey => ColorType::Grayscale,
        Model::GreyAlpha => ColorType::GrayscaleAlpha,
        Model::Rgb | Model::Cmyk => ColorType::Rgb,
        Model::Rgba => ColorType::Rgba,
    };
    info.icc_profile = pixels.profile.as_deref().map(Cow::Borrowed);
    let mut file = Vec::new();
    let write = || {
        let mut encoder = Encoder::with_info(&mut file, info)?;
        encoder.set_compression(Compression::Balanced);
        let mut writer = encoder.write_header()?;
        writer.write_image_data(&pixels.bytes)?;
        writer.finish()
    };
    write().map_err(|error: png::EncodingError| error.to_string())?;
    Ok(file)
}

fn broken(error: DecodingError) -> Broken {
    malformed(error.to_string())
}

fn malformed(reason: impl Into<String>) -> Broken {
    Broken::Malformed(ImageFormat::Png, reason.into())
}
