//! The ready file: the addresses and keys of a running server for scripts. It exists exactly while the server is ready.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use serde::Serialize;
use xfiles_core::id::ProjectId;
use xfiles_standalone::secrets::write_private;

/// The content of the ready file. It contains secrets, so it has no `Debug` and only its owner can read the file.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Ready<'a> {
    pub(super) url: &'a str,
    pub(super) cdn_url: &'a str,
    /// The URL of the metrics; absent if they are disabled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) metrics_url: Option<String>,
    pub(super) project_id: ProjectId,
    /// Only if this start created a key, because raw keys are not stored.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) api_key: Option<&'a str>,
    pub(super) s3: ReadyStore<'a>,
}

/// The access to the object store for any S3 client.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ReadyStore<'a> {
    pub(super) endpoint: &'a str,
    pub(super) region: &'a str,
    pub(super) bucket: &'a str,
    pub(super) access_key_id: &'a str,
    pub(super) secret_access_key: &'a str,
}

/// A ready file on disk; dropping it removes it.
pub(super) struct ReadyFile {
    path: PathBuf,
}

impl ReadyFile {
    /// Removes the file at `path`, so that it is not mistaken for this run's.
    pub(super) fn take(path: &Path) -> io::Result<Option<Vec<u8>>> {
        match fs::read(path).and_then(|bytes| fs::remove_file(path).map(|()| bytes)) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Writes the file atomically, readable by its owner only.
    pub(super) fn write(path: &Path, ready: &Ready<'_>) -> io::Result<Self> {
        let text = serde_json::to_vec_pretty(ready).expect("texts are JSON");
        write_private(path, &text)?;
        Ok(Self { path: path.to_owned() })
    }
}

impl Drop for ReadyFile {
    fn drop(&mut self) {
        // The server is stopping, so a failure cannot be handled; the next start removes the file.
        drop(fs::remove_file(&self.path));
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use serde_json::{Value, json};

    use super::*;

    fn ready(api_key: Option<&str>) -> Ready<'_> {
        let s3 = ReadyStore {
            endpoint: "http://127.0.0.1:2",
            region: "us-east-1",
            bucket: "b",
            access_key_id: "a",
            secret_access_key: "s",
        };
        Ready {
            url: "http://127.0.0.1:1",
            cdn_url: "http://127.0.0.1:1",
            metrics_url: Some("http://127.0.0.1:3/metrics".to_owned()),
            project_id: "abcdefghijkl".parse().unwrap(),
            api_key,
            s3,
        }
    }

    #[test]
    fn the_ready_file_is_complete_private_and_removed_with_the_server() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ready.json");
        fs::write(&path, "stale").unwrap();
        let file = ReadyFile::write(&path, &ready(Some("k"))).unwrap();

        let parsed: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        let s3 = json!({"endpoint": "http://127.0.0.1:2", "region": "us-east-1", "bucket": "b", "accessKeyId": "a",
            "secretAccessKey": "s"});
        let url = "http://127.0.0.1:1";
        let metrics = "http://127.0.0.1:3/metrics";
        let all = json!({
            "url": url, "cdnUrl": url, "metricsUrl": metrics, "projectId": "abcdefghijkl", "apiKey": "k", "s3": s3,
        });
        assert_eq!(parsed, all);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        drop(file);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn the_api_key_is_absent_if_none_was_created() {
        assert!(serde_json::to_value(ready(None)).unwrap().get("apiKey").is_none());
    }
}
