//! Which crates may depend on which.

use std::{collections::BTreeSet, process::Command};

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
        ("xfiles-control-api", &["xfiles-core"]),
        ("xfiles-av1", &[]),
        ("xfiles-jpeg", &[]),
        ("xfiles-vp8", &[]),
        ("xfiles-webp-planes", &[]),
        ("xfiles-edge-variants", &["xfiles-core", "xfiles-av1", "xfiles-jpeg", "xfiles-vp8", "xfiles-webp-planes"]),
        ("xfiles-cleanup-cron", &["xfiles-core"]),
        ("xfiles-standalone", &["xfiles-core", "xfiles-control-api", "xfiles-edge-variants", "xfiles-cleanup-cron"]),
        ("xfiles-cli", &["xfiles-core", "xfiles-standalone"]),
    ] {
        let ours = dependencies(&metadata, package).into_iter().filter(|name| name.starts_with("xfiles-"));
        let forbidden: Vec<String> = ours.filter(|name| !allowed.contains(&name.as_str())).collect();
        assert!(forbidden.is_empty(), "{package} sees {forbidden:?}");
    }
}

#[test]
fn no_lambda_crate_links_an_embedded_engine() {
    let metadata = metadata();
    for package in ["xfiles-core", "xfiles-control-api", "xfiles-edge-variants", "xfiles-cleanup-cron"] {
        let found = dependencies(&metadata, package);
        for engine in ["s3s", "dynoxide-rs", "rusqlite"] {
            assert!(!found.contains(engine), "{package} links {engine}");
        }
    }
}

#[test]
fn core_does_not_depend_on_an_http_server() {
    let found = dependencies(&metadata(), "xfiles-core");
    for forbidden in ["axum", "hyper", "lambda_http", "tower"] {
        assert!(!found.contains(forbidden), "core depends on {forbidden}");
    }
}
