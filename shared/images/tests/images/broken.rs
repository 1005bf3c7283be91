//! Files that are no images, or claim to be others than they are.

use fanfold_domain::pipeline::ImageFormat;
use fanfold_images::{Broken, resize, working_bytes};
use proptest::prelude::*;

use crate::make::{ENOUGH_BYTES, Picture, made, png, refused, wanted};

#[test]
fn what_is_no_image_is_told_by_its_beginning() {
    assert_eq!(refused(b"").to_string(), "no jpeg, png or webp: it begins with nothing: it is empty");
    assert_eq!(refused(b"GIF89a").to_string(), "no jpeg, png or webp: it begins with 47 49 46 38 39 61");
    assert!(matches!(refused(b"RIFF1234WAVEfmt "), Broken::Unknown(_)));
}

#[test]
fn a_file_that_ends_too_early_is_broken_wherever_it_ends() {
    for format in ImageFormat::ALL {
        let file = Picture::quarters(90, 70).to_file(format, None);
        let ends = (12..file.len() - 12).step_by(file.len() / 40 + 1);
        for end in ends {
            let refused = refused(&file[..end]);
            assert!(
                matches!(refused, Broken::Malformed(found, _) if found == format),
                "{format} at {end}: {refused}"
            );
        }
    }
}

#[test]
fn a_truncated_photograph_is_not_half_a_photograph() {
    for progressive in [false, true] {
        let file = Picture::waves(1200, 900).to_jpeg(|encoder| encoder.set_progressive(progressive));
        assert!(matches!(refused(&file[..file.len() / 2]), Broken::Malformed(ImageFormat::Jpeg, _)));
    }
}

/// A PNG whose header claims a size, with next to nothing behind it.
fn bomb(width: u32, height: u32) -> Vec<u8> {
    let mut file = png(1, 1, png::ColorType::Rgb, &[0; 3], |_| ());
    file[16..20].copy_from_slice(&width.to_be_bytes());
    file[20..24].copy_from_slice(&height.to_be_bytes());
    let checksum = crc32(&file[12..29]);
    file[29..33].copy_from_slice(&checksum.to_be_bytes());
    file
}

/// PNG's checksum (ISO/IEC 15948, annex D), bit by bit.
fn crc32(bytes: &[u8]) -> u32 {
    let step = |crc: u32, byte: &u8| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg()))
    };
    !bytes.iter().fold(!0, step)
}

#[test]
fn an_image_that_is_too_large_is_refused_by_its_header() {
    let pixels = refused(&bomb(60_000, 60_000));
    assert_eq!(pixels, Broken::TooManyPixels { width: 60_000, height: 60_000 });
    let Broken::TooMuchMemory { needed_bytes, allowed_bytes, .. } = refused(&bomb(12_000, 12_000)) else {
        panic!("it would take 12,000 times 12,000 times 3 bytes")
    };
    assert!(needed_bytes > 12_000 * 12_000 * 3 && allowed_bytes == ENOUGH_BYTES);
    assert!(matches!(refused(&bomb(0, 10)), Broken::Malformed(ImageFormat::Png, _)));
    let claimed = Picture::waves(64, 64).to_jpeg(|_| ());
    let frame = claimed.windows(2).position(|bytes| bytes == [0xff, 0xc0]).unwrap();
    let mut huge = claimed.clone();
    huge[frame + 5..frame + 9].fill(0xff);
    assert_eq!(refused(&huge), Broken::TooManyPixels { width: 65_535, height: 65_535 });
}

#[test]
fn a_large_photograph_takes_less_memory_the_smaller_it_becomes() {
    let file = Picture::waves(2400, 1600).to_jpeg(|_| ());
    let needs = |edge| working_bytes(&file, &wanted(edge, edge), ENOUGH_BYTES).unwrap();
    let needed = [100, 200, 500, 2000].map(needs);
    assert!(needed.is_sorted(), "{needed:?}");
    assert!(needed[0] < 8 << 20 && needed[3] > 2400 * 1600 * 6, "{needed:?}");
    let least = needs(500);
    assert!(resize(&file, &wanted(500, 500), least).is_ok());
    assert!(matches!(resize(&file, &wanted(500, 500), least - 1), Err(Broken::TooMuchMemory { .. })));
}

#[test]
fn metadata_that_unpack_to_more_than_is_allowed_are_not_unpacked() {
    let pixels = Picture::waves(8, 8).bytes;
    let file = png(8, 8, png::ColorType::Rgb, &pixels, |info| {
        info.icc_profile = Some(vec![0; 64 << 20].into());
    });
    assert!(file.len() < 1 << 20, "it is a bomb: {} bytes", file.len());
    match resize(&file, &wanted(8, 8), ENOUGH_BYTES) {
        Ok(resized) => assert!(resized.bytes.len() < 10_000),
        Err(broken) => assert!(matches!(broken, Broken::Malformed(ImageFormat::Png, _))),
    }
}

#[test]
fn an_animation_is_no_still_image() {
    let mut file = Vec::new();
    let mut encoder = png::Encoder::new(&mut file, 4, 4);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_animated(2, 0).unwrap();
    let mut writer = encoder.write_header().unwrap();
    writer.write_image_data(&[0; 48]).unwrap();
    writer.write_image_data(&[9; 48]).unwrap();
    writer.finish().unwrap();
    assert_eq!(refused(&file), Broken::Animated(ImageFormat::Png));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    #[test]
    fn no_damage_gives_more_than_an_error_or_an_image_within_its_box(
        format in 0usize..3, progressive: bool,
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let picture = Picture::quarters(70, 50);
        let mut file = match ImageFormat::ALL[format] {
            ImageFormat::Jpeg => picture.to_jpeg(|encoder| encoder.set_progressive(progressive)),
            other => picture.to_file(other, None),
        };
        for (at, byte) in damage {
            let at = at.index(file.len());
            file[at] = byte;
        }
        if let Ok(resized) = resize(&file, &wanted(20, 20), ENOUGH_BYTES) {
            prop_assert!(resized.width <= 20 && resized.height <= 20);
            prop_assert!(made(&resized.bytes, &wanted(20, 20)).width == resized.width);
        }
    }
}
