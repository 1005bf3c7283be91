//! Writing an image as a file.

use fanfold_domain::pipeline::ImageFormat;

use crate::{jpeg, pixels::Pixels, png, webp};

/// Writes the image in `format`; `quality` counts for those that lose something.
///
/// # Errors
/// What the encoder says.
pub(crate) fn encode(pixels: &Pixels, format: ImageFormat, quality: u8) -> Result<Vec<u8>, String> {
    match format {
        ImageFormat::Jpeg => jpeg::encode(pixels, quality),
        ImageFormat::Png => png::encode(pixels),
        ImageFormat::Webp => webp::encode(pixels, quality),
    }
}
