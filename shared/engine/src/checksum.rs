//! CRC-64/NVME, the checksum that S3 keeps of whole objects and that can be combined from those of parts.

use crc_fast::CrcAlgorithm::Crc64Nvme;

/// The checksum of `bytes`.
pub(crate) fn crc64(bytes: &[u8]) -> u64 {
    crc_fast::checksum(Crc64Nvme, bytes)
}

/// The checksum of `x` followed by `y`, from those of each and the length of `y` in bytes.
pub(crate) fn combine(x: u64, y: u64, y_bytes: u64) -> u64 {
    crc_fast::checksum_combine(Crc64Nvme, x, y, y_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_combine_and_are_the_standard_ones() {
        assert_eq!(crc64(b"123456789"), 0xae8b_1486_0a79_9888);
        assert_eq!(combine(crc64(b"1234"), crc64(b"56789"), 5), crc64(b"123456789"));
        assert_eq!(combine(crc64(b""), crc64(b"5"), 1), crc64(b"5"));
    }
}
