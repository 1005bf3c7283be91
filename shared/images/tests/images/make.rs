//! Files of every kind, and the pixels of a result.

use std::{borrow::Cow, io::Cursor};

use fanfold_domain::pipeline::{Fit, ImageFormat, Resize};
use fanfold_images::{Broken, Resized, resize};
use image_webp::WebPEncoder;
use jpeg_encoder::{ColorType, Encoder, SamplingFactor};
use png::{BitDepth, Decoder, Info, Transformations};

pub(crate) const ENOUGH_BYTES: u64 = 256 << 20;

/// An image of three colours in memory.
pub(crate) struct Picture {
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) bytes: Vec<u8>,
}

impl Picture {
    pub(crate) fn new(width: u32, height: u32, colour: impl Fn(u32, u32) -> [u8; 3]) -> Self {
        let lines = (0..height).flat_map(|y| (0..width).map(move |x| (x, y)));
        Self { width, height, bytes: lines.flat_map(|(x, y)| colour(x, y)).collect() }
    }

    /// Four quarters: red, green, blue, white.
    pub(crate) fn quarters(width: u32, height: u32) -> Self {
        Self::new(width, height, |x, y| match (x < width / 2, y < height / 2) {
            (true, true) => [255, 0, 0],
            (false, true) => [0, 255, 0],
            (true, false) => [0, 0, 255],
            (false, false) => [255, 255, 255],
        })
    }

    /// Waves of brightness and colour, without edges that a codec would blur.
    pub(crate) fn waves(width: u32, height: u32) -> Self {
        Self::new(width, height, |x, y| {
            // From 27 to 227, by a parabola each way: no float is cut to a byte.
            let wave = |by: u32| {
                let height = |at: u32| (at % by) * (by - at % by) * 400 / (by * by);
                27 + u8::try_from(height(x) + height(y)).unwrap()
            };
            [wave(90), wave(140), wave(200)]
        })
    }

    pub(crate) fn at(&self, x: u32, y: u32) -> [u8; 3] {
        let at = ((y * self.width + x) * 3) as usize;
        [self.bytes[at], self.bytes[at + 1], self.bytes[at + 2]]
    }

    pub(crate) fn to_file(&self, format: ImageFormat, exif: Option<&[u8]>) -> Vec<u8> {
        match format {
            ImageFormat::Jpeg => self.to_jpeg(|encoder| {
                if let Some(exif) = exif {
                    encoder.add_exif_metadata(exif).unwrap();
                }
            }),
            ImageFormat::Png => png(self.width, self.height, png::ColorType::Rgb, &self.bytes, |info| {
                info.exif_metadata = exif.map(|exif| Cow::Owned(exif.to_vec()));
            }),
            ImageFormat::Webp => {
                let mut file = Vec::new();
                let mut encoder = WebPEncoder::new(&mut file);
                if let Some(exif) = exif {
                    encoder.set_exif_metadata(exif.to_vec());
                }
                encoder.encode(&self.bytes, self.width, self.height, image_webp::ColorType::Rgb8).unwrap();
                file
            }
        }
    }

    pub(crate) fn to_jpeg(&self, adjust: impl FnOnce(&mut Encoder<&mut Vec<u8>>)) -> Vec<u8> {
        jpeg(self.width, self.height, ColorType::Rgb, &self.bytes, adjust)
    }

    /// The mean of the squares of what two pictures of one size differ by.
    pub(crate) fn difference(&self, other: &Self) -> f64 {
        assert_eq!((self.width, self.height), (other.width, other.height));
        let squares = self.bytes.iter().zip(&other.bytes).map(|(a, b)| u32::from(a.abs_diff(*b)).pow(2));
        let count = u32::try_from(self.bytes.len()).unwrap();
        f64::from(squares.sum::<u32>()) / f64::from(count)
    }
}

pub(crate) fn jpeg(
    width: u32,
    height: u32,
    colours: ColorType,
    bytes: &[u8],
    adjust: impl FnOnce(&mut Encoder<&mut Vec<u8>>),
) -> Vec<u8> {
    let mut file = Vec::new();
    let mut encoder = Encoder::new(&mut file, 95);
    encoder.set_sampling_factor(SamplingFactor::F_1_1);
    adjust(&mut encoder);
    encoder.encode(bytes, width.try_into().unwrap(), height.try_into().unwrap(), colours).unwrap();
    file
}

pub(crate) fn png(
    width: u32,
    height: u32,
    colours: png::ColorType,
    bytes: &[u8],
    adjust: impl FnOnce(&mut Info<'_>),
) -> Vec<u8> {
    let mut info = Info::with_size(width, height);
    info.color_type = colours;
    info.bit_depth = BitDepth::Eight;
    adjust(&mut info);
    let mut file = Vec::new();
    let mut writer = png::Encoder::with_info(&mut file, info).unwrap().write_header().unwrap();
    writer.write_image_data(bytes).unwrap();
    writer.finish().unwrap();
    file
}

/// EXIF metadata that say one thing: an orientation.
pub(crate) fn exif(orientation: u8) -> Vec<u8> {
    let mut tiff = b"MM\0\x2a\0\0\0\x08\0\x01".to_vec();
    tiff.extend([0x01, 0x12, 0, 3, 0, 0, 0, 1, 0, orientation, 0, 0]);
    tiff.extend([0; 4]);
    tiff
}

/// Options: a box, everything else as by default.
pub(crate) fn wanted(width: u32, height: u32) -> Resize {
    Resize {
        width,
        height,
        fit: Fit::Inside,
        enlarge: false,
        quality: 82,
        format: None,
        key: "resized/{key}".parse().unwrap(),
        bucket: None,
        at_once: 4,
        memory_bytes: ENOUGH_BYTES,
    }
}

/// The same, written without loss.
pub(crate) fn exact(width: u32, height: u32) -> Resize {
    Resize { format: Some(ImageFormat::Png), ..wanted(width, height) }
}

pub(crate) fn made(file: &[u8], wanted: &Resize) -> Resized {
    resize(file, wanted, ENOUGH_BYTES).unwrap()
}

pub(crate) fn refused(file: &[u8]) -> Broken {
    resize(file, &wanted(10, 10), ENOUGH_BYTES).unwrap_err()
}

/// Reads a PNG as it is: its colours and its bytes.
pub(crate) fn read_png(file: &[u8]) -> (png::ColorType, Vec<u8>) {
    let mut reader = Decoder::new(Cursor::new(file)).read_info().unwrap();
    let mut bytes = vec![0; reader.output_buffer_size().unwrap()];
    let frame = reader.next_frame(&mut bytes).unwrap();
    (frame.color_type, bytes)
}

/// The pixels of a result of [`exact`] options that has three colours.
pub(crate) fn pixels(resized: &Resized) -> Picture {
    let mut decoder = Decoder::new(Cursor::new(&resized.bytes));
    decoder.set_transformations(Transformations::IDENTITY);
    let (colours, bytes) = read_png(&resized.bytes);
    assert_eq!(colours, png::ColorType::Rgb);
    Picture { width: resized.width, height: resized.height, bytes }
}
