//! Webhooks in the form of the [Standard Webhooks](https://www.standardwebhooks.com) specification: endpoints with their
//! signing secrets, where they may be, how a message is signed, and when a failed delivery is tried again.
//!
//! Nothing is sent here.

use std::{
    fmt,
    net::{IpAddr, Ipv6Addr},
    str::FromStr,
    time::Duration,
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use ring::hmac;
use sha2::{Digest as _, Sha256};

use crate::{
    clock::Timestamp,
    event::{Event, EventId, EventType},
    id::{EndpointId, ProjectId},
    random,
};

/// How many endpoints a project has at the most: each is one more delivery of every event.
pub const MAX_ENDPOINTS: usize = 10;

/// For how long a delivery is tried before it is parked.
pub const TRIES_FOR: Duration = Duration::from_secs(24 * 60 * 60);

/// How long a process that claimed a delivery has to try it: longer than an endpoint may take to answer.
pub const ATTEMPT_LEASE: Duration = Duration::from_secs(60);

const FIRST_PAUSE: Duration = Duration::from_secs(30);
const LONGEST_PAUSE: Duration = Duration::from_secs(4 * 60 * 60);

/// What a message is signed with: `whsec_` and the base64 of 32 random bytes. It is shown when it is made or
/// rotated, and kept in the table as it is, because signing needs it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    const PREFIX: &str = "whsec_";

    /// A new secret.
    pub fn mint() -> Self {
        Self(format!("{}{}", Self::PREFIX, BASE64_STANDARD.encode(random::bytes::<32>())))
    }

    /// The secret that follows from the seed of a request that is carried out once: always the same one.
    pub fn derived(seed: &[u8; 16]) -> Self {
        let bytes = Sha256::new().chain_update("xfiles webhook secret\n").chain_update(seed).finalize();
        Self(format!("{}{}", Self::PREFIX, BASE64_STANDARD.encode(bytes)))
    }

    pub(crate) fn from_stored(text: &str) -> Option<Self> {
        let bytes = BASE64_STANDARD.decode(text.strip_prefix(Self::PREFIX)?).ok()?;
        (!bytes.is_empty()).then(|| Self(text.to_owned()))
    }

    /// The secret as text, for the one who may see it.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    fn sign(&self, message: &str) -> String {
        let bytes = BASE64_STANDARD.decode(&self.0[Self::PREFIX.len()..]).expect("a secret is base64");
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &bytes), message.as_bytes());
        format!("v1,{}", BASE64_STANDARD.encode(tag))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("whsec_…")
    }
}

/// Where messages may go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reach {
    /// `https` URLs whose host has public addresses only.
    #[default]
    Public,
    /// Anywhere, and over `http` too: for development, or a network that the operator trusts.
    Anywhere,
}

impl Reach {
    /// Whether a connection to that address may be made.
    pub fn permits(self, address: IpAddr) -> bool {
        match self {
            Self::Anywhere => true,
            Self::Public => is_public(address),
        }
    }
}

/// Whether an address is one of the public internet: not loopback, private, shared, link-local (where clouds keep their
/// metadata), multicast, reserved or for documentation, and no IPv6 address that stands for an IPv4 one. From the IANA
/// special-purpose address registries.
pub fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => match v4.octets() {
            [0 | 10 | 127, ..] | [169, 254, ..] | [192, 168, ..] => false,
            [100, 64..=127, ..] | [172, 16..=31, ..] | [198, 18..=19, ..] => false,
            [192, 0, 0 | 2, _] | [192, 88, 99, _] | [198, 51, 100, _] | [203, 0, 113, _] => false,
            [first, ..] => first < 224,
        },
        IpAddr::V6(v6) => match v6.segments() {
            // Teredo and other protocol assignments, documentation, 6to4.
            [0x2001, 0..=0x1ff, ..] | [0x2001, 0xdb8, ..] | [0x2002, ..] | [0x3fff, 0..=0xfff, ..] => false,
            // All other global unicast; IPv4-mapped, NAT64, unique local and link-local addresses lie outside.
            [first, ..] => first & 0xe000 == 0x2000,
        },
    }
}

/// The URL of an endpoint: an absolute `http` or `https` URL without user or fragment, at most 1,024 characters.
#[derive(Clone, PartialEq, Eq)]
pub struct TargetUrl(http::Uri);

impl TargetUrl {
    /// Parses a URL, if messages may go where it says. The addresses behind a name are checked when one is sent.
    pub fn parse(text: &str, reach: Reach) -> Option<Self> {
        let url: Self = text.parse().ok()?;
        let literal = url.host().parse::<IpAddr>().ok();
        let permitted = url.is_https() && literal.is_none_or(is_public);
        (reach == Reach::Anywhere || permitted).then_some(url)
    }

