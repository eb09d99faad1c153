//! `xf projects` and `xf usage`: projects and their quotas.

use clap::Subcommand;
use serde_json::Value;
use xfiles_api_types::{
    projects::{NewProject, Project, ProjectChange, Usage},
    words::{Name, Quota},
};
use xfiles_core::{
    clock::{Clock, Timestamp},
    id::ProjectId,
};

use crate::{
    args::{NOTHING_DELETED, ServerArgs, name},
    client::Client,
    failure::{Exit, Failure},
    files::files_text,
    output::{Console, printable_line, shell_word, table},
    units::{Bytes, age},
};

/// Create, list, change, empty and delete projects, with a key that has the scope admin
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  xf projects create shop --quota 50GiB
  xf projects list
  xf projects quota shop 100GiB
  xf projects delete shop

`xf projects ls` is `xf projects list`.")]
pub(crate) struct ProjectsArgs {
    #[command(subcommand)]
    action: ProjectsAction,
}

#[derive(Subcommand)]
enum ProjectsAction {
    #[command(alias = "ls")]
    List(ListProjects),
    Create(CreateProject),
    Rename(RenameProject),
    Quota(SetQuota),
    Empty(EmptyProject),
    #[command(alias = "rm")]
    Delete(DeleteProject),
}

/// List the projects, oldest first
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  xf projects list
  xf projects list --json | jq -r '.projects[].id'")]
struct ListProjects {
    /// Print the projects as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerArgs,
}

/// Create a project and print its id
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  xf projects create shop
  xf projects create shop --quota 50GiB && xf keys create --project shop")]
struct CreateProject {
    /// The name of the project
    #[arg(value_name = "NAME", value_parser = name)]
    name: String,
    /// How much its files may hold together
    #[arg(long, value_name = "SIZE", default_value = "10GiB")]
    quota: Bytes,
    /// Print the project as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerArgs,
}

/// Rename a project
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  xf projects rename shop store")]
struct RenameProject {
    /// The project, by id or name
    project: String,
    /// The new name
    #[arg(value_name = "NAME", value_parser = name)]
    name: String,
    /// Print the project as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerArgs,
}

/// Change the quota of a project; it cannot be less than the used bytes
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  xf projects quota shop 100GiB")]
struct SetQuota {
    /// The project, by id or name
    project: String,
    /// The total size that its files may have
    #[arg(value_name = "SIZE")]
    quota: Bytes,
    /// Print the project as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerArgs,
}

/// Delete all files that a project has now, after a question
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  xf projects empty shop
  xf projects empty --yes shop && xf cleanup

The server does this in the background; `xf projects list` shows the progress.")]
struct EmptyProject {
    #[command(flatten)]
    clear: ClearArgs,
}

/// Delete a project with its files and keys, after a question
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  xf projects delete shop
  xf projects delete --yes shop

Its keys stop working within 30 seconds. The server does the rest in the background, when pending uploads have \
finished or expired; `xf projects list` shows the progress.")]
struct DeleteProject {
    #[command(flatten)]
    clear: ClearArgs,
}

#[derive(clap::Args)]
struct ClearArgs {
    /// The project, by id or name
    project: String,
    /// Do not ask; needed where there is no terminal
    #[arg(long, short)]
    yes: bool,
    /// Print the answer as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerArgs,
}

/// Show how much of its quota the key's project uses
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  xf usage
  xf usage --json | jq .freeBytes

This is about the project of the key; `xf projects list` shows all, with a key that has the scope admin.")]
pub(crate) struct UsageArgs {
    /// Print the figures as JSON, in bytes
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerArgs,
}

pub(crate) fn run(args: &ProjectsArgs, console: &mut Console<'_>) -> Result<Exit, Failure> {
    match &args.action {
        ProjectsAction::List(args) => list(args, console),
        ProjectsAction::Create(args) => create(args, console),
        ProjectsAction::Rename(args) => rename(args, console),
        ProjectsAction::Quota(args) => set_quota(args, console),
        ProjectsAction::Empty(EmptyProject { clear }) => empty(clear, console),
        ProjectsAction::Delete(DeleteProject { clear }) => delete(clear, console),
    }
}

pub(crate) fn usage(args: &UsageArgs, console: &mut Console<'_>) -> Result<Exit, Failure> {
    let answer = Client::new(&args.server)?.usage()?;
    if args.json {
        console.json(&answer.raw)?;
    } else {
        console.result(usage_text(&answer.value))?;
    }
    Ok(Exit::Ok)
}

