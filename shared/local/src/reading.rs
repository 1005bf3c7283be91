//! Reading extents one after the other, piece by piece.

use std::io;

use bytes::Bytes;

use crate::extent::Extent;

/// An object on its way to whoever reads it.
pub(crate) struct Reading {
    extents: std::vec::IntoIter<Extent>,
    current: Option<Extent>,
    /// The piece that was given last.
    last: Bytes,
}

impl Reading {
    pub(crate) fn new(extents: std::vec::IntoIter<Extent>) -> Self {
        Self { extents, current: None, last: Bytes::new() }
    }

    /// The next piece; `None` after the last.
    pub(crate) fn next(&mut self) -> Option<io::Result<Bytes>> {
        loop {
            let last = std::mem::take(&mut self.last);
            if let Some(piece) = self.current.as_mut().and_then(|extent| extent.next_piece(last)) {
                self.last = piece.as_ref().map_or_else(|_| Bytes::new(), Bytes::clone);
                return Some(piece);
            }
            self.current = Some(self.extents.next()?);
        }
    }
}
