//! `xf keys` and `xf projects`: what the owner of the machine does on the data directory, whether or not a server runs.

use clap::Subcommand;
use serde_json::{Value, json};
use xfiles_core::{
    api_key::{ApiKey, Scope},
    catalog::{Catalog, KeyRecord, Project},
    clock::{Clock, Timestamp},
    error::Error,
    id::KeyId,
};
use xfiles_standalone::open_catalog;

use crate::{
    args::DataArgs,
    failure::{Exit, Failure},
    output::{Console, printable_line, shell_word, table},
    units::{Bytes, Span, age},
    wait,
};

/// Make, list and revoke API keys
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  xf keys create --name web-app --expires-in 90d
  xf keys list
  xf keys revoke k3x9q2m7ab")]
pub(crate) struct KeysArgs {
    #[command(subcommand)]
    action: KeysAction,
}

#[derive(Subcommand)]
enum KeysAction {
    Create(CreateKey),
    List(ListKeys),
    Revoke(RevokeKey),
}

/// Make an API key and print it, this once
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  xf keys create
  xf keys create --name web-app --scope read,write --expires-in 90d
  export XFILES_API_KEY=$(xf keys create --project shop)")]
struct CreateKey {
    /// The project whose files the key opens, by id or name [default: the oldest]
    #[arg(long, value_name = "PROJECT")]
    project: Option<String>,
    /// What people call the key
    #[arg(long, value_name = "NAME", default_value = "xf", value_parser = name)]
    name: String,
    /// What the key may do: read, write, delete, admin
    #[arg(long, value_name = "SCOPE", value_delimiter = ',', default_values_t = Scope::DEFAULT)]
    scope: Vec<Scope>,
    /// After what time the key stops working, such as 90d [default: never]
    #[arg(long, value_name = "SPAN")]
    expires_in: Option<Span>,
    /// Print the key and all about it as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    data: DataArgs,
}

/// List the API keys of a project, oldest first
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  xf keys list
  xf keys list --project shop --json")]
struct ListKeys {
    /// The project, by id or name [default: the oldest]
    #[arg(long, value_name = "PROJECT")]
    project: Option<String>,
    /// Print the keys as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    data: DataArgs,
}

/// Revoke API keys; a running server refuses them within 30 seconds
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  xf keys revoke k3x9q2m7ab")]
struct RevokeKey {
    /// The keys' ids, as `xf keys list` shows them
    #[arg(required = true, value_name = "KEY_ID")]
    ids: Vec<KeyId>,
    #[command(flatten)]
    data: DataArgs,
}

/// Make and list projects
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  xf projects create shop --quota 50GB
  xf projects list")]
pub(crate) struct ProjectsArgs {
    #[command(subcommand)]
    action: ProjectsAction,
}

#[derive(Subcommand)]
enum ProjectsAction {
    Create(CreateProject),
    List(ListProjects),
}

/// Make a project and print its id
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  xf projects create shop
  xf projects create shop --quota 50GB && xf keys create --project shop")]
struct CreateProject {
    /// What people call the project
    #[arg(value_name = "NAME", value_parser = name)]
    name: String,
    /// How much its files may hold together
    #[arg(long, value_name = "SIZE", default_value = "10GB")]
    quota: Bytes,
    /// Print the project as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    data: DataArgs,
}

/// List the projects, oldest first
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  xf projects list
  xf projects list --json")]
struct ListProjects {
    /// Print the projects as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    data: DataArgs,
}

/// The longest name of a key or project, in characters: one line of a list.
const LONGEST_NAME: usize = 100;

fn name(text: &str) -> Result<String, String> {
    let fits = (1..=LONGEST_NAME).contains(&text.chars().count()) && !text.contains(char::is_control);
    if fits { Ok(text.to_owned()) } else { Err(format!("a name is 1 to {LONGEST_NAME} characters on one line")) }
}

