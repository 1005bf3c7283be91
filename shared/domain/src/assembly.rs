//! The cut of an assembly: which bytes of which objects make up which upload part.
//!
//! S3's rules for a multipart upload: upload parts consecutive from 1, at most 10,000, each of 5 MiB to
//! 5 GiB but the last, which may be smaller. A part can be copied from a range of one object inside S3, or
//! sent. The cut copies wherever a piece is large enough and joins small neighbours by sending them.

use crate::ByteRange;

/// The smallest upload part but the last, in bytes.
pub const MIN_UPLOAD_PART: u64 = 5 << 20;
/// The largest upload part, in bytes.
pub const MAX_UPLOAD_PART: u64 = 5 << 30;
/// The most upload parts in an upload.
pub const MAX_UPLOAD_PARTS: u64 = 10_000;
/// The size of an upload part while that fits.
const USUAL_UPLOAD_PART: u64 = 512 << 20;

/// A run of bytes in one of the objects to be put together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece {
    /// Which object, by its place in the list.
    pub object: usize,
    /// Its bytes.
    pub range: ByteRange,
}

/// How one upload part comes about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UploadPart {
    /// Copied inside S3 from one object.
    Copy(Piece),
    /// Read and sent, since its pieces are too small to be copied one by one. May be of no pieces: the single
    /// empty part of an empty upload.
    Join(Vec<Piece>),
}

impl UploadPart {
    /// Size in bytes.
    pub fn len(&self) -> u64 {
        match self {
            Self::Copy(piece) => piece.range.len(),
            Self::Join(pieces) => pieces.iter().map(|piece| piece.range.len()).sum(),
        }
    }

    /// Whether the part has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Cuts objects of these sizes (bytes, in order) into upload parts, in order and without gap. There is always
/// at least one part, the last may be of any size up to [`MAX_UPLOAD_PART`], the others are valid.
///
/// Memory to send a joined part is bounded by about twice [`MIN_UPLOAD_PART`]: a small run of objects takes
/// only the first few MiB of the large one that follows it.
pub fn cut(sizes: &[u64]) -> Vec<UploadPart> {
    cut_for(sizes, MIN_UPLOAD_PART)
}

/// As [`cut`], for a store that copies pieces of `least_copy` bytes or more, at least 1: S3 does from
/// [`MIN_UPLOAD_PART`] on, which is also its smallest part; another one may have no such rules.
pub fn cut_for(sizes: &[u64], least_copy: u64) -> Vec<UploadPart> {
    let total: u64 = sizes.iter().sum();
    // Copies are cut at `largest`; in the worst case each object adds one part of its own.
    let room = MAX_UPLOAD_PARTS.saturating_sub(2 * sizes.len() as u64).max(1);
    let largest = total.div_ceil(room).clamp(USUAL_UPLOAD_PART, MAX_UPLOAD_PART);
    let mut cutter = Cutter { least_copy, parts: Vec::new(), pending: Vec::new(), pending_bytes: 0 };
    for (object, &size) in sizes.iter().enumerate() {
        cutter.add(object, size, largest);
    }
    cutter.finish()
}

struct Cutter {
    /// The smallest part that is copied, and that is sent but at the end.
    least_copy: u64,
    parts: Vec<UploadPart>,
    /// Pieces to be sent together once they make a valid part.
    pending: Vec<Piece>,
    pending_bytes: u64,
}

impl Cutter {
    fn add(&mut self, object: usize, size: u64, largest: u64) {
        let mut at = 0;
        if self.pending_bytes > 0 {
            // Top the pending part up to a valid size, or take the whole object if what would be left of it
            // could not be copied anyway.
            let wanted = self.least_copy - self.pending_bytes;
            let take = if size < wanted + self.least_copy { size } else { wanted };
            self.pend(object, 0, take);
            at = take;
        }
        while size - at >= self.least_copy {
            let left = size - at;
            // Never leave a rest too small to be copied, except behind the very last cut.
            let take = if left <= largest { left } else { largest.min(left - self.least_copy) };
            self.parts.push(UploadPart::Copy(Piece { object, range: ByteRange::new(at, at + take) }));
            at += take;
        }
        if at < size {
            self.pend(object, at, size - at);
        }
    }

