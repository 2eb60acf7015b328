//! A network of addresses, as `--trusted-proxy` names it.

use std::{
    net::{IpAddr, Ipv6Addr},
    str::FromStr,
};

/// The least part of IPv6 addresses that one holder has (RFC 6177): its first 64 bits.
const IPV6_HOLDER_BITS: u32 = 64;

/// The holder that an address stands for: limits of an address hold for all addresses of its holder.
#[must_use]
pub fn holder(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let kept = u128::MAX.checked_shl(IPV6_HOLDER_BITS).unwrap_or_default();
            Ipv6Addr::from_bits(address.to_bits() & kept).into()
        }
        address @ IpAddr::V4(_) => address,
    }
}

/// All addresses with the same first bits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Network {
    address: IpAddr,
    bits: u32,
}

/// The reason why a text names no network.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error(
    "a network is an address and the number of its first bits that count: 10.0.0.0/8, fd00::/8, 192.0.2.7"
)]
pub struct NoNetwork;

impl Network {
    /// Returns whether the address is in this network.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let first =
            |address: u128, length: u32| address.checked_shr(length.saturating_sub(self.bits)).unwrap_or(0);
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                first(own.to_bits().into(), 32) == first(other.to_bits().into(), 32)
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => first(own.to_bits(), 128) == first(other.to_bits(), 128),
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }
}

impl FromStr for Network {
    type Err = NoNetwork;

    fn from_str(text: &str) -> Result<Self, NoNetwork> {
        let (address, bits) =
            text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
        let address: IpAddr = address.parse().map_err(|_| NoNetwork)?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.map_or(Ok(most), str::parse).map_err(|_| NoNetwork)?;
        if bits > most { Err(NoNetwork) } else { Ok(Self { address, bits }) }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn e5_an_address_stands_for_its_holder() {
        let holder = |text: &str| holder(text.parse().unwrap()).to_string();
        assert_eq!(holder("192.0.2.7"), "192.0.2.7");
        assert_eq!(holder("::ffff:192.0.2.7"), "192.0.2.7", "as a socket for both kinds shows it");
        assert_eq!(holder("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
    }

    #[test]
    fn e5_a_network_is_its_first_bits() {
        let contains = |network: &str, address: &str| {
            let network: Network = network.parse().unwrap();
            network.contains(address.parse().unwrap())
        };
        assert!(contains("10.0.0.0/8", "10.255.0.1") && !contains("10.0.0.0/8", "11.0.0.1"));
        assert!(contains("192.0.2.7", "192.0.2.7") && !contains("192.0.2.7", "192.0.2.8"));
        assert!(contains("0.0.0.0/0", "203.0.113.1") && !contains("0.0.0.0/0", "::1"));
        assert!(contains("fd00::/8", "fd12::1") && !contains("fd00::/8", "fe80::1"));
        // A socket for both kinds shows IPv4 like this.
        assert!(contains("10.0.0.0/8", "::ffff:10.0.0.1"));
        for bad in ["", "10.0.0.0/33", "::/129", "10.0.0/8", "x", "10.0.0.0/", "10.0.0.0/-1"] {
            assert_eq!(bad.parse::<Network>(), Err(NoNetwork), "{bad}");
        }
    }
}