pub(crate) fn keys(args: &KeysArgs, console: &mut Console<'_>) -> Result<Exit, Failure> {
    wait(async {
        match &args.action {
            KeysAction::Create(args) => create_key(args, console).await,
            KeysAction::List(args) => list_keys(args, console).await,
            KeysAction::Revoke(args) => revoke_keys(args, console).await,
        }
    })
}

pub(crate) fn projects(args: &ProjectsArgs, console: &mut Console<'_>) -> Result<Exit, Failure> {
    wait(async {
        match &args.action {
            ProjectsAction::Create(args) => create_project(args, console).await,
            ProjectsAction::List(args) => list_projects(args, console).await,
        }
    })
}

async fn create_key(args: &CreateKey, console: &mut Console<'_>) -> Result<Exit, Failure> {
    let catalog = open_catalog(&args.data.data).await?;
    let project = find_project(&catalog, args.project.as_deref()).await?;
    let now = Clock::system().now();
    let key = ApiKey::mint();
    let record = KeyRecord {
        expires_at: args.expires_in.map(|Span(span)| now + span),
        ..KeyRecord::new(&key, project.id, &args.name, &args.scope, now)
    };
    catalog.create_key(&record).await?;
    if args.json {
        let mut shown = key_to_json(&record);
        shown["apiKey"] = key.reveal().into();
        console.json(&shown)?;
    } else {
        console.note(format_args!("key {} of project {}, shown this once:", record.id, printable_line(&project.name)));
        console.result(key.reveal())?;
    }
    Ok(Exit::Ok)
}

async fn list_keys(args: &ListKeys, console: &mut Console<'_>) -> Result<Exit, Failure> {
    let catalog = open_catalog(&args.data.data).await?;
    let project = find_project(&catalog, args.project.as_deref()).await?;
    let keys = catalog.keys(project.id).await?;
    if args.json {
        console.json(&keys.iter().map(key_to_json).collect())?;
    } else {
        let now = Clock::system().now();
        let rows: Vec<_> = keys.iter().map(|key| key_row(key, now)).collect();
        console.result(table(["ID", "KEY", "SCOPES", "CREATED", "STATE", "NAME"], &rows))?;
    }
    Ok(Exit::Ok)
}

async fn revoke_keys(args: &RevokeKey, console: &mut Console<'_>) -> Result<Exit, Failure> {
    let catalog = open_catalog(&args.data.data).await?;
    let mut exits = Vec::new();
    for id in &args.ids {
        match revoke_key(&catalog, *id).await {
            Ok(()) => console.result(format_args!("revoked {id}"))?,
            Err(failure) => {
                console.failure(&failure, Some(id.as_str()));
                exits.push(failure.exit());
            }
        }
    }
    Ok(Exit::of_all(exits))
}

async fn revoke_key(catalog: &Catalog, id: KeyId) -> Result<(), Failure> {
    for project in catalog.projects().await? {
        match catalog.revoke_key(project.id, id, Clock::system().now()).await {
            Err(Error::KeyNotFound) => {}
            done => return Ok(done.map(drop)?),
        }
    }
    Err(Error::KeyNotFound.into())
}

async fn create_project(args: &CreateProject, console: &mut Console<'_>) -> Result<Exit, Failure> {
    let catalog = open_catalog(&args.data.data).await?;
    if catalog.projects().await?.iter().any(|project| project.name == args.name) {
        return Err(Failure::new(Exit::Failed, "there is a project of this name")
            .or_hint("xf projects list shows it; names must differ so that --project can take them"));
    }
    let project = Project::new(&args.name, args.quota.0, Clock::system().now());
    catalog.create_project(&project).await?;
    if args.json {
        console.json(&project_to_json(&project))?;
    } else {
        console.result(project.id)?;
        console.note(format_args!("make a key for it with: xf keys create --project {}", shell_word(&args.name)));
    }
    Ok(Exit::Ok)
}