    fn pend(&mut self, object: usize, start: u64, len: u64) {
        if len > 0 {
            self.pending.push(Piece { object, range: ByteRange::new(start, start + len) });
            self.pending_bytes += len;
        }
        if self.pending_bytes >= self.least_copy {
            self.flush();
        }
    }

    fn flush(&mut self) {
        self.parts.push(UploadPart::Join(std::mem::take(&mut self.pending)));
        self.pending_bytes = 0;
    }

    fn finish(mut self) -> Vec<UploadPart> {
        if self.pending_bytes > 0 || self.parts.is_empty() {
            self.flush();
        }
        self.parts
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(sizes: &[u64]) -> Vec<UploadPart> {
        let parts = cut(sizes);
        assert!(!parts.is_empty() && parts.len() as u64 <= MAX_UPLOAD_PARTS, "{} parts", parts.len());
        for part in &parts[..parts.len() - 1] {
            assert!((MIN_UPLOAD_PART..=MAX_UPLOAD_PART).contains(&part.len()), "{part:?} of {sizes:?}");
        }
        assert!(parts.last().unwrap().len() <= MAX_UPLOAD_PART);
        let pieces = parts.iter().flat_map(|part| match part {
            UploadPart::Copy(piece) => std::slice::from_ref(piece),
            UploadPart::Join(pieces) => {
                assert!(part.len() < 2 * MIN_UPLOAD_PART, "a join of {} bytes", part.len());
                pieces.as_slice()
            }
        });
        let mut covered = vec![0; sizes.len()];
        let mut last = 0;
        for piece in pieces {
            assert!(piece.object >= last && piece.range.start == covered[piece.object]);
            covered[piece.object] = piece.range.end;
            last = piece.object;
        }
        assert_eq!(covered, sizes);
        parts
    }

    #[test]
    fn nothing_is_one_empty_part() {
        assert_eq!(check(&[]), [UploadPart::Join(vec![])]);
        assert_eq!(check(&[0, 0]), [UploadPart::Join(vec![])]);
    }

    #[test]
    fn large_objects_are_copied_and_small_ones_joined() {
        let parts = check(&[20 << 20, 1 << 20, 2 << 20, 30 << 20, 7]);
        let copied = parts.iter().filter(|part| matches!(part, UploadPart::Copy(_))).count();
        assert_eq!((parts.len(), copied), (4, 2));
    }

    #[test]
    fn where_any_piece_can_be_copied_none_is_joined() {
        let copy = |object, end| UploadPart::Copy(Piece { object, range: ByteRange::new(0, end) });
        assert_eq!(cut_for(&[1, 0, 7 << 20, 3], 1), [copy(0, 1), copy(2, 7 << 20), copy(3, 3)]);
        assert_eq!(cut_for(&[0], 1), [UploadPart::Join(vec![])]);
        assert_eq!(cut_for(&[USUAL_UPLOAD_PART + 1], 1).len(), 2);
    }

    #[test]
    fn a_terabyte_object_stays_within_ten_thousand_parts() {
        assert!(check(&[40 << 40]).len() < 10_000);
        assert_eq!(check(&[512 << 20; 20]).len(), 20);
    }

    proptest! {
        #[test]
        fn any_sizes_are_covered_by_valid_parts(
            sizes in prop::collection::vec(
                prop_oneof![0u64..20, 0u64..12 << 20, (0u64..100).prop_map(|n| n << 26), 0u64..1 << 38],
                0..60,
            )
        ) {
            check(&sizes);
        }

        #[test]
        fn a_thousand_small_objects_are_covered(sizes in prop::collection::vec(0u64..6 << 20, 1000)) {
            check(&sizes);
        }
    }
}
