//! What to say of a name that a request has and the API does not: the nearest name that it knows.

use crate::{
    problem::{FieldError, FieldRule},
    wire::At,
};

/// How many unknown names one refusal lists: a body may hold thousands.
const MAX_LISTED: usize = 20;

/// The longest part of an unknown name that a refusal repeats, in characters.
const MAX_ECHO: usize = 64;

/// How many edits apart two names may be to be taken for each other, by the length of the longer one.
const fn tolerance(length: usize) -> usize {
    match length {
        0..=3 => 1,
        4..=7 => 2,
        _ => 3,
    }
}

/// The faults of the names that are not known, in the object or query at `at`; `what` is what they would be, such as `field`.
pub fn unknown<'n>(names: impl Iterator<Item = &'n str>, known: &[&str], at: &At<'_>, what: &str) -> Vec<FieldError> {
    let unknown = names.filter(|name| !known.contains(name)).take(MAX_LISTED);
    unknown
        .map(|name| {
            let shown: String = name.chars().take(MAX_ECHO).collect();
            let detail = match (nearest(name, known), known) {
                (Some(near), _) => format!("is no {what} of this request; did you mean `{near}`?"),
                (None, []) => format!("is no {what} of this request, which takes none"),
                (None, known) => format!("is no {what} of this request; it knows `{}`", known.join("`, `")),
            };
            FieldError { pointer: At::Field(at, &shown).to_string(), code: FieldRule::Unknown, detail }
        })
        .collect()
}

/// The known name that a writer most likely meant.
pub fn nearest<'k>(name: &str, known: &[&'k str]) -> Option<&'k str> {
    if name.len() > MAX_ECHO {
        return None;
    }
    let letters = |text: &str| text.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_lowercase();
    let wanted = letters(name);
    let distances = known.iter().map(|known| (edits(&wanted, &letters(known)), *known));
    let (distance, near) = distances.min_by_key(|(distance, _)| *distance)?;
    let longer = wanted.len().max(near.len());
    (distance <= tolerance(longer) && distance < longer).then_some(near)
}

/// How many insertions, deletions, replacements and swaps of neighbours make one text of the other (the restricted
/// Damerau-Levenshtein distance).
fn edits(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows = vec![vec![0; b.len() + 1]; a.len() + 1];
    for i in 0..=a.len() {
        for j in 0..=b.len() {
            rows[i][j] = if i == 0 || j == 0 {
                i + j
            } else {
                let replaced = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
                let cheapest = replaced.min(rows[i - 1][j] + 1).min(rows[i][j - 1] + 1);
                let swaps = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
                if swaps { cheapest.min(rows[i - 2][j - 2] + 1) } else { cheapest }
            };
        }
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_name_is_answered_with_the_nearest_known_one() {
        let key = ["name", "scopes", "expiresIn"];
        let file = ["filename", "contentType", "size", "visibility", "ownerUserId", "entity", "transformations"];
        for (name, known, near) in [
            ("scope", &key[..], Some("scopes")),
            ("expires_in", &key, Some("expiresIn")),
            ("expires-in", &key, Some("expiresIn")),
            ("EXPIRESIN", &key, Some("expiresIn")),
            ("visiblity", &file, Some("visibility")),
            ("content_type", &file, Some("contentType")),
            ("fileName", &file, Some("filename")),
            ("owner", &file, None),
            ("colour", &file, None),
            ("", &file, None),
        ] {
            assert_eq!(nearest(name, known), near, "{name}");
        }
    }

    #[test]
    fn a_refusal_repeats_no_more_than_the_beginning_of_a_name_and_lists_no_more_than_twenty() {
        let names: Vec<String> = (0..50).map(|i| format!("{i}{}", "x".repeat(1000))).collect();
        let faults = unknown(names.iter().map(String::as_str), &["a"], &At::Body, "field");
        assert_eq!(faults.len(), MAX_LISTED);
        assert!(faults.iter().all(|fault| fault.pointer.len() <= MAX_ECHO + 1));
    }

    #[test]
    fn a_pointer_escapes_what_rfc_6901_reserves() {
        let faults = unknown(["a/b~c"].into_iter(), &[], &At::Field(&At::Body, "entity"), "field");
        assert_eq!(faults[0].pointer, "/entity/a~1b~0c");
    }
}
