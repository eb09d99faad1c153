//! What S3 says when an object has arrived: its event notification, as far as it is of use here.

use percent_encoding::percent_decode_str;
use serde_json::Value;

use crate::object_key::ObjectKey;

/// The objects that a notification says were created, those that are not ours left out. S3 writes keys as a form does:
/// a space is a plus, and what is not safe is percent-encoded.
pub fn created(notification: &Value) -> Vec<ObjectKey> {
    let records = notification["Records"].as_array().map(Vec::as_slice).unwrap_or_default();
    let created = records.iter().filter(|r| r["eventName"].as_str().is_some_and(|n| n.starts_with("ObjectCreated:")));
    let keys = created.filter_map(|record| record["s3"]["object"]["key"].as_str());
    keys.filter_map(|key| percent_decode_str(&key.replace('+', " ")).decode_utf8().ok()?.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn created_objects_of_ours_are_found_and_nothing_else() {
        let ours = "staging/k3v9x2m7q1z8/2h8w0k5v9d3m7q1x4z6b/photo-a7x9k2.jpg";
        let record = |name: &str, key: &str| json!({"eventName": name, "s3": {"object": {"key": key}}});
        let notification = json!({"Records": [
            record("ObjectCreated:Put", &ours.replace('-', "%2D")),
            record("ObjectRemoved:Delete", ours),
            record("ObjectCreated:Copy", "somebody/else\u{27}s+file%ff"),
            {"eventName": "ObjectCreated:Put"},
        ]});
        let keys: Vec<String> = created(&notification).iter().map(ToString::to_string).collect();
        assert_eq!(keys, [ours]);
        assert!(created(&json!({"source": "aws.scheduler"})).is_empty());
    }
}
