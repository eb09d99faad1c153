//! Names that the API does not know are refused on every route, in queries and in bodies, however deep. The cases follow
//! from the description, so that a new field or parameter is tried as well.

use reqwest::{Method, StatusCode, header};
use serde_json::{Map, Value, json};
use xfiles_control_api::openapi;
use xfiles_core::api_key::Scope;
use xfiles_tests::{Answer, Client, TEXT, World, id_of};

struct Operation {
    method: Method,
    path: String,
    parameters: Vec<Value>,
    body: Option<Value>,
}

/// Every operation that needs a key, with the example of each path parameter in its place.
fn operations() -> Vec<Operation> {
    let document: Value = serde_json::from_str(&openapi::document()).unwrap();
    let mut operations = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            if operation["security"].as_array().unwrap().is_empty() {
                continue;
            }
            let parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
            let mut path = path.clone();
            for parameter in parameters.iter().filter(|parameter| parameter["in"] == "path") {
                let hole = format!("{{{}}}", parameter["name"].as_str().unwrap());
                path = path.replace(&hole, parameter["example"].as_str().unwrap());
            }
            let content = &operation["requestBody"]["content"]["application/json"]["examples"];
            let body = content.as_object().map(|examples| examples.values().next().unwrap()["value"].clone());
            operations.push(Operation { method: method.to_uppercase().parse().unwrap(), path, parameters, body });
        }
    }
    assert!(operations.len() > 25, "{}", operations.len());
    operations
}

async fn everything(world: &World) -> Client {
    world.client_with(&[Scope::Read, Scope::Write, Scope::Delete, Scope::Admin]).await
}

fn faults(answer: Answer) -> Vec<(String, String, String)> {
    let refusal = answer.refused(400, "invalid_request");
    let text = |fault: &Value, field: &str| fault[field].as_str().unwrap().to_owned();
    let errors = refusal["errors"].as_array().unwrap().iter();
    errors.map(|fault| (text(fault, "pointer"), text(fault, "code"), text(fault, "detail"))).collect()
}

#[tokio::test]
async fn an_unknown_query_parameter_is_refused_on_every_route() {
    let world = World::start().await;
    let client = everything(&world).await;
    for Operation { method, path, parameters, body } in operations() {
        let ask = async |query: &str| {
            let request = client.request(method.clone(), &format!("{path}?{query}"));
            let request = if let Some(body) = &body { request.json(body) } else { request };
            faults(Answer::of(request.send().await.unwrap()).await)
        };
        let found = ask("wholly-unknown=1").await;
        let [(pointer, code, _)] = found.as_slice() else { panic!("{method} {path}: {found:?}") };
        assert_eq!((pointer.as_str(), code.as_str()), ("?wholly-unknown", "unknown"), "{method} {path}");
        for parameter in parameters.iter().filter(|parameter| parameter["in"] == "query") {
            let name = parameter["name"].as_str().unwrap();
            let misspelt = format!("{}_x", name.to_uppercase());
            let found = ask(&format!("{misspelt}=1")).await;
            assert!(found.iter().any(|(_, _, detail)| detail.contains(&format!("`{name}`"))), "{path}: {found:?}");
        }
    }
    world.end().await;
}

/// The example with each of its names misspelt in turn: the pointer to it, and the name that was meant.
fn misspelt(value: &Value) -> Vec<(String, String, Value)> {
    match value {
        Value::Object(object) => {
            let mut all = Vec::new();
            for (name, inner) in object {
                let wrong = format!("{name}z");
                let renamed = |old: &str| if old == name { wrong.clone() } else { old.to_owned() };
                let changed: Map<String, Value> = object.iter().map(|(k, v)| (renamed(k), v.clone())).collect();
                all.push((format!("/{wrong}"), name.clone(), changed.into()));
                for (pointer, meant, changed) in misspelt(inner) {
                    let mut whole = object.clone();
                    whole.insert(name.clone(), changed);
                    all.push((format!("/{name}{pointer}"), meant, whole.into()));
                }
            }
            all
        }
        Value::Array(items) => {
            let mut all = Vec::new();
            for (i, item) in items.iter().enumerate() {
                for (pointer, meant, changed) in misspelt(item) {
                    let mut whole = items.clone();
                    whole[i] = changed;
                    all.push((format!("/{i}{pointer}"), meant, whole.into()));
                }
            }
            all
        }
        _ => Vec::new(),
    }
}

#[tokio::test]
async fn a_misspelt_field_is_refused_on_every_route_at_every_depth_with_the_name_that_was_meant() {
    let world = World::start().await;
    let client = everything(&world).await;
    let mut tried = 0;
    for Operation { method, path, body, .. } in operations() {
        for (pointer, meant, body) in body.iter().flat_map(misspelt) {
            let answer = client.request(method.clone(), &path).json(&body).send().await.unwrap();
            let found = faults(Answer::of(answer).await);
            let fault = found.iter().find(|(at, code, _)| *at == pointer && code == "unknown");
            let (_, _, detail) = fault.unwrap_or_else(|| panic!("{method} {path} {pointer}: {found:?}"));
            assert!(detail.contains(&format!("did you mean `{meant}`?")), "{method} {path} {pointer}: {detail}");
            tried += 1;
        }
    }
    assert!(tried > 30, "{tried}");
    world.end().await;
}

#[tokio::test]
async fn a_key_that_was_asked_for_with_misspelt_limits_is_not_made() {
    let world = World::start().await;
    let client = everything(&world).await;
    let keys = format!("/api/v1/projects/{}/keys", world.stack.project());
    let before = client.get(&keys).await.ok()["keys"].as_array().unwrap().len();
    for body in [json!({"name": "a", "scope": ["read"]}), json!({"name": "a", "expires_in": 60})] {
        faults(client.post(&keys, &body).await);
    }
    assert_eq!(client.get(&keys).await.ok()["keys"].as_array().unwrap().len(), before);
    world.end().await;
}

#[tokio::test]
async fn a_content_type_without_a_body_is_no_body() {
    let world = World::start().await;
    let client = everything(&world).await;
    let file = world.client.upload(TEXT, json!({})).await;
    let url = format!("/api/v1/files/{}/url", id_of(&file));
    for content_type in ["application/json", "application/json; charset=utf-8", "application/x-www-form-urlencoded"] {
        let request = client.request(Method::POST, &url).header(header::CONTENT_TYPE, content_type);
        Answer::of(request.send().await.unwrap()).await.ok();
    }
    // No operation judges the declared type of bytes that were not sent.
    for Operation { method, path, .. } in operations() {
        for content_type in ["text/plain", "application/json"] {
            let request = client.request(method.clone(), &path).header(header::CONTENT_TYPE, content_type);
            let answer = Answer::of(request.send().await.unwrap()).await;
            let code = answer.body["code"].as_str().unwrap_or_default();
            let judged = answer.status == StatusCode::UNSUPPORTED_MEDIA_TYPE || code == "malformed_json";
            assert!(!judged, "{method} {path}: {}", answer.body);
        }
    }
    world.stack.stop().await;
}
