//! Photographs: generated, the same for the same seed. Clouds of noise at every scale, discs with sharp edges and
//! a sensor's grain, so that they compress as cameras' images do (1.5 to 3 bits a pixel).

use std::io::{self, Write};

use jpeg_encoder::{ColorType, Encoder, EncodingError, SamplingFactor};

use crate::chance::Chance;

/// Sizes of cameras and of what people cut out of them.
const SIZES: [(u16, u16); 8] = [
    (1600, 1200),
    (2048, 1536),
    (2400, 1600),
    (3264, 2448),
    (3264, 2448),
    (4000, 3000),
    (4000, 3000),
    (2500, 2500),
];

/// The weight of brightness and of each colour where a cell of noise has that edge, in pixels. What is finer than a
/// sensor resolves is its grain.
const BRIGHTNESS: [(usize, i32); 9] =
    [(512, 110), (256, 80), (128, 55), (64, 38), (32, 26), (16, 18), (8, 14), (4, 12), (2, 9)];
const COLOUR: [(usize, i32); 3] = [(400, 70), (90, 25), (20, 8)];
const GRAIN: i32 = 13;

/// A photograph to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Photo {
    /// As stored, in pixels.
    pub width: u16,
    /// As stored, in pixels.
    pub height: u16,
    /// EXIF orientation, 1 to 8; 1 writes no EXIF.
    pub orientation: u8,
    /// JPEG quality, 1 to 100.
    pub quality: u8,
    /// Whether it is coded in several scans.
    pub is_progressive: bool,
    /// Whether colours are as sharp as brightness.
    pub is_sharp: bool,
    /// Whether it has no colours.
    pub is_grey: bool,
    /// What it shows.
    pub seed: u64,
}

impl Photo {
    /// Some photograph of that size.
    pub fn of(width: u16, height: u16, seed: u64) -> Self {
        Self {
            width,
            height,
            orientation: 1,
            quality: 90,
            is_progressive: false,
            is_sharp: false,
            is_grey: false,
            seed,
        }
    }

    /// One of a collection as people have them: most as cameras write them, some turned, progressive or grey.
    pub fn draw(chance: &mut Chance) -> Self {
        let (width, height) = chance.of(&SIZES);
        let one_in = |chance: &mut Chance, n| chance.below(n) == 0;
        let turned = one_in(chance, 4);
        Self {
            orientation: if turned { 1 + u8::try_from(chance.below(8)).expect("small") } else { 1 },
            quality: 82 + u8::try_from(chance.below(13)).expect("small"),
            is_progressive: one_in(chance, 12),
            is_sharp: one_in(chance, 8),
            is_grey: one_in(chance, 20),
            seed: chance.next(),
            ..Self::of(width, height, 0)
        }
    }

    /// Writes it as a JPEG.
    ///
    /// # Errors
    /// The writer's own.
    pub fn write(&self, out: &mut impl Write) -> io::Result<()> {
        out.write_all(&self.to_jpeg().map_err(io::Error::other)?)
    }

    /// The JPEG.
    ///
    /// # Errors
    /// The encoder's, of which none is known.
    pub fn to_jpeg(&self) -> Result<Vec<u8>, EncodingError> {
        let mut file = Vec::new();
        let mut encoder = Encoder::new(&mut file, self.quality);
        encoder.set_sampling_factor(if self.is_sharp {
            SamplingFactor::F_1_1
        } else {
            SamplingFactor::F_2_2
        });
        encoder.set_optimized_huffman_tables(true);
        if self.is_progressive {
            encoder.set_progressive(true);
        }
        if self.orientation != 1 {
            encoder.add_exif_metadata(&exif(self.orientation))?;
        }
        let colours = if self.is_grey { ColorType::Luma } else { ColorType::Rgb };
        encoder.encode(&self.pixels(), self.width, self.height, colours)?;
        Ok(file)
    }

