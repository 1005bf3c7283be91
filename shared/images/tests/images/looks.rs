//! What results look like.

use fanfold_domain::pipeline::{Fit, ImageFormat, Resize};
use jpeg_encoder::{ColorType, SamplingFactor};
use proptest::prelude::*;

use crate::make::{self, Picture, exact, jpeg, made, pixels, png, read_png, wanted};

#[test]
fn the_format_stays_unless_another_is_asked_for() {
    let picture = Picture::waves(120, 80);
    for read in ImageFormat::ALL {
        let file = picture.to_file(read, None);
        assert_eq!(made(&file, &wanted(60, 60)).format, read);
        for asked in ImageFormat::ALL {
            let resized = made(&file, &Resize { format: Some(asked), ..wanted(60, 60) });
            assert_eq!((resized.format, resized.width, resized.height), (asked, 60, 40));
            let again = pixels(&made(&resized.bytes, &exact(60, 60)));
            let direct = pixels(&made(&picture.to_file(ImageFormat::Png, None), &exact(60, 60)));
            let difference = again.difference(&direct);
            assert!(difference < 40.0, "{read} to {asked}: {difference}");
        }
    }
}

#[test]
fn a_jpeg_that_is_decoded_at_a_fraction_looks_like_the_whole() {
    let picture = Picture::waves(803, 607);
    let whole = picture.to_file(ImageFormat::Png, None);
    for edge in [350, 195, 95, 47] {
        let truth = pixels(&made(&whole, &exact(edge, edge)));
        for sampling in [SamplingFactor::F_2_2, SamplingFactor::F_2_1, SamplingFactor::F_1_1] {
            for progressive in [false, true] {
                let file = picture.to_jpeg(|encoder| {
                    encoder.set_sampling_factor(sampling);
                    encoder.set_progressive(progressive);
                });
                let found = pixels(&made(&file, &exact(edge, edge)));
                let difference = found.difference(&truth);
                // Colours that were stored at half the size are decoded at half of the fraction.
                let most = if sampling == SamplingFactor::F_1_1 { 2.0 } else { 30.0 };
                assert!(difference < most, "{edge} {sampling:?} {progressive}: {difference}");
            }
        }
    }
}

#[test]
fn what_is_cut_off_is_cut_off_on_both_sides() {
    // Black, white, black, in thirds: a square from the middle is white.
    let picture = Picture::new(300, 100, |x, _| if (100..200).contains(&x) { [255; 3] } else { [0; 3] });
    for format in ImageFormat::ALL {
        let file = picture.to_file(format, None);
        let found = pixels(&made(&file, &Resize { fit: Fit::Cover, ..exact(20, 20) }));
        assert_eq!((found.width, found.height), (20, 20));
        let dark = found.bytes.iter().filter(|byte| **byte < 200).count();
        assert_eq!(dark, 0, "{format}");
    }
}

#[test]
fn small_images_grow_only_if_told_to() {
    let file = Picture::waves(50, 30).to_file(ImageFormat::Png, None);
    let size = |wanted: Resize| {
        let resized = made(&file, &wanted);
        (resized.width, resized.height)
    };
    assert_eq!(size(wanted(100, 100)), (50, 30));
    assert_eq!(size(Resize { enlarge: true, ..wanted(100, 100) }), (100, 60));
    assert_eq!(size(Resize { fit: Fit::Cover, ..wanted(40, 100) }), (40, 30));
    assert_eq!(size(Resize { fit: Fit::Cover, enlarge: true, ..wanted(40, 100) }), (40, 100));
}

