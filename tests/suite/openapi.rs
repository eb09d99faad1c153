//! The API description: it is the committed one, and the API matches it.

use std::{collections::BTreeSet, fs, path::Path};

use reqwest::{Method, StatusCode};
use serde_json::{Map, Value, json};
use xfiles_control_api::{Code, openapi};
use xfiles_core::api_key::Scope;
use xfiles_tests::{Answer, TEXT, World, id_of};

const REGENERATE: &str = "run `cargo run -p xfiles-control-api --example openapi`";

fn committed(path: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    fs::read_to_string(root.join(path)).unwrap_or_else(|e| panic!("{path}: {e}; {REGENERATE}"))
}

fn document() -> Value {
    serde_json::from_str(&openapi::document()).unwrap()
}

/// Method, path and description of every operation.
fn operations(document: &Value) -> Vec<(Method, String, Value)> {
    let paths = document["paths"].as_object().unwrap().iter();
    let all = paths.flat_map(|(path, item)| {
        item.as_object()
            .unwrap()
            .iter()
            .map(|(method, operation)| (method.to_uppercase().parse().unwrap(), path.clone(), operation.clone()))
    });
    all.collect()
}

/// The path with values for all parameters.
fn filled(path: &str) -> String {
    path.replace("{id}", "a").replace("{key}", "b").replace("{type}", "c").replace("{webhook}", "d")
}

#[test]
fn the_committed_description_is_the_generated_one() {
    let committed: Value = serde_json::from_str(&committed("openapi.json")).unwrap();
    // Compared as values, because the order of keys depends on the enabled features.
    assert!(committed == document(), "openapi.json is out of date; {REGENERATE}");
}

#[test]
fn the_committed_error_catalogue_is_the_generated_one() {
    assert!(committed("docs/errors.md") == openapi::catalogue(), "docs/errors.md is out of date; {REGENERATE}");
}

#[test]
fn every_operation_is_explained_named_once_and_has_examples() {
    let document = document();
    let mut ids = BTreeSet::new();
    for (method, path, operation) in operations(&document) {
        let id = operation["operationId"].as_str().unwrap();
        assert!(ids.insert(id.to_owned()), "{id} twice");
        for field in ["summary", "description"] {
            assert!(!operation[field].as_str().unwrap().is_empty(), "{method} {path}: {field}");
        }
        let body = operation.get("requestBody").map(|body| &body["content"]["application/json"]);
        let answers = operation["responses"].as_object().unwrap().values().map(|answer| resolve(&document, answer));
        let contents = answers.flat_map(|answer| answer["content"].as_object().unwrap().values());
        for content in body.into_iter().chain(contents) {
            let examples = content["examples"].as_object().unwrap();
            assert!(!examples.is_empty(), "{method} {path}");
            for example in examples.values() {
                let value = &resolve(&document, example)["value"];
                let faults = faults(&document, &content["schema"], value, id);
                assert!(faults.is_empty(), "{method} {path}: {faults:#?}\n{value:#}");
            }
        }
    }
}

#[test]
fn every_code_is_in_the_description_or_belongs_to_no_operation() {
    let document = document();
    let responses = document["components"]["responses"].as_object().unwrap();
    let used: BTreeSet<&str> = responses.keys().flat_map(|name| name.split('.')).collect();
    for code in Code::ALL {
        let of_no_operation = matches!(code, Code::RouteNotFound | Code::MethodNotAllowed);
        assert_ne!(used.contains(code.as_str()), of_no_operation, "{}", code.as_str());
    }
}

#[tokio::test]
async fn each_path_accepts_exactly_the_described_methods() {
    let world = World::start().await;
    let document = document();
    for (path, item) in document["paths"].as_object().unwrap() {
        let answer = world.client.send(Method::TRACE, &filled(path)).await;
        let allowed: BTreeSet<String> =
            answer.headers["allow"].to_str().unwrap().split(',').map(|m| m.trim().to_lowercase()).collect();
        let mut described: BTreeSet<String> = item.as_object().unwrap().keys().cloned().collect();
        if described.contains("get") {
            described.insert("head".to_owned());
        }
        assert_eq!(allowed, described, "{path}");
        answer.refused(405, "method_not_allowed");
    }
    world.end().await;
}

