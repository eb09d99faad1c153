//! `xf keys`: management of API keys through the API. `--data` creates a key directly in a data directory, for owners
//! of the machine who have lost all keys.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use clap::Subcommand;
use serde_json::{Value, json};
use xfiles_api_types::{
    projects::{self, Key},
    wire::{List, to_json},
    words::{Name, Seconds},
};
use xfiles_core::{
    api_key::Scope,
    clock::{Clock, Timestamp},
    id::KeyId,
    operations::{IssuedKey, NewKey},
};
use xfiles_standalone::open_projects;

use crate::{
    args::{ServerArgs, name},
    client::Client,
    failure::{Exit, Failure},
    output::{Console, printable_line, table},
    projects::{choose, find},
    units::{Span, age},
    wait,
};

/// Create, list, revoke and rotate API keys, with a key that has the scope admin
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  xf keys create --name web-app --expires-in 90d
  xf keys list
  xf keys revoke k3x9q2m7ab
  xf keys create --data /var/lib/xfiles --admin

The last is the way back in when every key is lost: it needs no key, only the data directory.")]
pub(crate) struct KeysArgs {
    #[command(subcommand)]
    action: KeysAction,
}

#[derive(Subcommand)]
enum KeysAction {
    Create(CreateKey),
    #[command(alias = "ls")]
    List(ListKeys),
    #[command(alias = "rm")]
    Revoke(RevokeKeys),
    Rotate(RotateKey),
}

#[derive(clap::Args)]
struct ProjectArg {
    /// The project, by id or name [default: the only one]
    #[arg(long, value_name = "PROJECT")]
    project: Option<String>,
}

/// Create an API key and print it, this once
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  xf keys create
  xf keys create --name web-app --scope read,write --expires-in 90d
  export XFILES_API_KEY=$(xf keys create --project shop)
  xf keys create --data /var/lib/xfiles --admin")]
struct CreateKey {
    #[command(flatten)]
    project: ProjectArg,
    /// The name of the key
    #[arg(long, value_name = "NAME", default_value = "xf", value_parser = name)]
    name: String,
    /// The scopes of the key: read, write, delete, admin
    #[arg(long, value_name = "SCOPE", value_delimiter = ',', default_values_t = Scope::DEFAULT)]
    scope: Vec<Scope>,
    /// Also allow the key to manage all projects and their keys
    #[arg(long)]
    admin: bool,
    /// The time after which the key stops working, such as 90d [default: never]
    #[arg(long, value_name = "SPAN")]
    expires_in: Option<Span>,
    /// Print the key and its properties as JSON
    #[arg(long)]
    json: bool,
    /// Use no server: write the key into this data directory of `xf serve`, in use or not
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    #[command(flatten)]
    server: ServerArgs,
}

/// List the API keys of a project, oldest first
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  xf keys list
  xf keys list --project shop --json")]
struct ListKeys {
    #[command(flatten)]
    project: ProjectArg,
    /// Print the keys as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerArgs,
}

/// Revoke API keys; the server refuses them within 30 seconds
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  xf keys revoke k3x9q2m7ab")]
struct RevokeKeys {
    /// The keys' ids, as `xf keys list` shows them
    #[arg(required = true, value_name = "KEY_ID")]
    ids: Vec<KeyId>,
    #[command(flatten)]
    project: ProjectArg,
    /// Print one JSON array, an element per key
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerArgs,
}

/// Create an API key in place of another and print it, this once; the old one works until its grace period ends
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  xf keys rotate k3x9q2m7ab
  xf keys rotate k3x9q2m7ab --grace 7d --project shop")]
struct RotateKey {
    /// The old key's id, as `xf keys list` shows it
    #[arg(value_name = "KEY_ID")]
    id: KeyId,
    /// How long the old key keeps working: 0, or a duration such as 12h, at most 30d
    #[arg(long, value_name = "SPAN", default_value = "24h", value_parser = grace)]
    grace: Duration,
    #[command(flatten)]
    project: ProjectArg,
    /// Print the key and its properties as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerArgs,
}

fn grace(text: &str) -> Result<Duration, String> {
    match text {
        "0" => Ok(Duration::ZERO),
        span => span.parse().map(|Span(span)| span).map_err(|error: crate::units::InvalidSpan| error.to_string()),
    }
}

pub(crate) fn run(args: &KeysArgs, console: &mut Console<'_>) -> Result<Exit, Failure> {
    match &args.action {
        KeysAction::Create(args) => create(args, console),
        KeysAction::List(args) => list(args, console),
        KeysAction::Revoke(args) => revoke(args, console),
        KeysAction::Rotate(args) => rotate(args, console),
    }
}

/// A new key. It contains the raw key, so it has no `Debug`.
struct Made {
    id: KeyId,
    key: String,
    project_name: String,
    /// The JSON of the API.
    raw: Value,
}

fn create(args: &CreateKey, console: &mut Console<'_>) -> Result<Exit, Failure> {
    let made = match &args.data {
        Some(data) => wait(create_in(data, args))?,
        None => create_at_server(args)?,
    };
    if args.json {
        console.json(&made.raw)?;
    } else {
        let project = printable_line(&made.project_name);
        console.note(format_args!("key {} of project {project}, shown this once:", made.id));
        console.result(printable_line(&made.key))?;
    }
    Ok(Exit::Ok)
}

fn create_at_server(args: &CreateKey) -> Result<Made, Failure> {
    let client = Client::new(&args.server)?;
    let project = find(&client, args.project.project.as_deref())?;
    let new = projects::NewKey {
        name: Name(args.name.clone()),
        scopes: Some(List(scopes(args))),
        expires_in: args.expires_in.map(|Span(span)| Seconds(span)),
    };
    let answer = client.create_key(project.id, &new)?;
    let projects::IssuedKeyAnswer { key, api_key } = answer.value;
    Ok(Made { id: key.id, key: api_key.0, project_name: project.name.0, raw: answer.raw })
}

