//! Custom policies, as CloudFront defines them, and their evaluation for a request. An unknown condition makes the
//! whole policy malformed; it is never ignored.

use std::net::{IpAddr, Ipv4Addr};

use serde::Deserialize;
use xfiles_core::clock::Timestamp;

/// One statement about one resource, which may contain wildcards.
#[derive(Debug)]
pub(super) struct Policy(Statement);

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    /// CloudFront accepts exactly one.
    #[serde(rename = "Statement")]
    statement: [Statement; 1],
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Statement {
    #[serde(rename = "Resource")]
    resource: String,
    #[serde(rename = "Condition")]
    condition: Condition,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Condition {
    #[serde(rename = "DateLessThan")]
    date_less_than: EpochTime,
    #[serde(rename = "DateGreaterThan")]
    date_greater_than: Option<EpochTime>,
    #[serde(rename = "IpAddress")]
    ip_address: Option<SourceIp>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct EpochTime {
    #[serde(rename = "AWS:EpochTime")]
    seconds: i64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct SourceIp {
    #[serde(rename = "AWS:SourceIp")]
    range: Ipv4Range,
}

/// The result of an evaluation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// All conditions hold.
    Allowed,
    /// A condition does not hold.
    Refused,
    /// The policy has an address condition, and the viewer's address is unknown.
    PeerUnknown,
}

impl Policy {
    /// Parses a policy document; `None` if CloudFront would not accept it.
    pub(super) fn parse(json: &[u8]) -> Option<Self> {
        let Document { statement: [statement] } = serde_json::from_slice(json).ok()?;
        Some(Self(statement))
    }

    /// Evaluates the policy for a request for `url` by `peer` at `now`.
    pub(super) fn judge(&self, url: &str, peer: Option<IpAddr>, now: Timestamp) -> Verdict {
        let Statement { resource, condition } = &self.0;
        let begun = condition.date_greater_than.as_ref().is_none_or(|start| is_after(now, start.seconds));
        if !begun || !is_before(now, condition.date_less_than.seconds) || !matches_wildcard(resource, url) {
            return Verdict::Refused;
        }
        match (&condition.ip_address, peer.map(|peer| peer.to_canonical())) {
            (None, _) => Verdict::Allowed,
            (Some(_), None) => Verdict::PeerUnknown,
            (Some(source), Some(IpAddr::V4(peer))) if source.range.contains(peer) => Verdict::Allowed,
            // CloudFront's condition supports only IPv4.
            (Some(_), Some(IpAddr::V4(_) | IpAddr::V6(_))) => Verdict::Refused,
        }
    }
}

/// Returns true if `now` is before the start of the second `seconds`.
pub(super) fn is_before(now: Timestamp, seconds: i64) -> bool {
    now.as_millis() < seconds.saturating_mul(1000)
}

fn is_after(now: Timestamp, seconds: i64) -> bool {
    now.as_millis() > seconds.saturating_mul(1000)
}

/// An IPv4 address, or a range in CIDR notation.
#[derive(Debug, Deserialize)]
#[serde(try_from = "String")]
struct Ipv4Range {
    network: u32,
    mask: u32,
}

impl Ipv4Range {
    fn contains(&self, address: Ipv4Addr) -> bool {
        address.to_bits() & self.mask == self.network & self.mask
    }
}

impl TryFrom<String> for Ipv4Range {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, &'static str> {
        const RULE: &str = "an IPv4 address or a range in CIDR notation";
        let (address, bits) = text.split_once('/').unwrap_or((&text, "32"));
        let network: Ipv4Addr = address.parse().map_err(|_| RULE)?;
        let bits: u32 = bits.parse().ok().filter(|bits| *bits <= 32).ok_or(RULE)?;
        let mask = u32::MAX.checked_shl(32 - bits).unwrap_or(0);
        Ok(Self { network: network.to_bits(), mask })
    }
}

/// Matches `text` with `pattern`, in which `*` stands for any number of characters and `?` for exactly one.
fn matches_wildcard(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut p, mut t) = (0, 0);
    // Only the last `*` needs another attempt, one byte further on, so that the cost of hostile patterns is bounded by
    // the product of the lengths.
    let mut retry: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                retry = Some((p, t));
                p += 1;
            }
            Some(b'?') => (p, t) = (p + 1, t + 1),
            Some(byte) if *byte == text[t] => (p, t) = (p + 1, t + 1),
            _ => {
                let Some((star, from)) = retry else { return false };
                (p, t) = (star + 1, from + 1);
                retry = Some((star, from + 1));
            }
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{prop_assert, proptest};

    use super::*;

    const URL: &str = "https://cdn.example.com/files/variants/private/p/f/a_w400.webp";
    const NOW: Timestamp = Timestamp::from_millis(1_000_500);

    fn judge(resource: &str, conditions: &str, peer: Option<&str>) -> Option<Verdict> {
        let json = format!(r#"{{"Statement":[{{"Resource":"{resource}","Condition":{{{conditions}}}}}]}}"#);
        Policy::parse(json.as_bytes()).map(|policy| policy.judge(URL, peer.map(|ip| ip.parse().unwrap()), NOW))
    }

    #[test]
    fn a_resource_is_matched_with_its_wildcards() {
        for (resource, matches) in [
            (URL, true),
            ("*", true),
            ("http*://cdn.example.com/*", true),
            ("https://cdn.example.com/files/variants/private/p/f/*", true),
            ("https://cdn.example.com/files/variants/private/p/?/*.webp", true),
            ("https://cdn.example.com/files/variants/private/p/f/a_w???.webp", true),
            ("https://cdn.example.com/files/variants/private/p/f", false),
            ("https://cdn.example.com/files/variants/private/p/g/*", false),
            ("https://cdn.example.com/files/variants/private/p/f/a_w??.webp", false),
            ("https://cdn.example.com/files/variants/private/p/f/*.jpeg", false),
            ("", false),
        ] {
            let verdict = if matches { Verdict::Allowed } else { Verdict::Refused };
            assert_eq!(judge(resource, r#""DateLessThan":{"AWS:EpochTime":1001}"#, None), Some(verdict), "{resource}");
        }
    }

    #[test]
    fn a_policy_is_valid_between_its_dates() {
        for (conditions, verdict) in [
            (r#""DateLessThan":{"AWS:EpochTime":1001}"#, Verdict::Allowed),
            (r#""DateLessThan":{"AWS:EpochTime":1000}"#, Verdict::Refused),
            (r#""DateLessThan":{"AWS:EpochTime":2000},"DateGreaterThan":{"AWS:EpochTime":1000}"#, Verdict::Allowed),
            (r#""DateLessThan":{"AWS:EpochTime":2000},"DateGreaterThan":{"AWS:EpochTime":1001}"#, Verdict::Refused),
        ] {
            assert_eq!(judge("*", conditions, None), Some(verdict), "{conditions}");
        }
    }

    #[test]
    fn an_address_condition_is_checked_or_refused_but_never_skipped() {
        for (range, peer, verdict) in [
            ("192.0.2.0/24", Some("192.0.2.7"), Verdict::Allowed),
            ("192.0.2.0/24", Some("::ffff:192.0.2.7"), Verdict::Allowed),
            ("192.0.2.7", Some("192.0.2.7"), Verdict::Allowed),
            ("0.0.0.0/0", Some("203.0.113.9"), Verdict::Allowed),
            ("192.0.2.0/24", Some("192.0.3.7"), Verdict::Refused),
            ("0.0.0.0/0", Some("2001:db8::1"), Verdict::Refused),
            ("192.0.2.0/24", None, Verdict::PeerUnknown),
        ] {
            let conditions =
                format!(r#""DateLessThan":{{"AWS:EpochTime":2000}},"IpAddress":{{"AWS:SourceIp":"{range}"}}"#);
            assert_eq!(judge("*", &conditions, peer), Some(verdict), "{range} {peer:?}");
        }
    }

    #[test]
    fn an_unsupported_policy_is_malformed() {
        let ends = r#""DateLessThan":{"AWS:EpochTime":2000}"#;
        for conditions in [
            "".to_owned(),
            r#""DateLessThan":{"AWS:EpochTime":"2000"}"#.to_owned(),
            r#""DateLessThan":{}"#.to_owned(),
            format!(r#"{ends},"UserAgent":{{"AWS:UserAgent":"x"}}"#),
            format!(r#"{ends},"IpAddress":{{"AWS:SourceIp":"192.0.2.0/33"}}"#),
            format!(r#"{ends},"IpAddress":{{"AWS:SourceIp":"2001:db8::/32"}}"#),
        ] {
            assert_eq!(judge("*", &conditions, None), None, "{conditions}");
        }
        let statement = format!(r#"{{"Resource":"*","Condition":{{{ends}}}}}"#);
        for json in ["", "[]", "{}", r#"{"Statement":[]}"#, &format!(r#"{{"Statement":[{statement},{statement}]}}"#)] {
            assert!(Policy::parse(json.as_bytes()).is_none(), "{json}");
        }
    }

    proptest! {
        #[test]
        fn a_pattern_made_of_its_text_matches(text in "[a-c/?=]{0,40}", at in 0_usize..40, until in 0_usize..40) {
            let (at, until) = (at.min(until).min(text.len()), at.max(until).min(text.len()));
            prop_assert!(matches_wildcard(&text, &text));
            let starred = format!("{}*{}", &text[..at], &text[until..]);
            prop_assert!(matches_wildcard(&starred, &text), "{starred} {text}");
        }
    }
}