    /// The host without the brackets of an IPv6 address.
    pub fn host(&self) -> &str {
        self.0.host().unwrap_or_default().trim_matches(['[', ']'])
    }

    /// The port, said or implied.
    pub fn port(&self) -> u16 {
        self.0.port_u16().unwrap_or(if self.is_https() { 443 } else { 80 })
    }

    /// Whether the connection is encrypted.
    pub fn is_https(&self) -> bool {
        self.0.scheme() == Some(&http::uri::Scheme::HTTPS)
    }

    /// Host and port as a request's `Host` header has them.
    pub fn authority(&self) -> &str {
        self.0.authority().map_or("", http::uri::Authority::as_str)
    }

    /// Path and query.
    pub fn path_and_query(&self) -> &str {
        self.0.path_and_query().map_or("/", http::uri::PathAndQuery::as_str)
    }
}

impl FromStr for TargetUrl {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let mut uri: http::Uri = text.parse().map_err(drop)?;
        if let Some(query) = uri.path_and_query().filter(|path| !path.as_str().starts_with('/')) {
            // A query right after the host has the root's path; a request cannot do without it.
            let path = format!("/{}", query.as_str()).parse().map_err(drop)?;
            let mut parts = uri.into_parts();
            parts.path_and_query = Some(path);
            uri = http::Uri::from_parts(parts).map_err(drop)?;
        }
        let known = [http::uri::Scheme::HTTP, http::uri::Scheme::HTTPS].iter().any(|s| uri.scheme() == Some(s));
        let plain = text.len() <= 1024 && !text.contains('#');
        let authority = uri.authority().ok_or(())?.as_str();
        let named = !authority.contains('@') && uri.host().is_some_and(is_host);
        (known && plain && named && uri.port_u16() != Some(0)).then_some(Self(uri)).ok_or(())
    }
}

/// Whether it is a name or an address, the latter in brackets if it is one of IPv6.
fn is_host(text: &str) -> bool {
    match text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(address) => address.parse::<Ipv6Addr>().is_ok(),
        None => !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b)),
    }
}

impl fmt::Display for TargetUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The query may hold a token of the receiver's.
impl fmt::Debug for TargetUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/…", self.authority())
    }
}

/// Where a project's events are sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Which endpoint.
    pub id: EndpointId,
    /// Whose events.
    pub project: ProjectId,
    /// Where.
    pub url: TargetUrl,
    /// Which events; empty: all.
    pub types: Vec<EventType>,
    /// Whether anything is sent.
    pub enabled: bool,
    /// What messages are signed with.
    pub secret: Secret,
    /// What they are signed with as well, until then, because the secret was rotated.
    pub retiring: Option<(Secret, Timestamp)>,
    /// When it was made.
    pub created: Timestamp,
}

impl Endpoint {
    /// A new endpoint for these events.
    pub fn new(project: ProjectId, url: TargetUrl, types: Vec<EventType>, now: Timestamp) -> Self {
        let (id, secret) = (EndpointId::mint(), Secret::mint());
        Self { id, project, url, types, enabled: true, secret, retiring: None, created: now }
    }

    /// Whether it wants to hear of such events.
    pub fn wants(&self, kind: EventType) -> bool {
        self.enabled && (self.types.is_empty() || self.types.contains(&kind))
    }

    /// Gives it another secret; messages carry signatures of both until the grace has passed.
    pub fn rotate(&self, secret: Secret, grace: Duration, now: Timestamp) -> Self {
        let retiring = (!grace.is_zero()).then(|| (self.secret.clone(), now + grace));
        Self { secret, retiring, ..self.clone() }
    }

    /// The `webhook-signature` of a message that is sent now: one signature, or two while a secret retires.
    pub fn signature(&self, id: &EventId, now: Timestamp, body: &str) -> String {
        let message = format!("{id}.{}.{body}", now.as_secs());
        let retiring = self.retiring.as_ref().filter(|(_, until)| now < *until).map(|(secret, _)| secret);
        let signatures: Vec<String> =
            std::iter::once(&self.secret).chain(retiring).map(|secret| secret.sign(&message)).collect();
        signatures.join(" ")
    }
}

/// How far a delivery is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeliveryStatus {
    /// It is or will be tried.
    Pending,
    /// The endpoint took it.
    Delivered,
    /// It was tried for as long as one is, and waits to be replayed.
    Parked,
}

impl DeliveryStatus {
    /// Every status.
    pub const ALL: [Self; 3] = [Self::Pending, Self::Delivered, Self::Parked];

    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Delivered => "delivered",
            Self::Parked => "parked",
        }
    }
}