#[test]
fn the_colour_of_what_cannot_be_seen_does_not_show_through() {
    // Opaque red beside green that is transparent.
    let bytes: Vec<u8> =
        (0..64 * 64).flat_map(|at| if at % 64 < 30 { [255, 0, 0, 255] } else { [0, 255, 0, 0] }).collect();
    let file = png(64, 64, png::ColorType::Rgba, &bytes, |_| ());
    let (colours, found) = read_png(&made(&file, &wanted(9, 9)).bytes);
    assert_eq!(colours, png::ColorType::Rgba);
    for pixel in found.as_chunks::<4>().0 {
        assert!(pixel[3] < 8 || pixel[1] < 8, "green shows in {pixel:?}");
    }
    let flat = made(&file, &Resize { format: Some(ImageFormat::Jpeg), quality: 95, ..wanted(64, 64) });
    let flat = pixels(&made(&flat.bytes, &exact(64, 64)));
    assert!(flat.at(60, 32).iter().all(|byte| *byte > 245), "a JPEG has white where nothing is");
    let webp = made(&file, &Resize { format: Some(ImageFormat::Webp), ..wanted(64, 64) });
    let (colours, found) = read_png(&made(&webp.bytes, &exact(64, 64)).bytes);
    assert_eq!((colours, found[3], found[63 * 4 + 3]), (png::ColorType::Rgba, 255, 0));
}

#[test]
fn grey_stays_grey() {
    let grey: Vec<u8> = (0..200 * 100u32).map(|at| u8::try_from(at % 200).unwrap()).collect();
    let file = jpeg(200, 100, ColorType::Luma, &grey, |_| ());
    let (colours, bytes) = read_png(&made(&file, &exact(100, 100)).bytes);
    assert_eq!((colours, bytes.len()), (png::ColorType::Grayscale, 100 * 50));
    let as_jpeg = made(&file, &wanted(100, 100)).bytes;
    assert_eq!(read_png(&made(&as_jpeg, &exact(100, 100)).bytes).0, png::ColorType::Grayscale);
    let as_webp = made(&file, &Resize { format: Some(ImageFormat::Webp), ..wanted(100, 100) }).bytes;
    let [red, green, blue] = pixels(&made(&as_webp, &exact(100, 100))).at(50, 25);
    assert!(red.abs_diff(green) < 6 && green.abs_diff(blue) < 6 && red.abs_diff(100) < 6);
}

#[test]
fn inks_become_light() {
    for colours in [ColorType::Cmyk, ColorType::CmykAsYcck] {
        for (inks, light) in [
            ([0, 0, 0, 0], [255, 255, 255]),
            ([0, 0, 0, 255], [0, 0, 0]),
            ([255, 0, 0, 0], [0, 255, 255]),
            ([0, 255, 0, 0], [255, 0, 255]),
            ([0, 0, 255, 0], [255, 255, 0]),
            ([0, 0, 255, 128], [127, 127, 0]),
        ] {
            let file = jpeg(64, 64, colours, &inks.repeat(64 * 64), |_| ());
            let found = pixels(&made(&file, &exact(16, 16))).at(8, 8);
            let near = found.iter().zip(light).all(|(found, light)| found.abs_diff(light) < 8);
            assert!(near, "{colours:?} {inks:?} became {found:?}, not {light:?}");
        }
    }
}

#[test]
fn a_png_of_any_depth_is_read() {
    let deep: Vec<u8> = (0..32u16 * 32).flat_map(|at| (at * 64).to_be_bytes()).collect();
    let file = png(32, 32, png::ColorType::Grayscale, &deep, |info| info.bit_depth = png::BitDepth::Sixteen);
    assert_eq!(read_png(&made(&file, &wanted(32, 32)).bytes).1[100], 25, "100 * 64 of 65,536");
    let bits = png(32, 32, png::ColorType::Grayscale, &[0xf0; 4 * 32], |info| {
        info.bit_depth = png::BitDepth::One;
    });
    assert_eq!(&read_png(&made(&bits, &wanted(32, 32)).bytes).1[..8], [255, 255, 255, 255, 0, 0, 0, 0]);
    let palette = png(32, 32, png::ColorType::Indexed, &[1; 32 * 32], |info| {
        info.palette = Some(vec![0, 0, 0, 9, 8, 7].into());
    });
    assert_eq!(&read_png(&made(&palette, &wanted(32, 32)).bytes).1[..3], [9, 8, 7]);
}