#[tokio::test]
async fn each_operation_needs_the_key_and_the_scope_that_are_described() {
    let world = World::start().await;
    for (method, path, operation) in operations(&document()) {
        let body = operation.get("requestBody").map(|_| json!({}));
        let ask = async |client: &xfiles_tests::Client| {
            // Valid ids, so that only the scope is wrong.
            let path = path
                .replace("{id}", "aaaaaaaaaaaaaaaaaaaa")
                .replace("{key}", "bbbbbbbbbb")
                .replace("{webhook}", "dddddddddddd")
                .replace("{type}", "c");
            let path =
                if path.contains("/projects/") { path.replace("aaaaaaaaaaaaaaaaaaaa", "aaaaaaaaaaaa") } else { path };
            let request = client.request(method.clone(), &path);
            let request = if let Some(body) = &body { request.json(body) } else { request };
            Answer::of(request.send().await.unwrap()).await
        };
        let Some(needed) = operation["security"][0]["apiKey"][0].as_str() else {
            assert_eq!(ask(&world.client.with_key("none")).await.status, StatusCode::OK, "{method} {path}");
            continue;
        };
        ask(&world.client.with_key("none")).await.refused(401, "unauthorized");
        let others: Vec<Scope> = Scope::ALL.into_iter().filter(|scope| scope.as_str() != needed).collect();
        ask(&world.client_with(&others).await).await.refused(403, "missing_scope");
    }
    world.end().await;
}

