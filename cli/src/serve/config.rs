//! The configuration file of `xf serve`: TOML whose keys are the flags' names. Its settings become arguments where neither
//! the command line nor the environment has them, so that one parser checks all three.

use std::{ffi::OsString, fmt::Write as _, fs, path::PathBuf};

use clap::{ArgAction, ArgMatches, Args as _, Command, parser::ValueSource};
use toml::{Table, Value};

use super::ServeArgs;
use crate::failure::{Exit, Failure, os_text};

/// Flags that are about one start and not about the server.
const NOT_IN_FILE: [&str; 5] = ["config", "print_config", "rotate_signing_key", "print_key", "help"];

/// The arguments that the file adds to those of a command line that was parsed already.
pub(crate) fn arguments(matches: &ArgMatches) -> Result<Vec<OsString>, Failure> {
    let Some(path) = matches.get_one::<PathBuf>("config") else { return Ok(Vec::new()) };
    let failed = |text: String| Failure::new(Exit::Usage, format!("{}: {text}", path.display()));
    let text = fs::read_to_string(path).map_err(|error| failed(os_text(&error)))?;
    let settings: Table =
        text.parse().map_err(|error: toml::de::Error| failed(error.to_string().trim_end().to_owned()))?;
    let flags = flags();
    let mut added = Vec::new();
    for (name, value) in &settings {
        let known = flags.get_arguments().find(|arg| arg.get_long() == Some(name) && is_in_file(arg));
        let Some(flag) = known else {
            return Err(failed(format!("there is no setting `{name}`")).or_hint("xf serve --print-config lists all"));
        };
        if is_given(matches, flag.get_id().as_str()) {
            continue;
        }
        let takes_value = !matches!(flag.get_action(), ArgAction::SetTrue);
        let several = matches!(flag.get_action(), ArgAction::Append);
        match value {
            Value::Boolean(true) if !takes_value => added.push(format!("--{name}").into()),
            Value::Boolean(false) if !takes_value => {}
            Value::Array(values) if several => {
                for value in values {
                    let text = text_of(value).ok_or_else(|| failed(format!("`{name}` is a list of texts")))?;
                    added.push(format!("--{name}={text}").into());
                }
            }
            value if takes_value => {
                let text = text_of(value).ok_or_else(|| failed(format!("`{name}` is a text or a number")))?;
                added.push(format!("--{name}={text}").into());
            }
            _ => return Err(failed(format!("`{name}` is true or false"))),
        }
    }
    Ok(added)
}

/// A file with every setting, each under what it means, with its default or an example, commented out.
pub(super) fn template() -> String {
    let mut text =
        "# Settings of `xf serve`. Arguments go before the environment, and the environment before this file.\n\
                    # A setting is the flag of the same name; remove the # before it to set it.\n"
            .to_owned();
    for flag in flags().get_arguments().filter(|flag| is_in_file(flag)) {
        let name = flag.get_long().unwrap_or_default();
        let help = flag.get_help().map(ToString::to_string).unwrap_or_default();
        text.push('\n');
        for line in help.lines().flat_map(|line| wrapped(line, 98)) {
            writeln!(text, "# {line}").expect("a String takes all text");
        }
        let default = flag.get_default_values().first().map(|value| value.to_string_lossy().into_owned());
        let value = match (flag.get_action(), default) {
            (ArgAction::SetTrue, _) => "false".to_owned(),
            (ArgAction::Append, _) => "[]".to_owned(),
            (_, Some(default)) if default.parse::<u64>().is_ok() => default,
            (_, Some(default)) => format!("{:?}", default),
            (_, None) => "\"\"".to_owned(),
        };
        writeln!(text, "# {name} = {value}").expect("a String takes all text");
    }
    text
}

fn flags() -> Command {
    ServeArgs::augment_args(Command::new("serve"))
}

fn is_in_file(flag: &clap::Arg) -> bool {
    !NOT_IN_FILE.contains(&flag.get_id().as_str())
}

/// Whether the command line or the environment has it.
fn is_given(matches: &ArgMatches, id: &str) -> bool {
    matches!(matches.value_source(id), Some(ValueSource::CommandLine | ValueSource::EnvVariable))
}

fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Integer(number) => Some(number.to_string()),
        _ => None,
    }
}

/// Wraps a text into lines of at most this many characters.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let line = lines.last_mut().expect("there is always a line");
        if !line.is_empty() && line.len() + 1 + word.len() > width {
            lines.push(word.to_owned());
        } else {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn added(file: &str, arguments: &[&str]) -> Result<Vec<String>, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("xfiles.toml");
        fs::write(&path, file).unwrap();
        let path = path.to_string_lossy().into_owned();
        let arguments = ["serve", "--config", path.as_str()].into_iter().chain(arguments.iter().copied());
        let matches = flags().try_get_matches_from(arguments).unwrap();
        let added = super::arguments(&matches).map_err(|failure| failure.detail().replace(&path, "FILE"))?;
        Ok(added.into_iter().map(|argument| argument.into_string().unwrap()).collect())
    }

    #[test]
    fn settings_become_arguments_unless_the_command_line_has_them() {
        let file =
            "quota = \"5GiB\"\nscrub-days = 3\nauto-confirm = true\njson-logs = false\nproxy = [\"10.0.0.1\", \"::1\"]";
        let all = ["--auto-confirm", "--proxy=10.0.0.1", "--proxy=::1", "--quota=5GiB", "--scrub-days=3"];
        let mut found = added(file, &[]).unwrap();
        found.sort();
        assert_eq!(found, all);
        assert!(!added(file, &["--quota", "1GiB"]).unwrap().iter().any(|argument| argument.starts_with("--quota")));
    }

    #[test]
    fn what_is_misspelt_or_of_another_kind_is_refused_by_name() {
        for (file, named) in [
            ("quotas = \"5GiB\"", "`quotas`"),
            ("config = \"x\"", "`config`"),
            ("auto-confirm = \"yes\"", "`auto-confirm` is true or false"),
            ("quota = true", "`quota` is a text or a number"),
            ("proxy = [true]", "`proxy` is a list of texts"),
            ("quota = ", "FILE: "),
        ] {
            let refusal = added(file, &[]).unwrap_err();
            assert!(refusal.contains(named), "{file}: {refusal}");
        }
    }

    #[test]
    fn the_template_has_every_setting_and_is_a_file_itself() {
        let template = template();
        for flag in flags().get_arguments().filter(|flag| is_in_file(flag)) {
            assert!(template.contains(&format!("# {} = ", flag.get_long().unwrap())), "{:?}", flag.get_long());
        }
        assert_eq!(added(&template, &[]), Ok(Vec::new()));
        let set: String = template
            .lines()
            .filter_map(|line| line.strip_prefix("# "))
            .filter(|l| l.contains(" = ") && !l.contains("\"\""))
            .map(|l| format!("{l}\n"))
            .collect();
        assert!(added(&set, &[]).is_ok(), "{set}");
    }

    #[test]
    fn every_flag_has_an_environment_variable() {
        let exempt = ["print_config"];
        for flag in flags().get_arguments().filter(|flag| !exempt.contains(&flag.get_id().as_str())) {
            assert!(flag.get_env().is_some(), "--{}", flag.get_long().unwrap());
        }
    }
}
