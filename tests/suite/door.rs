//! The steps, targets and paths that documents and workflows name exist.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

#[test]
fn the_ci_jobs_cover_every_step() {
    let script = read(".ci/run");
    let steps = script.lines().find_map(|line| line.strip_prefix("STEPS=(")?.strip_suffix(')')).unwrap();
    let steps: BTreeSet<&str> = steps.split(' ').collect();
    for step in &steps {
        assert!(script.contains(&format!("step_{step}() ")), ".ci/run has no step_{step}");
    }
    let workflow = read(".github/workflows/ci.yml");
    let named = workflow.lines().filter_map(|line| line.split_once("steps: ")?.1.strip_suffix(" }"));
    assert_eq!(named.flat_map(|names| names.split(' ')).collect::<BTreeSet<_>>(), steps);
}

#[test]
fn the_weekly_fuzz_job_has_every_target() {
    let tests = |path: &str| -> Vec<String> {
        let text = read(path);
        let lines: Vec<&str> = text.lines().collect();
        let tests = lines.windows(2).filter(|pair| pair[0] == "#[test]");
        tests.filter_map(|pair| Some(pair[1].strip_prefix("fn ")?.strip_suffix("() {")?.to_owned())).collect()
    };
    let mut targets: BTreeSet<String> = tests("tests/suite/fuzzing.rs").into_iter().collect();
    assert!(targets.len() > 5, "{targets:?}");
    for codec in fs::read_dir(root().join("codecs")).unwrap().map(|entry| entry.unwrap()) {
        if codec.file_type().unwrap().is_dir() {
            let codec = codec.file_name().into_string().unwrap();
            let own = tests(&format!("codecs/{codec}/tests/fuzz.rs"));
            assert!(!own.is_empty(), "codecs/{codec} has a fuzz target");
            targets.extend(own.iter().map(|name| format!("-p xfiles-{codec} {name}")));
        }
    }
    let workflow = read(".github/workflows/fuzz.yml");
    let named = workflow.lines().filter_map(|line| line.strip_prefix("          - "));
    let named: BTreeSet<String> = named.map(str::to_owned).collect();
    assert_eq!(named, targets);
}

#[test]
fn the_paths_that_contributing_names_exist() {
    let text = read("CONTRIBUTING.md");
    let rows = text.lines().filter_map(|line| line.strip_prefix("| which ").or_else(|| line.strip_prefix("| ")));
    let rows: Vec<&str> = rows.filter_map(|row| row.split('`').nth(1)).collect();
    assert!(rows.len() >= 10, "{rows:?}");
    let named = text.split('`').skip(1).step_by(2).filter(|word| word.contains('/') && !word.contains([' ', ':', '<']));
    for path in named {
        assert!(root().join(path).exists(), "CONTRIBUTING.md names {path}, which does not exist");
    }
}

#[test]
fn every_relative_link_of_the_documents_leads_to_a_file() {
    let folders = [".", "codecs", "docs", "infra", "localstack", "tests/fixtures"];
    let mut links = 0;
    for folder in folders {
        for entry in fs::read_dir(root().join(folder)).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_none_or(|extension| extension != "md") {
                continue;
            }
            let text = fs::read_to_string(&path).unwrap();
            for link in text.split("](").skip(1).filter_map(|rest| rest.split([')', '#']).next()) {
                // ARCHITECTURE.md is also the documentation of `core`, where a link names an item.
                let elsewhere = link.contains("://") || link.contains("::") || link.starts_with("mailto:");
                if !elsewhere && link.contains(['.', '/']) {
                    links += 1;
                    let target = path.parent().unwrap().join(link);
                    assert!(target.exists(), "{} links to {link}, which does not exist", path.display());
                }
            }
        }
    }
    assert!(links > 20, "{links}");
}