#[tokio::test]
async fn responses_have_exactly_the_described_fields() {
    let world = World::start().await;
    let document = document();
    let client = &world.client;
    let check = |id: &str, answer: &Answer| {
        let all = operations(&document);
        let (_, _, operation) = all.iter().find(|(_, _, operation)| operation["operationId"] == *id).unwrap();
        let response = resolve(&document, &operation["responses"][answer.status.as_str()]);
        let content = response["content"].as_object().unwrap().values().next().unwrap();
        let faults = faults(&document, &content["schema"], &answer.body, id);
        assert!(faults.is_empty(), "{faults:#?}\n{:#}", answer.body);
    };
    let more = json!({
        "visibility": "public", "ownerUserId": "u", "entity": {"type": "t", "id": "1"},
        "transformations": {"image": {"enabled": true}},
    });
    let intent = client.intent(TEXT.0, TEXT.1, TEXT.2.len(), more.clone()).await;
    check("beginUpload", &intent);
    check("confirmUpload", &client.confirm(id_of(&intent.body)).await);
    let file = client.upload(TEXT, more).await;
    let id = id_of(&file);
    let at = format!("/api/v1/files/{id}");
    let ids = json!({"fileIds": [id, "none"]});
    let batch = json!({"files": [{"filename": "a", "contentType": "text/plain", "size": 1}]});
    check("beginUploads", &client.post("/api/v1/files/upload-intents", &batch).await);
    check("confirmUploads", &client.post("/api/v1/files/confirms", &ids).await);
    check("getFile", &client.get(&at).await);
    check("listFiles", &client.get("/api/v1/files").await);
    check("listFiles", &client.get("/api/v1/files?cursor=&include=urls").await);
    check("makeUrls", &client.send(Method::POST, &format!("{at}/url")).await);
    check("renewUploadUrl", &client.send(Method::POST, &format!("{at}/resign")).await);
    let sent = async |method: Method, path: &str, body: Value| {
        Answer::of(client.request(method, path).json(&body).send().await.unwrap()).await
    };
    check("changeFile", &sent(Method::PATCH, &at, json!({"position": 2})).await);
    check("orderFiles", &sent(Method::PUT, "/api/v1/entities/t/1/order", json!({"fileIds": [id]})).await);
    check("deleteListedFiles", &client.post("/api/v1/files/delete", &ids).await);
    check("deleteFile", &client.delete(&at).await);
    let intent = client.intent(TEXT.0, TEXT.1, TEXT.2.len(), json!({})).await.ok();
    check("deleteFile", &client.delete(&format!("/api/v1/files/{}?erase=true", id_of(&intent))).await);
    check("deleteFiles", &client.delete("/api/v1/files?role=none").await);
    check("deleteFiles", &client.delete("/api/v1/files").await);
    check("getUsage", &client.get("/api/v1/usage").await);
    check("cleanUp", &client.post("/api/v1/cleanup", &json!({"dryRun": true})).await);
    check("cleanUp", &client.post("/api/v1/cleanup", &json!({})).await);

    let projects = "/api/v1/projects";
    let made = client.post(projects, &json!({"name": "p", "quotaBytes": 10})).await;
    check("createProject", &made);
    let project = format!("{projects}/{}", made.body["project"]["id"].as_str().unwrap());
    check("listProjects", &client.get(projects).await);
    check("getProject", &client.get(&project).await);
    check("changeProject", &sent(Method::PATCH, &project, json!({"name": "q"})).await);
    let made = client.post(&format!("{project}/keys"), &json!({"name": "k"})).await;
    check("createKey", &made);
    let key = format!("{project}/keys/{}", made.body["key"]["id"].as_str().unwrap());
    check("listKeys", &client.get(&format!("{project}/keys")).await);
    check("rotateKey", &client.post(&format!("{key}/rotate"), &json!({})).await);
    check("revokeKey", &client.delete(&key).await);
    let made = client.post(&format!("{project}/webhooks"), &json!({"url": "https://example.com/hook"})).await;
    check("createWebhook", &made);
    let hook = format!("{project}/webhooks/{}", made.body["webhook"]["id"].as_str().unwrap());
    check("listWebhooks", &client.get(&format!("{project}/webhooks")).await);
    check("changeWebhook", &sent(Method::PATCH, &hook, json!({"events": ["file.deleted"]})).await);
    check("rotateWebhookSecret", &client.post(&format!("{hook}/rotate"), &json!({})).await);
    check("listDeliveries", &client.get(&format!("{hook}/deliveries")).await);
    check("replayDeliveries", &client.post(&format!("{hook}/replay"), &json!({})).await);
    check("deleteWebhook", &client.delete(&hook).await);
    check("emptyProject", &client.send(Method::POST, &format!("{project}/empty")).await);
    check("deleteProject", &client.delete(&project).await);
    for (id, path) in [("isAlive", "/healthz"), ("isReady", "/readyz"), ("getVersion", "/version")] {
        check(id, &client.get(path).await);
    }
    world.end().await;
}

#[tokio::test]
async fn the_description_is_served_without_a_key() {
    let world = World::start().await;
    let answer = Answer::of(world.get("/openapi.json").await).await;
    assert_eq!(answer.ok(), document());
    world.end().await;
}

#[tokio::test]
async fn the_documentation_page_contacts_no_other_host_and_stores_no_key() {
    let world = World::start().await;
    let home = world.get("/").await;
    assert_eq!(
        (home.status(), home.headers()["location"].to_str().unwrap()),
        (StatusCode::TEMPORARY_REDIRECT, "/dashboard/")
    );
    for path in ["/docs", "/docs/docs.css", "/docs/docs.js"] {
        let asset = world.get(path).await;
        assert_eq!(asset.status(), StatusCode::OK);
        let policy = asset.headers()["content-security-policy"].to_str().unwrap();
        assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe") && !policy.contains("http"));
        let text = asset.text().await.unwrap();
        for foreign in
            ["http://", "https://", "//cdn", "localStorage", "sessionStorage", "document.cookie", "innerHTML"]
        {
            assert!(!text.contains(foreign), "{path} has {foreign}");
        }
    }
    world.end().await;
}