async fn list_projects(args: &ListProjects, console: &mut Console<'_>) -> Result<Exit, Failure> {
    let catalog = open_catalog(&args.data.data).await?;
    let projects = catalog.projects().await?;
    if args.json {
        console.json(&projects.iter().map(project_to_json).collect())?;
    } else {
        let now = Clock::system().now();
        let rows: Vec<_> = projects.iter().map(|project| project_row(project, now)).collect();
        console.result(table(["ID", "FILES", "USED", "QUOTA", "CREATED", "NAME"], &rows))?;
    }
    Ok(Exit::Ok)
}

/// The project of that id or name; without either, the oldest, which is the one that the first start made.
async fn find_project(catalog: &Catalog, wanted: Option<&str>) -> Result<Project, Failure> {
    let mut projects = catalog.projects().await?.into_iter();
    let found = match wanted {
        None => projects.next(),
        Some(wanted) => projects.find(|project| project.id.as_str() == wanted || project.name == wanted),
    };
    found.ok_or_else(|| Failure::from(Error::ProjectNotFound).or_hint("xf projects list shows all"))
}

fn key_row(key: &KeyRecord, now: Timestamp) -> [String; 6] {
    let scopes: Vec<_> = key.scopes.iter().map(|scope| scope.as_str()).collect();
    let state = match (key.revoked_at, key.expires_at) {
        (Some(at), _) => format!("revoked {}", age(at, now)),
        (None, Some(at)) if at <= now => format!("expired {}", age(at, now)),
        (None, Some(at)) => format!("live until {}", at.to_string().split('T').next().unwrap_or_default()),
        (None, None) => "live".to_owned(),
    };
    let ending = format!("xf_…{}", key.last_four);
    [key.id.to_string(), ending, scopes.join(","), age(key.created, now), state, printable_line(&key.name)]
}

fn key_to_json(key: &KeyRecord) -> Value {
    json!({"id": key.id, "projectId": key.project, "name": key.name, "lastFour": key.last_four, "createdAt": key.created,
        "scopes": key.scopes.iter().map(|scope| scope.as_str()).collect::<Vec<_>>(),
        "expiresAt": key.expires_at, "revokedAt": key.revoked_at})
}

fn project_row(project: &Project, now: Timestamp) -> [String; 6] {
    [
        project.id.to_string(),
        project.file_count.to_string(),
        Bytes(used(project)).to_string(),
        Bytes(project.quota_bytes).to_string(),
        age(project.created, now),
        printable_line(&project.name),
    ]
}

fn project_to_json(project: &Project) -> Value {
    json!({"id": project.id, "name": project.name, "quotaBytes": project.quota_bytes, "usedBytes": used(project),
        "fileCount": project.file_count, "createdAt": project.created})
}

/// What files and running uploads take of the quota.
fn used(project: &Project) -> u64 {
    project.quota_bytes.saturating_sub(project.free_bytes)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use xfiles_core::id::ProjectId;

    use super::*;

    #[test]
    fn a_row_of_a_key_shows_its_state_and_never_the_key() {
        let now = Timestamp::from_millis(1_760_000_000_000);
        let key = ApiKey::mint();
        let live = KeyRecord::new(&key, ProjectId::mint(), "web", &Scope::DEFAULT, now);
        let state = |record: &KeyRecord| key_row(record, now + Duration::from_secs(120))[4].clone();

        assert_eq!(state(&live), "live");
        let expires_at = Some(now + Duration::from_secs(60));
        assert_eq!(state(&KeyRecord { expires_at, ..live.clone() }), "expired 1 minute ago");
        let expires_at = Some(now + Duration::from_secs(86_400));
        assert_eq!(state(&KeyRecord { expires_at, ..live.clone() }), "live until 2025-10-10");
        assert_eq!(state(&KeyRecord { revoked_at: Some(now), ..live.clone() }), "revoked 2 minutes ago");
        assert_eq!(key_row(&live, now)[2], "read,write,delete");
        assert!(!key_row(&live, now).join(" ").contains(key.reveal()));
    }
}
