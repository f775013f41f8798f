//! Address ranges that no network can have, whatever is on the server.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use crate::core::desired::{DesiredServer, Endpoint};

/// What is not an address or a range, although it looks like one.
pub(super) struct Misspelt {
    pub(super) message: String,
    pub(super) hint: String,
}

/// Octets with leading zeros: some programs read `010` as eight, others as ten.
pub(super) fn leading_zeros(text: &str) -> Option<Misspelt> {
    let (address, length) = match text.split_once('/') {
        Some((address, length)) => (address, Some(length)),
        None => (text, None),
    };
    let is_number = |part: &&str| !part.is_empty() && part.len() <= 4 && part.bytes().all(|byte| byte.is_ascii_digit());
    let octets: Vec<&str> = if address.contains(':') { Vec::new() } else { address.split('.').collect() };
    let numbers = octets.iter().chain(&length);
    if !numbers.clone().all(is_number) || !numbers.clone().any(|part| part.len() > 1 && part.starts_with('0')) {
        return None;
    }
    let plain = |part: &str| match part.trim_start_matches('0') {
        "" => "0".to_owned(),
        digits => digits.to_owned(),
    };
    let address = match octets.as_slice() {
        [] => address.to_owned(),
        octets => octets.iter().map(|octet| plain(octet)).collect::<Vec<_>>().join("."),
    };
    let length = length.map(|length| format!("/{}", plain(length))).unwrap_or_default();
    Some(Misspelt {
        message: format!("`{text}` has numbers with leading zeros, which some programs read as octal"),
        hint: format!("write {address}{length}, if that is what is meant"),
    })
}

/// Why no container can be on a network with the subnet.
pub(super) fn unusable(subnet: &IpNet) -> Option<String> {
    let too_small = match subnet {
        IpNet::V4(net) => net.prefix_len() > 30,
        IpNet::V6(net) => net.prefix_len() > 126,
    };
    if too_small {
        return Some(format!(
            "{subnet} is too small: the gateway and the range itself leave no address for a container"
        ));
    }
    let reserved = reserved().into_iter().find(|(range, _)| range.contains(subnet) || subnet.contains(range));
    let (range, what) = reserved?;
    Some(if range == *subnet || range.contains(subnet) {
        format!("{subnet} is of the {what} addresses, which no container can have")
    } else {
        format!("{subnet} contains the {what} addresses {range}, which no container can have")
    })
}

fn reserved() -> [(IpNet, &'static str); 10] {
    let v4 = |a, b, c, d, length| IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), length));
    let v6 = |a, length| IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::new(a, 0, 0, 0, 0, 0, 0, 0), length));
    [
        (v4(0, 0, 0, 0, 8), "unspecified"),
        (v4(127, 0, 0, 0, 8), "loopback"),
        (v4(169, 254, 0, 0, 16), "link-local"),
        (v4(224, 0, 0, 0, 4), "multicast"),
        (v4(255, 255, 255, 255, 32), "broadcast"),
        (IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::UNSPECIFIED, 128)), "unspecified"),
        (IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::LOCALHOST, 128)), "loopback"),
        (IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, 0, 0), 96)), "IPv4-mapped"),
        (v6(0xfe80, 10), "link-local"),
        (v6(0xff00, 8), "multicast"),
    ]
}

/// The address by which the server is reached, where its endpoint has one and not a name.
pub(super) fn literal_address(server: &DesiredServer) -> Option<IpAddr> {
    let host = match &server.endpoint {
        Endpoint::Tcp { host, .. } | Endpoint::Ssh { host, .. } => host,
        Endpoint::Unix { .. } | Endpoint::Context { .. } => return None,
    };
    let address: IpAddr = host.trim_matches(['[', ']']).parse().ok()?;
    Some(address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn why(subnet: &str) -> Option<String> {
        unusable(&subnet.parse().unwrap())
    }

    #[test]
    fn ranges_that_can_hold_nobody_are_told_apart_from_small_ones() {
        for good in ["10.0.0.0/30", "10.42.0.0/24", "192.168.0.0/16", "172.16.0.0/12", "100.64.0.0/10", "1.0.0.0/8"] {
            assert_eq!(why(good), None, "{good}");
        }
        for good in ["fd00::/126", "fd00:42::/64", "2001:db8::/32", "240.0.0.0/8"] {
            assert_eq!(why(good), None, "{good}");
        }
        for small in ["10.0.0.0/31", "10.0.0.1/32", "fd00::/127", "fd00::1/128"] {
            assert!(why(small).unwrap().contains("too small"), "{small}");
        }
        for (range, word) in [
            ("127.0.0.0/8", "loopback"),
            ("127.42.0.0/24", "loopback"),
            ("126.0.0.0/7", "loopback addresses 127.0.0.0/8"),
            ("::/120", "unspecified"),
            ("169.254.7.0/24", "link-local"),
            ("fe80::/64", "link-local"),
            ("febf:1::/32", "link-local"),
            ("239.1.0.0/16", "multicast"),
            ("ff02::/16", "multicast"),
            ("0.0.0.0/0", "unspecified"),
            ("0.0.0.0/24", "unspecified"),
            ("::/0", "unspecified"),
            ("255.255.255.0/24", "broadcast"),
            ("::ffff:10.0.0.0/120", "IPv4-mapped"),
        ] {
            assert!(why(range).is_some_and(|why| why.contains(word)), "{range}: {:?}", why(range));
        }
    }

    #[test]
    fn leading_zeros_are_recognised_wherever_they_are_and_nothing_else_is() {
        for (text, plain) in [
            ("010.42.0.0/24", "10.42.0.0/24"),
            ("10.042.0.0/24", "10.42.0.0/24"),
            ("10.42.0.00/24", "10.42.0.0/24"),
            ("10.42.0.0/024", "10.42.0.0/24"),
            ("10.42.000.001", "10.42.0.1"),
            ("fd00::/064", "fd00::/64"),
        ] {
            assert!(leading_zeros(text).is_some_and(|it| it.hint.contains(&format!(" {plain},"))), "{text}");
        }
        for text in ["10.0.0.0/8", "0.0.0.0/0", "fd00:0042::/64", "web", "", "10.0.0.0/", "1.2.3.x/08"] {
            assert!(leading_zeros(text).is_none(), "{text}");
        }
    }
}
