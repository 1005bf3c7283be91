//! JPEG.

use fanfold_domain::pipeline::ImageFormat;
use jpeg_decoder::{CodingProcess, Decoder, Error, ImageInfo, PixelFormat};
use jpeg_encoder::{ChromaSubsamplingMethod, ColorType, Encoder, SamplingFactor};

use crate::{
    Broken,
    decode::{Cost, Header, area},
    exif::Orientation,
    geometry::Cut,
    pixels::{Model, Pixels},
};

/// From this quality on colours are kept as sharp as brightness (as libvips and libjpeg's `cjpeg` users have it).
const SHARP_COLOURS: u8 = 90;

/// Shorter edges than this are decoded whole: there is nothing to gain, and a fraction of few pixels is none.
const LEAST_EDGE: u16 = 64;

/// Each edge is a multiple of a block of up to 4 by 4 samples of 8.
const BLOCK: u32 = 32;

/// The most bytes of a colour profile that are kept: an encoder has 255 segments for it.
const MAX_PROFILE_BYTES: usize = 4 << 20;

/// A JPEG whose header was read.
pub(crate) struct OpenedJpeg<'a> {
    decoder: Decoder<&'a [u8]>,
    info: ImageInfo,
    model: Model,
}

impl<'a> OpenedJpeg<'a> {
    pub(crate) fn new(file: &'a [u8]) -> Result<(Header, Self), Broken> {
        let mut decoder = Decoder::new(file);
        decoder.read_info().map_err(broken)?;
        let info = decoder.info().ok_or_else(|| malformed("no frame"))?;
        let model = match info.pixel_format {
            PixelFormat::L8 => Model::Grey,
            PixelFormat::RGB24 => Model::Rgb,
            PixelFormat::CMYK32 => Model::Cmyk,
            PixelFormat::L16 => return Err(malformed("16 bits a pixel, and 8 a channel are read")),
        };
        let header = Header {
            format: ImageFormat::Jpeg,
            width: info.width.into(),
            height: info.height.into(),
            orientation: Orientation::of(decoder.exif_data()),
        };
        Ok((header, Self { decoder, info, model }))
    }

    pub(crate) fn cost(&self, cut: &Cut) -> Cost {
        let eighths = self.eighths(cut);
        let channels = self.model.channels() as u64;
        let size = [self.info.width, self.info.height].map(|edge| u32::from(scaled(edge, eighths)));
        let padded = [self.info.width, self.info.height].map(|edge| u32::from(edge).next_multiple_of(BLOCK));
        // Samples, a plane for each channel, before they become pixels.
        let planes = area((padded[0], padded[1])) * channels * u64::from(eighths * eighths) / 64;
        // A progressive image is whole only after its last scan; until then its coefficients are kept.
        let coefficients = match self.info.coding_process {
            CodingProcess::DctProgressive => area((padded[0], padded[1])) * channels * 2,
            CodingProcess::DctSequential | CodingProcess::Lossless => 0,
        };
        Cost { size: (size[0], size[1]), channels, has_alpha: false, beside: planes + coefficients }
    }

    pub(crate) fn decode(mut self, cut: &Cut) -> Result<Pixels, Broken> {
        let eighths = self.eighths(cut);
        let (mut width, mut height) = (self.info.width, self.info.height);
        if eighths < 8 {
            (width, height) =
                self.decoder.scale(scaled(width, eighths), scaled(height, eighths)).map_err(broken)?;
        }
        let bytes = self.decoder.decode().map_err(broken)?;
        let profile = self.decoder.icc_profile().filter(|profile| profile.len() <= MAX_PROFILE_BYTES);
        Ok(Pixels { width: width.into(), height: height.into(), model: self.model, bytes, eighths, profile })
    }

    /// Of how many eighths of its size the image is decoded: at least twice the size that it is to have, so that the
    /// filter, and not the transform, decides how it looks.
    fn eighths(&self, cut: &Cut) -> u16 {
        if self.info.width.min(self.info.height) < LEAST_EDGE {
            return 8;
        }
        match cut.factor() {
            factor if factor >= 16.0 => 1,
            factor if factor >= 8.0 => 2,
            factor if factor >= 4.0 => 4,
            _ => 8,
        }
    }
}

fn scaled(edge: u16, eighths: u16) -> u16 {
    u16::try_from((u32::from(edge) * u32::from(eighths)).div_ceil(8)).unwrap_or(edge)
}

/// Writes a baseline JPEG.
///
/// # Errors
/// It is too large to be one.
pub(crate) fn encode(pixels: &Pixels, quality: u8) -> Result<Vec<u8>, String> {
    let flat;
    let (model, bytes) = if pixels.model.has_alpha() {
        flat = pixels.opaque();
        (flat.0, &flat.1)
    } else {
        (pixels.model, &pixels.bytes)
    };
    let edge = |pixels: u32| u16::try_from(pixels).map_err(|_| format!("an edge of {pixels} pixels"));
    let mut file = Vec::new();
    let mut encoder = Encoder::new(&mut file, quality);
    let sampling = if quality < SHARP_COLOURS { SamplingFactor::F_2_2 } else { SamplingFactor::F_1_1 };
    encoder.set_sampling_factor(sampling);
    encoder.set_chroma_subsampling_method(ChromaSubsamplingMethod::Average);
    encoder.set_optimized_huffman_tables(true);
    if let Some(profile) = &pixels.profile {
        encoder.add_icc_profile(profile).map_err(|error| error.to_string())?;
    }
    let colours = if model == Model::Grey { ColorType::Luma } else { ColorType::Rgb };
    encoder
        .encode(bytes, edge(pixels.width)?, edge(pixels.height)?, colours)
        .map_err(|error| error.to_string())?;
    Ok(file)
}

fn broken(error: Error) -> Broken {
    malformed(error.to_string())
}

fn malformed(reason: impl Into<String>) -> Broken {
    Broken::Malformed(ImageFormat::Jpeg, reason.into())
}
