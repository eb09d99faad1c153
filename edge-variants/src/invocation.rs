//! Why the Lambda function is invoked: a viewer's request, or an event.

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, Error as _},
};
use serde_json::Value;

/// The payload of an invocation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Invocation<Request> {
    /// An event of EventBridge: the body that was put on the bus.
    Told(Value),
    /// A viewer's request, through the function URL.
    Asked(Request),
}

impl<'de, Request: DeserializeOwned> Deserialize<'de> for Invocation<Request> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut payload = Value::deserialize(deserializer)?;
        // Only an event has it.
        if payload.get("detail-type").is_some() {
            return Ok(Self::Told(payload["detail"].take()));
        }
        Request::deserialize(payload).map(Self::Asked).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The envelope is "AWS service event metadata" of EventBridge's documentation; the body is ours.
    const EVENT: &str = r#"{
        "version": "0",
        "id": "17793124-05d4-b198-2fde-7ededc63b103",
        "detail-type": "file.confirmed",
        "source": "xfiles",
        "account": "111122223333",
        "time": "2026-01-31T12:00:00Z",
        "region": "eu-central-1",
        "resources": [],
        "detail": {"type": "file.confirmed", "data": {"fileId": "2h8w0k5v9d3m7q1x4z6b"}}
    }"#;

    /// "Request payload format" of Lambda's documentation of function URLs.
    const REQUEST: &str = r#"{
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": "/files/variants/public/p/f/detail-type_w400.webp",
        "rawQueryString": "",
        "headers": {"detail-type": "a header"},
        "requestContext": {"http": {"method": "GET"}},
        "isBase64Encoded": false
    }"#;

    #[test]
    fn an_event_and_a_request_are_told_apart_and_neither_loses_anything() {
        let event: Invocation<Value> = serde_json::from_str(EVENT).unwrap();
        let body: Value = serde_json::from_str(EVENT).unwrap();
        assert_eq!(event, Invocation::Told(body["detail"].clone()));
        let request: Invocation<Value> = serde_json::from_str(REQUEST).unwrap();
        assert_eq!(request, Invocation::Asked(serde_json::from_str(REQUEST).unwrap()));
    }

    #[test]
    fn what_is_neither_is_refused_with_the_reason() {
        let refused = serde_json::from_str::<Invocation<Vec<u8>>>(REQUEST).unwrap_err();
        assert!(refused.to_string().contains("expected a sequence"), "{refused}");
    }
}
