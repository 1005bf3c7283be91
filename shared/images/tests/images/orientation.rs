//! Which way up an image is.

use fanfold_domain::pipeline::{Fit, ImageFormat, Resize};

use crate::make::{Picture, exact, exif, made, pixels};

/// The corners that are seen, from the top left, for each orientation of an image whose stored corners are red,
/// green, blue and white: from the figures of the EXIF standard, not from a formula.
const SEEN: [&str; 8] = ["RGBW", "GRWB", "WBGR", "BWRG", "RBGW", "BRWG", "WGBR", "GWRB"];

fn corners(picture: &Picture) -> String {
    let (right, bottom) = (picture.width - 1, picture.height - 1);
    let name = |(x, y)| match picture.at(x, y) {
        [200..=255, 200..=255, 200..=255] => 'W',
        [200..=255, 0..=50, 0..=50] => 'R',
        [0..=50, 200..=255, 0..=50] => 'G',
        [0..=50, 0..=50, 200..=255] => 'B',
        other => panic!("{other:?} at {x},{y}"),
    };
    [(0, 0), (right, 0), (0, bottom), (right, bottom)].map(name).iter().collect()
}

#[test]
fn each_of_the_eight_orientations_is_honoured_in_each_format() {
    let picture = Picture::quarters(96, 64);
    for format in ImageFormat::ALL {
        for (orientation, seen) in (1..).zip(SEEN) {
            let file = picture.to_file(format, Some(&exif(orientation)));
            for wanted in [exact(48, 48), exact(200, 200)] {
                let resized = made(&file, &wanted);
                assert_eq!(corners(&pixels(&resized)), seen, "{format}, orientation {orientation}");
                let is_upright = resized.width > resized.height;
                assert_eq!(is_upright, orientation <= 4, "{format}, orientation {orientation}");
            }
        }
    }
}

#[test]
fn the_box_is_of_the_image_as_it_is_seen() {
    let file = Picture::quarters(96, 64).to_file(ImageFormat::Jpeg, Some(&exif(6)));
    let inside = made(&file, &exact(32, 100));
    assert_eq!((inside.width, inside.height), (32, 48));
    let cover = made(&file, &Resize { fit: Fit::Cover, ..exact(32, 20) });
    assert_eq!((cover.width, cover.height), (32, 20));
    assert_eq!(corners(&pixels(&cover)), SEEN[5]);
}

#[test]
fn an_orientation_is_applied_once_and_then_gone() {
    let file = Picture::quarters(96, 64).to_file(ImageFormat::Jpeg, Some(&exif(6)));
    let once = made(&file, &Resize { format: Some(ImageFormat::Jpeg), ..exact(48, 48) });
    let twice = made(&once.bytes, &exact(48, 48));
    assert_eq!(corners(&pixels(&twice)), SEEN[5]);
    assert!(!once.bytes.windows(4).any(|bytes| bytes == b"Exif"), "no metadata go with the result");
}

#[test]
fn metadata_that_make_no_sense_leave_the_image_upright() {
    let picture = Picture::quarters(96, 64);
    let mut cut = exif(6);
    cut.truncate(12);
    for odd in [exif(0), exif(9), cut, b"II*\0 and nothing".to_vec(), vec![]] {
        let file = picture.to_file(ImageFormat::Jpeg, Some(&odd));
        assert_eq!(corners(&pixels(&made(&file, &exact(48, 48)))), SEEN[0], "{odd:?}");
    }
}