fn list(args: &ListProjects, console: &mut Console<'_>) -> Result<Exit, Failure> {
    let answer = Client::new(&args.server)?.projects()?;
    if args.json {
        console.json(&answer.raw)?;
    } else {
        let now = Clock::system().now();
        let rows: Vec<_> = answer.value.projects.iter().map(|project| row(project, now)).collect();
        console.result(table(["ID", "FILES", "USED", "RESERVED", "QUOTA", "CREATED", "STATE", "NAME"], &rows))?;
    }
    Ok(Exit::Ok)
}

fn create(args: &CreateProject, console: &mut Console<'_>) -> Result<Exit, Failure> {
    let client = Client::new(&args.server)?;
    if client.projects()?.value.projects.iter().any(|project| project.name.0 == args.name) {
        return Err(Failure::new(Exit::Failed, "a project with this name exists")
            .or_hint("xf projects list shows it; names must be unique so that --project can use them"));
    }
    let answer =
        client.create_project(&NewProject { name: Name(args.name.clone()), quota_bytes: Quota(args.quota.0) })?;
    if args.json {
        console.json(&answer.raw)?;
    } else {
        console.result(answer.value.project.id)?;
        console.note(format_args!("create a key for it with: xf keys create --project {}", shell_word(&args.name)));
    }
    Ok(Exit::Ok)
}

fn rename(args: &RenameProject, console: &mut Console<'_>) -> Result<Exit, Failure> {
    let change = ProjectChange { name: Some(Name(args.name.clone())), ..ProjectChange::default() };
    apply(&args.server, &args.project, &change, args.json, console)
}

fn set_quota(args: &SetQuota, console: &mut Console<'_>) -> Result<Exit, Failure> {
    let change = ProjectChange { quota_bytes: Some(Quota(args.quota.0)), ..ProjectChange::default() };
    apply(&args.server, &args.project, &change, args.json, console)
}

/// Changes a project and shows its new state.
fn apply(
    server: &ServerArgs,
    project: &str,
    change: &ProjectChange,
    json: bool,
    console: &mut Console<'_>,
) -> Result<Exit, Failure> {
    let client = Client::new(server)?;
    let project = find(&client, Some(project))?;
    let answer = client.change_project(project.id, change)?;
    if json {
        console.json(&answer.raw)?;
    } else {
        let Project { id, name, usage, .. } = &answer.value.project;
        let (used, reserved, quota) = (Bytes(usage.used_bytes), Bytes(usage.reserved_bytes), Bytes(usage.quota_bytes));
        console
            .result(format_args!("{id}  {}  {used} used, {reserved} reserved, of {quota}", printable_line(&name.0)))?;
    }
    Ok(Exit::Ok)
}

fn empty(args: &ClearArgs, console: &mut Console<'_>) -> Result<Exit, Failure> {
    let client = Client::new(&args.server)?;
    let project = find(&client, Some(&args.project))?;
    let files = format!("{} ({})", files_text(project.usage.files), Bytes(held(&project.usage)));
    let question = format!("Delete all of project {}, {files} permanently?", title(&project));
    console.agree(args.yes, &question, NOTHING_DELETED)?;
    let answer = client.empty_project(project.id)?;
    begun("emptying", &project, args, &answer.raw, console)
}

fn delete(args: &ClearArgs, console: &mut Console<'_>) -> Result<Exit, Failure> {
    let client = Client::new(&args.server)?;
    let project = find(&client, Some(&args.project))?;
    let files = format!("{} ({})", files_text(project.usage.files), Bytes(held(&project.usage)));
    let question = format!("Delete project {} with {files} and all its keys permanently?", title(&project));
    console.agree(args.yes, &question, NOTHING_DELETED)?;
    let answer = client.delete_project(project.id)?;
    begun("deleting", &project, args, &answer.raw, console)
}

/// Says what the server does from here on.
fn begun(
    doing: &str,
    project: &Project,
    args: &ClearArgs,
    answer: &Value,
    console: &mut Console<'_>,
) -> Result<Exit, Failure> {
    if args.json {
        console.json(answer)?;
    } else {
        console.result(format_args!("{doing} {}", project.id))?;
        console.note("the server does this in the background; xf projects list shows the progress");
    }
    Ok(Exit::Ok)
}

/// Finds the project by id or name; without either, the only project.
pub(crate) fn find(client: &Client, wanted: Option<&str>) -> Result<Project, Failure> {
    choose(client.projects()?.value.projects, wanted, |project| (project.id, &project.name.0))
}

