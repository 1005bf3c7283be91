//! How an image is put into a box: what of it is kept, and how large that becomes.

use fanfold_domain::pipeline::{Fit, Resize};

/// What is kept of an image, and the size it gets; all as the image is stored, before it is turned.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Cut {
    /// Left edge of what is kept, top edge, width and height, in pixels.
    pub(crate) kept: [f64; 4],
    /// Width of what it becomes, in pixels: at least 1.
    pub(crate) width: u32,
    /// Height of what it becomes, in pixels: at least 1.
    pub(crate) height: u32,
}

impl Cut {
    /// Of an image of `size`, which is turned onto its side after it was cut if its axes are swapped.
    pub(crate) fn new(size: (u32, u32), wanted: &Resize, swaps_axes: bool) -> Self {
        let asked = (wanted.width, wanted.height);
        let bounds = if swaps_axes { (asked.1, asked.0) } else { asked };
        match wanted.fit {
            Fit::Inside => Self::inside(size, bounds, wanted.enlarge),
            Fit::Cover => Self::cover(size, bounds, wanted.enlarge),
        }
    }

    fn inside((width, height): (u32, u32), bounds: (u32, u32), enlarge: bool) -> Self {
        let kept = [0.0, 0.0, f64::from(width), f64::from(height)];
        if !enlarge && width <= bounds.0 && height <= bounds.1 {
            return Self { kept, width, height };
        }
        // Compared as fractions, without rounding: bounds.0 / width against bounds.1 / height.
        let by_width = product(bounds.0, height) <= product(bounds.1, width);
        let (width, height) = if by_width {
            (bounds.0, share(height, bounds.0, width).min(bounds.1))
        } else {
            (share(width, bounds.1, height).min(bounds.0), bounds.1)
        };
        Self { kept, width, height }
    }

    fn cover((width, height): (u32, u32), bounds: (u32, u32), enlarge: bool) -> Self {
        let (full_width, full_height) = (f64::from(width), f64::from(height));
        let scale = (f64::from(bounds.0) / full_width).max(f64::from(bounds.1) / full_height);
        let (scale, width, height) = if scale > 1.0 && !enlarge {
            (1.0, bounds.0.min(width), bounds.1.min(height))
        } else {
            (scale, bounds.0, bounds.1)
        };
        let kept_width = (f64::from(width) / scale).min(full_width);
        let kept_height = (f64::from(height) / scale).min(full_height);
        let kept =
            [(full_width - kept_width) / 2.0, (full_height - kept_height) / 2.0, kept_width, kept_height];
        Self { kept, width, height }
    }

    /// How many times smaller the image becomes, in the direction in which it shrinks less.
    pub(crate) fn factor(&self) -> f64 {
        let [_, _, width, height] = self.kept;
        (width / f64::from(self.width)).min(height / f64::from(self.height))
    }

    /// What is kept of the same image, decoded at so many eighths of its size: its last pixels may stand for less than
    /// the others do.
    pub(crate) fn kept_at(&self, eighths: u16) -> [f64; 4] {
        self.kept.map(|length| length * f64::from(eighths) / 8.0)
    }
}

fn product(a: u32, b: u32) -> u64 {
    u64::from(a) * u64::from(b)
}

/// `length * numerator / denominator`, rounded to the nearest, at least 1.
fn share(length: u32, numerator: u32, denominator: u32) -> u32 {
    let denominator = u64::from(denominator);
    let rounded = (product(length, numerator) + denominator / 2) / denominator;
    u32::try_from(rounded).unwrap_or(u32::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn edge() -> impl Strategy<Value = u32> {
        prop_oneof![1u32..=64, 1u32..=16_383]
    }

    proptest! {
        #[test]
        fn what_is_put_inside_never_exceeds_the_box_and_keeps_its_shape_within_a_pixel(
            size in (edge(), edge()), bounds in (edge(), edge()), enlarge: bool,
        ) {
            let cut = Cut::inside(size, bounds, enlarge);
            prop_assert!(cut.width >= 1 && cut.height >= 1);
            prop_assert!(cut.width <= bounds.0 && cut.height <= bounds.1);
            let fills = (f64::from(bounds.0) / f64::from(size.0)).min(f64::from(bounds.1) / f64::from(size.1));
            let scale = if enlarge { fills } else { fills.min(1.0) };
            for (got, full) in [(cut.width, size.0), (cut.height, size.1)] {
                let exact = f64::from(full) * scale;
                prop_assert!((f64::from(got) - exact).abs() <= 1.0, "{cut:?}");
            }
            prop_assert!(enlarge || (cut.width <= size.0 && cut.height <= size.1));
            let touches = cut.width == bounds.0 || cut.height == bounds.1;
            prop_assert!(touches || !enlarge && (cut.width, cut.height) == size);
        }

        #[test]
        fn what_covers_fills_the_box_from_the_middle(
            size in (edge(), edge()), bounds in (edge(), edge()), enlarge: bool,
        ) {
            let cut = Cut::cover(size, bounds, enlarge);
            let large_enough = size.0 >= bounds.0 && size.1 >= bounds.1;
            if enlarge || large_enough {
                prop_assert_eq!((cut.width, cut.height), bounds);
            } else {
                prop_assert!(cut.width <= size.0.min(bounds.0) && cut.height <= size.1.min(bounds.1));
            }
            let [left, top, width, height] = cut.kept;
            for (from, kept, full) in [(left, width, size.0), (top, height, size.1)] {
                prop_assert!(from >= 0.0 && kept > 0.0 && from + kept <= f64::from(full) + 1e-6);
                prop_assert!((2.0 * from + kept - f64::from(full)).abs() < 1e-6, "not in the middle: {cut:?}");
            }
            let shape = (width / f64::from(cut.width)) / (height / f64::from(cut.height));
            prop_assert!((shape - 1.0).abs() < 1e-6, "stretched: {cut:?}");
        }

        #[test]
        fn what_is_kept_lies_within_any_decoded_size(
            size in (edge(), edge()), bounds in (edge(), edge()), eighths in prop::sample::select(vec![1u16, 2, 4, 8]),
        ) {
            let cut = Cut::cover(size, bounds, false);
            let decoded = |edge: u32| f64::from((edge * u32::from(eighths)).div_ceil(8));
            let [left, top, width, height] = cut.kept_at(eighths);
            prop_assert!(left >= 0.0 && width > 0.0 && left + width <= decoded(size.0) + 1e-6);
            prop_assert!(top >= 0.0 && height > 0.0 && top + height <= decoded(size.1) + 1e-6);
        }
    }
}
