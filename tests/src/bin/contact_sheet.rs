//! Puts many images side by side into one, to look at: `fanfold-contact-sheet --columns 25 FOLDER OUT.jpg`. Takes all
//! files of the folder and its folders, in the order of their names.

use std::{
    fs,
    io::Cursor,
    path::{Path, PathBuf},
};

use anyhow::{Context, ensure};
use clap::Parser;
use fanfold_domain::pipeline::{Fit, ImageFormat, Resize};
use jpeg_encoder::{ColorType, Encoder};

#[derive(Parser)]
struct Arguments {
    /// The folder of the images: JPEG, PNG or WebP.
    images: PathBuf,
    /// The sheet, a JPEG.
    output: PathBuf,
    /// Images in a line.
    #[arg(long, default_value_t = 25)]
    columns: usize,
    /// Width and height of an image's place, in pixels.
    #[arg(long, default_value_t = 80)]
    edge: u32,
}

/// Pixels between two images.
const GAP: usize = 4;
const QUALITY: u8 = 85;
const ALLOWED_BYTES: u64 = 512 << 20;

fn main() -> anyhow::Result<()> {
    let Arguments { images, output, columns, edge } = Arguments::parse();
    ensure!(columns > 0 && edge > 0, "columns and edge are at least 1");
    let mut files = Vec::new();
    find(&images, &mut files)?;
    files.sort();
    ensure!(!files.is_empty(), "{} has no files", images.display());
    let place = usize::try_from(edge)? + GAP;
    let (width, height) =
        (columns.min(files.len()) * place + GAP, files.len().div_ceil(columns) * place + GAP);
    let mut sheet = vec![255; width * height * 3];
    for (at, file) in files.iter().enumerate() {
        let image = shrink(file, edge).with_context(|| file.display().to_string())?;
        let corner = (GAP + at % columns * place, GAP + at / columns * place);
        image.paste(&mut sheet, width, corner, place - GAP);
    }
    let mut jpeg = Vec::new();
    Encoder::new(&mut jpeg, QUALITY).encode(&sheet, width.try_into()?, height.try_into()?, ColorType::Rgb)?;
    Ok(fs::write(output, jpeg)?)
}

fn find(folder: &Path, files: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        if path.is_dir() { find(&path, files)? } else { files.push(path) }
    }
    Ok(())
}

/// An image of three colours.
struct Image {
    width: usize,
    height: usize,
    bytes: Vec<u8>,
}

/// Reads an image at the size of its place.
fn shrink(file: &Path, edge: u32) -> anyhow::Result<Image> {
    let wanted = Resize {
        width: edge,
        height: edge,
        fit: Fit::Inside,
        enlarge: false,
        quality: QUALITY,
        // First without opacity, then without loss.
        format: Some(ImageFormat::Jpeg),
        key: "{key}".parse()?,
        bucket: None,
        at_once: 1,
        memory_bytes: ALLOWED_BYTES,
    };
    let opaque = fanfold_images::resize(&fs::read(file)?, &wanted, ALLOWED_BYTES)?;
    let exact = Resize { format: Some(ImageFormat::Png), ..wanted };
    let exact = fanfold_images::resize(&opaque.bytes, &exact, ALLOWED_BYTES)?;
    let mut reader = png::Decoder::new(Cursor::new(exact.bytes)).read_info()?;
    let mut bytes = vec![0; reader.output_buffer_size().context("a small image")?];
    let frame = reader.next_frame(&mut bytes)?;
    if frame.color_type == png::ColorType::Grayscale {
        bytes = bytes.into_iter().flat_map(|grey| [grey; 3]).collect();
    }
    Ok(Image { width: usize::try_from(exact.width)?, height: usize::try_from(exact.height)?, bytes })
}

impl Image {
    /// Copies it into the middle of its place, which begins at `corner` of a sheet of that width.
    fn paste(&self, sheet: &mut [u8], sheet_width: usize, corner: (usize, usize), place: usize) {
        let (left, top) = (corner.0 + (place - self.width) / 2, corner.1 + (place - self.height) / 2);
        for (y, line) in self.bytes.chunks_exact(self.width * 3).take(self.height).enumerate() {
            let at = ((top + y) * sheet_width + left) * 3;
            sheet[at..at + line.len()].copy_from_slice(line);
        }
    }
}
