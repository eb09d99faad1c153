//! `xf open`: a file in the browser.

use std::process::{Command, Stdio};

use xfiles_core::{
    id::FileId,
    variant::{ImageFormat, Width},
};

use crate::{
    args::ServerArgs,
    client::Client,
    failure::{Exit, Failure},
    files,
    output::{Console, printable_line},
};

/// Open a file in the browser; without one, print its URL
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  xf open 3f9k2m7q1x5b8d0s6w4z
  xf open --width 400 3f9k2m7q1x5b8d0s6w4z

The URL of a private file works for five minutes and for anybody who has it. BROWSER names another program.")]
pub(crate) struct OpenArgs {
    /// The file's id
    #[arg(value_name = "ID")]
    id: FileId,
    /// The variant of this width instead of the file itself
    #[arg(long, value_name = "PIXELS", value_parser = files::width)]
    width: Option<Width>,
    /// The format of the variant: webp, jpeg, png, avif or auto
    #[arg(long, value_name = "FORMAT", value_parser = files::format, requires = "width")]
    format: Option<ImageFormat>,
    /// The program that opens the URL [default: the desktop's]
    #[arg(long, env = "BROWSER", value_name = "PROGRAM", hide = true)]
    browser: Option<String>,
    #[command(flatten)]
    server: ServerArgs,
}

pub(crate) fn run(args: &OpenArgs, console: &mut Console<'_>) -> Result<Exit, Failure> {
    let answer = Client::new(&args.server)?.get(args.id, args.format.map(ImageFormat::extension))?.value;
    let url = files::url_of(answer.urls.0, args.width)?;
    if !opened(&url, args.browser.as_deref()) {
        console.note("there is no browser to open it in; this is its URL:");
        console.result(printable_line(&url))?;
    }
    Ok(Exit::Ok)
}

/// Hands the URL to the desktop. Whether a program took it.
pub(crate) fn opened(url: &str, browser: Option<&str>) -> bool {
    let desktop = if cfg!(target_os = "macos") { "open" } else { "xdg-open" };
    let program = browser.filter(|program| !program.is_empty()).unwrap_or(desktop);
    let mut command = Command::new(program);
    command.arg(url).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}
