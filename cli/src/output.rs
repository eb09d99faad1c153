//! Output: results on standard output, everything else on standard error. External text is passed through [`printable`]
//! before it is printed.

use std::{
    fmt,
    io::{self, IsTerminal as _, Write},
};

use console::style;
use serde_json::Value;

use crate::failure::{Exit, Failure};

/// The output of a command. A console other than the process's own is not a terminal: it has no colours, progress bars
/// or questions.
pub struct Console<'a> {
    out: Box<dyn Write + 'a>,
    err: Box<dyn Write + 'a>,
    owner: Owner,
    quiet: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Owner {
    Process,
    Caller,
}

impl Console<'static> {
    /// The console of the process, with its standard streams.
    pub fn of_process() -> Self {
        Self { out: Box::new(io::stdout()), err: Box::new(io::stderr()), owner: Owner::Process, quiet: false }
    }
}

impl<'a> Console<'a> {
    /// A console that writes results to `out` and everything else to `err`.
    pub fn new(out: impl Write + 'a, err: impl Write + 'a) -> Self {
        Self { out: Box::new(out), err: Box::new(err), owner: Owner::Caller, quiet: false }
    }

    pub(crate) fn set_quiet(&mut self, quiet: bool) {
        self.quiet = quiet;
    }

    pub(crate) fn is_quiet(&self) -> bool {
        self.quiet
    }

    /// Whether results go to a terminal, and nowhere where they are kept.
    pub(crate) fn prints_to_terminal(&self) -> bool {
        self.owner == Owner::Process && io::stdout().is_terminal()
    }

    /// Returns true if progress bars can be shown: standard error is a terminal that supports escape codes.
    pub(crate) fn shows_progress(&self) -> bool {
        !self.quiet && self.colours_errors()
    }

    pub(crate) fn result(&mut self, line: impl fmt::Display) -> Result<(), Failure> {
        writeln!(self.out, "{line}").and_then(|()| self.out.flush()).map_err(|error| Failure::of_output(&error))
    }

    /// Writes a JSON value as the result, indented.
    pub(crate) fn json(&mut self, value: &Value) -> Result<(), Failure> {
        self.result(format_args!("{value:#}"))
    }

    /// Prints a message that is not part of the result; `--quiet` suppresses it.
    pub(crate) fn note(&mut self, line: impl fmt::Display) {
        if !self.quiet {
            self.error_line(line);
        }
    }

    /// Prints a failure, and the file that it concerns, if given.
    pub(crate) fn failure(&mut self, failure: &Failure, subject: Option<&str>) {
        if failure.detail().is_empty() {
            return;
        }
        let label = |text: &'static str| style(text).for_stderr().bold().force_styling(self.colours_errors());
        let (error, hint) = (label("error:").red(), label("hint:"));
        let subject = subject.map_or_else(String::new, |subject| format!("{}: ", printable(subject)));
        self.error_line(format_args!("{error} {subject}{}", printable(failure.detail())));
        if let Some(text) = failure.hint() {
            self.error_line(format_args!("{hint} {}", printable(text)));
        }
        if let Some(id) = failure.request_id() {
            self.error_line(format_args!("request id: {}", printable(id)));
        }
    }

    /// Prints the output of the argument parser: help, the version, or an error.
    pub(crate) fn usage(&mut self, answer: &clap::Error) -> Exit {
        let shown = match self.owner {
            Owner::Process => answer.print(),
            Owner::Caller if answer.use_stderr() => write!(self.err, "{answer}"),
            Owner::Caller => write!(self.out, "{answer}"),
        };
        match shown {
            Ok(()) if answer.use_stderr() => Exit::Usage,
            Ok(()) => Exit::Ok,
            Err(error) => Failure::of_output(&error).exit(),
        }
    }

    /// Continues if `yes` was given, or if the answer to the question begins with `y`. Without a terminal there is no
    /// answer, so the command is refused: a script must say `--yes`.
    pub(crate) fn agree(&mut self, yes: bool, question: &str, otherwise: &str) -> Result<(), Failure> {
        if yes {
            return Ok(());
        }
        if !self.asks() {
            return Err(Failure::new(Exit::Usage, format!("{otherwise}: there is no terminal to ask at"))
                .or_hint("give --yes to go on without a question"));
        }
        let answer = self.ask(&format!("{question} [y/N] ")).unwrap_or_default();
        if answer.trim_start().to_ascii_lowercase().starts_with('y') {
            Ok(())
        } else {
            Err(Failure::new(Exit::Failed, otherwise))
        }
    }

    /// Asks the user to type a given text. `None` without a terminal.
    pub(crate) fn confirm_by_typing(&mut self, question: &str, expected: &str) -> Option<bool> {
        self.asks().then(|| self.ask(&format!("{question} ")).is_ok_and(|answer| answer.trim() == expected))
    }

    /// Whether a person can be asked: standard input and standard error are terminals.
    fn asks(&self) -> bool {
        self.owner == Owner::Process && io::stdin().is_terminal() && io::stderr().is_terminal()
    }

