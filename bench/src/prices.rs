//! AWS list prices in us-east-1 (N. Virginia) in dollars, without free tiers and discounts, from public sources of
//! 2026-11-22; `docs/costs.md` names the sources.

use crate::meter::{Bill, S3Class};

/// DynamoDB, on demand: a million read request units.
pub const READ_UNITS: f64 = 0.125;
/// DynamoDB, on demand: a million write request units.
pub const WRITE_UNITS: f64 = 0.625;
/// S3 Standard: a million PUT, COPY, POST or LIST requests.
pub const S3_WRITES: f64 = 5.0;
/// S3 Standard: a million GET and other requests.
pub const S3_READS: f64 = 0.4;
/// CloudFront: an invalidated path, after the first thousand of a month.
pub const INVALIDATED_PATH: f64 = 0.005;
/// API Gateway's HTTP API: a million requests of up to 512 KB.
pub const HTTP_API_REQUESTS: f64 = 1.0;
/// Lambda: a million requests.
pub const LAMBDA_REQUESTS: f64 = 0.2;
/// Lambda on arm64: a GB-second.
pub const LAMBDA_GB_SECOND: f64 = 0.000_013_333_4;
/// CloudFront in North America and Europe: a million HTTPS requests.
pub const CDN_REQUESTS: f64 = 1.0;

/// The cost of a million such bills at DynamoDB and S3. Invalidations are separate: the first thousand paths of a month
/// are free, and after that they cost more than everything else together.
pub fn stores_per_million(bill: &Bill) -> f64 {
    let count = |class| precise(bill.s3(class));
    bill.read_units * READ_UNITS
        + bill.write_units * WRITE_UNITS
        + count(S3Class::Write) * S3_WRITES
        + count(S3Class::Read) * S3_READS
}

/// The cost of the paths of a million such bills at CloudFront, without the free ones.
pub fn paths_per_million(bill: &Bill) -> f64 {
    precise(bill.invalidated_paths) * INVALIDATED_PATH * 1_000_000.0
}

/// A small count as a floating-point number.
pub fn precise(count: u64) -> f64 {
    f64::from(u32::try_from(count).expect("a bill has fewer than four billion calls"))
}
