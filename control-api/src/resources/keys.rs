//! The API keys of a project.

use axum::extract::State;
use xfiles_api_types::{
    problem::Code,
    projects::{IssuedKeyAnswer, Key, KeyAnswer, KeyRotation, KeysAnswer, NewKey},
};

use crate::{
    Api,
    answer::{Answer, Created, Json},
    auth::{Admin, By},
    error::Problem,
    extract::{Body, KeyAt, ProjectAt},
    operation::{Resource, delete, get, post},
};

pub(super) fn resource() -> Resource {
    let operations = vec![
        get("/api/v1/projects/{id}/keys", "listKeys", list)
            .says("List keys", "The keys of a project, without what opens anything.")
            .refuses([Code::NotFound]),
        post("/api/v1/projects/{id}/keys", "createKey", create)
            .says("Make a key", "`apiKey` is the raw key. This answer is the only one that ever shows it.")
            .refuses([Code::NotFound]),
        delete("/api/v1/projects/{id}/keys/{key}", "revokeKey", revoke)
            .says("Revoke a key", "It stops working within 30 seconds, and stays in the list.")
            .refuses([Code::NotFound, Code::Conflict]),
        post("/api/v1/projects/{id}/keys/{key}/rotate", "rotateKey", rotate)
            .says(
                "Rotate a key",
                "Makes a new key like the old one, which works on for a grace and then ends. `apiKey` is the new raw \
                 key.",
            )
            .refuses([Code::NotFound, Code::Conflict]),
    ];
    Resource { name: "Keys", description: "The API keys of a project.", operations }
}

async fn list(State(api): State<Api>, _: By<Admin>, ProjectAt(id): ProjectAt) -> Answer<KeysAnswer> {
    let keys = api.files.projects().keys(id).await?;
    Ok(Json(KeysAnswer { keys: keys.iter().map(Key::from).collect() }))
}

async fn create(
    State(api): State<Api>,
    by: By<Admin>,
    ProjectAt(id): ProjectAt,
    Body(new): Body<NewKey>,
) -> Result<Created<IssuedKeyAnswer>, Problem> {
    let issued = api.files.projects().create_key(id, new.into(), by.key_attempt()).await?;
    Ok(Created(IssuedKeyAnswer::from(&issued)))
}

async fn revoke(State(api): State<Api>, _: By<Admin>, KeyAt(project, key): KeyAt) -> Answer<KeyAnswer> {
    let key = api.files.projects().revoke_key(project, key).await?;
    Ok(Json(KeyAnswer { key: Key::from(&key) }))
}

async fn rotate(
    State(api): State<Api>,
    by: By<Admin>,
    KeyAt(project, key): KeyAt,
    Body(asked): Body<KeyRotation>,
) -> Result<Created<IssuedKeyAnswer>, Problem> {
    let issued = api.files.projects().rotate_key(project, key, Some(asked.grace_period.0), by.key_attempt()).await?;
    Ok(Created(IssuedKeyAnswer::from(&issued)))
}
