//! Which crates may depend on which.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

fn metadata() -> Value {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--offline", "--no-deps"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The normal dependencies of one of our packages, without build and dev dependencies.
fn dependencies(metadata: &Value, package: &str) -> BTreeSet<String> {
    let packages = metadata["packages"].as_array().unwrap();
    let package = packages.iter().find(|p| p["name"] == package).unwrap();
    let dependencies = package["dependencies"].as_array().unwrap().iter().filter(|d| d["kind"].is_null());
    dependencies.map(|d| d["name"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn workspace_crates_depend_on_each_other_in_one_direction_only() {
    let metadata = metadata();
    for (package, allowed) in [
        ("xfiles-thumbhash", &[][..]),
        ("xfiles-core", &["xfiles-thumbhash"]),
        ("xfiles-api-types", &["xfiles-core"]),
        ("xfiles-control-api", &["xfiles-core", "xfiles-api-types"]),
        ("xfiles-av1", &[]),
        ("xfiles-jpeg", &[]),
        ("xfiles-vp8", &[]),
        ("xfiles-webp-planes", &[]),
        ("xfiles-edge-variants", &["xfiles-core", "xfiles-av1", "xfiles-jpeg", "xfiles-vp8", "xfiles-webp-planes"]),
        ("xfiles-cleanup-cron", &["xfiles-core"]),
        ("xfiles-dashboard", &[]),
        (
            "xfiles-standalone",
            &["xfiles-core", "xfiles-control-api", "xfiles-dashboard", "xfiles-edge-variants", "xfiles-cleanup-cron"],
        ),
        ("xfiles-cli", &["xfiles-core", "xfiles-api-types", "xfiles-standalone"]),
    ] {
        let ours = dependencies(&metadata, package).into_iter().filter(|name| name.starts_with("xfiles-"));
        let forbidden: Vec<String> = ours.filter(|name| !allowed.contains(&name.as_str())).collect();
        assert!(forbidden.is_empty(), "{package} sees {forbidden:?}");
    }
}

#[test]
fn no_lambda_crate_links_an_embedded_engine() {
    let metadata = metadata();
    for package in
        ["xfiles-core", "xfiles-api-types", "xfiles-control-api", "xfiles-edge-variants", "xfiles-cleanup-cron"]
    {
        let found = dependencies(&metadata, package);
        for engine in ["s3s", "dynoxide-rs", "rusqlite"] {
            assert!(!found.contains(engine), "{package} links {engine}");
        }
    }
}

#[test]
fn core_and_the_types_of_the_api_know_no_http_server() {
    let metadata = metadata();
    for package in ["xfiles-core", "xfiles-api-types"] {
        let found = dependencies(&metadata, package);
        for forbidden in ["axum", "hyper", "lambda_http", "tower"] {
            assert!(!found.contains(forbidden), "{package} depends on {forbidden}");
        }
    }
}

#[test]
fn the_types_of_the_api_do_no_input_or_output() {
    // `xfiles-core` has the values that they are made of; nothing else may bring a runtime, a socket or a file.
    let found = dependencies(&metadata(), "xfiles-api-types");
    let allowed = ["serde", "serde_json", "xfiles-core"].map(str::to_owned).into();
    assert_eq!(found, allowed);
}

fn rust_files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            rust_files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

#[test]
fn only_tests_look_behind_the_operations() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut sources = Vec::new();
    for package in ["api-types", "control-api", "edge-variants", "cleanup-cron", "standalone", "cli"] {
        rust_files(&root.join(package).join("src"), &mut sources);
    }
    assert!(sources.len() > 100, "{sources:?}");
    for source in sources {
        let text = fs::read_to_string(&source).unwrap();
        for store in ["catalog", "blobs", "cdn"] {
            let door = format!("inspect().{store}");
            assert!(!text.contains(&door), "{} uses the stores instead of an operation", source.display());
        }
    }
}
