//! `xf completions`: shell completions.

use clap::CommandFactory as _;
use clap_complete::Shell;

use crate::{
    args::Cli,
    failure::{Exit, Failure},
    output::Console,
};

/// Print the completion script of a shell
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  xf completions bash > ~/.local/share/bash-completion/completions/xf
  xf completions zsh > ~/.zfunc/_xf")]
pub(crate) struct CompletionsArgs {
    /// Which shell
    shell: Shell,
}

pub(crate) fn print(args: &CompletionsArgs, console: &mut Console<'_>) -> Result<Exit, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "xf", &mut script);
    console.result(String::from_utf8_lossy(&script).trim_end())?;
    Ok(Exit::Ok)
}
