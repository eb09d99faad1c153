//! Writes what is made from the code into the repository: `openapi.json` and `docs/errors.md`.

use std::{fs, io, path::Path};

use xfiles_control_api::openapi;

fn main() -> io::Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate is in the workspace");
    fs::create_dir_all(root.join("docs"))?;
    fs::write(root.join("openapi.json"), openapi::document())?;
    fs::write(root.join("docs/errors.md"), openapi::catalogue())
}
