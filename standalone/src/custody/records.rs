//! Reads the records of files in the metadata engine's format, without the engine, and compares them with the index.

use rusqlite::{Connection, OptionalExtension as _, Row};
use xfiles_core::{
    catalog::file_from_json,
    file::{File, State},
};

use super::database::{Piece, has_table};
use crate::engines::{BUCKET, TABLE};

/// Published files without an object in the index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Disagreement {
    /// The number of these files.
    pub(crate) files: u64,
    /// The id of one of them.
    pub(crate) example: String,
}

/// Calls `visit` with every record of a file, in any state. Returns an error if a record cannot be parsed.
pub(super) fn each(table: &Connection, mut visit: impl FnMut(File) -> Result<(), String>) -> Result<(), String> {
    let said = |error: rusqlite::Error| error.to_string();
    // The engine prefixes a key with its type. Keys of files begin with `F#`, and `$` sorts after `#`.
    let mut select = table
        .prepare(&format!("SELECT pk, item_json FROM \"{TABLE}\" WHERE pk >= 'S:F#' AND pk < 'S:F$' ORDER BY pk"))
        .map_err(said)?;
    let mut rows = select.query([]).map_err(said)?;
    while let Some(row) = rows.next().map_err(said)? {
        let (key, item): (String, String) = (row.get(0).map_err(said)?, row.get(1).map_err(said)?);
        let json = serde_json::from_str(&item).map_err(|e| format!("the record {key}: {e}"))?;
        let file = file_from_json(&json).map_err(|e| format!("the record {key}: {e}"))?;
        if key != format!("S:F#{}", file.id) {
            return Err(format!("the record {key} belongs to another file"));
        }
        visit(file)?;
    }
    Ok(())
}

/// Looks up the object of each published file in the index. `None` if all exist.
pub(super) fn compare(index: &Connection, table: &Connection) -> Result<Option<Disagreement>, (Piece, String)> {
    // A first start that was killed may not have created its tables.
    if !has_table(table, TABLE).map_err(|e| (Piece::Table, e.to_string()))? {
        return Ok(None);
    }
    let has_rows = has_table(index, "objects").map_err(|e| (Piece::Index, e.to_string()))?;
    let mut found: Option<Disagreement> = None;
    let mut unreadable = None;
    let rows = has_rows.then(|| index.prepare("SELECT md5, size FROM objects WHERE bucket = ? AND key = ?"));
    let mut rows = rows.transpose().map_err(|e| (Piece::Index, e.to_string()))?;
    let read = each(table, |file| {
        let Some(etag) = published_etag(&file) else { return Ok(()) };
        let key = file.original_key().to_string();
        let read = |row: &Row<'_>| Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?));
        let row = rows.as_mut().map(|rows| rows.query_row((BUCKET, key.as_bytes()), read).optional());
        let row = row.transpose().map_err(|e| unreadable.insert(e.to_string()).clone())?.flatten();
        let is_there = row.is_some_and(|(md5, size)| md5 == etag && u64::try_from(size) == Ok(file.size.bytes()));
        if !is_there {
            let example = file.id.to_string();
            found.get_or_insert(Disagreement { files: 0, example }).files += 1;
        }
        Ok(())
    });
    match (read, unreadable) {
        (_, Some(reason)) => Err((Piece::Index, reason)),
        (Err(reason), None) => Err((Piece::Table, reason)),
        (Ok(()), None) => Ok(found),
    }
}

/// The MD5 of the published bytes of a file in hex; `None` if it is not published.
pub(super) fn published_etag(file: &File) -> Option<&str> {
    match &file.state {
        State::Confirmed { etag, .. } | State::Moving { etag, .. } => Some(etag.trim_matches('"')),
        State::Pending
        | State::Confirming { .. }
        | State::Expiring
        | State::Deleting { .. }
        | State::Removed { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use xfiles_core::{
        catalog::{Catalog, Project},
        clock::{Clock, Timestamp},
        intent::{ByteSize, OriginalFilename, UploadIntent, VariantPolicy},
        object_key::Visibility,
    };

    use super::*;
    use crate::{custody::database::View, dynamodb::Dynamo, engines::dynamodb_client, s3::salvage::Rows};

    #[tokio::test]
    async fn a_published_record_without_its_object_is_found() {
        let data = tempfile::tempdir().unwrap();
        let now = Timestamp::from_millis(1_760_000_000_000);
        let dynamo = Dynamo::open(&Piece::Table.path(data.path())).unwrap();
        let catalog = Catalog::new(dynamodb_client(dynamo.http_client(), Clock::manual(now)), TABLE);
        catalog.create_table().await.unwrap();
        let project = Project::new("p", 1_000, now);
        catalog.create_project(&project).await.unwrap();
        let intent = UploadIntent {
            original_filename: OriginalFilename::new("a.txt").unwrap(),
            content_type: "text/plain".parse().unwrap(),
            size: ByteSize::new(13).unwrap(),
            visibility: Visibility::Public,
            owner: None,
            entity: None,
            variants: VariantPolicy::default(),
            checksum: None,
        };
        let pending = File::begin(project.id, intent, now);
        let published =
            pending.claim("\"0123\"".to_owned(), None, now).unwrap().finish("\"0123\"".to_owned(), now).unwrap();
        catalog.readmit(&published).await.unwrap();
        catalog.readmit(&published).await.unwrap();
        assert_eq!(catalog.projects().await.unwrap()[0].free_bytes, 987);
        drop((catalog, dynamo));

        std::fs::create_dir(data.path().join("objects")).unwrap();
        Rows::default().write(&Piece::Index.path(data.path())).unwrap();
        let [index, table] = Piece::ALL.map(|piece| View::open(piece, data.path()).unwrap().connection);
        let mut found = Vec::new();
        each(&table, |file| {
            found.push(file);
            Ok(())
        })
        .unwrap();
        assert_eq!(found, std::slice::from_ref(&published));
        let missing = Disagreement { files: 1, example: published.id.to_string() };
        assert_eq!(compare(&index, &table).unwrap(), Some(missing));
    }
}
