//! `xf update`: changes the visibility, owner, position and variants of a published file.

use xfiles_api_types::{
    files::{FileChange, ImageWish, TransformationsWish},
    wire::Change,
};
use xfiles_core::{
    id::FileId,
    intent::{OwnerId, Position},
    object_key::Visibility,
};

use crate::{
    args::{ServerArgs, visibility},
    client::Client,
    failure::{Exit, Failure},
    files,
    output::Console,
    retry::with_retries,
};

/// Change a published file and print its URLs
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  xf update 3f9k2m7q1x5b8d0s6w4z --private
  xf update 3f9k2m7q1x5b8d0s6w4z --public --variants=public
  xf update 3f9k2m7q1x5b8d0s6w4z --owner user-7 --position 3

Other fields are not changed. A file that becomes private gets a new URL, and the old one stops working.")]
#[command(group(clap::ArgGroup::new("change").required(true).multiple(true)))]
pub(crate) struct UpdateArgs {
    /// The file's id
    #[arg(value_name = "ID")]
    id: FileId,
    /// Make the file public
    #[arg(long, group = "change")]
    public: bool,
    /// Make the file private: it can only be read with a signed URL
    #[arg(long, group = "change", conflicts_with = "public")]
    private: bool,
    /// The user of your application who owns the file
    #[arg(long, group = "change", value_name = "ID", value_parser = crate::upload::owner)]
    owner: Option<OwnerId>,
    /// Remove the owner
    #[arg(long, group = "change", conflicts_with = "owner")]
    no_owner: bool,
    /// The position among the files of its entity, from 0
    #[arg(long, group = "change", value_name = "N")]
    position: Option<u32>,
    /// Enable image variants, with unchanged visibility unless one is given
    #[arg(
        long,
        group = "change",
        value_name = "public|private",
        num_args = 0..=1,
        require_equals = true,
        value_parser = visibility
    )]
    variants: Option<Option<Visibility>>,
    /// Disable image variants, and delete the stored ones
    #[arg(long, group = "change", conflicts_with = "variants")]
    no_variants: bool,
    /// Print the file as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerArgs,
}

pub(crate) fn run(args: &UpdateArgs, console: &mut Console<'_>) -> Result<Exit, Failure> {
    let client = Client::new(&args.server)?;
    let change = change(args);
    with_retries(|| client.change(args.id, &change))?;
    let answer = with_retries(|| client.get(args.id, None))?;
    if args.json {
        console.json(&answer.raw)?;
    } else {
        console.result(files::summary(&answer.value))?;
    }
    Ok(Exit::Ok)
}

/// The body of the request: only the given fields.
fn change(args: &UpdateArgs) -> FileChange {
    let visibility = match (args.public, args.private) {
        (true, _) => Some(Visibility::Public),
        (false, true) => Some(Visibility::Private),
        (false, false) => None,
    };
    let image = match args.variants {
        Some(visibility) => Some(ImageWish { enabled: Some(true), visibility }),
        None if args.no_variants => Some(ImageWish { enabled: Some(false), visibility: None }),
        None => None,
    };
    FileChange {
        visibility,
        owner_user_id: match &args.owner {
            Some(owner) => Change::Set(owner.clone()),
            None if args.no_owner => Change::Clear,
            None => Change::Keep,
        },
        position: args.position.map(Position),
        transformations: image.map(|image| TransformationsWish { image: Some(image) }),
    }
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory as _, FromArgMatches as _};
    use serde_json::{Value, json};
    use xfiles_api_types::wire::to_json;

    use super::*;
    use crate::args::Cli;

    fn asked(flags: &[&str]) -> Option<Value> {
        let arguments = ["xf", "update", "abcdefghijklmnopqrst"].iter().chain(flags);
        let matches = Cli::command().try_get_matches_from(arguments).ok()?;
        let (_, update) = matches.subcommand()?;
        Some(to_json(&change(&UpdateArgs::from_arg_matches(update).ok()?)))
    }

    #[test]
    fn only_named_fields_are_changed() {
        assert_eq!(asked(&["--private"]), Some(json!({"visibility": "private"})));
        assert_eq!(asked(&["--public", "--no-owner"]), Some(json!({"visibility": "public", "ownerUserId": null})));
        assert_eq!(asked(&["--owner", "u", "--position", "0"]), Some(json!({"ownerUserId": "u", "position": 0})));
        let variants = |image: Value| Some(json!({"transformations": {"image": image}}));
        assert_eq!(asked(&["--variants"]), variants(json!({"enabled": true})));
        assert_eq!(asked(&["--variants=public"]), variants(json!({"enabled": true, "visibility": "public"})));
        assert_eq!(asked(&["--no-variants"]), variants(json!({"enabled": false})));
    }

    #[test]
    fn an_empty_or_contradictory_change_is_refused() {
        for flags in [&[][..], &["--json"], &["--public", "--private"], &["--owner", "u", "--no-owner"]] {
            assert_eq!(asked(flags), None, "{flags:?}");
        }
        assert_eq!(asked(&["--variants", "--no-variants"]), None);
    }
}
