//! Inside core, no module imports from a module that imports from it, directly or through others.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// A module by the segments of its path inside the crate.
type Module = Vec<String>;

fn modules(folder: &Path, prefix: &[String], found: &mut BTreeMap<Module, PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let mut module = prefix.to_vec();
        if path.is_dir() {
            module.push(name);
            modules(&path, &module, found);
        } else if name == "mod" {
            found.insert(module, path);
        } else if name != "lib" {
            module.push(name);
            found.insert(module, path);
        }
    }
}

/// The code of a file without its comments and its unit tests.
fn code(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap();
    let text = text.split("#[cfg(test)]\nmod ").next().unwrap();
    text.lines().map(|line| line.split("//").next().unwrap()).collect::<Vec<_>>().join("\n")
}

/// Every path that the tree of a `use` names.
fn leaves(tree: &str, prefix: &[String], found: &mut Vec<Vec<String>>) {
    let segments = |path: &str| {
        let words = path.split("::").map(|word| word.split_whitespace().next().unwrap_or_default().to_owned());
        prefix.iter().cloned().chain(words.filter(|word| !word.is_empty())).collect::<Vec<_>>()
    };
    let Some((path, group)) = tree.split_once('{') else {
        return found.push(segments(tree));
    };
    let (path, group) = (segments(path), group.rsplit_once('}').map_or(group, |(group, _)| group));
    let (mut depth, mut start) = (0, 0);
    for (at, c) in group.char_indices().chain([(group.len(), ',')]) {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                if !group[start..at].trim().is_empty() {
                    leaves(&group[start..at], &path, found);
                }
                start = (at + 1).min(group.len());
            }
            _ => {}
        }
    }
}

/// Every path of the crate that a file names: in its imports, and in its code.
fn paths(code: &str) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices("use ") {
        if code[..at].chars().next_back().is_none_or(char::is_whitespace) {
            leaves(code[at + 4..].split(';').next().unwrap(), &[], &mut found);
        }
    }
    for root in ["crate::", "super::"] {
        for (at, _) in code.match_indices(root) {
            let end = code[at..].find(|c: char| c != ':' && c != '_' && !c.is_alphanumeric());
            let path = &code[at..end.map_or(code.len(), |end| at + end)];
            found.push(path.split("::").filter(|word| !word.is_empty()).map(str::to_owned).collect());
        }
    }
    found
}

/// Where a path leads that a module names: the longest beginning of it that is a module.
fn target(from: &[String], path: &[String], modules: &BTreeMap<Module, PathBuf>) -> Option<Module> {
    let mut at = match path.first().map(String::as_str) {
        Some("crate") => Vec::new(),
        Some("self") => from.to_vec(),
        Some("super") => from[..from.len() - 1].to_vec(),
        _ => return None,
    };
    for word in &path[1..] {
        match word.as_str() {
            "super" => drop(at.pop()),
            word => at.push(word.to_owned()),
        }
    }
    // Modules that the crate's root names again.
    let folder = match at.first().map(String::as_str) {
        Some("event" | "file" | "webhook") => Some("records"),
        Some("blobs" | "catalog" | "cdn") => Some("stores"),
        _ => None,
    };
    let at: Vec<String> = folder.map(str::to_owned).into_iter().chain(at).collect();
    (1..=at.len()).rev().map(|length| at[..length].to_vec()).find(|module| modules.contains_key(module))
}

#[test]
fn the_modules_of_core_import_from_each_other_in_one_direction_only() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../core/src");
    let mut modules_of_core = BTreeMap::new();
    modules(&root, &[], &mut modules_of_core);
    assert!(modules_of_core.len() > 40, "{modules_of_core:?}");
    let mut reached: BTreeMap<Module, BTreeSet<Module>> = BTreeMap::new();
    for (module, path) in &modules_of_core {
        let named = paths(&code(path));
        let targets = named.iter().filter_map(|path| target(module, path, &modules_of_core));
        // A folder's file and the files in the folder belong together.
        let others = targets.filter(|other| !other.starts_with(module) && !module.starts_with(other));
        reached.insert(module.clone(), others.collect());
    }
    loop {
        let before = reached.clone();
        for targets in reached.values_mut() {
            let further: BTreeSet<Module> = targets.iter().flat_map(|target| before[target].clone()).collect();
            targets.extend(further);
        }
        if reached == before {
            break;
        }
    }
    let circles: Vec<String> =
        reached.iter().filter(|(module, targets)| targets.contains(*module)).map(|(m, _)| m.join("::")).collect();
    assert!(circles.is_empty(), "these modules import from each other in a circle: {circles:?}");
}
