//! S3 writes a CRC-64/NVME as base64 of its eight bytes, the most significant first.

use base64::{Engine, engine::general_purpose::STANDARD};

/// As S3 writes it.
pub(super) fn encode(crc64: u64) -> String {
    STANDARD.encode(crc64.to_be_bytes())
}

/// As S3 wrote it; `None` for anything else, such as the checksum of checksums of an upload whose parts were
/// summed one by one (`...-3`).
pub(super) fn decode(text: &str) -> Option<u64> {
    let bytes = STANDARD.decode(text).ok()?;
    Some(u64::from_be_bytes(bytes.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_check_value_is_written_as_s3_writes_it() {
        // CRC-64/NVME of `123456789` in the catalogue of CRC algorithms.
        assert_eq!(encode(0xae8b_1486_0a79_9888), "rosUhgp5mIg=");
        assert_eq!(decode("rosUhgp5mIg="), Some(0xae8b_1486_0a79_9888));
        assert_eq!(decode(&encode(1)), Some(1));
    }

    #[test]
    fn what_is_no_whole_checksum_is_none() {
        for text in ["", "rosUhgp5mIg=-3", "rosUhgp5mIg", "AAAAAA==", "not base64!!"] {
            assert_eq!(decode(text), None, "{text}");
        }
    }
}
