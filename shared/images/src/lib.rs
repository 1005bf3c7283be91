//! Images in memory: a file's bytes in, a smaller file's bytes out.
//!
//! What a file is says its beginning, never its name. Its header is read first: an image that has more pixels or
//! takes more memory than is allowed is refused before either is allocated, so that a small file which claims to be
//! a huge image is broken like any other. The image is turned as its EXIF orientation says; its colour profile is
//! kept, all other metadata are dropped (they may tell where a photograph was taken).
//!
//! A JPEG that is to become much smaller is decoded at a half, a quarter or an eighth of its size, such that at
//! least twice the pixels are left that the filter (Lanczos, of three lobes) then takes.
//!
//! Equal bytes and options give equal bytes on the same kind of processor; the vector units of another may round
//! otherwise.
//!
//! Architecture invariant: nothing here knows where bytes come from or go to, and nothing starts a thread.

mod decode;
mod encode;
mod exif;
mod geometry;
mod jpeg;
mod pixels;
mod png;
mod webp;

use fanfold_domain::pipeline::{ImageFormat, Resize};
use thiserror::Error;

use self::{decode::Opened, geometry::Cut, pixels::scale};

/// The most pixels of an image, as libvips has it: the square of WebP's longest edge.
pub const MAX_PIXELS: u64 = 16_383 * 16_383;

/// What a file cost and became.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resized {
    /// The new file.
    pub bytes: Vec<u8>,
    /// What it is.
    pub format: ImageFormat,
    /// Its width as seen, in pixels.
    pub width: u32,
    /// Its height as seen, in pixels.
    pub height: u32,
}

/// Why a file gives no image. No other try would end differently.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum Broken {
    /// It begins like none of the formats.
    #[error("no jpeg, png or webp: it begins with {0}")]
    Unknown(String),
    /// It begins like an image of the format, and is none.
    #[error("a broken {0}: {1}")]
    Malformed(ImageFormat, String),
    /// It is more than one image.
    #[error("an animated {0}, and only still images are resized")]
    Animated(ImageFormat),
    /// It has too many pixels.
    #[error("{width}x{height} pixels, and at most {MAX_PIXELS} in all are allowed")]
    TooManyPixels {
        /// Pixels in a line, as the header says.
        width: u32,
        /// Lines, as the header says.
        height: u32,
    },
    /// It would take more memory than is allowed.
    #[error(
        "{width}x{height} pixels take {needed_bytes} bytes of memory, and at most {allowed_bytes} are allowed"
    )]
    TooMuchMemory {
        /// Pixels in a line, as the header says.
        width: u32,
        /// Lines, as the header says.
        height: u32,
        /// What it would take.
        needed_bytes: u64,
        /// What it may take.
        allowed_bytes: u64,
    },
}

/// The memory that [`resize`] takes at most beside `file` itself, in bytes, as its header says.
///
/// # Errors
/// The file is no image, has too many pixels, or would take more than is allowed.
pub fn working_bytes(file: &[u8], wanted: &Resize, allowed_bytes: u64) -> Result<u64, Broken> {
    Ok(prepare(file, wanted, allowed_bytes)?.2)
}

/// Makes the image that is wanted of the one in `file`, with at most `allowed_bytes` of memory beside it. The result
/// is never larger than the box, and at least one pixel in each direction.
///
/// # Errors
/// As of [`working_bytes`]; or the file turned out to be broken only as it was decoded.
pub fn resize(file: &[u8], wanted: &Resize, allowed_bytes: u64) -> Result<Resized, Broken> {
    let (opened, cut, _) = prepare(file, wanted, allowed_bytes)?;
    let orientation = opened.header.orientation;
    let read = opened.header.format;
    let decoded = opened.decode(&cut)?;
    let scaled = scale(decoded, &cut).map_err(|error| Broken::Malformed(read, error))?;
    let seen = scaled.turned(orientation).without_cmyk();
    let format = wanted.format.unwrap_or(read);
    let bytes =
        encode::encode(&seen, format, wanted.quality).map_err(|error| Broken::Malformed(read, error))?;
    Ok(Resized { bytes, format, width: seen.width, height: seen.height })
}

/// Reads the header, decides what is to be done, and says how much memory that takes.
fn prepare<'a>(
    file: &'a [u8],
    wanted: &Resize,
    allowed_bytes: u64,
) -> Result<(Opened<'a>, Cut, u64), Broken> {
    let opened = Opened::new(file)?;
    let (width, height) = (opened.header.width, opened.header.height);
    if u64::from(width) * u64::from(height) > MAX_PIXELS {
        return Err(Broken::TooManyPixels { width, height });
    }
    let cut = Cut::new((width, height), wanted, opened.header.orientation.swaps_axes());
    let needed_bytes = opened.working_bytes(&cut);
    if needed_bytes > allowed_bytes {
        return Err(Broken::TooMuchMemory { width, height, needed_bytes, allowed_bytes });
    }
    Ok((opened, cut, needed_bytes))
}
