//! The `xf` command.

use std::process::ExitCode;

use xfiles_cli::Console;

fn main() -> ExitCode {
    xfiles_cli::run(std::env::args_os(), &mut Console::of_process()).into()
}
