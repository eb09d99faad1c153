//! What the declarations of requests and answers promise of every field.
#![cfg(test)]

use std::collections::BTreeSet;

use serde_json::{Value, json};
use xfiles_api_types::{
    files::{
        EntityFilters, File, FileChange, FileOrder, FileReference, FileReferences, FilesToDelete, ListQuery,
        UploadIntent, UploadIntents, UrlWish,
    },
    problem::{Code, FieldError},
    projects::{Key, KeyRotation, NewKey, NewProject, ProjectChange},
    read_answer, read_query, read_request,
    running::CleanupWish,
    unknown_parameters,
    webhooks::{NewWebhook, ReplayWish, SecretRotation, WebhookChange},
    wire::{Change, Object, Reading, Schemas, Side, Wire as _, to_json},
};
use xfiles_core::{intent::OwnerId, webhook::Reach};

fn read<T: Object>(body: &Value) -> Result<T, Vec<(String, String)>> {
    let faults = |faults: Vec<_>| faults.into_iter().map(|fault: FieldError| (fault.pointer, fault.detail));
    read_request(body, Reading::request(Reach::Public)).map_err(|found| faults(found).collect())
}

fn pointers<T: Object>(body: &Value) -> Vec<String> {
    read::<T>(body).map(drop).unwrap_err().into_iter().map(|(pointer, _)| pointer).collect()
}

#[test]
fn all_faults_of_a_body_are_found_at_once_however_deep() {
    let body = json!({
        "filename": "", "contentType": "image/jpeeg", "visibility": "secret", "colour": 1,
        "entity": {"type": "t", "position": -1, "a/b~": 0},
        "transformations": {"image": {"enabled": "yes"}},
    });
    let found: BTreeSet<String> = pointers::<UploadIntent>(&body).into_iter().collect();
    let expected = [
        "/filename",
        "/contentType",
        "/size",
        "/visibility",
        "/colour",
        "/entity/id",
        "/entity/position",
        "/entity/a~1b~0",
        "/transformations/image/enabled",
    ];
    assert_eq!(found, expected.map(str::to_owned).into());
    let batch = json!({"files": [{"filename": "a", "contentType": "text/plain", "size": 1}, 7, {"size": 1.5}]});
    let found: BTreeSet<String> = pointers::<UploadIntents>(&batch).into_iter().collect();
    let expected = ["/files/1", "/files/2/filename", "/files/2/contentType", "/files/2/size"];
    assert_eq!(found, expected.map(str::to_owned).into());
}

#[test]
fn null_counts_as_left_out_and_clears_only_where_a_change_says_so() {
    let body = json!({"filename": "a", "contentType": "text/plain", "size": 1, "visibility": null, "entity": null});
    assert!(read::<UploadIntent>(&body).is_ok_and(|intent| intent.entity.is_none()));
    assert_eq!(pointers::<NewProject>(&json!({"name": null, "quotaBytes": 1})), ["/name"]);
    let owner = |body: Value| read::<FileChange>(&body).map(|change| change.owner_user_id).unwrap();
    assert_eq!(owner(json!({})), Change::Keep);
    assert_eq!(owner(json!({"ownerUserId": null})), Change::Clear);
    assert_eq!(owner(json!({"ownerUserId": "u"})), Change::Set(OwnerId::new("u").unwrap()));
}

#[test]
fn a_default_is_what_a_left_out_field_has_and_what_the_description_says() {
    let asked = read::<UrlWish>(&json!({})).unwrap();
    assert!(!asked.download && asked.expires_in.is_none());
    let mut schemas = Schemas::default();
    schemas.side = Side::Request;
    UrlWish::schema(&mut schemas);
    let schema = &schemas.into_value()["UrlWish"];
    assert_eq!(schema["properties"]["download"]["default"], json!(false));
    assert_eq!(schema["additionalProperties"], json!(false));
    assert_eq!(schema.get("required"), None);
}

