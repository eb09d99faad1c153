//! The arguments of the command line, and the values that several commands share. Only this module reads the
//! environment, through the argument parser.

use std::{fmt, str::FromStr};

use clap::{Parser, Subcommand};
use xfiles_core::{
    intent::{Entity, EntityWord, Position},
    object_key::Visibility,
};

use crate::{
    aws::{DeployArgs, DestroyArgs, StatusArgs},
    backup::{BackupArgs, RestoreArgs},
    cleanup::CleanupArgs,
    completions::CompletionsArgs,
    doctor::DoctorArgs,
    download::DownloadArgs,
    failure::Exit,
    files::{GetArgs, ListArgs, RemoveArgs, UrlArgs},
    health::HealthArgs,
    keys::KeysArgs,
    open::OpenArgs,
    projects::{ProjectsArgs, UsageArgs},
    repair::RepairArgs,
    scrub::ScrubArgs,
    serve::ServeArgs,
    update::UpdateArgs,
    upload::UploadArgs,
    webhooks::WebhooksArgs,
};

/// What a deletion says that was not carried out.
pub(crate) const NOTHING_DELETED: &str = "nothing was deleted";

/// Files behind presigned URLs, with image variants: a server of one process, and a client of its API.
#[derive(Parser)]
#[command(name = "xf", version, after_help = Exit::HELP)]
pub(crate) struct Cli {
    /// Print results and errors only
    #[arg(long, short, global = true, display_order = 900)]
    pub(crate) quiet: bool,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    Serve(ServeArgs),
    Upload(UploadArgs),
    #[command(alias = "list")]
    Ls(ListArgs),
    #[command(alias = "show")]
    Get(GetArgs),
    Download(DownloadArgs),
    Url(UrlArgs),
    Open(OpenArgs),
    Update(UpdateArgs),
    #[command(alias = "delete")]
    Rm(RemoveArgs),
    Usage(UsageArgs),
    Projects(ProjectsArgs),
    Keys(KeysArgs),
    Webhooks(WebhooksArgs),
    Cleanup(CleanupArgs),
    Backup(BackupArgs),
    Restore(RestoreArgs),
    Scrub(ScrubArgs),
    Health(HealthArgs),
    Doctor(DoctorArgs),
    Repair(RepairArgs),
    Deploy(DeployArgs),
    Status(StatusArgs),
    Destroy(DestroyArgs),
    Completions(CompletionsArgs),
}

#[derive(clap::Args)]
#[command(next_help_heading = "Server")]
pub(crate) struct ServerArgs {
    /// The server's address
    #[arg(long, env = "XFILES_URL", value_name = "URL", default_value = "http://127.0.0.1:8787")]
    pub(crate) url: ServerUrl,
    /// The API key. Prefer the environment: other users of this machine can see arguments
    #[arg(long, env = "XFILES_API_KEY", value_name = "KEY", hide_env_values = true)]
    pub(crate) api_key: Option<Secret>,
}

/// An argument that no message repeats. It is validated where it is used, because the argument parser would quote it.
#[derive(Clone)]
pub(crate) struct Secret(String);

impl Secret {
    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

/// The address of a server: scheme, host, and optionally a port and a path, without a trailing slash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ServerUrl(String);

impl fmt::Display for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The text is not the address of a server.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an address is http:// or https:// and a host, without user name and query")]
pub(crate) struct InvalidServerUrl;

impl FromStr for ServerUrl {
    type Err = InvalidServerUrl;

    fn from_str(text: &str) -> Result<Self, InvalidServerUrl> {
        let uri: ureq::http::Uri = text.parse().map_err(|_| InvalidServerUrl)?;
        let scheme_ok = matches!(uri.scheme_str(), Some("http" | "https"));
        let host_ok = uri.authority().is_some_and(|a| !a.host().is_empty() && !a.as_str().contains('@'));
        let bare = uri.query().is_none() && !text.contains('#');
        if scheme_ok && host_ok && bare {
            Ok(Self(text.trim_end_matches('/').to_owned()))
        } else {
            Err(InvalidServerUrl)
        }
    }
}

/// `type:id[:role[:position]]`. A colon inside a part is written as `\:`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct EntityArg(pub(crate) Entity);

/// `type[:id]`, as a filter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct EntityFilter {
    pub(crate) kind: EntityWord,
    pub(crate) id: Option<EntityWord>,
}

/// The text does not name an entity.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InvalidEntity {
    #[error("an entity is {0}; write a colon inside a part as \\:")]
    Shape(&'static str),
    #[error("an entity's type, id and role are 1 to {} characters", EntityWord::MAX_CHARS)]
    Word,
    #[error("a position is a whole number from 0 to {}", u32::MAX)]
    Position,
}

impl FromStr for EntityArg {
    type Err = InvalidEntity;