impl FromStr for DeliveryStatus {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|status| status.as_str() == text).ok_or(())
    }
}

/// How an attempt ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attempt {
    /// The endpoint answered with this status.
    Answered(u16),
    /// It did not answer; in a few words.
    Failed(String),
}

/// One event on its way to one endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// To which endpoint.
    pub endpoint: EndpointId,
    /// Of whose project.
    pub project: ProjectId,
    /// Which event.
    pub event: EventId,
    /// Of which type.
    pub kind: EventType,
    /// When the event happened.
    pub created: Timestamp,
    /// What is sent.
    pub body: String,
    /// How far it is.
    pub status: DeliveryStatus,
    /// How often it was tried.
    pub attempts: u32,
    /// When it was tried last, and how that ended.
    pub last: Option<(Timestamp, Attempt)>,
    /// When it is tried next, unless the attempt that is under way ends first.
    pub due: Option<Timestamp>,
    /// When it is no longer tried.
    pub gives_up: Timestamp,
}

impl Delivery {
    /// The delivery of an event that was just found in the outbox, claimed by the finder.
    pub fn new(event: &Event, endpoint: EndpointId, now: Timestamp) -> Self {
        Self {
            endpoint,
            project: event.project,
            event: event.id.clone(),
            kind: event.kind,
            created: event.created,
            body: event.body.clone(),
            status: DeliveryStatus::Pending,
            attempts: 0,
            last: None,
            due: Some(now + ATTEMPT_LEASE),
            gives_up: now + TRIES_FOR,
        }
    }

    /// Claims an overdue delivery for an attempt.
    pub fn claim(&self, now: Timestamp) -> Self {
        Self { due: Some(now + ATTEMPT_LEASE), ..self.clone() }
    }

    /// The attempt ended so. What is tried again waits twice as long each time, a quarter more or less, until its
    /// time is over.
    pub fn attempted(&self, attempt: Attempt, now: Timestamp) -> Self {
        let attempts = self.attempts + 1;
        let done = Self { attempts, ..self.clone() };
        let delivered = matches!(attempt, Attempt::Answered(200..=299));
        let done = Self { last: Some((now, attempt)), ..done };
        if delivered {
            return Self { status: DeliveryStatus::Delivered, due: None, ..done };
        }
        let pause = FIRST_PAUSE.saturating_mul(2u32.saturating_pow(self.attempts)).min(LONGEST_PAUSE);
        let next = now + pause.mul_f64(0.75 + self.jitter() / 2.0);
        if next > self.gives_up { done.parked() } else { Self { due: Some(next), ..done } }
    }

    /// Where between 0 and 1 this attempt is: the same each time it is asked, and spread evenly over attempts,
    /// endpoints and events.
    fn jitter(&self) -> f64 {
        let digest = Sha256::digest(format!("{} {} {}", self.endpoint, self.event, self.attempts));
        f64::from(digest[0]) / f64::from(u8::MAX)
    }

    /// No longer tried.
    pub fn parked(&self) -> Self {
        Self { status: DeliveryStatus::Parked, due: None, ..self.clone() }
    }