/// Like [`find`], among known projects.
pub(crate) fn choose<P>(
    projects: Vec<P>,
    wanted: Option<&str>,
    facts: impl Fn(&P) -> (ProjectId, &str),
) -> Result<P, Failure> {
    let listed = |projects: &[P]| {
        let titles: Vec<_> = projects.iter().map(|project| title_of(facts(project))).collect();
        titles.join(", ")
    };
    let mut found = projects;
    if let Some(wanted) = wanted {
        // An id identifies one project, even if another has it as its name.
        let by_id = found.iter().position(|project| facts(project).0.as_str() == wanted);
        match by_id {
            Some(i) => return Ok(found.swap_remove(i)),
            None => found.retain(|project| facts(project).1 == wanted),
        }
    }
    match (found.len(), wanted) {
        (1, _) => Ok(found.remove(0)),
        (0, Some(_)) => Err(Failure::new(Exit::NotFound, "no such project").or_hint("xf projects list shows all")),
        (0, None) => Err(Failure::new(Exit::NotFound, "there is no project").or_hint("xf projects create creates one")),
        (n, Some(_)) => Err(Failure::new(Exit::Usage, format!("{n} projects have this name: {}", listed(&found)))
            .or_hint("give the id instead")),
        (n, None) => Err(Failure::new(Exit::Usage, format!("there are {n} projects: {}", listed(&found)))
            .or_hint("say which with --project")),
    }
}

fn title(project: &Project) -> String {
    title_of((project.id, &project.name.0))
}

fn title_of((id, name): (ProjectId, &str)) -> String {
    format!("{} ({id})", printable_line(name))
}

fn row(project: &Project, now: Timestamp) -> [String; 8] {
    let Project { id, name, status, usage, created_at } = project;
    [
        id.to_string(),
        usage.files.to_string(),
        Bytes(usage.used_bytes).to_string(),
        Bytes(usage.reserved_bytes).to_string(),
        Bytes(usage.quota_bytes).to_string(),
        age(*created_at, now),
        printable_line(status.as_str()),
        printable_line(&name.0),
    ]
}

fn usage_text(usage: &Usage) -> String {
    let Usage { quota_bytes, used_bytes, reserved_bytes, free_bytes, files } = usage;
    format!(
        "used      {}, {}\nreserved  {}, for pending uploads\nfree      {}\nquota     {}",
        Bytes(*used_bytes),
        files_text(*files),
        Bytes(*reserved_bytes),
        Bytes(*free_bytes),
        Bytes(*quota_bytes)
    )
}

/// The bytes of files and pending uploads.
fn held(usage: &Usage) -> u64 {
    usage.used_bytes.saturating_add(usage.reserved_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(names: &[(&str, &str)], wanted: Option<&str>) -> Result<String, (Exit, String)> {
        let projects: Vec<(ProjectId, String)> =
            names.iter().map(|(id, name)| (id.parse().unwrap(), (*name).to_owned())).collect();
        choose(projects, wanted, |(id, name)| (*id, name))
            .map(|(id, _)| id.to_string())
            .map_err(|failure| (failure.exit(), failure.detail().to_owned()))
    }

    const A: &str = "aaaaaaaaaaaa";
    const B: &str = "bbbbbbbbbbbb";

    #[test]
    fn a_project_is_chosen_by_id_or_name_or_as_the_only_one() {
        assert_eq!(chosen(&[(A, "shop")], None), Ok(A.to_owned()));
        assert_eq!(chosen(&[(A, "shop"), (B, "blog")], Some("blog")), Ok(B.to_owned()));
        assert_eq!(chosen(&[(A, "shop"), (B, A)], Some(A)), Ok(A.to_owned()), "an id takes precedence over a name");
    }

    #[test]
    fn a_missing_choice_lists_the_options() {
        let both = format!("shop ({A}), shop ({B})");
        let two = [(A, "shop"), (B, "shop")];
        assert_eq!(chosen(&two, None), Err((Exit::Usage, format!("there are 2 projects: {both}"))));
        assert_eq!(chosen(&two, Some("shop")), Err((Exit::Usage, format!("2 projects have this name: {both}"))));
        assert_eq!(chosen(&two, Some("blog")), Err((Exit::NotFound, "no such project".to_owned())));
        assert_eq!(chosen(&[], None), Err((Exit::NotFound, "there is no project".to_owned())));
    }
}