/// The target of a reference, or the node itself.
fn resolve<'a>(document: &'a Value, node: &'a Value) -> &'a Value {
    match node["$ref"].as_str() {
        Some(reference) => {
            document.pointer(reference.strip_prefix('#').unwrap()).unwrap_or_else(|| panic!("{reference}"))
        }
        None => node,
    }
}

/// The places where a value violates its schema; unknown fields are violations too. Supports the part of JSON Schema
/// that the description uses, except patterns.
fn faults(document: &Value, schema: &Value, value: &Value, at: &str) -> Vec<String> {
    let schema = resolve(document, schema);
    if let Some(parts) = schema["allOf"].as_array() {
        let whole = parts.iter().fold(json!({"type": "object"}), |whole, part| merged(whole, resolve(document, part)));
        return faults(document, &whole, value, at);
    }
    if let Some(choices) = schema["oneOf"].as_array().or(schema["anyOf"].as_array()) {
        let tried: Vec<Vec<String>> = choices.iter().map(|choice| faults(document, choice, value, at)).collect();
        let fitting = tried.iter().filter(|faults| faults.is_empty()).count();
        let enough = fitting == 1 || fitting > 1 && schema["anyOf"].is_array();
        return if enough { Vec::new() } else { vec![format!("{at}: {fitting} of {tried:?} fit")] };
    }
    let mut found = Vec::new();
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    let types = &schema["type"];
    if types != kind && !types.as_array().is_some_and(|types| types.iter().any(|t| t == kind)) {
        found.push(format!("{at}: {kind} and not {types}"));
    }
    if schema["enum"].as_array().is_some_and(|words| !words.contains(value)) {
        found.push(format!("{at}: {value} is none of {}", schema["enum"]));
    }
    let size = match value {
        Value::Number(number) => number.as_u64().map(|n| (n, "minimum", "maximum")),
        Value::String(text) => u64::try_from(text.chars().count()).ok().map(|n| (n, "minLength", "maxLength")),
        Value::Array(items) => u64::try_from(items.len()).ok().map(|n| (n, "minItems", "maxItems")),
        Value::Null | Value::Bool(_) | Value::Object(_) => None,
    };
    if let Some((size, least, most)) = size {
        let low = schema[least].as_u64().unwrap_or(0);
        let high = schema[most].as_u64().unwrap_or(u64::MAX);
        if !(low..=high).contains(&size) {
            found.push(format!("{at}: {size} is not in {low}..={high}"));
        }
    }
    for (i, item) in value.as_array().into_iter().flatten().enumerate() {
        found.extend(faults(document, &schema["items"], item, &format!("{at}/{i}")));
    }
    if let Value::Object(fields) = value {
        found.extend(field_faults(document, schema, fields, at));
    }
    found
}

fn field_faults(document: &Value, schema: &Value, fields: &Map<String, Value>, at: &str) -> Vec<String> {
    let mut found = Vec::new();
    for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        if !fields.contains_key(name) {
            found.push(format!("{at}: lacks {name}"));
        }
    }
    for (name, value) in fields {
        let at = format!("{at}/{name}");
        match schema["properties"].get(name).or(schema.get("additionalProperties")) {
            Some(known) => found.extend(faults(document, known, value, &at)),
            None => found.push(format!("{at}: is not described")),
        }
    }
    found
}

/// The schema of an object that satisfies both.
fn merged(mut whole: Value, part: &Value) -> Value {
    for (name, schema) in part["properties"].as_object().into_iter().flatten() {
        whole["properties"][name] = schema.clone();
    }
    let required = whole["required"].as_array().into_iter().chain(part["required"].as_array()).flatten().cloned();
    whole["required"] = required.collect();
    whole
}
