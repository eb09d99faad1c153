//! What a server grants its clients: how many connections, and how long each may take for what.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    num::NonZeroUsize,
    str::FromStr,
    time::Duration,
};

use xfiles_core::intent::ByteSize;

/// The most connections that are open at once unless an operator asks for another number. Each costs some 20 KB, and
/// as many idle ones as this a small machine still holds.
pub const DEFAULT_MAX_CONNECTIONS: usize = 4_096;

/// The part of all connections that one address may have unless an operator says otherwise: a quarter, so that it takes
/// more than three to fill a server, and a whole office behind one address is far below it.
const ADDRESS_SHARE: usize = 4;

/// The smallest number that the bound of one address is derived as: a browser opens six connections to each port.
const MIN_PER_ADDRESS: usize = 16;

/// What a server grants. The defaults are right unless an operator has a reason; tests make them short.
#[derive(Clone, Debug)]
pub struct ConnectionLimits {
    /// How many connections are open at once, over all ports. `None`: as many as file descriptors allow, at most
    /// [`DEFAULT_MAX_CONNECTIONS`]. More than they allow are refused at the start.
    pub max: Option<NonZeroUsize>,
    /// How many connections one address may have; of IPv6, one network of 64 bits. `None`: a quarter of `max`. Loopback
    /// and proxies may have any number.
    pub max_per_address: Option<NonZeroUsize>,
    /// Addresses from which many clients come, such as a reverse proxy's.
    pub proxies: Vec<AddressRange>,
    /// How long the head of a request may take: from the opening of the connection, or from the first byte on a
    /// connection that was used before.
    pub head: Duration,
    /// How long a connection is kept for another request. Longer than the 60 s of common proxies, so that it is they
    /// who close.
    pub keep_alive: Duration,
    /// How long a server waits for `MIN_PROGRESS` of a request's body.
    pub body_idle: Duration,
    /// How long a server waits until a client has taken `MIN_PROGRESS` of an answer.
    pub write_idle: Duration,
    /// How long the rest of a refused request's body is read and discarded, so that the client can read the answer.
    pub discard: Duration,
    /// How long such a client may pause.
    pub discard_idle: Duration,
    /// How many bytes are discarded.
    pub discard_bytes: u64,
    /// How long new connections wait for a place, unanswered, before they are answered 503.
    pub queue: Duration,
}

/// What must pass within the idle times: less is as good as nothing, so a byte now and then does not hold a connection.
pub const MIN_PROGRESS: usize = 1_024;

/// The longest head of a request, in bytes: a presigned URL with temporary credentials takes 3 KB, other servers allow
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
            // Browsers read an answer only after they have sent everything: 100 MB in this time are 7 Mbit/s.
            discard: Duration::from_secs(120),
            discard_idle: Duration::from_secs(5),
            // The largest upload, and what chunks add to it.
            discard_bytes: ByteSize::MAX.bytes() + 4 * 1024 * 1024,
            queue: Duration::from_secs(5),
        }
    }
}

impl ConnectionLimits {
    /// How many connections one address may have when there may be `max`.
    pub(super) fn per_address(&self, max: usize) -> usize {
        self.max_per_address.map_or_else(|| (max / ADDRESS_SHARE).max(MIN_PER_ADDRESS).min(max), NonZeroUsize::get)
    }

    /// Whether many clients may come from this address.
    pub(super) fn is_shared(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        address.is_loopback() || self.proxies.iter().any(|range| range.contains(address))
    }
}

/// One address, or all that begin alike: `10.0.0.7`, `172.16.0.0/12`, `fd00::/8`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddressRange {
    first: IpAddr,
    bits: u8,
}

/// A text that is no address and no range of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an address is like 10.0.0.7, 172.16.0.0/12 or fd00::/8")]
pub struct InvalidRange;

impl AddressRange {
    /// Whether the address is in the range.
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

/// The first address of the network that an address is in; none when an address has not so many bits.
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

/// Whom an address stands for: one IPv4 address, or a network of 64 bits, which is what a subscriber of IPv6 has.
pub(super) fn household(address: IpAddr) -> IpAddr {
    let address = address.to_canonical();
    let bits = if address.is_ipv4() { 32 } else { 64 };
    prefix(address, bits).expect("an address has so many bits")
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
        assert_eq!(household(address("203.0.113.9")), address("203.0.113.9"));
        assert_eq!(household(address("::ffff:203.0.113.9")), address("203.0.113.9"));
        assert_eq!(household(address("2001:db8:1:2:3:4:5:6")), address("2001:db8:1:2::"));
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
