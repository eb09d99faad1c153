//! Compresses the files of `dist/` and writes the table of them that `src/lib.rs` includes. It needs no Node: `dist/` is
//! committed, and `dashboard/check` proves that it is what `app/` builds.

use std::{
    env,
    error::Error,
    fmt::Write as _,
    fs,
    io::Write as _,
    path::{Path, PathBuf},
};

use flate2::{Compression, GzBuilder};
use sha2::{Digest, Sha256};

#[expect(
    clippy::disallowed_methods,
    reason = "cargo names the output folder of a build script in the environment only"
)]
fn main() -> Result<(), Box<dyn Error>> {
    let dist = Path::new(env!("CARGO_MANIFEST_DIR")).join("dist");
    let out = PathBuf::from(env::var("OUT_DIR")?);
    println!("cargo:rerun-if-changed={}", dist.display());

    let mut names = Vec::new();
    for entry in fs::read_dir(&dist)? {
        let name = entry?.file_name().into_string().map_err(|name| format!("dist/{} is not UTF-8", name.display()))?;
        if content_type(&name).is_some() {
            names.push(name);
        }
    }
    // The order of a directory differs between file systems.
    names.sort_unstable();

    let mut table = String::from("&[\n");
    for name in &names {
        let plain = dist.join(name);
        println!("cargo:rerun-if-changed={}", plain.display());
        let bytes = fs::read(&plain)?;
        let gzip = out.join(format!("{name}.gz"));
        // Without a time, so that the same source makes the same program.
        let mut encoder = GzBuilder::new().mtime(0).write(fs::File::create(&gzip)?, Compression::best());
        encoder.write_all(&bytes)?;
        encoder.finish()?;
        let digest = hex::encode(Sha256::digest(&bytes));
        writeln!(
            table,
            "Asset {{ name: {name:?}, content_type: {:?}, digest: {:?}, plain: include_bytes!({plain:?}), gzip: include_bytes!({gzip:?}) }},",
            content_type(name).ok_or("a listed file has a type")?,
            &digest[..32],
        )?;
    }
    table.push(']');
    fs::write(out.join("assets.rs"), table)?;
    Ok(())
}

/// The media type of a file that is served; none for what only the build needs.
fn content_type(name: &str) -> Option<&'static str> {
    match Path::new(name).extension()?.to_str()? {
        "html" => Some("text/html; charset=utf-8"),
        "js" => Some("text/javascript; charset=utf-8"),
        "css" => Some("text/css; charset=utf-8"),
        "svg" => Some("image/svg+xml"),
        _ => None,
    }
}