#[test]
fn a_colour_profile_goes_with_the_image() {
    let profile: Vec<u8> = (0..70_000u32).map(|at| u8::try_from(at % 251).unwrap()).collect();
    let holds = |file: &[u8], format| {
        let resized = made(file, &Resize { format: Some(format), ..wanted(40, 40) }).bytes;
        match format {
            ImageFormat::Png => {
                let reader = png::Decoder::new(std::io::Cursor::new(&resized)).read_info().unwrap();
                reader.info().icc_profile.as_deref() == Some(&profile[..])
            }
            ImageFormat::Jpeg => {
                let mut decoder = jpeg_decoder::Decoder::new(&resized[..]);
                decoder.read_info().unwrap();
                decoder.icc_profile().as_deref() == Some(&profile[..])
            }
            ImageFormat::Webp => {
                let mut decoder = image_webp::WebPDecoder::new(std::io::Cursor::new(&resized)).unwrap();
                decoder.icc_profile().unwrap().as_deref() == Some(&profile[..])
            }
        }
    };
    let picture = Picture::waves(80, 60);
    let jpeg = picture.to_jpeg(|encoder| encoder.add_icc_profile(&profile).unwrap());
    let png = make::png(80, 60, png::ColorType::Rgb, &picture.bytes, |info| {
        info.icc_profile = Some(profile.clone().into());
    });
    let opacity: Vec<u8> = (0..80 * 60).flat_map(|at| [9, 9, 9, u8::try_from(at % 200).unwrap()]).collect();
    let faint = make::png(80, 60, png::ColorType::Rgba, &opacity, |info| {
        info.icc_profile = Some(profile.clone().into());
    });
    let webp = made(&faint, &Resize { format: Some(ImageFormat::Webp), ..wanted(80, 60) }).bytes;
    assert_eq!(read_png(&made(&webp, &exact(80, 60)).bytes).0, png::ColorType::Rgba);
    for (file, from) in [(jpeg, "jpeg"), (png, "png"), (faint, "png"), (webp, "webp")] {
        for format in ImageFormat::ALL {
            assert!(holds(&file, format), "{from} to {format}");
        }
    }
}

#[test]
fn a_lower_quality_is_a_smaller_file() {
    let file = Picture::waves(400, 300).to_file(ImageFormat::Png, None);
    for format in [ImageFormat::Jpeg, ImageFormat::Webp] {
        let size =
            |quality| made(&file, &Resize { format: Some(format), quality, ..wanted(400, 300) }).bytes.len();
        let sizes = [1, 40, 82, 90, 100].map(size);
        assert!(sizes.is_sorted(), "{format}: {sizes:?}");
    }
}

#[test]
fn the_same_file_gives_the_same_bytes() {
    for format in ImageFormat::ALL {
        let file = Picture::waves(300, 200).to_file(format, None);
        assert_eq!(made(&file, &wanted(100, 100)), made(&file, &wanted(100, 100)));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn a_result_is_never_larger_than_its_box(
        size in (1u32..200, 1u32..200), bounds in (1u32..300, 1u32..300), cover: bool, enlarge: bool,
        read in 0usize..3, written in 0usize..3, quality in 1u8..=100,
    ) {
        let file = Picture::waves(size.0, size.1).to_file(ImageFormat::ALL[read], None);
        let fit = if cover { Fit::Cover } else { Fit::Inside };
        let format = Some(ImageFormat::ALL[written]);
        let resized = made(&file, &Resize { fit, enlarge, quality, format, ..wanted(bounds.0, bounds.1) });
        prop_assert!(resized.width <= bounds.0 && resized.height <= bounds.1);
        // And the file is of that size.
        let again = made(&resized.bytes, &exact(16_383, 16_383));
        prop_assert_eq!((again.width, again.height), (resized.width, resized.height));
    }
}
