//! Projects and their usage. A key with the scope `admin` manages every project of the deployment; any other key sees only
//! its own project.

use axum::extract::State;
use xfiles_api_types::{
    files::Done,
    problem::Code,
    projects::{NewProject, Project, ProjectAnswer, ProjectChange, ProjectsAnswer, Usage},
};

use crate::{
    Api,
    answer::{Accepted, Answer, Created, Json},
    auth::{Admin, By, Read},
    error::Problem,
    extract::{Body, ProjectAt},
    operation::{Resource, delete, get, patch, post},
};

pub(super) fn resource() -> Resource {
    let operations = vec![
        get("/api/v1/usage", "getUsage", usage)
            .says("Get the usage", "How much the key's own project holds, has reserved and may hold.")
            .refuses([Code::NotFound]),
        get("/api/v1/projects", "listProjects", list).says("List projects", "Every project of the deployment."),
        post("/api/v1/projects", "createProject", create)
            .says("Make a project", "A new project, empty and without keys."),
        get("/api/v1/projects/{id}", "getProject", get_project)
            .says("Get a project", "A project, its state and its usage.")
            .refuses([Code::NotFound]),
        patch("/api/v1/projects/{id}", "changeProject", change)
            .says("Change a project", "Another name or quota.")
            .refuses([Code::NotFound, Code::QuotaBelowUsage, Code::Conflict]),
        post("/api/v1/projects/{id}/empty", "emptyProject", empty)
            .says(
                "Empty a project",
                "Deletes every file that the project has now. The cleanup does it; the project's status and usage show \
                 how far it is.",
            )
            .refuses([Code::NotFound, Code::Conflict]),
        delete("/api/v1/projects/{id}", "deleteProject", delete_project)
            .says(
                "Delete a project",
                "Its keys stop working and it takes no new uploads. The cleanup deletes its files, then the project.",
            )
            .refuses([Code::NotFound, Code::Conflict]),
    ];
    let description = "Projects, their quota and their usage. A key with the scope `admin` manages every project.";
    Resource { name: "Projects", description, operations }
}

async fn usage(State(api): State<Api>, by: By<Read>) -> Answer<Usage> {
    Ok(Json(Usage::from(&api.files.projects().get(by.project).await?)))
}

async fn list(State(api): State<Api>, _: By<Admin>) -> Answer<ProjectsAnswer> {
    let projects = api.files.projects().list().await?;
    Ok(Json(ProjectsAnswer { projects: projects.iter().map(Project::from).collect() }))
}

async fn create(
    State(api): State<Api>,
    by: By<Admin>,
    Body(new): Body<NewProject>,
) -> Result<Created<ProjectAnswer>, Problem> {
    let project = api.files.projects().create(new.into(), by.attempt.as_ref()).await?;
    Ok(Created(ProjectAnswer { project: Project::from(&project) }))
}

async fn get_project(State(api): State<Api>, _: By<Admin>, ProjectAt(id): ProjectAt) -> Answer<ProjectAnswer> {
    let project = api.files.projects().get(id).await?;
    Ok(Json(ProjectAnswer { project: Project::from(&project) }))
}

async fn change(
    State(api): State<Api>,
    _: By<Admin>,
    ProjectAt(id): ProjectAt,
    Body(change): Body<ProjectChange>,
) -> Answer<ProjectAnswer> {
    let project = api.files.projects().change(id, &change.into()).await?;
    Ok(Json(ProjectAnswer { project: Project::from(&project) }))
}

async fn empty(State(api): State<Api>, by: By<Admin>, ProjectAt(id): ProjectAt) -> Result<Accepted<Done>, Problem> {
    match &by.attempt {
        Some(attempt) => api.files.empty_project_as_of(id, attempt.begun).await?,
        None => api.files.empty_project(id).await?,
    }
    Ok(Accepted(Done { success: true }))
}

async fn delete_project(
    State(api): State<Api>,
    _: By<Admin>,
    ProjectAt(id): ProjectAt,
) -> Result<Accepted<Done>, Problem> {
    api.files.delete_project(id).await?;
    Ok(Accepted(Done { success: true }))
}
