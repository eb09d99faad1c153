//! The handlers of projects, their keys and their usage. Whoever holds a key with the scope `admin` runs the
//! deployment: such a key manages every project, and is the only kind that sees more than its own.

use std::time::Duration;

use axum::{Json, extract::State};
use http::StatusCode;
use xfiles_core::{
    api_key::{ApiKey, Scope},
    catalog::{Consistency, KeyRecord, Project},
    error::Error,
    id::ProjectId,
};

use crate::{
    Api,
    auth::Caller,
    error::Problem,
    input::{Body, KeyPath, ProjectPath},
    view::{Done, KeyAnswer, KeyView, KeysAnswer, ProjectAnswer, ProjectView, ProjectsAnswer, UsageView},
};

type Answer<T> = Result<Json<T>, Problem>;

/// The key's own project, without what only an operator needs.
pub(crate) async fn usage(State(api): State<Api>, caller: Caller) -> Answer<UsageView> {
    let project = caller.with(Scope::Read)?;
    Ok(Json(UsageView::from(&api.files.catalog.project(project, Consistency::Strong).await?)))
}

pub(crate) async fn list(State(api): State<Api>, caller: Caller) -> Answer<ProjectsAnswer> {
    caller.with(Scope::Admin)?;
    let projects = api.files.catalog.projects().await?;
    Ok(Json(ProjectsAnswer { projects: projects.iter().map(ProjectView::from).collect() }))
}

pub(crate) async fn create(
    State(api): State<Api>,
    caller: Caller,
    body: Body,
) -> Result<(StatusCode, Json<ProjectAnswer>), Problem> {
    caller.with(Scope::Admin)?;
    let asked = body.project()?;
    let mut project = Project::new(asked.name, asked.quota_bytes, api.files.clock.now());
    if let Some(attempt) = &caller.attempt {
        project.id = ProjectId::derived(&attempt.seed, 0);
    }
    let before = match caller.is_repeated() {
        true => found(api.files.catalog.project(project.id, Consistency::Strong).await)?,
        false => None,
    };
    match before {
        Some(before) => project = before,
        None => api.files.catalog.create_project(&project).await?,
    }
    Ok((StatusCode::CREATED, Json(ProjectAnswer { project: ProjectView::from(&project) })))
}

pub(crate) async fn get(State(api): State<Api>, caller: Caller, ProjectPath(id): ProjectPath) -> Answer<ProjectAnswer> {
    caller.with(Scope::Admin)?;
    let project = api.files.catalog.project(id, Consistency::Strong).await?;
    Ok(Json(ProjectAnswer { project: ProjectView::from(&project) }))
}

pub(crate) async fn patch(
    State(api): State<Api>,
    caller: Caller,
    ProjectPath(id): ProjectPath,
    body: Body,
) -> Answer<ProjectAnswer> {
    caller.with(Scope::Admin)?;
    let asked = body.project_patch()?;
    let catalog = &api.files.catalog;
    if let Some(quota_bytes) = asked.quota_bytes {
        catalog.set_quota(id, quota_bytes).await?;
    }
    if let Some(name) = &asked.name {
        catalog.rename_project(id, name).await?;
    }
    let project = catalog.project(id, Consistency::Strong).await?;
    Ok(Json(ProjectAnswer { project: ProjectView::from(&project) }))
}

/// Accepted; the cleanup does it, and the project's counters show how far it is.
pub(crate) async fn empty(
    State(api): State<Api>,
    caller: Caller,
    ProjectPath(id): ProjectPath,
) -> Result<(StatusCode, Json<Done>), Problem> {
    caller.with(Scope::Admin)?;
    let at = caller.attempt.map_or_else(|| api.files.clock.now(), |attempt| attempt.begun);
    api.files.empty_project_as_of(id, at).await?;
    Ok((StatusCode::ACCEPTED, Json(Done { success: true })))
}

