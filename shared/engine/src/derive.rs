//! Ids that are derived, so that a repeat, a redrive or a second run of the same object gives the same ones.

use fanfold_domain::SourcePin;
use sha1::{Digest, Sha1, block_api::compress};
use uuid::{Builder, Uuid};

/// The namespace of the namespaces of pipelines (UUIDv5). Never to be changed: all derived ids hang on it.
const FANFOLD: Uuid = Uuid::from_u128(0x6f1d_2c0a_94b7_5e53_8a41_c3d0_7be9_12f6);

/// SHA-1 of nothing yet (FIPS 180-4, 5.3.1).
const START: [u32; 5] = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476, 0xc3d2_e1f0];
const BLOCK: usize = 64;

/// Derives ids (UUIDv5, RFC 9562) over `{bucket}/{key}@{version or ETag}:{byte offset}` in the namespace of
/// one pipeline.
///
/// Everything but the offset is hashed once; an id then costs one or two blocks of SHA-1, and nothing else:
/// a `Digest` that is cloned, fed and finished for each costs 60 ns more of the 600 of an order.
#[derive(Clone)]
pub struct IdDeriver {
    /// The hash of the whole blocks that precede the offset.
    state: [u32; 5],
    /// What else precedes it, less than a block; room for the offset and the padding.
    last: [u8; 2 * BLOCK],
    last_len: usize,
    /// Bytes before the offset.
    prefix_len: usize,
}

impl IdDeriver {
    /// The deriver of `pipeline`'s ids for records of `source`.
    pub fn new(pipeline: &str, source: &SourcePin) -> Self {
        Self::of_records(pipeline, &source.derivation_prefix())
    }

    /// The deriver of `pipeline`'s ids for records that `prefix` and their offset name.
    pub fn of_records(pipeline: &str, prefix: &str) -> Self {
        let namespace = v5(Sha1::new().chain_update(FANFOLD).chain_update(pipeline).finalize().into());
        let prefix = [namespace.as_bytes(), prefix.as_bytes()].concat();
        let (blocks, rest) = prefix.as_chunks::<BLOCK>();
        let mut state = START;
        compress(&mut state, blocks);
        let mut last = [0; 2 * BLOCK];
        last[..rest.len()].copy_from_slice(rest);
        Self { state, last, last_len: rest.len(), prefix_len: prefix.len() }
    }

    /// The id of what is made of the record at `offset`.
    pub fn id(&self, offset: u64) -> Uuid {
        let (digits, start) = decimal(offset);
        let digits = &digits[start..];
        let mut last = self.last;
        let end = self.last_len + digits.len();
        last[self.last_len..end].copy_from_slice(digits);
        last[end] = 0x80;
        // The padding ends with the length in bits, 8 bytes.
        let len = if end + 9 <= BLOCK { BLOCK } else { 2 * BLOCK };
        let bits = (self.prefix_len + digits.len()) as u64 * 8;
        last[len - 8..len].copy_from_slice(&bits.to_be_bytes());
        let mut state = self.state;
        compress(&mut state, last[..len].as_chunks().0);
        let mut digest = [0; 20];
        for (bytes, word) in digest.as_chunks_mut().0.iter_mut().zip(state) {
            *bytes = word.to_be_bytes();
        }
        v5(digest)
    }
}

fn v5(digest: [u8; 20]) -> Uuid {
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest[..16]);
    Builder::from_sha1_bytes(bytes).into_uuid()
}

/// The decimal digits of `n`, and where they start in the array.
pub(crate) fn decimal(mut n: u64) -> ([u8; 20], usize) {
    let mut digits = [b'0'; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + u8::try_from(n % 10).expect("a digit");
        n /= 10;
        if n == 0 {
            return (digits, at);
        }
    }
}

#[cfg(test)]
mod tests {
    use fanfold_domain::{ETag, ObjectName};

    use super::*;

    #[test]
    fn ids_are_uuid_v5_over_the_documented_name() {
        let namespace = Uuid::new_v5(&FANFOLD, b"orders");
        // Keys of all lengths, so that the blocks of the hash end everywhere.
        for length in 0..200 {
            let key = "k".repeat(length);
            let source = SourcePin {
                object: ObjectName::new("in", &key),
                version: None,
                etag: ETag::new("\"e1\""),
                size_bytes: 9,
            };
            let deriver = IdDeriver::new("orders", &source);
            for offset in [0, 7, 1_234, 10_000_000_000, u64::MAX] {
                let id = deriver.id(offset);
                assert_eq!(id, Uuid::new_v5(&namespace, format!("in/{key}@e1:{offset}").as_bytes()));
                assert_eq!(id.get_version_num(), 5);
            }
        }
    }

    #[test]
    fn decimals_are_those_of_display() {
        for n in [0, 9, 10, 123, u64::MAX] {
            let (digits, start) = decimal(n);
            assert_eq!(digits[start..], *n.to_string().as_bytes());
        }
    }
}
