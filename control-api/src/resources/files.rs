//! What of a confirmed file can change, and its end.

use std::time::Duration;

use axum::extract::State;
use serde_json::json;
use xfiles_api_types::{
    files::{
        BatchOfDeletions, DeleteQuery, DeletedAnswer, Deletion, DeletionResult, Done, EntityFilters, File, FileAnswer,
        FileChange, FileOrder, FilesAnswer, FilesToDelete,
    },
    problem::{Code, FieldError},
    wire::{List, Object as _, Wire as _, to_json},
    words::{Etag, FILE, PROJECT},
};
use xfiles_core::error::Error;

use crate::{
    Api,
    answer::{Answer, Json, Versioned},
    auth::{By, Delete, Write},
    error::Problem,
    extract::{Body, EntityAt, FileAt, IfMatch, Query},
    operation::{Resource, delete, patch, post, put},
};

/// How long one request goes on deleting: it must answer within the 30 s that an HTTP API allows.
const DELETE_TIME: Duration = Duration::from_secs(20);

pub(super) fn resource() -> Resource {
    let erased = json!({
        "success": true,
        "objects": [format!("staging/{PROJECT}/{FILE}/photo-k3v9x2.jpg")],
        "paths": [format!("/files/originals/public/{PROJECT}/{FILE}/*")],
        "unverifiedPaths": [],
    });
    let not_found = to_json(&Problem::new(Code::FileNotFound).item());
    let operations = vec![
        patch("/api/v1/files/{id}", "changeFile", change)
            .says(
                "Change a file",
                "Changes owner, position, visibility or transformations of a confirmed file. Another visibility moves \
                 the bytes between the public and the private path; another visibility of the variants, or their end, \
                 removes those that exist. When it answers, nothing is left at the old place.",
            )
            .or_reads("variants", json!({"transformations": {"image": {"enabled": true, "visibility": "public"}}}))
            .refuses([Code::NoEntity, Code::FileNotFound, Code::Conflict, Code::PreconditionFailed]),
        put("/api/v1/entities/{type}/{id}/order", "orderFiles", order)
            .says(
                "Put an entity's files in order",
                "Gives the files of one entity the positions 0, 1, 2 and so on, as they are listed, at most 98: all of \
                 them, or none when one is missing or belongs to another entity.",
            )
            .refuses([Code::NoEntity, Code::FileNotFound, Code::Conflict]),
        delete("/api/v1/files/{id}", "deleteFile", delete_file)
            .says(
                "Delete a file",
                "Removes the original, all variants, cached copies and the record, and gives the quota back. On an \
                 upload that is not confirmed, ends it at once. With `erase=true` it then looks at every key and every \
                 CDN path that the file could have had, and answers the list of what it found gone; an erasure that \
                 was interrupted can be repeated.",
            )
            .or_answers("erased", erased)
            .refuses([Code::FileNotFound, Code::Conflict, Code::PreconditionFailed]),
        delete("/api/v1/files", "deleteFiles", delete_matching)
            .says(
                "Delete the files of an entity",
                "Deletes every confirmed file that matches; at least one filter is needed, and a parameter that is \
                 none is refused. `more` is true when the time of one request was not enough: the same request again \
                 goes on.",
            )
            .or_answers("more to do", json!({"deleted": 5200, "more": true})),
        post("/api/v1/files/delete", "deleteListedFiles", delete_listed)
            .says(
                "Delete files by their ids",
                "Up to 1,000 at once, each for itself; the results come in the order of the ids.",
            )
            .or_answers("one refused", json!({"results": [Done::example(), not_found]})),
    ];
    Resource { name: "Changing", description: "What of a confirmed file can change, and its end.", operations }
}

async fn change(
    State(api): State<Api>,
    by: By<Write>,
    FileAt(id): FileAt,
    IfMatch(revision): IfMatch,
    Body(change): Body<FileChange>,
) -> Result<Versioned<FileAnswer>, Problem> {
    let file = api.files.patch(by.project, id, &change.into(), revision).await?;
    Ok(Versioned(FileAnswer { file: File::from(&file) }, Etag::of(&file)))
}

async fn order(
    State(api): State<Api>,
    by: By<Write>,
    EntityAt(kind, id): EntityAt,
    Body(asked): Body<FileOrder>,
) -> Answer<FilesAnswer> {
    let ids: Option<Vec<_>> = asked.file_ids.0.iter().map(|id| id.0).collect();
    let files = api.files.order(by.project, &kind, &id, &ids.ok_or(Error::FileNotFound)?).await?;
    Ok(Json(FilesAnswer { files: files.iter().map(File::from).collect() }))
}

async fn delete_file(
    State(api): State<Api>,
    by: By<Delete>,
    FileAt(id): FileAt,
    IfMatch(revision): IfMatch,
    Query(query): Query<DeleteQuery>,
) -> Answer<Deletion> {
    if query.erase {
        return Ok(Json(api.files.erase(by.project, id, revision).await?.into()));
    }
    api.files.delete(by.project, id, revision).await?;
    Ok(Json(Deletion::DONE))
}

async fn delete_matching(
    State(api): State<Api>,
    by: By<Delete>,
    Query(filters): Query<EntityFilters>,
) -> Answer<DeletedAnswer> {
    if filters.given().is_empty() {
        let rule = "or `entityId` or `role` is required";
        return Err(Problem::invalid(vec![FieldError::invalid("?entityType", rule)]));
    }
    let bulk = api.files.delete_matching(by.project, &filters.into(), DELETE_TIME).await?;
    Ok(Json(DeletedAnswer { deleted: bulk.deleted, more: bulk.more.then_some(true) }))
}

async fn delete_listed(
    State(api): State<Api>,
    by: By<Delete>,
    Body(asked): Body<FilesToDelete>,
) -> Answer<BatchOfDeletions> {
    let ids: Vec<_> = asked.file_ids.0.iter().map(|id| id.0).collect();
    let known: Vec<_> = ids.iter().flatten().copied().collect();
    let mut deleted = api.files.delete_all(by.project, &known, DELETE_TIME).await.into_iter();
    let result = |id: &Option<_>| match id.and_then(|_| deleted.next()).unwrap_or(Err(Error::FileNotFound)) {
        Ok(()) => DeletionResult::Done(Done { success: true }),
        Err(error) => DeletionResult::Refused(Problem::of_item(error)),
    };
    Ok(Json(BatchOfDeletions { results: List(ids.iter().map(result).collect()) }))
}
