//! The handlers of projects, their keys and their usage. A key with the scope `admin` manages every project of the
//! deployment; any other key sees only its own project.

use axum::{Json, extract::State};
use http::StatusCode;
use xfiles_core::{api_key::Scope, operations::IssuedKey};

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
    Ok(Json(UsageView::from(&api.files.projects().get(project).await?)))
}

pub(crate) async fn list(State(api): State<Api>, caller: Caller) -> Answer<ProjectsAnswer> {
    caller.with(Scope::Admin)?;
    let projects = api.files.projects().list().await?;
    Ok(Json(ProjectsAnswer { projects: projects.iter().map(ProjectView::from).collect() }))
}

pub(crate) async fn create(
    State(api): State<Api>,
    caller: Caller,
    body: Body,
) -> Result<(StatusCode, Json<ProjectAnswer>), Problem> {
    caller.with(Scope::Admin)?;
    let project = api.files.projects().create(body.project()?, caller.attempt.as_ref()).await?;
    Ok((StatusCode::CREATED, Json(ProjectAnswer { project: ProjectView::from(&project) })))
}

pub(crate) async fn get(State(api): State<Api>, caller: Caller, ProjectPath(id): ProjectPath) -> Answer<ProjectAnswer> {
    caller.with(Scope::Admin)?;
    let project = api.files.projects().get(id).await?;
    Ok(Json(ProjectAnswer { project: ProjectView::from(&project) }))
}

pub(crate) async fn patch(
    State(api): State<Api>,
    caller: Caller,
    ProjectPath(id): ProjectPath,
    body: Body,
) -> Answer<ProjectAnswer> {
    caller.with(Scope::Admin)?;
    let project = api.files.projects().change(id, &body.project_patch()?).await?;
    Ok(Json(ProjectAnswer { project: ProjectView::from(&project) }))
}

/// Accepted; the cleanup does it, and the project's counters show how far it is.
pub(crate) async fn empty(
    State(api): State<Api>,
    caller: Caller,
    ProjectPath(id): ProjectPath,
) -> Result<(StatusCode, Json<Done>), Problem> {
    caller.with(Scope::Admin)?;
    match caller.attempt {
        Some(attempt) => api.files.empty_project_as_of(id, attempt.begun).await?,
        None => api.files.empty_project(id).await?,
    }
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
    let keys = api.files.projects().keys(id).await?;
    Ok(Json(KeysAnswer { keys: keys.iter().map(KeyView::from).collect() }))
}

pub(crate) async fn create_key(
    State(api): State<Api>,
    caller: Caller,
    ProjectPath(id): ProjectPath,
    body: Body,
) -> Result<(StatusCode, Json<KeyAnswer>), Problem> {
    caller.with(Scope::Admin)?;
    let issued = api.files.projects().create_key(id, body.key()?, caller.key_attempt()).await?;
    Ok((StatusCode::CREATED, Json(shown_once(&issued))))
}

pub(crate) async fn revoke_key(
    State(api): State<Api>,
    caller: Caller,
    KeyPath { project, key }: KeyPath,
) -> Answer<KeyAnswer> {
    caller.with(Scope::Admin)?;
    let key = api.files.projects().revoke_key(project, key).await?;
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
    let issued = api.files.projects().rotate_key(project, key, body.grace()?, caller.key_attempt()).await?;
    Ok((StatusCode::CREATED, Json(shown_once(&issued))))
}

/// The one answer that shows a key.
fn shown_once(issued: &IssuedKey) -> KeyAnswer {
    KeyAnswer { key: KeyView::from(&issued.record), api_key: Some(issued.key.reveal().to_owned()) }
}