    fn ask(&mut self, question: &str) -> io::Result<String> {
        let mut answer = String::new();
        write!(self.err, "{question}")?;
        self.err.flush()?;
        io::stdin().read_line(&mut answer)?;
        Ok(answer)
    }

    /// Writes bytes of the result as they are.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.out.write_all(bytes).map_err(|error| Failure::of_output(&error))
    }

    /// Hands written bytes on to whatever reads standard output.
    pub(crate) fn flush(&mut self) -> Result<(), Failure> {
        self.out.flush().map_err(|error| Failure::of_output(&error))
    }

    /// Returns true if standard error is a terminal that supports colours.
    pub(crate) fn colours_errors(&self) -> bool {
        // `console` honours NO_COLOR, CLICOLOR and TERM=dumb; colours are never forced into a file.
        self.owner == Owner::Process && io::stderr().is_terminal() && console::colors_enabled_stderr()
    }

    /// An error on standard error cannot be reported anywhere.
    fn error_line(&mut self, line: impl fmt::Display) {
        drop(writeln!(self.err, "{line}"));
    }
}

/// Replaces characters that could control a terminal or reorder a line: control characters and Unicode's direction
/// marks. Line feeds are kept, because our own messages contain them.
pub(crate) fn printable(text: &str) -> String {
    let steers = |c: char| {
        (c.is_control() && c != '\n')
            || matches!(c, '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    text.chars().map(|c| if steers(c) { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

/// Like [`printable`], on one line.
pub(crate) fn printable_line(text: &str) -> String {
    printable(text).replace('\n', "\u{fffd}")
}

/// A text, quoted as one word for a POSIX shell.
pub(crate) fn shell_word(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_./:@%+=,".contains(&b);
    if !text.is_empty() && text.bytes().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

/// Rows in aligned columns, two spaces apart. The last column may have any length and any script.
pub(crate) fn table<const N: usize>(heading: [&'static str; N], rows: &[[String; N]]) -> String {
    Table::new(heading).lines(rows)
}

/// A table that is printed in parts. A column that must become wider does so from there on.
pub(crate) struct Table<const N: usize> {
    heading: Option<[&'static str; N]>,
    widths: [usize; N],
}

impl<const N: usize> Table<N> {
    pub(crate) fn new(heading: [&'static str; N]) -> Self {
        Self { heading: Some(heading), widths: heading.map(str::len) }
    }

    /// The next lines, preceded by the heading on the first call.
    pub(crate) fn lines(&mut self, rows: &[[String; N]]) -> String {
        for row in rows {
            for (width, cell) in self.widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count());
            }
        }
        let line = |cells: [&str; N]| {
            let padded: String =
                cells.iter().zip(self.widths).map(|(cell, width)| format!("{cell:width$}  ")).collect();
            padded.trim_end().to_owned()
        };
        let heading = self.heading.take().map(line);
        let rows = rows.iter().map(|row| line(row.each_ref().map(String::as_str)));
        heading.into_iter().chain(rows).collect::<Vec<_>>().join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hostile_name_cannot_control_the_terminal() {
        assert_eq!(printable_line("a\u{1b}[2Jb\r\nc\u{202e}gpj.exe"), "a\u{fffd}[2Jb\u{fffd}\u{fffd}c\u{fffd}gpj.exe");
        assert_eq!(printable("Grüße 写真\nok"), "Grüße 写真\nok");
    }

    #[test]
    fn a_word_for_the_shell_is_quoted_only_when_it_must_be() {
        assert_eq!(shell_word("/opt/xf/bin-1.0"), "/opt/xf/bin-1.0");
        assert_eq!(shell_word("My Files"), "'My Files'");
        assert_eq!(shell_word("it's"), r"'it'\''s'");
        assert_eq!(shell_word(""), "''");
    }

    #[test]
    fn columns_align_and_lines_have_no_trailing_space() {
        let rows = [["1".to_owned(), "a".to_owned()], ["200".to_owned(), String::new()]];
        assert_eq!(table(["ID", "NAME"], &rows), "ID   NAME\n1    a\n200");
    }

    #[test]
    fn a_streamed_table_has_one_heading_and_columns_that_only_grow() {
        let mut table = Table::new(["ID", "NAME"]);
        assert_eq!(table.lines(&[["200".to_owned(), "a".to_owned()]]), "ID   NAME\n200  a");
        assert_eq!(table.lines(&[["1".to_owned(), "b".to_owned()]]), "1    b");
    }

    #[test]
    fn a_failure_is_printed_on_standard_error_with_its_subject() {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let failure = Failure::new(Exit::Failed, "too big").or_hint("make it smaller");
        Console::new(&mut out, &mut err).failure(&failure, Some("a.jpg"));
        assert_eq!(String::from_utf8(err).unwrap(), "error: a.jpg: too big\nhint: make it smaller\n");
        assert!(out.is_empty());
    }
}
