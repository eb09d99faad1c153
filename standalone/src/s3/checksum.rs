//! Checksums that a client may declare for an upload, in a header or in a trailer; at most one per object. This module
//! reads no bytes and does not handle mismatches.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use http::HeaderMap;
use s3s::{
    S3Result, TrailingHeaders,
    checksum::ChecksumHasher,
    crypto::{Checksum as _, Crc32, Crc32c, Crc64Nvme, Sha1, Sha256},
    dto, s3_error,
};
use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Algorithm {
    Crc32,
    Crc32c,
    Crc64Nvme,
    Sha1,
    Sha256,
}

impl Algorithm {
    const ALL: [Self; 5] = [Self::Crc32, Self::Crc32c, Self::Crc64Nvme, Self::Sha1, Self::Sha256];

    /// The header or trailer for this algorithm.
    pub(super) const fn header(self) -> &'static str {
        match self {
            Self::Crc32 => "x-amz-checksum-crc32",
            Self::Crc32c => "x-amz-checksum-crc32c",
            Self::Crc64Nvme => "x-amz-checksum-crc64nvme",
            Self::Sha1 => "x-amz-checksum-sha1",
            Self::Sha256 => "x-amz-checksum-sha256",
        }
    }

    const fn digest_bytes(self) -> usize {
        match self {
            Self::Crc32 | Self::Crc32c => 4,
            Self::Crc64Nvme => 8,
            Self::Sha1 => 20,
            Self::Sha256 => 32,
        }
    }
}

/// A checksum in base64, as S3 clients use it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Checksum {
    pub(super) algorithm: Algorithm,
    pub(super) base64: String,
}

impl Checksum {
    fn parse(algorithm: Algorithm, base64: &str) -> S3Result<Self> {
        match BASE64_STANDARD.decode(base64) {
            Ok(digest) if digest.len() == algorithm.digest_bytes() => Ok(Self { algorithm, base64: base64.to_owned() }),
            Ok(_) | Err(_) => Err(s3_error!(InvalidRequest, "Value for {} header is invalid.", algorithm.header())),
        }
    }

    /// The checksum in the fields of a response.
    pub(super) fn into_fields(self) -> dto::Checksum {
        let mut fields = dto::Checksum {
            checksum_type: Some(dto::ChecksumType::from_static(dto::ChecksumType::FULL_OBJECT)),
            ..Default::default()
        };
        let field = match self.algorithm {
            Algorithm::Crc32 => &mut fields.checksum_crc32,
            Algorithm::Crc32c => &mut fields.checksum_crc32c,
            Algorithm::Crc64Nvme => &mut fields.checksum_crc64nvme,
            Algorithm::Sha1 => &mut fields.checksum_sha1,
            Algorithm::Sha256 => &mut fields.checksum_sha256,
        };
        *field = Some(self.base64);
        fields
    }
}

/// The checksum that an upload declares before its body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Declared {
    Nothing,
    InHeader(Checksum),
    InTrailer(Algorithm),
}

impl Declared {
    /// Parses the declaration; refuses two checksums, or an invalid one.
    pub(super) fn of(headers: &HeaderMap) -> S3Result<Self> {
        let mut all = Vec::new();
        for algorithm in Algorithm::ALL {
            for value in headers.get_all(algorithm.header()) {
                all.push(Self::InHeader(Checksum::parse(algorithm, value.to_str().unwrap_or_default())?));
            }
        }
        for value in headers.get_all("x-amz-trailer") {
            let announced = Algorithm::ALL.into_iter().find(|a| value.as_bytes() == a.header().as_bytes());
            let algorithm = announced
                .ok_or_else(|| s3_error!(InvalidRequest, "The value specified in x-amz-trailer is not supported."))?;
            all.push(Self::InTrailer(algorithm));
        }
        let only = all.pop().unwrap_or(Self::Nothing);
        match all.is_empty() {
            true => Ok(only),
            false => Err(s3_error!(InvalidRequest, "Expecting a single x-amz-checksum- header.")),
        }
    }

    pub(super) fn algorithm(&self) -> Option<Algorithm> {
        match self {
            Self::Nothing => None,
            Self::InHeader(checksum) => Some(checksum.algorithm),
            Self::InTrailer(algorithm) => Some(*algorithm),
        }
    }