#[test]
fn ids_in_an_order_are_distinct_and_batches_are_bounded() {
    let id = "aaaaaaaaaaaaaaaaaaaa";
    assert_eq!(pointers::<FileOrder>(&json!({"fileIds": [id, id]})), ["/fileIds"]);
    for (count, fits) in [(0, false), (1, true), (100, true), (101, false)] {
        let body = json!({"fileIds": vec![id; count]});
        assert_eq!(read::<FileReferences>(&body).is_ok(), fits, "{count}");
    }
    let scopes = json!({"name": "a", "scopes": ["read", "rite", 7]});
    let rule = "each item must be `read`, `write`, `delete` or `admin`".to_owned();
    assert_eq!(read::<NewKey>(&scopes).map(drop), Err(vec![("/scopes".to_owned(), rule)]));
    assert!(read::<FilesToDelete>(&json!({"fileIds": vec!["no id"; 1000]})).is_ok());
}

#[test]
fn query_parameters_are_read_by_the_same_declarations() {
    let pairs = |query: &[(&str, &str)]| -> Vec<(String, String)> {
        query.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    };
    let list = read_query::<ListQuery>(&pairs(&[("limit", "3"), ("role", "cover"), ("cursor", "")])).ok().unwrap();
    assert_eq!((list.limit.get(), list.given()), (3, vec!["role", "limit", "cursor"]));
    let wrong = pairs(&[("limit", "0"), ("page", "x"), ("include", "all"), ("role", "a"), ("role", "b")]);
    let found = read_query::<ListQuery>(&wrong).map(drop).unwrap_err();
    let found: BTreeSet<_> = found.iter().map(|fault| fault.pointer.as_str()).collect();
    assert_eq!(found, ["?limit", "?page", "?include", "?role"].into());
    let faults = unknown_parameters(&pairs(&[("entity_type", "a")]), &["entityType"]);
    assert!(faults[0].detail.contains("did you mean `entityType`?"), "{}", faults[0].detail);
    assert!(read_query::<EntityFilters>(&[]).is_ok_and(|filters| filters.given().is_empty()));
}

#[test]
fn a_client_reads_the_answer_of_a_newer_server() {
    let mut answer = File::example().unwrap();
    answer["visibility"] = "members".into();
    answer["colour"] = json!({"space": "p3"});
    let file: File = read_answer(&answer).unwrap();
    assert_eq!(file.visibility.as_str(), "members");
    answer.as_object_mut().unwrap().remove("id");
    assert!(read_answer::<File>(&answer).is_err());
    let key: Key = read_answer(&Key::example().unwrap()).unwrap();
    assert_eq!(to_json(&key), Key::example().unwrap(), "what is read is written again");
}

#[test]
fn the_example_of_each_request_is_accepted() {
    fn check<T: Object>() {
        let example = T::example().unwrap();
        let read = read::<T>(&example).unwrap_or_else(|faults| panic!("{example}: {faults:?}"));
        for (name, value) in example.as_object().unwrap() {
            assert_eq!(to_json(&read)[name], *value, "{name}");
        }
    }
    check::<UploadIntent>();
    check::<UploadIntents>();
    check::<FileReference>();
    check::<FileReferences>();
    check::<FilesToDelete>();
    check::<FileOrder>();
    check::<FileChange>();
    check::<UrlWish>();
    check::<NewProject>();
    check::<ProjectChange>();
    check::<NewKey>();
    check::<KeyRotation>();
    check::<NewWebhook>();
    check::<WebhookChange>();
    check::<SecretRotation>();
    check::<ReplayWish>();
    check::<CleanupWish>();
}

#[test]
fn codes_are_distinct_and_their_statuses_are_refusals() {
    let codes: BTreeSet<&str> = Code::ALL.into_iter().map(Code::as_str).collect();
    assert_eq!(codes.len(), Code::ALL.len());
    assert!(Code::ALL.into_iter().all(|code| (400..600).contains(&code.status())));
}
