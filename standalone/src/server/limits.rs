//! The limits for clients: the number of connections, and the time limits.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    num::NonZeroUsize,
    str::FromStr,
    time::Duration,
};

use xfiles_core::intent::ByteSize;

/// The default limit of open connections. Each needs about 20 KB, so that a small machine can hold this many idle ones.
pub const DEFAULT_MAX_CONNECTIONS: usize = 4_096;

/// The default share of one address: a quarter, so that more than three addresses are needed to fill a server, while a
/// whole office behind one address stays far below it.
const ADDRESS_SHARE: usize = 4;

/// The minimum of the derived limit for one address: a browser opens six connections to each port.
const MIN_PER_ADDRESS: usize = 16;

/// The limits. The defaults suit most installations; tests use shorter ones.
#[derive(Clone, Debug)]
pub struct ConnectionLimits {
    /// The limit of open connections over all ports. `None` means as many as file descriptors allow, at most
    /// [`DEFAULT_MAX_CONNECTIONS`]. A number that the descriptors do not allow is refused at the start.
    pub max: Option<NonZeroUsize>,
    /// The limit of connections of one address; an IPv6 /64 network counts as one address. `None` means a quarter of
    /// `max`. Loopback and proxies have no limit.
    pub max_per_address: Option<NonZeroUsize>,
    /// Addresses that many clients share, such as that of a reverse proxy.
    pub proxies: Vec<AddressRange>,
    /// The time limit for the head of a request, from the opening of the connection or from the first byte of a later
    /// request.
    pub head: Duration,
    /// How long an idle connection is kept open. Longer than the 60 s of common proxies, so that the proxy closes
    /// first.
    /// who close.
    pub keep_alive: Duration,
    /// The time limit for each `MIN_PROGRESS` bytes of a request's body.
    pub body_idle: Duration,
    /// The time limit for a client to read each `MIN_PROGRESS` bytes of a response.
    pub write_idle: Duration,
    /// How long the rest of a refused request's body is read and discarded, so that the client can read the response.
    pub discard: Duration,
    /// The longest pause of such a client.
    pub discard_idle: Duration,
    /// The largest number of bytes that are discarded.
    pub discard_bytes: u64,
    /// How long new connections wait for a place before they get 503.
    pub queue: Duration,
}

/// The bytes that must be transferred within the idle times, so that single bytes do not keep a connection open.
pub const MIN_PROGRESS: usize = 1_024;

/// The longest head of a request, in bytes. A presigned URL with temporary credentials takes 3 KB; other servers allow
/// 8 to 32 KB.
pub const MAX_HEAD_BYTES: usize = 32 * 1024;

impl Default for ConnectionLimits {
    fn default() -> Self {
        Self {
            max: None,
            max_per_address: None,
            proxies: Vec::new(),
            head: Duration::from_secs(10),
            keep_alive: Duration::from_secs(75),
            body_idle: Duration::from_secs(30),
            write_idle: Duration::from_secs(30),
            // Browsers read a response only after they have sent everything: 100 MB in this time are 7 Mbit/s.
            discard: Duration::from_secs(120),
            discard_idle: Duration::from_secs(5),
            // The largest upload, and the overhead of chunks.
            discard_bytes: ByteSize::MAX.bytes() + 4 * 1024 * 1024,
            queue: Duration::from_secs(5),
        }
    }
}

impl ConnectionLimits {
    /// The limit for one address if `max` connections are allowed.
    pub(super) fn per_address(&self, max: usize) -> usize {
        self.max_per_address.map_or_else(|| (max / ADDRESS_SHARE).max(MIN_PER_ADDRESS).min(max), NonZeroUsize::get)
    }

    /// Returns true if many clients may share this address.
    pub(super) fn is_shared(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        address.is_loopback() || self.proxies.iter().any(|range| range.contains(address))
    }
}

/// One address or a network: `10.0.0.7`, `172.16.0.0/12`, `fd00::/8`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddressRange {
    first: IpAddr,
    bits: u8,
}

