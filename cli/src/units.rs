//! Parsing and formatting of sizes and times.

use std::{fmt, str::FromStr, time::Duration};

use xfiles_core::clock::Timestamp;

/// A number of bytes, with units of 1024: `10GB` is 10 x 1024^3, like the API's limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bytes(pub(crate) u64);

const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];

/// The text is not a size.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a size is a whole number and a unit, B, KiB, MiB, GiB or TiB (1 KiB is 1024 bytes), such as 500MiB")]
pub(crate) struct InvalidSize;

impl FromStr for Bytes {
    type Err = InvalidSize;

    fn from_str(text: &str) -> Result<Self, InvalidSize> {
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at(digits);
        let number: u64 = number.parse().map_err(|_| InvalidSize)?;
        let power = match unit.trim_start().to_ascii_uppercase().as_str() {
            "" | "B" => 0,
            "K" | "KB" | "KIB" => 1,
            "M" | "MB" | "MIB" => 2,
            "G" | "GB" | "GIB" => 3,
            "T" | "TB" | "TIB" => 4,
            _ => return Err(InvalidSize),
        };
        number.checked_mul(1024_u64.pow(power)).map(Self).ok_or(InvalidSize)
    }
}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (mut tenths, mut unit) = (u128::from(self.0) * 10, 0);
        // From 1023.95 on, the value would be shown as 1024.0 of the smaller unit.
        while tenths >= 10_235 && unit + 1 < UNITS.len() {
            tenths = (tenths + 512) / 1024;
            unit += 1;
        }
        match (tenths / 10, tenths % 10) {
            (whole, 0) => write!(f, "{whole} {}", UNITS[unit]),
            (whole, tenth) => write!(f, "{whole}.{tenth} {}", UNITS[unit]),
        }
    }
}

/// The time since `then`, or its date if that is more than a week.
pub(crate) fn age(then: Timestamp, now: Timestamp) -> String {
    const MINUTE: u64 = 60;
    const HOUR: u64 = 60 * MINUTE;
    const DAY: u64 = 24 * HOUR;
    let plural = |n: u64, unit: &str| if n == 1 { format!("1 {unit} ago") } else { format!("{n} {unit}s ago") };
    match now.since(then).as_secs() {
        seconds if seconds < 5 => "just now".to_owned(),
        seconds if seconds < MINUTE => plural(seconds, "second"),
        seconds if seconds < HOUR => plural(seconds / MINUTE, "minute"),
        seconds if seconds < DAY => plural(seconds / HOUR, "hour"),
        seconds if seconds < 8 * DAY => plural(seconds / DAY, "day"),
        _ => then.to_string().chars().take_while(|c| *c != 'T').collect(),
    }
}

/// The time until then: `in 12 minutes`.
pub(crate) fn time_left(then: Timestamp, now: Timestamp) -> String {
    match then.since(now).as_secs() {
        0 => "now".to_owned(),
        seconds if seconds < 60 => "in less than a minute".to_owned(),
        seconds if seconds < 120 => "in 1 minute".to_owned(),
        seconds => format!("in {} minutes", seconds / 60),
    }
}

/// A duration on the command line: `90d`, `12h`, `30m`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span(pub(crate) Duration);

/// The text is not a duration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a duration is a number of days, hours or minutes, such as 90d, 12h or 30m")]
pub(crate) struct InvalidSpan;

impl FromStr for Span {
    type Err = InvalidSpan;

    fn from_str(text: &str) -> Result<Self, InvalidSpan> {
        let unit = text.chars().last().ok_or(InvalidSpan)?;
        let seconds: u64 = match unit {
            'd' => 86_400,
            'h' => 3_600,
            'm' => 60,
            _ => return Err(InvalidSpan),
        };
        // A hundred years, so that a timestamp cannot overflow.
        const LONGEST: u64 = 100 * 365 * 86_400;
        let number: u64 = text[..text.len() - 1].parse().map_err(|_| InvalidSpan)?;
        let seconds = number.checked_mul(seconds).filter(|s| (1..=LONGEST).contains(s)).ok_or(InvalidSpan)?;
        Ok(Self(Duration::from_secs(seconds)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_is_read_with_any_common_unit() {
        for (text, bytes) in [
            ("0", 0),
            ("512", 512),
            ("1KB", 1024),
            ("1 kb", 1024),
            ("100MB", 104_857_600),
            ("10GB", 10_737_418_240),
            ("10GiB", 10_737_418_240),
            ("2t", 2_199_023_255_552),
        ] {
            assert_eq!(text.parse(), Ok(Bytes(bytes)), "{text}");
        }
        for text in ["", "GB", "-1", "1.5GB", "1 XB", "99999999999TB", "1é"] {
            assert_eq!(text.parse::<Bytes>(), Err(InvalidSize), "{text}");
        }
    }

    #[test]
    fn a_size_is_shown_with_at_most_one_decimal_in_the_largest_fitting_unit() {
        for (bytes, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1 KiB"),
            (1536, "1.5 KiB"),
            (1_048_575, "1 MiB"),
            (2_936_013, "2.8 MiB"),
            (104_857_600, "100 MiB"),
            (10_737_418_240, "10 GiB"),
            (u64::MAX, "16777216 TiB"),
        ] {
            assert_eq!(Bytes(bytes).to_string(), text, "{bytes}");
        }
    }

    #[test]
    fn an_age_is_rough_when_recent_and_a_date_when_old() {
        let now = Timestamp::from_millis(1_760_000_000_000);
        let ago = |seconds: i64| age(Timestamp::from_millis(now.as_millis() - seconds * 1000), now);
        assert_eq!(ago(-5), "just now");
        assert_eq!(ago(59), "59 seconds ago");
        assert_eq!(ago(61), "1 minute ago");
        assert_eq!(ago(7200), "2 hours ago");
        assert_eq!(ago(3 * 86_400), "3 days ago");
        assert_eq!(ago(30 * 86_400), "2025-09-09");
    }

    #[test]
    fn a_duration_is_a_number_and_a_unit() {
        assert_eq!("90d".parse(), Ok(Span(Duration::from_secs(7_776_000))));
        assert_eq!("30m".parse(), Ok(Span(Duration::from_secs(1800))));
        for text in ["", "d", "0d", "5", "5s", "-1d", "999999999999999d", "5é"] {
            assert_eq!(text.parse::<Span>(), Err(InvalidSpan), "{text}");
        }
    }
}
