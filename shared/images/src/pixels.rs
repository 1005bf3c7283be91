//! Decoded images, and what is done to them: scaled, turned, given another colour model.

use fast_image_resize::{
    FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer,
    images::{Image, ImageRef},
};

use crate::{exif::Orientation, geometry::Cut};

/// What the bytes of a pixel mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Model {
    /// Grey.
    Grey,
    /// Grey, opacity.
    GreyAlpha,
    /// Red, green, blue.
    Rgb,
    /// Red, green, blue, opacity.
    Rgba,
    /// Cyan, magenta, yellow, black; 255 is all of it.
    Cmyk,
}

impl Model {
    /// Bytes of a pixel.
    pub(crate) fn channels(self) -> usize {
        match self {
            Self::Grey => 1,
            Self::GreyAlpha => 2,
            Self::Rgb => 3,
            Self::Rgba | Self::Cmyk => 4,
        }
    }

    pub(crate) fn has_alpha(self) -> bool {
        matches!(self, Self::GreyAlpha | Self::Rgba)
    }

    fn pixel_type(self) -> PixelType {
        match self {
            Self::Grey => PixelType::U8,
            Self::GreyAlpha => PixelType::U8x2,
            Self::Rgb => PixelType::U8x3,
            Self::Rgba | Self::Cmyk => PixelType::U8x4,
        }
    }
}

/// A decoded image of 8 bits a channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pixels {
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) model: Model,
    /// Lines from the top, without gaps.
    pub(crate) bytes: Vec<u8>,
    /// Of how many eighths of the image's size it was decoded.
    pub(crate) eighths: u16,
    /// The colour profile that the bytes are meant in; none is sRGB, most often.
    pub(crate) profile: Option<Vec<u8>>,
}

/// Takes what is kept of an image to the size it is to have.
///
/// # Errors
/// The image has other bytes than its size says.
pub(crate) fn scale(from: Pixels, cut: &Cut) -> Result<Pixels, String> {
    let kept = within(cut.kept_at(from.eighths), (from.width, from.height));
    let all = [0.0, 0.0, f64::from(from.width), f64::from(from.height)];
    if (from.width, from.height) == (cut.width, cut.height) && same(kept, all) {
        return Ok(from);
    }
    let Pixels { width, height, model, bytes, profile, .. } = from;
    let source =
        ImageRef::new(width, height, &bytes, model.pixel_type()).map_err(|error| error.to_string())?;
    let mut scaled = Image::new(cut.width, cut.height, model.pixel_type());
    let [left, top, kept_width, kept_height] = kept;
    let options = ResizeOptions::new()
        .resize_alg(ResizeAlg::Convolution(FilterType::Lanczos3))
        .use_alpha(model.has_alpha())
        .crop(left, top, kept_width, kept_height);
    Resizer::new().resize(&source, &mut scaled, &options).map_err(|error| error.to_string())?;
    Ok(Pixels { width: cut.width, height: cut.height, model, bytes: scaled.into_vec(), eighths: 8, profile })
}

/// The same part, without what rounding put beyond the edges.
fn within([left, top, width, height]: [f64; 4], size: (u32, u32)) -> [f64; 4] {
    [left, top, width.min(f64::from(size.0) - left), height.min(f64::from(size.1) - top)]
}

fn same(a: [f64; 4], b: [f64; 4]) -> bool {
    a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-6)
}

impl Pixels {
    /// The image as it is meant to be seen.
    pub(crate) fn turned(self, orientation: Orientation) -> Self {
        if orientation == Orientation::Upright {
            return self;
        }
        let size = (self.width as usize, self.height as usize);
        let channels = self.model.channels();
        let seen = if orientation.swaps_axes() { (size.1, size.0) } else { size };
        let mut bytes = Vec::with_capacity(self.bytes.len());
        for y in 0..seen.1 {
            for x in 0..seen.0 {
                let (column, line) = orientation.stored_at((x, y), size);
                let at = (line * size.0 + column) * channels;
                bytes.extend_from_slice(&self.bytes[at..at + channels]);
            }
        }
        let (width, height) =
            if orientation.swaps_axes() { (self.height, self.width) } else { (self.width, self.height) };
        Self { width, height, bytes, ..self }
    }

    /// The image in colours of light. The profile of inks says nothing about those.
    pub(crate) fn without_cmyk(self) -> Self {
        if self.model != Model::Cmyk {
            return self;
        }
        let light = |ink: u8, black: u8| {
            let product = u16::from(255 - ink) * u16::from(255 - black);
            u8::try_from((product + 127) / 255).expect("a product of two shares is a share")
        };
        let rgb =
            |inks: &[u8; 4]| [light(inks[0], inks[3]), light(inks[1], inks[3]), light(inks[2], inks[3])];
        let bytes = self.bytes.as_chunks::<4>().0.iter().flat_map(rgb).collect();
        Self { model: Model::Rgb, bytes, profile: None, ..self }
    }

    /// The image on white, for a format that knows no opacity.
    pub(crate) fn opaque(&self) -> (Model, Vec<u8>) {
        let colours = self.model.channels() - 1;
        let on_white = |pixel: &[u8], channel: usize| {
            let (colour, alpha) = (u16::from(pixel[channel]), u16::from(pixel[colours]));
            u8::try_from((colour * alpha + 255 * (255 - alpha) + 127) / 255)
                .expect("a mean of two colours is one")
        };
        let flatten =
            |pixel: &[u8]| -> Vec<u8> { (0..colours).map(|channel| on_white(pixel, channel)).collect() };
        let bytes = self.bytes.chunks_exact(self.model.channels()).flat_map(flatten).collect();
        (if colours == 1 { Model::Grey } else { Model::Rgb }, bytes)
    }

    /// The image with three colours, for a format that knows no grey.
    pub(crate) fn coloured(&self) -> Vec<u8> {
        let colour = |pixel: &[u8]| {
            let grey = pixel[0];
            [grey, grey, grey].into_iter().chain(pixel.get(1).copied())
        };
        self.bytes
            .chunks_exact(self.model.channels())
            .flat_map(|pixel| colour(pixel).collect::<Vec<_>>())
            .collect()
    }
}