/// The text is neither an address nor a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an address is like 10.0.0.7, 172.16.0.0/12 or fd00::/8")]
pub struct InvalidRange;

impl AddressRange {
    /// Returns true if the address is in this range.
    pub fn contains(&self, address: IpAddr) -> bool {
        prefix(address.to_canonical(), self.bits) == Some(self.first)
    }
}

impl FromStr for AddressRange {
    type Err = InvalidRange;

    fn from_str(text: &str) -> Result<Self, InvalidRange> {
        let (address, bits) = text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
        let address: IpAddr = address.parse().map_err(|_| InvalidRange)?;
        let all = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.map_or(Ok(all), str::parse).map_err(|_| InvalidRange)?;
        let first = prefix(address, bits).ok_or(InvalidRange)?;
        Ok(Self { first, bits })
    }
}

impl fmt::Display for AddressRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.first, self.bits)
    }
}

/// The first address of the network of an address; `None` if the prefix is longer than the address.
fn prefix(address: IpAddr, bits: u8) -> Option<IpAddr> {
    match address {
        IpAddr::V4(address) => {
            let rest = 32_u8.checked_sub(bits)?;
            let mask = u32::MAX.checked_shl(rest.into()).unwrap_or(0);
            Some(Ipv4Addr::from_bits(address.to_bits() & mask).into())
        }
        IpAddr::V6(address) => {
            let rest = 128_u8.checked_sub(bits)?;
            let mask = u128::MAX.checked_shl(rest.into()).unwrap_or(0);
            Some(Ipv6Addr::from_bits(address.to_bits() & mask).into())
        }
    }
}

/// The unit to which the limit applies: an IPv4 address, or an IPv6 /64 network, which is what a subscriber has.
pub(super) fn client_network(address: IpAddr) -> IpAddr {
    let address = address.to_canonical();
    let bits = if address.is_ipv4() { 32 } else { 64 };
    prefix(address, bits).expect("an address has at least this many bits")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_range_is_an_address_or_a_network() {
        for (range, inside, outside) in [
            ("10.0.0.7", "10.0.0.7", "10.0.0.8"),
            ("172.16.0.0/12", "172.31.255.255", "172.32.0.0"),
            ("0.0.0.0/0", "255.1.2.3", "::1"),
            ("fd00::/8", "fdff::1", "fe00::1"),
            ("::1", "::1", "::2"),
            ("10.0.0.0/8", "::ffff:10.1.2.3", "::ffff:11.1.2.3"),
        ] {
            let range: AddressRange = range.parse().unwrap();
            assert!(range.contains(address(inside)) && !range.contains(address(outside)), "{range}");
            assert_eq!(range.to_string().parse(), Ok(range));
        }
        for bad in ["", "10.0.0", "10.0.0.0/33", "::/129", "10.0.0.0/-1", "host", "10.0.0.0/8/8"] {
            assert_eq!(bad.parse::<AddressRange>(), Err(InvalidRange), "{bad}");
        }
    }

    #[test]
    fn a_client_network_is_an_ipv4_address_or_an_ipv6_64() {
        assert_eq!(client_network(address("203.0.113.9")), address("203.0.113.9"));
        assert_eq!(client_network(address("::ffff:203.0.113.9")), address("203.0.113.9"));
        assert_eq!(client_network(address("2001:db8:1:2:3:4:5:6")), address("2001:db8:1:2::"));
    }

    #[test]
    fn one_address_gets_a_quarter_and_proxies_have_no_limit() {
        let limits = ConnectionLimits { proxies: vec!["172.16.0.0/12".parse().unwrap()], ..Default::default() };
        assert_eq!((limits.per_address(4_096), limits.per_address(40), limits.per_address(8)), (1_024, 16, 8));
        assert!(limits.is_shared(address("127.0.0.1")) && limits.is_shared(address("::1")));
        assert!(limits.is_shared(address("::ffff:127.0.0.1")) && limits.is_shared(address("172.18.0.3")));
        assert!(!limits.is_shared(address("203.0.113.9")));
    }
}