    /// The declared checksum, after the body has been read. A declared trailer must be present.
    pub(super) fn after_body(self, trailers: Option<&TrailingHeaders>) -> S3Result<Option<Checksum>> {
        match self {
            Self::Nothing => Ok(None),
            Self::InHeader(checksum) => Ok(Some(checksum)),
            Self::InTrailer(algorithm) => {
                let value = |sent: &HeaderMap| sent.get(algorithm.header())?.to_str().map(str::to_owned).ok();
                let base64 = trailers.and_then(|t| t.read(value)).flatten().ok_or_else(|| {
                    s3_error!(InvalidRequest, "The announced trailer {} is missing.", algorithm.header())
                })?;
                Checksum::parse(algorithm, &base64).map(Some)
            }
        }
    }
}

/// Computes one checksum incrementally.
pub(super) struct Hasher(Algorithm, ChecksumHasher);

impl Hasher {
    pub(super) fn new(algorithm: Algorithm) -> Self {
        let mut hasher = ChecksumHasher::default();
        match algorithm {
            Algorithm::Crc32 => hasher.crc32 = Some(Crc32::new()),
            Algorithm::Crc32c => hasher.crc32c = Some(Crc32c::new()),
            Algorithm::Crc64Nvme => hasher.crc64nvme = Some(Crc64Nvme::new()),
            Algorithm::Sha1 => hasher.sha1 = Some(Sha1::new()),
            Algorithm::Sha256 => hasher.sha256 = Some(Sha256::new()),
        }
        Self(algorithm, hasher)
    }

    pub(super) fn update(&mut self, bytes: &[u8]) {
        self.1.update(bytes);
    }

    pub(super) fn finish(self) -> Checksum {
        let sums = self.1.finalize();
        let base64 = match self.0 {
            Algorithm::Crc32 => sums.checksum_crc32,
            Algorithm::Crc32c => sums.checksum_crc32c,
            Algorithm::Crc64Nvme => sums.checksum_crc64nvme,
            Algorithm::Sha1 => sums.checksum_sha1,
            Algorithm::Sha256 => sums.checksum_sha256,
        };
        Checksum { algorithm: self.0, base64: base64.expect("the hasher was made for this algorithm") }
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(n, v)| (HeaderName::from_static(n), HeaderValue::from_static(v))).collect()
    }

    #[test]
    fn every_algorithm_agrees_with_the_published_check_value() {
        let published = [
            (Algorithm::Crc32, "cbf43926"),
            (Algorithm::Crc32c, "e3069283"),
            (Algorithm::Crc64Nvme, "ae8b14860a799888"),
            (Algorithm::Sha1, "f7c3bc1d808e04732adf679965ccc34ca7ae3441"),
            (Algorithm::Sha256, "15e2b0d3c33891ebb0f1ef609ec419420c20e320ce94c65fbc8c3312448eb225"),
        ];
        for (algorithm, digest) in published {
            let mut hasher = Hasher::new(algorithm);
            hasher.update(b"12345");
            hasher.update(b"6789");
            assert_eq!(hasher.finish().base64, BASE64_STANDARD.encode(hex::decode(digest).unwrap()), "{algorithm:?}");
        }
    }

    #[test]
    fn one_checksum_is_accepted_and_two_are_not() {
        let one = headers(&[("x-amz-checksum-crc32", "y/Q5Jg==")]);
        assert_eq!(Declared::of(&one).unwrap().algorithm(), Some(Algorithm::Crc32));
        let two = headers(&[("x-amz-checksum-crc32", "y/Q5Jg=="), ("x-amz-trailer", "x-amz-checksum-sha256")]);
        assert!(Declared::of(&two).is_err());
    }

    #[test]
    fn a_checksum_of_the_wrong_length_is_refused() {
        assert!(Declared::of(&headers(&[("x-amz-checksum-sha256", "y/Q5Jg==")])).is_err());
        assert!(Declared::of(&headers(&[("x-amz-checksum-crc32", "not base64")])).is_err());
    }

    #[test]
    fn a_declared_trailer_that_is_missing_is_refused() {
        let announced = Declared::of(&headers(&[("x-amz-trailer", "x-amz-checksum-sha256")])).unwrap();
        assert!(announced.after_body(None).is_err());
    }
}
