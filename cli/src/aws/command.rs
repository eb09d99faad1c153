//! A command of another program, to be shown or run. Its standard input is never shown.

use std::{
    collections::VecDeque,
    io::{self, BufRead as _, BufReader, Read, Write as _},
    process, thread,
};

use serde_json::Value;

use super::trouble;
use crate::{
    failure::{Exit, Failure, os_text},
    output::shell_word,
};

/// The number of the last lines of a streamed program that a failure repeats; they contain the reason.
const LAST_LINES: usize = 5;

/// A program and its arguments, none of which is secret.
pub(super) struct Command {
    words: Vec<String>,
    input: Option<String>,
}

impl Command {
    /// Any program.
    pub(super) fn new<W: Into<String>>(words: impl IntoIterator<Item = W>) -> Self {
        Self { words: words.into_iter().map(Into::into).collect(), input: None }
    }

    /// The AWS CLI.
    pub(super) fn aws<W: Into<String>>(words: impl IntoIterator<Item = W>) -> Self {
        Self::new(["aws".to_owned()].into_iter().chain(words.into_iter().map(Into::into)))
    }

    /// Sets the standard input.
    pub(super) fn input(self, input: impl Into<String>) -> Self {
        Self { input: Some(input.into()), ..self }
    }

    /// Adds arguments.
    pub(super) fn and<W: Into<String>>(mut self, words: impl IntoIterator<Item = W>) -> Self {
        self.words.extend(words.into_iter().map(Into::into));
        self
    }

    /// Runs the command and returns its standard output without the final line feed.
    pub(super) fn text(&self) -> Result<String, Failure> {
        let output = self.run(Errors::Kept)?;
        Ok(String::from_utf8_lossy(&output).trim_end().to_owned())
    }

    /// Runs the command and parses its standard output as JSON.
    pub(super) fn json(&self) -> Result<Value, Failure> {
        let text = self.text()?;
        if text.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_str(&text)
            .map_err(|_| Failure::new(Exit::Failed, format!("`{}` did not return JSON", self.name())))
    }

    /// Runs the command and shows its standard error.
    pub(super) fn watched(&self) -> Result<(), Failure> {
        self.run(Errors::Shown).map(drop)
    }

    fn run(&self, errors: Errors) -> Result<Vec<u8>, Failure> {
        let (program, arguments) = self.words.split_first().expect("a command has a program");
        let stdin = if self.input.is_some() { process::Stdio::piped() } else { process::Stdio::null() };
        let mut command = process::Command::new(program);
        command.args(arguments).stdin(stdin).stdout(process::Stdio::piped()).stderr(process::Stdio::piped());
        // The output must be JSON, and a pager would wait for input.
        command.env("AWS_DEFAULT_OUTPUT", "json").env("AWS_PAGER", "");
        let mut child = command.spawn().map_err(|error| self.not_started(&error))?;
        let stderr = child.stderr.take().expect("standard error is piped");
        let reader = thread::spawn(move || errors.read(stderr));
        if let (Some(input), Some(mut pipe)) = (&self.input, child.stdin.take()) {
            // A program that does not read its input reports the reason itself.
            drop(pipe.write_all(input.as_bytes()));
        }
        let output = child.wait_with_output().map_err(|error| self.not_started(&error))?;
        let said = reader.join().unwrap_or_default();
        if output.status.success() {
            return Ok(output.stdout);
        }
        let said = said.trim();
        let said = if said.is_empty() { "no reason given" } else { said };
        let failure = Failure::new(Exit::Failed, format!("`{}` failed: {said}", self.name()));
        Err(match trouble::advice(said) {
            Some(advice) => failure.or_hint(advice),
            None => failure,
        })
    }

    fn not_started(&self, error: &io::Error) -> Failure {
        let program = &self.words[0];
        let failure = Failure::new(Exit::Unavailable, format!("cannot run {program}: {}", os_text(error)));
        match program.as_str() {
            "aws" => failure.or_hint("install the AWS CLI: https://docs.aws.amazon.com/cli"),
            "cargo" => failure.or_hint("install Rust (https://rustup.rs), then: pip install cargo-lambda ziglang && rustup target add aarch64-unknown-linux-gnu"),
            _ => failure,
        }
    }

    /// The program and the operation, without arguments.
    fn name(&self) -> String {
        let end = self.words.iter().position(|word| word.starts_with('-')).unwrap_or(self.words.len());
        self.words[..end].join(" ")
    }
}

/// The handling of a program's standard error.
#[derive(Clone, Copy)]
enum Errors {
    /// Included in the failure, if the command fails.
    Kept,
    /// Shown as it arrives; the last lines are included in the failure.
    Shown,
}

impl Errors {
    /// Reads the stream to its end and returns the text for a failure.
    fn read(self, stream: impl Read) -> String {
        let mut lines = VecDeque::new();
        for line in BufReader::new(stream).split(b'\n').map_while(Result::ok) {
            let line = String::from_utf8_lossy(&line).trim_end().to_owned();
            if let Self::Shown = self {
                // If standard error is closed, nothing can be reported.
                drop(writeln!(io::stderr(), "{line}"));
                if line.is_empty() {
                    continue;
                }
                if lines.len() == LAST_LINES {
                    lines.pop_front();
                }
            }
            lines.push_back(line);
        }
        Vec::from(lines).join("\n")
    }
}

impl std::fmt::Display for Command {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let words: Vec<_> = self.words.iter().map(|word| shell_word(word)).collect();
        f.write_str(&words.join(" "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_reads_its_input_and_gives_its_output() {
        assert_eq!(Command::new(["cat"]).input("[1]").json().unwrap(), serde_json::json!([1]));
        assert_eq!(Command::new(["true"]).json().unwrap(), Value::Null);
    }

    #[test]
    fn a_failed_command_shows_its_stderr_and_none_of_its_arguments() {
        let failed = Command::new(["ls", "--", "/nowhere/at/all"]).text().unwrap_err();
        assert!(failed.detail().starts_with("`ls` failed: ls:"), "{}", failed.detail());
        let missing = Command::new(["no-such-program-at-all", "-x"]).text().unwrap_err();
        assert_eq!(missing.exit(), Exit::Unavailable);
    }

    #[test]
    fn a_failed_streamed_command_repeats_its_last_lines() {
        let lines = "for i in 1 2 3 4 5 6 7; do echo line-$i >&2; echo >&2; done; exit 1";
        let failed = Command::new(["sh", "-c", lines]).watched().unwrap_err();
        assert_eq!(failed.detail(), "`sh` failed: line-3\nline-4\nline-5\nline-6\nline-7");
        let silent = Command::new(["false"]).watched().unwrap_err();
        assert_eq!(silent.detail(), "`false` failed: no reason given");
    }

    #[test]
    fn a_known_cause_comes_with_a_remedy() {
        let said = "echo 'Your account must be verified before you can add new CloudFront resources.' >&2; exit 1";
        let failed = Command::new(["sh", "-c", said]).text().unwrap_err();
        assert!(failed.hint().unwrap().contains("support case"), "{failed:?}");
    }

    #[test]
    fn a_displayed_command_can_be_pasted_and_contains_no_input() {
        let shown = Command::aws(["s3", "mb", "s3://a b"]).input("secret").to_string();
        assert_eq!(shown, "aws s3 mb 's3://a b'");
    }
}