/// Accepted; the cleanup does it.
pub(crate) async fn delete(
    State(api): State<Api>,
    caller: Caller,
    ProjectPath(id): ProjectPath,
) -> Result<(StatusCode, Json<Done>), Problem> {
    caller.with(Scope::Admin)?;
    api.files.delete_project(id).await?;
    Ok((StatusCode::ACCEPTED, Json(Done { success: true })))
}

pub(crate) async fn list_keys(
    State(api): State<Api>,
    caller: Caller,
    ProjectPath(id): ProjectPath,
) -> Answer<KeysAnswer> {
    caller.with(Scope::Admin)?;
    api.files.catalog.project(id, Consistency::Eventual).await?;
    let keys = api.files.catalog.keys(id).await?;
    Ok(Json(KeysAnswer { keys: keys.iter().map(KeyView::from).collect() }))
}

pub(crate) async fn create_key(
    State(api): State<Api>,
    caller: Caller,
    ProjectPath(id): ProjectPath,
    body: Body,
) -> Result<(StatusCode, Json<KeyAnswer>), Problem> {
    caller.with(Scope::Admin)?;
    let asked = body.key()?;
    api.files.catalog.project(id, Consistency::Strong).await?;
    let (raw, now) = (caller.mint_key(), api.files.clock.now());
    let expires_at = asked.expires_in.map(|life| now + life);
    let mut key = KeyRecord { expires_at, ..KeyRecord::new(&raw, id, asked.name, &asked.scopes, now) };
    match made_before(&api, &caller, &raw).await? {
        Some(before) => key = before,
        None => api.files.catalog.create_key(&key).await?,
    }
    Ok((StatusCode::CREATED, Json(KeyAnswer { key: KeyView::from(&key), api_key: Some(raw.reveal().to_owned()) })))
}

pub(crate) async fn revoke_key(
    State(api): State<Api>,
    caller: Caller,
    KeyPath { project, key }: KeyPath,
) -> Answer<KeyAnswer> {
    caller.with(Scope::Admin)?;
    let key = api.files.catalog.revoke_key(project, key, api.files.clock.now()).await?;
    Ok(Json(KeyAnswer { key: KeyView::from(&key), api_key: None }))
}

/// A new key like the old one; the old one works on for a grace.
pub(crate) async fn rotate_key(
    State(api): State<Api>,
    caller: Caller,
    KeyPath { project, key }: KeyPath,
    body: Body,
) -> Result<(StatusCode, Json<KeyAnswer>), Problem> {
    caller.with(Scope::Admin)?;
    let grace = body.grace()?.unwrap_or(Duration::from_secs(24 * 60 * 60));
    let (raw, now) = (caller.mint_key(), api.files.clock.now());
    let catalog = &api.files.catalog;
    if let Some(before) = made_before(&api, &caller, &raw).await? {
        let answer = KeyAnswer { key: KeyView::from(&before), api_key: Some(raw.reveal().to_owned()) };
        return Ok((StatusCode::CREATED, Json(answer)));
    }
    let old = catalog.keys(project).await?.into_iter().find(|k| k.id == key && k.is_live(now));
    let old = old.ok_or(Error::KeyNotFound)?;
    let new =
        KeyRecord { expires_at: old.expires_at, ..KeyRecord::new(&raw, project, old.name.clone(), &old.scopes, now) };
    catalog.succeed_key(&old, &new, now + grace).await?;
    Ok((StatusCode::CREATED, Json(KeyAnswer { key: KeyView::from(&new), api_key: Some(raw.reveal().to_owned()) })))
}

/// The key that an earlier attempt at this request made.
async fn made_before(api: &Api, caller: &Caller, raw: &ApiKey) -> Result<Option<KeyRecord>, Error> {
    if caller.is_repeated() { api.files.catalog.key(&raw.hash()).await } else { Ok(None) }
}

fn found(project: Result<Project, Error>) -> Result<Option<Project>, Error> {
    match project {
        Ok(project) => Ok(Some(project)),
        Err(Error::ProjectNotFound) => Ok(None),
        Err(error) => Err(error),
    }
}