    fn from_str(text: &str) -> Result<Self, InvalidEntity> {
        let (kind, id, role, position) = match split_parts(text).as_slice() {
            [kind, id] => (word(kind)?, word(id)?, None, None),
            [kind, id, role] => (word(kind)?, word(id)?, Some(role.clone()), None),
            [kind, id, role, position] => (word(kind)?, word(id)?, Some(role.clone()), Some(position.clone())),
            _ => return Err(InvalidEntity::Shape("type:id[:role[:position]]")),
        };
        // `listing:42::3` has a position and no role.
        let role = role.filter(|role| !role.is_empty()).map(|role| word(&role)).transpose()?;
        let position = position.map(|p| p.parse().map_err(|_| InvalidEntity::Position)).transpose()?;
        Ok(Self(Entity { kind, id, role, position: Position(position.unwrap_or(0)) }))
    }
}

impl FromStr for EntityFilter {
    type Err = InvalidEntity;

    fn from_str(text: &str) -> Result<Self, InvalidEntity> {
        match split_parts(text).as_slice() {
            [kind] => Ok(Self { kind: word(kind)?, id: None }),
            [kind, id] => Ok(Self { kind: word(kind)?, id: Some(word(id)?) }),
            _ => Err(InvalidEntity::Shape("type[:id]")),
        }
    }
}

fn word(text: &str) -> Result<EntityWord, InvalidEntity> {
    EntityWord::new(text).ok_or(InvalidEntity::Word)
}

/// The parts between colons; `\:` is a colon and `\\` is a backslash.
fn split_parts(text: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let escaped = if c == '\\' { chars.next_if(|next| matches!(next, ':' | '\\')) } else { None };
        match (c, escaped) {
            (':', None) => parts.push(String::new()),
            (plain, escaped) => parts.last_mut().expect("there is always a part").push(escaped.unwrap_or(plain)),
        }
    }
    parts
}

/// A parser of `public` or `private` for clap.
pub(crate) fn visibility(text: &str) -> Result<Visibility, String> {
    text.parse::<Visibility>().map_err(|error| error.to_string())
}

/// The longest name of a key or project, in characters, which fits on one line of a list. The API has the same limit.
const LONGEST_NAME: usize = 100;

/// A parser of the name of a key or project for clap.
pub(crate) fn name(text: &str) -> Result<String, String> {
    let fits = (1..=LONGEST_NAME).contains(&text.chars().count()) && !text.contains(char::is_control);
    if fits { Ok(text.to_owned()) } else { Err(format!("a name is 1 to {LONGEST_NAME} characters on one line")) }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    fn entity(text: &str) -> Result<(String, String, Option<String>, u32), InvalidEntity> {
        let EntityArg(Entity { kind, id, role, position }) = text.parse()?;
        Ok((kind.as_str().into(), id.as_str().into(), role.map(|r| r.as_str().into()), position.0))
    }

    #[test]
    fn the_arguments_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn an_entity_has_two_to_four_parts() {
        let parts = |kind: &str, id: &str, role: Option<&str>, position| {
            Ok((kind.to_owned(), id.to_owned(), role.map(str::to_owned), position))
        };
        assert_eq!(entity("listing:42"), parts("listing", "42", None, 0));
        assert_eq!(entity("listing:42:cover"), parts("listing", "42", Some("cover"), 0));
        assert_eq!(entity("listing:42:gallery:3"), parts("listing", "42", Some("gallery"), 3));
        assert_eq!(entity("listing:42::3"), parts("listing", "42", None, 3));
        assert_eq!(entity(r"book:urn\:isbn\:1\\2"), parts("book", r"urn:isbn:1\2", None, 0));
    }

    #[test]
    fn an_invalid_entity_is_refused_with_the_reason() {
        assert!(matches!(entity("listing"), Err(InvalidEntity::Shape(_))));
        assert!(matches!(entity("a:b:c:1:e"), Err(InvalidEntity::Shape(_))));
        assert_eq!(entity(":42"), Err(InvalidEntity::Word));
        assert_eq!(entity("listing:"), Err(InvalidEntity::Word));
        assert_eq!(entity("a:b:c:-1"), Err(InvalidEntity::Position));
        assert_eq!(entity("a:b:c:4294967296"), Err(InvalidEntity::Position));
    }

    #[test]
    fn a_filter_has_a_type_and_optionally_an_id() {
        let filter: EntityFilter = "listing".parse().unwrap();
        assert_eq!((filter.kind.as_str(), filter.id), ("listing", None));
        assert!("listing:42:cover".parse::<EntityFilter>().is_err());
    }

    #[test]
    fn an_address_is_http_and_loses_its_trailing_slash() {
        assert_eq!("https://files.example/".parse::<ServerUrl>().unwrap().to_string(), "https://files.example");
        assert_eq!("http://[::1]:8787/x".parse::<ServerUrl>().unwrap().to_string(), "http://[::1]:8787/x");
        for refused in ["", "localhost:8787", "ftp://h", "http://", "http://u:p@h", "http://h?q", "http://h/#f"] {
            assert!(refused.parse::<ServerUrl>().is_err(), "{refused}");
        }
    }

    #[test]
    fn no_message_repeats_an_api_key() {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let arguments = ["xf", "ls", "--api-key", "xf_secret", "--page", "none"].map(Into::into);
        let exit = crate::run(arguments, &mut crate::Console::new(&mut out, &mut err));
        assert_eq!(exit, Exit::Usage);
        assert!(!String::from_utf8(err).unwrap().contains("xf_secret"));
    }
}