async fn create_in(data: &Path, args: &CreateKey) -> Result<Made, Failure> {
    let projects = open_projects(data).await?;
    let wanted = args.project.project.as_deref();
    let project = choose(projects.list().await?, wanted, |project| (project.id, &project.name))?;
    let expires_in = args.expires_in.map(|Span(span)| span);
    let new = NewKey { name: args.name.clone(), scopes: scopes(args), expires_in };
    let IssuedKey { record, key } = projects.create_key(project.id, new, None).await?;
    let raw = json!({"key": to_json(&Key::from(&record)), "apiKey": key.reveal()});
    Ok(Made { id: record.id, key: key.reveal().to_owned(), project_name: project.name, raw })
}

fn scopes(args: &CreateKey) -> Vec<Scope> {
    let mut scopes = args.scope.clone();
    scopes.extend(args.admin.then_some(Scope::Admin));
    scopes.sort_unstable();
    scopes.dedup();
    scopes
}

fn list(args: &ListKeys, console: &mut Console<'_>) -> Result<Exit, Failure> {
    let client = Client::new(&args.server)?;
    let project = find(&client, args.project.project.as_deref())?;
    let answer = client.keys(project.id)?;
    if args.json {
        console.json(&answer.raw)?;
    } else {
        let now = Clock::system().now();
        let rows: Vec<_> = answer.value.keys.iter().map(|key| row(key, now)).collect();
        console.result(table(["ID", "KEY", "SCOPES", "CREATED", "USED", "STATE", "NAME"], &rows))?;
    }
    Ok(Exit::Ok)
}

fn revoke(args: &RevokeKeys, console: &mut Console<'_>) -> Result<Exit, Failure> {
    let client = Client::new(&args.server)?;
    let project = find(&client, args.project.project.as_deref())?;
    let (mut exits, mut elements) = (Vec::new(), Vec::new());
    for id in &args.ids {
        match client.revoke_key(project.id, *id) {
            Ok(answer) if args.json => elements.push(answer.raw),
            Ok(_) => console.result(format_args!("revoked {id}"))?,
            Err(failure) => {
                console.failure(&failure, Some(id.as_str()));
                exits.push(failure.exit());
                elements.push(json!({"id": id, "error": failure.to_json()}));
            }
        }
    }
    if args.json {
        console.json(&Value::Array(elements))?;
    }
    Ok(Exit::of_all(exits))
}

fn rotate(args: &RotateKey, console: &mut Console<'_>) -> Result<Exit, Failure> {
    let client = Client::new(&args.server)?;
    let project = find(&client, args.project.project.as_deref())?;
    let answer = client.rotate_key(project.id, args.id, args.grace)?;
    if args.json {
        console.json(&answer.raw)?;
    } else {
        let (new, old) = (answer.value.key.id, args.id);
        let until = Clock::system().now() + args.grace;
        console.note(format_args!("key {new} in place of {old}, which works until {until}; shown this once:"));
        console.result(printable_line(answer.value.api_key.as_str()))?;
    }
    Ok(Exit::Ok)
}

fn row(key: &Key, now: Timestamp) -> [String; 7] {
    let ago = |at: Option<Timestamp>, never: &str| at.map_or_else(|| never.to_owned(), |at| age(at, now));
    [
        key.id.to_string(),
        format!("xf_…{}", printable_line(key.last_four.as_str())),
        printable_line(&key.scopes.iter().map(|scope| scope.as_str()).collect::<Vec<_>>().join(",")),
        age(key.created_at, now),
        ago(key.last_used_at.0, "never"),
        state(key, now),
        printable_line(&key.name.0),
    ]
}

fn state(key: &Key, now: Timestamp) -> String {
    match (key.revoked_at.0, key.expires_at.0) {
        (Some(at), _) => format!("revoked {}", age(at, now)),
        (None, Some(at)) if at <= now => format!("expired {}", age(at, now)),
        (None, Some(at)) => format!("live until {}", at.to_string().split('T').next().unwrap_or_default()),
        (None, None) => "live".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use xfiles_core::{api_key::ApiKey, catalog::KeyRecord, id::ProjectId};

    use super::*;

    #[test]
    fn a_row_of_a_key_shows_its_state_and_never_the_key() {
        let now = Timestamp::from_millis(1_760_000_000_000);
        let raw = ApiKey::mint();
        let live = KeyRecord::new(&raw, ProjectId::mint(), "web", &Scope::DEFAULT, now);
        let shown = |record: &KeyRecord| row(&Key::from(record), now + Duration::from_secs(120));
        let state = |record: &KeyRecord| shown(record)[5].clone();

        assert_eq!(state(&live), "live");
        let expires_at = Some(now + Duration::from_secs(60));
        assert_eq!(state(&KeyRecord { expires_at, ..live.clone() }), "expired 1 minute ago");
        let expires_at = Some(now + Duration::from_secs(86_400));
        assert_eq!(state(&KeyRecord { expires_at, ..live.clone() }), "live until 2025-10-10");
        assert_eq!(state(&KeyRecord { revoked_at: Some(now), ..live.clone() }), "revoked 2 minutes ago");
        assert_eq!(shown(&live)[2..5], ["read,write,delete", "2 minutes ago", "never"]);
        assert!(!shown(&live).join(" ").contains(raw.reveal()));
    }

    #[test]
    fn a_grace_period_may_be_zero() {
        assert_eq!(grace("0"), Ok(Duration::ZERO));
        assert_eq!(grace("2h"), Ok(Duration::from_secs(7200)));
        assert!(grace("soon").is_err());
    }
}
