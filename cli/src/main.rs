//! The `xf` command.

use std::process::ExitCode;

use xfiles_cli::Console;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    xfiles_cli::run(std::env::args_os(), &mut Console::of_process()).into()
}