    /// Tried again, as if it were new.
    pub fn replayed(&self, now: Timestamp) -> Self {
        Self { status: DeliveryStatus::Pending, due: Some(now), gives_up: now + TRIES_FOR, ..self.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delivery(now: Timestamp) -> Delivery {
        Delivery {
            endpoint: EndpointId::mint(),
            project: ProjectId::mint(),
            event: format!("evt_{}", "0".repeat(32)).parse().unwrap(),
            kind: EventType::FileConfirmed,
            created: now,
            body: "{}".to_owned(),
            status: DeliveryStatus::Pending,
            attempts: 0,
            last: None,
            due: Some(now),
            gives_up: now + TRIES_FOR,
        }
    }

    #[test]
    fn a_signature_is_that_of_the_specifications_example() {
        // From the specification's reference libraries: secret, id, timestamp, payload and what they sign it with.
        let secret = Secret::from_stored("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let message = "msg_p5jXN8AQM9LWM0D4loKWxJek.1614265330.{\"test\": 2432232314}";
        assert_eq!(secret.sign(message), "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn a_rotated_endpoint_signs_with_both_secrets_until_the_grace_has_passed() {
        let now = Timestamp::from_millis(1_760_000_000_000);
        let url = TargetUrl::parse("https://example.com/hook", Reach::Public).unwrap();
        let old = Endpoint::new(ProjectId::mint(), url, Vec::new(), now);
        let new = old.rotate(Secret::mint(), Duration::from_secs(60), now);
        let id = delivery(now).event;
        let before = old.signature(&id, now, "{}");
        let both = new.signature(&id, now, "{}");
        assert!(both.ends_with(&format!(" {before}")) && both.split(' ').count() == 2, "{both}");
        assert_eq!(new.signature(&id, now + Duration::from_secs(60), "{}").split(' ').count(), 1);
        assert_eq!(old.rotate(Secret::mint(), Duration::ZERO, now).signature(&id, now, "{}").split(' ').count(), 1);
        assert!(!format!("{old:?}").contains(&old.secret.reveal()[6..]));
    }

    #[test]
    fn no_address_of_a_private_network_is_public() {
        for address in [
            "0.0.0.0",
            "10.1.2.3",
            "100.64.0.1",
            "100.127.255.255",
            "127.0.0.1",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.1",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.1.1",
            "198.18.0.1",
            "198.51.100.1",
            "203.0.113.1",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::ffff:8.8.8.8",
            "::127.0.0.1",
            "64:ff9b::7f00:1",
            "64:ff9b:1::1",
            "100::1",
            "2001::1",
            "2001:db8::1",
            "2002:7f00:1::",
            "3fff::1",
            "fc00::1",
            "fd00:ec2::254",
            "fe80::1",
            "ff02::1",
        ] {
            assert!(!is_public(address.parse().unwrap()), "{address}");
        }
        for address in ["8.8.8.8", "100.63.0.1", "172.32.0.1", "2606:4700::1111", "2a00:1450::1"] {
            assert!(is_public(address.parse().unwrap()), "{address}");
        }
    }

    #[test]
    fn a_target_is_an_https_url_of_a_public_host_unless_anywhere_is_permitted() {
        for text in ["http://example.com/", "https://127.0.0.1/", "https://[::1]/", "https://[::ffff:10.0.0.1]:8443/"] {
            assert!(TargetUrl::parse(text, Reach::Public).is_none(), "{text}");
            assert!(TargetUrl::parse(text, Reach::Anywhere).is_some(), "{text}");
        }
        for text in [
            "",
            "example.com",
            "/hook",
            "ftp://example.com/",
            "https://",
            "https://user:pass@example.com/",
            "https://example.com/#part",
            "https://example.com:0/",
            "https://exa mple.com/",
            "https://[]/",
            "https://[]https://[]606:4700::1]:8443/a",
            "https://[fe80::1%25eth0]/",
        ] {
            assert!(TargetUrl::parse(text, Reach::Anywhere).is_none(), "{text}");
        }
        assert!(TargetUrl::parse(&format!("https://example.com/{}", "a".repeat(1100)), Reach::Anywhere).is_none());
        let url = TargetUrl::parse("https://[2606:4700::1]:8443/a?b=c", Reach::Public).unwrap();
        assert_eq!((url.host(), url.port(), url.path_and_query()), ("2606:4700::1", 8443, "/a?b=c"));
        for (text, path) in [("https://example.com", "/"), ("https://example.com?", "/?"), ("https://a.b?c=d", "/?c=d")]
        {
            assert_eq!(TargetUrl::parse(text, Reach::Public).unwrap().path_and_query(), path);
        }
    }

    #[test]
    fn failures_are_tried_with_growing_pauses_for_a_day_and_then_parked() {
        let start = Timestamp::from_millis(1_760_000_000_000);
        let (mut delivery, mut now, mut pauses) = (delivery(start), start, Vec::new());
        while delivery.status == DeliveryStatus::Pending {
            delivery = delivery.attempted(Attempt::Answered(500), now);
            if let Some(due) = delivery.due {
                pauses.push(due.since(now));
                now = due;
            }
        }
        assert_eq!(delivery.status, DeliveryStatus::Parked);
        let bounds = |pause: Duration| pause.mul_f64(0.75)..=pause.mul_f64(1.25);
        assert!(bounds(FIRST_PAUSE).contains(&pauses[0]), "{pauses:?}");
        assert!(bounds(FIRST_PAUSE * 2).contains(&pauses[1]), "{pauses:?}");
        assert!(bounds(LONGEST_PAUSE).contains(&pauses[pauses.len() - 1]), "{pauses:?}");
        let tried_for = now.since(start);
        assert!(tried_for <= TRIES_FOR && tried_for > TRIES_FOR / 2, "{tried_for:?}");
        let replayed = delivery.replayed(now);
        assert_eq!((replayed.status, replayed.due), (DeliveryStatus::Pending, Some(now)));
        let taken = replayed.attempted(Attempt::Answered(204), now);
        assert_eq!((taken.status, taken.due), (DeliveryStatus::Delivered, None));
        assert_eq!(replayed.attempted(Attempt::Answered(302), now).status, DeliveryStatus::Pending);
    }
}
