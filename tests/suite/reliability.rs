//! The tables in docs/reliability.md: every test that they name exists, and the rows are numbered without gaps.

use std::{fs, path::Path};

/// A row of the tables: its number and its tests.
fn rows() -> Vec<(String, Vec<(String, String)>)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let text = fs::read_to_string(root.join("docs/reliability.md")).unwrap();
    let cells = |line: &str| line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect::<Vec<_>>();
    let of_table = text.lines().filter(|line| line.starts_with("| I") || line.starts_with("| F")).map(cells);
    of_table
        .map(|cells| {
            let named = cells[2].split('`').skip(1).step_by(2);
            let named =
                named.map(|name| name.split_once("::").unwrap_or_else(|| panic!("{name} names a file and a test")));
            (cells[0].clone(), named.map(|(file, test)| (file.to_owned(), test.to_owned())).collect())
        })
        .collect()
}

#[test]
fn every_test_named_in_the_reliability_tables_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    for (number, named) in rows() {
        assert!(!named.is_empty(), "{number} names no test");
        for (file, test) in named {
            let text = fs::read_to_string(root.join(&file)).unwrap_or_else(|e| panic!("{number}: {file}: {e}"));
            assert!(text.contains(&format!("fn {test}(")), "{number}: {file} has no {test}");
        }
    }
}

#[test]
fn the_rows_of_guarantees_and_faults_are_numbered_without_gaps() {
    let numbers: Vec<String> = rows().into_iter().map(|(number, _)| number).collect();
    let (promises, faults): (Vec<_>, Vec<_>) = numbers.into_iter().partition(|number| number.starts_with('I'));
    for (letter, numbers, least) in [("I", promises, 36), ("F", faults, 36)] {
        assert!(numbers.len() >= least, "{letter}: {}", numbers.len());
        let in_order = (1..=numbers.len()).map(|number| format!("{letter}{number}"));
        assert!(numbers.iter().cloned().eq(in_order), "{numbers:?}");
    }
}
