//! Addresses that no pipeline may have asked.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// EC2's metadata by IPv6.
const METADATA_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254);
/// EKS' pod identity by IPv6.
const POD_IDENTITY_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23);

/// Whether an address is of the machine's own link, where clouds hand out credentials to whoever asks:
/// 169.254.0.0/16, `fe80::/10` and what EC2 has for them in IPv6. Also what is no address of one host.
pub fn is_link_local(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => {
            address.is_link_local()
                || address.is_broadcast()
                || address.is_multicast()
                || address.is_unspecified()
        }
        IpAddr::V6(address) => {
            address.is_unicast_link_local()
                || address.is_multicast()
                || address.is_unspecified()
                || [METADATA_V6, POD_IDENTITY_V6].contains(&address)
                || embedded(address).is_some_and(|address| is_link_local(IpAddr::V4(address)))
        }
    }
}

/// Whether an address is of the machine itself, where a function finds the interface that gives it its events.
pub fn is_loopback(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            address.is_loopback() || embedded(address).is_some_and(|address| address.is_loopback())
        }
        IpAddr::V4(address) => address.is_loopback(),
    }
}

/// The IPv4 address that a translating network takes an IPv6 address for (RFC 6052, RFC 4291 2.5.5.1).
fn embedded(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let segments = address.segments();
    let is_translated = segments[..6] == [0x64, 0xff9b, 0, 0, 0, 0];
    let is_compatible = segments[..6] == [0; 6] && segments[6] != 0;
    let [a, b] = segments[6].to_be_bytes();
    let [c, d] = segments[7].to_be_bytes();
    (is_translated || is_compatible).then(|| Ipv4Addr::new(a, b, c, d))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_hand_out_credentials_are_known_in_every_writing() {
        for text in [
            "169.254.169.254",
            "169.254.170.2",
            "169.254.100.1",
            "::ffff:169.254.169.254",
            "64:ff9b::a9fe:a9fe",
            "::a9fe:a9fe",
            "fe80::1",
            "fd00:ec2::254",
            "fd00:ec2::23",
            "0.0.0.0",
            "::",
            "255.255.255.255",
        ] {
            assert!(is_link_local(text.parse().unwrap()), "{text}");
        }
        for text in ["10.0.0.1", "127.0.0.1", "::1", "2600::1", "192.168.1.1", "169.253.0.1"] {
            assert!(!is_link_local(text.parse().unwrap()), "{text}");
        }
    }

    #[test]
    fn the_machine_itself_is_known_too() {
        for text in ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1", "64:ff9b::7f00:1"] {
            assert!(is_loopback(text.parse().unwrap()), "{text}");
        }
        assert!(!is_loopback("10.0.0.1".parse().unwrap()));
    }
}
