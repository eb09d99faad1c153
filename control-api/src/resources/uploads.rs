//! Uploads, from an intent to a published file.

use axum::extract::State;
use serde_json::json;
use xfiles_api_types::{
    files::{
        BatchOfFiles, BatchOfUploads, File, FileAnswer, FileReference, FileReferences, FileResult, Upload,
        UploadIntent, UploadIntents, UploadResult,
    },
    problem::Code,
    wire::{List, Wire as _, to_json},
    words::Etag,
};
use xfiles_core::error::{Error, Result as CoreResult};

use crate::{
    Api,
    answer::{Answer, Json, Versioned},
    auth::{By, Write},
    error::Problem,
    extract::{Body, FileAt},
    operation::{Resource, post},
};

/// Why an upload may not begin.
const NOT_BEGUN: [Code; 5] =
    [Code::QuotaExceeded, Code::TooManyPendingUploads, Code::TooManyEndedUploads, Code::NotFound, Code::Conflict];

pub(super) fn resource() -> Resource {
    let refused = |code| to_json(&Problem::new(code).item());
    let operations = vec![
        post("/api/v1/files/upload-intent", "beginUpload", begin)
            .says(
                "Begin an upload",
                "Reserves quota and answers a URL that takes exactly one upload, and the headers it is sent with: \
                 a client that sends only `Content-Type` (and the length, as every HTTP library does) succeeds. The \
                 store refuses another type, length or path, and anything once the URL has ended. With a \
                 `checksumSha256` it refuses other bytes as well. What is not confirmed in time expires, and its quota \
                 is free again.",
            )
            .or_reads("smallest", json!({"filename": "notes.txt", "contentType": "text/plain", "size": 13}))
            .refuses(NOT_BEGUN),
        post("/api/v1/files/upload-intents", "beginUploads", begin_several)
            .says(
                "Begin several uploads",
                "Up to 100 intents at once; the results come in their order. A fault in any of them refuses the \
                 request. One that finds no room is refused alone, unless `allOrNothing` is true: then nothing is \
                 reserved.",
            )
            .or_answers("one refused", json!({"results": [Upload::example(), refused(Code::QuotaExceeded)]}))
            .refuses(NOT_BEGUN),
        post("/api/v1/files/confirm", "confirmUpload", confirm)
            .says(
                "Confirm an upload",
                "Checks that the bytes are there, that they have the declared size and type and begin as that type \
                 does, and publishes them. Bytes of another type end the upload. To confirm a confirmed file changes \
                 nothing and answers the same.",
            )
            .refuses([Code::NotUploaded, Code::FileNotFound, Code::Conflict, Code::ContentTypeMismatch]),
        post("/api/v1/files/confirms", "confirmUploads", confirm_several)
            .says(
                "Confirm several uploads",
                "Up to 100 at once, each for itself; the results come in the order of the ids.",
            )
            .or_answers("one refused", json!({"results": [FileAnswer::example(), refused(Code::NotUploaded)]})),
        post("/api/v1/files/{id}/resign", "renewUploadUrl", renew)
            .says(
                "Get a fresh upload URL",
                "For an upload that is not confirmed and whose URL has ended or was lost. The upload stays the same \
                 one and gets as long a life again.",
            )
            .refuses([Code::FileNotFound, Code::NotPending, Code::Conflict]),
    ];
    Resource { name: "Uploading", description: "From an intent to a published file.", operations }
}

async fn begin(State(api): State<Api>, by: By<Write>, Body(intent): Body<UploadIntent>) -> Answer<Upload> {
    Ok(Json(api.files.begin(by.uploader(), intent.into()).await?.into()))
}

async fn begin_several(
    State(api): State<Api>,
    by: By<Write>,
    Body(asked): Body<UploadIntents>,
) -> Answer<BatchOfUploads> {
    let UploadIntents { files: List(intents), all_or_nothing } = asked;
    let intents = intents.into_iter().map(Into::into).collect();
    let begun = if all_or_nothing {
        api.files.begin_all(by.uploader(), intents).await?.into_iter().map(Ok).collect()
    } else {
        api.files.begin_each(by.uploader(), intents).await
    };
    let result = |begun: CoreResult<_>| match begun {
        Ok(begun) => UploadResult::Done(Upload::from(begun)),
        Err(error) => UploadResult::Refused(Problem::of_item(error)),
    };
    Ok(Json(BatchOfUploads { results: List(begun.into_iter().map(result).collect()) }))
}

async fn confirm(
    State(api): State<Api>,
    by: By<Write>,
    Body(asked): Body<FileReference>,
) -> Result<Versioned<FileAnswer>, Problem> {
    let id = asked.file_id.0.ok_or(Error::FileNotFound)?;
    let file = api.files.confirm(by.project, id).await?;
    Ok(Versioned(FileAnswer { file: File::from(&file) }, Etag::of(&file)))
}

async fn confirm_several(
    State(api): State<Api>,
    by: By<Write>,
    Body(asked): Body<FileReferences>,
) -> Answer<BatchOfFiles> {
    let ids: Vec<_> = asked.file_ids.0.iter().map(|id| id.0).collect();
    let known: Vec<_> = ids.iter().flatten().copied().collect();
    let mut confirmed = api.files.confirm_each(by.project, &known).await.into_iter();
    let result = |id: &Option<_>| match id.and_then(|_| confirmed.next()).unwrap_or(Err(Error::FileNotFound)) {
        Ok(file) => FileResult::Done(FileAnswer { file: File::from(&file) }),
        Err(error) => FileResult::Refused(Problem::of_item(error)),
    };
    Ok(Json(BatchOfFiles { results: List(ids.iter().map(result).collect()) }))
}

async fn renew(State(api): State<Api>, by: By<Write>, FileAt(id): FileAt) -> Answer<Upload> {
    Ok(Json(api.files.resign(by.project, id).await?.into()))
}
