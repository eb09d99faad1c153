//! Conditional requests: whether a read, a copy or a write proceeds. Pure functions.

use s3s::{
    S3Error, S3Result,
    dto::{self, ETag, ETagCondition},
    s3_error,
};
use xfiles_core::clock::Timestamp;

#[derive(Clone, Debug, Default)]
pub(super) struct ReadConditions {
    pub(super) if_match: Option<ETagCondition>,
    pub(super) if_none_match: Option<ETagCondition>,
    pub(super) modified_since: Option<dto::Timestamp>,
    pub(super) unmodified_since: Option<dto::Timestamp>,
}

/// The reason why a read does not proceed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unmet {
    /// The object does not match the condition.
    Failed,
    /// The caller already has this version.
    NotModified,
}

impl ReadConditions {
    /// Evaluates the conditions for an object's MD5 and time. According to RFC 9110, a condition on the ETag takes
    /// precedence over the corresponding one on the time.
    pub(super) fn check(&self, md5: &str, modified: Timestamp) -> Result<(), Unmet> {
        let later_than = |time: &dto::Timestamp| modified.as_secs() > seconds(time);
        match (&self.if_match, &self.unmodified_since) {
            (Some(condition), _) if !matches(condition, md5) => return Err(Unmet::Failed),
            (None, Some(time)) if later_than(time) => return Err(Unmet::Failed),
            _ => {}
        }
        match (&self.if_none_match, &self.modified_since) {
            (Some(condition), _) if matches(condition, md5) => Err(Unmet::NotModified),
            (None, Some(time)) if !later_than(time) => Err(Unmet::NotModified),
            _ => Ok(()),
        }
    }
}

#[derive(Clone, Debug, Default)]
pub(super) struct WriteConditions {
    if_match: Option<ETagCondition>,
    if_absent: bool,
}

impl WriteConditions {
    /// On a write, S3 supports only `If-None-Match: *`.
    pub(super) fn new(if_match: Option<ETagCondition>, if_none_match: Option<&ETagCondition>) -> S3Result<Self> {
        match if_none_match {
            Some(ETagCondition::ETag(_)) => {
                Err(s3_error!(NotImplemented, "If-None-Match on a write can only be an asterisk."))
            }
            Some(ETagCondition::Any) => Ok(Self { if_match, if_absent: true }),
            None => Ok(Self { if_match, if_absent: false }),
        }
    }

    /// The condition of a delete: the object with this ETag, or any.
    pub(super) fn for_delete(etag: Option<ETag>) -> Self {
        Self { if_match: etag.map(ETagCondition::ETag), if_absent: false }
    }

    /// Evaluates the conditions for the MD5 of the existing object, if any.
    pub(super) fn check(&self, current: Option<&str>) -> S3Result {
        match (&self.if_match, current) {
            (Some(ETagCondition::ETag(_)), None) => return Err(no_such_key()),
            (Some(ETagCondition::Any), None) => return Err(precondition_failed()),
            (Some(condition), Some(md5)) if !matches(condition, md5) => return Err(precondition_failed()),
            _ => {}
        }
        if self.if_absent && current.is_some() { Err(precondition_failed()) } else { Ok(()) }
    }
}

pub(super) fn precondition_failed() -> S3Error {
    s3_error!(PreconditionFailed, "At least one of the pre-conditions you specified did not hold")
}

pub(super) fn no_such_key() -> S3Error {
    s3_error!(NoSuchKey, "The specified key does not exist.")
}

fn matches(condition: &ETagCondition, md5: &str) -> bool {
    match condition {
        ETagCondition::Any => true,
        ETagCondition::ETag(etag) => etag.value() == md5,
    }
}

/// HTTP dates have a resolution of one second.
fn seconds(time: &dto::Timestamp) -> i64 {
    time::OffsetDateTime::from(time.clone()).unix_timestamp()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MD5: &str = "900150983cd24fb0d6963f7d28e17f72";
    const MODIFIED: Timestamp = Timestamp::from_millis(1_760_000_000_700);

    fn at(seconds_later: i64) -> Option<dto::Timestamp> {
        let time = time::OffsetDateTime::from_unix_timestamp(MODIFIED.as_secs() + seconds_later).unwrap();
        Some(time.into())
    }

    fn etag(value: &str) -> Option<ETagCondition> {
        Some(ETagCondition::ETag(ETag::Strong(value.to_owned())))
    }

    #[test]
    fn reads_are_decided_as_rfc_9110_says() {
        let none = ReadConditions::default;
        let cases = [
            (none(), Ok(())),
            (ReadConditions { if_match: etag(MD5), ..none() }, Ok(())),
            (ReadConditions { if_match: Some(ETagCondition::Any), ..none() }, Ok(())),
            (ReadConditions { if_match: etag("other"), ..none() }, Err(Unmet::Failed)),
            (ReadConditions { if_none_match: etag(MD5), ..none() }, Err(Unmet::NotModified)),
            (ReadConditions { if_none_match: etag("other"), ..none() }, Ok(())),
            (ReadConditions { modified_since: at(0), ..none() }, Err(Unmet::NotModified)),
            (ReadConditions { modified_since: at(-1), ..none() }, Ok(())),
            (ReadConditions { unmodified_since: at(0), ..none() }, Ok(())),
            (ReadConditions { unmodified_since: at(-1), ..none() }, Err(Unmet::Failed)),
            (ReadConditions { if_match: etag(MD5), unmodified_since: at(-1), ..none() }, Ok(())),
            (ReadConditions { if_none_match: etag("other"), modified_since: at(0), ..none() }, Ok(())),
        ];
        for (conditions, expected) in cases {
            assert_eq!(conditions.check(MD5, MODIFIED), expected, "{conditions:?}");
        }
    }

    #[test]
    fn writes_are_decided_as_s3_says() {
        let code = |if_match, if_none_match: Option<ETagCondition>, current| {
            let conditions = WriteConditions::new(if_match, if_none_match.as_ref()).unwrap();
            conditions.check(current).map_err(|e| e.code().as_str().to_owned())
        };
        let failed = Err("PreconditionFailed".to_owned());
        assert_eq!(code(None, None, Some(MD5)), Ok(()));
        assert_eq!(code(None, Some(ETagCondition::Any), None), Ok(()));
        assert_eq!(code(None, Some(ETagCondition::Any), Some(MD5)), failed);
        assert_eq!(code(etag(MD5), None, Some(MD5)), Ok(()));
        assert_eq!(code(etag("other"), None, Some(MD5)), failed);
        assert_eq!(code(etag(MD5), None, None), Err("NoSuchKey".to_owned()));
        assert_eq!(code(Some(ETagCondition::Any), None, None), failed);
        assert!(WriteConditions::new(None, etag(MD5).as_ref()).is_err());
    }
}
