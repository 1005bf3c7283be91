//! The one thing that EXIF metadata are asked: which way up the image is.

use exif::{In, Reader, Tag};

/// How a stored image is turned to be seen (EXIF 2.32, tag 0x0112).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Orientation {
    /// As it is stored.
    #[default]
    Upright,
    /// Left and right are swapped.
    Mirrored,
    /// Upside down.
    Half,
    /// Top and bottom are swapped.
    Flipped,
    /// Columns are lines.
    Transposed,
    /// A quarter turn to the right.
    Right,
    /// Columns are lines, from the other corner.
    Transversed,
    /// A quarter turn to the left.
    Left,
}

impl Orientation {
    /// What the metadata say, without what a file has before them; upright where they say nothing that is known.
    pub(crate) fn of(exif: Option<&[u8]>) -> Self {
        let Some(bytes) = exif else { return Self::default() };
        let mut reader = Reader::new();
        // A camera's broken note elsewhere does not change which way up the image is.
        reader.continue_on_error(true);
        let bytes = bytes.strip_prefix(b"Exif\0\0").unwrap_or(bytes);
        let read = reader.read_raw(bytes.to_vec()).or_else(|error| error.distill_partial_result(|_| {}));
        let Ok(read) = read else { return Self::default() };
        let value = read.get_field(Tag::Orientation, In::PRIMARY).and_then(|field| field.value.get_uint(0));
        match value {
            Some(2) => Self::Mirrored,
            Some(3) => Self::Half,
            Some(4) => Self::Flipped,
            Some(5) => Self::Transposed,
            Some(6) => Self::Right,
            Some(7) => Self::Transversed,
            Some(8) => Self::Left,
            _ => Self::Upright,
        }
    }

    /// Whether width and height change places.
    pub(crate) fn swaps_axes(self) -> bool {
        matches!(self, Self::Transposed | Self::Right | Self::Transversed | Self::Left)
    }

    /// Where the pixel that is seen at (`x`, `y`) is stored, in an image that is stored as `width` by `height`.
    pub(crate) fn stored_at(self, (x, y): (usize, usize), (width, height): (usize, usize)) -> (usize, usize) {
        match self {
            Self::Upright => (x, y),
            Self::Mirrored => (width - 1 - x, y),
            Self::Half => (width - 1 - x, height - 1 - y),
            Self::Flipped => (x, height - 1 - y),
            Self::Transposed => (y, x),
            Self::Right => (y, height - 1 - x),
            Self::Transversed => (width - 1 - y, height - 1 - x),
            Self::Left => (width - 1 - y, x),
        }
    }
}