    fn pixels(&self) -> Vec<u8> {
        let (width, height) = (usize::from(self.width), usize::from(self.height));
        let mut chance = Chance::new(self.seed);
        let discs: Vec<Disc> = (0..5).map(|_| Disc::draw(&mut chance, width, height)).collect();
        let tint = [signed(&mut chance, 30), signed(&mut chance, 30)];
        let mut bytes = Vec::with_capacity(width * height * 3);
        for y in 0..height {
            let mut planes = [vec![128 << 8; width], vec![tint[0] << 8; width], vec![tint[1] << 8; width]];
            for (plane, line) in (1..).zip(&mut planes) {
                let octaves = if plane == 1 { &BRIGHTNESS[..] } else { &COLOUR[..] };
                for (cell, weight) in octaves {
                    noise(line, y, *cell, *weight, self.seed.wrapping_mul(31).wrapping_add(plane));
                }
            }
            for disc in &discs {
                disc.paint(&mut planes, y);
            }
            let [bright, blue, red] = &planes;
            for ((bright, blue), red) in bright.iter().zip(blue).zip(red) {
                let (blue, red) = (blue >> 8, red >> 8);
                let bright = (bright >> 8) + signed(&mut chance, GRAIN);
                if self.is_grey {
                    bytes.push(byte(bright));
                } else {
                    // ITU-R BT.601, in 256ths.
                    let green = bright - (88 * blue + 183 * red) / 256;
                    bytes.extend([
                        byte(bright + 359 * red / 256),
                        byte(green),
                        byte(bright + 454 * blue / 256),
                    ]);
                }
            }
        }
        bytes
    }
}

/// A shape with a sharp edge.
struct Disc {
    centre: [i64; 2],
    radius: i64,
    colours: [i32; 3],
}

impl Disc {
    fn draw(chance: &mut Chance, width: usize, height: usize) -> Self {
        let within = |chance: &mut Chance, edge: usize| {
            i64::try_from(chance.below(edge as u64)).expect("an edge is small")
        };
        Self {
            centre: [within(chance, width), within(chance, height)],
            radius: within(chance, width.min(height) / 4),
            colours: [signed(chance, 70), signed(chance, 60), signed(chance, 60)],
        }
    }

    fn paint(&self, planes: &mut [Vec<i32>; 3], y: usize) {
        let down = i64::try_from(y).expect("a line is small") - self.centre[1];
        let half = (self.radius * self.radius - down * down).max(0).isqrt();
        let edge = |x: i64| usize::try_from(x.max(0)).expect("it is not negative").min(planes[0].len());
        let (from, to) = (edge(self.centre[0] - half), edge(self.centre[0] + half));
        for (plane, colour) in planes.iter_mut().zip(self.colours) {
            plane[from..to].iter_mut().for_each(|value| *value += colour << 8);
        }
    }
}

/// Adds noise of one scale to a line, in 256ths: a value for each corner of a cell, and smooth ways between them.
fn noise(line: &mut [i32], y: usize, cell: usize, weight: i32, seed: u64) {
    let corner = |across: usize, down: usize| {
        let place = (across as u64) << 32 | down as u64;
        signed(&mut Chance::new(seed ^ place.wrapping_mul(0x9e37_79b9) ^ (cell as u64) << 50), weight * 128)
    };
    let smooth: Vec<i32> = (0..cell)
        .map(|at| {
            let share = at * at * (3 * cell - 2 * at) * 256 / (cell * cell * cell);
            i32::try_from(share).expect("a share is at most 256")
        })
        .collect();
    let (down, way) = (y / cell, smooth[y % cell]);
    let between = |from: i32, to: i32, way: i32| from + (to - from) / 256 * way;
    let at_corner = |across: usize| between(corner(across, down), corner(across, down + 1), way);
    let mut left = at_corner(0);
    for (across, cells) in line.chunks_mut(cell).enumerate() {
        let right = at_corner(across + 1);
        for (value, way) in cells.iter_mut().zip(&smooth) {
            *value += between(left, right, *way);
        }
        left = right;
    }
}

/// From `-most` to `most`.
fn signed(chance: &mut Chance, most: i32) -> i32 {
    let range = u64::from(most.unsigned_abs()) * 2 + 1;
    i32::try_from(chance.below(range)).expect("it is in the range") - most
}

fn byte(value: i32) -> u8 {
    u8::try_from(value.clamp(0, 255)).expect("it was clamped")
}

/// EXIF metadata that say one thing: an orientation.
pub fn exif(orientation: u8) -> Vec<u8> {
    let mut tiff = b"MM\0\x2a\0\0\0\x08\0\x01".to_vec();
    tiff.extend([0x01, 0x12, 0, 3, 0, 0, 0, 1, 0, orientation, 0, 0]);
    tiff.extend([0; 4]);
    tiff
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_photograph() {
        let make = |seed| Photo::of(90, 70, seed).to_jpeg().unwrap();
        assert_eq!(make(1), make(1));
        assert_ne!(make(1), make(2));
    }

    #[test]
    fn photographs_compress_as_those_of_cameras_do() {
        let bits = Photo::of(800, 600, 7).to_jpeg().unwrap().len() * 8;
        let tenths_a_pixel = bits * 10 / (800 * 600);
        assert!((15..=30).contains(&tenths_a_pixel), "{tenths_a_pixel} tenths of a bit");
    }
}
