//! The message of `xf serve` when it is ready: the addresses and, at the first start, a block to paste into a shell.

use std::path::{self, Path};

use crate::output::shell_word;

/// The properties of the running server that are shown.
pub(super) struct Running<'a> {
    pub(super) url: &'a str,
    pub(super) store_url: &'a str,
    /// The URL of the metrics, if they are enabled.
    pub(super) metrics_url: Option<&'a str>,
    pub(super) bucket: &'a str,
    /// The data directory; `None` if the data is deleted at the end.
    pub(super) data: Option<&'a Path>,
    pub(super) project_id: &'a str,
    /// The command by which this program can be called from any directory.
    pub(super) program: &'a str,
}

impl Running<'_> {
    pub(super) fn places(&self) -> String {
        let Self { url, store_url, bucket, project_id, .. } = self;
        let data = self.data.map_or_else(|| "temporary, deleted at the end".into(), Path::to_string_lossy);
        let metrics = self.metrics_url.map_or_else(String::new, |url| format!("  metrics   {url}/metrics\n"));
        format!(
            "XFiles is ready.\n  API, CDN  {url}\n  store     {store_url} (S3, bucket {bucket})\n{metrics}  \
             data      {data}\n  project   {project_id}"
        )
    }

    /// The message of the first start: the key, which is shown this once, and how to use it.
    pub(super) fn first_steps(&self, api_key: &str) -> String {
        let block = paste_block(self.url, api_key);
        format!(
            "The API key, shown this once (only its hash is kept):\n\n  {api_key}\n\n\
             Paste this into a shell. It uses photo.jpg of that directory, or fetches a sample; asks for an upload, sends the\n\
             photo, publishes it, and prints the address of a smaller version to open in a browser:\n\n{block}\n\n\
             With the variables that it sets, the same in one line:\n\n{} upload --public --variants photo.jpg\n\n\
             The API to read and try: {}/docs\n",
            self.program, self.url
        )
    }

    /// The first start, where the key is not printed.
    pub(super) fn place_of_key(&self, ready_file: Option<&Path>) -> String {
        match ready_file {
            Some(path) => format!(
                "The first API key is not printed, because standard output is no terminal; it is in {}, as apiKey.\n\n\
                 With XFILES_URL and XFILES_API_KEY set:\n\n{} upload --public --variants photo.jpg\n",
                shell_word(&path.to_string_lossy()),
                self.program
            ),
            None => format!(
                "The first API key is not printed, because standard output is no terminal, and there is no --ready-file.\n{}",
                self.new_key_hint()
            ),
        }
    }

    /// A later start: how to get a key when the first is lost.
    pub(super) fn new_key_hint(&self) -> String {
        let Self { program, project_id, .. } = self;
        let data = self.data.map(|path| path::absolute(path).unwrap_or_else(|_| path.to_owned()));
        let data = data.map_or_else(String::new, |path| format!(" --data {}", shell_word(&path.to_string_lossy())));
        format!(
            "API keys are shown only once. Create another with the first of these commands, or with the second one that manages\n\
             projects and keys too:\n\n  {program} keys create{data} --project {project_id}\n  \
             {program} keys create{data} --project {project_id} --admin\n"
        )
    }
}

/// The three calls for any POSIX shell with curl. The block has no comments, which zsh does not accept interactively,
/// and no exclamation marks, which shells expand.
fn paste_block(url: &str, api_key: &str) -> String {
    format!(
        r#"export XFILES_URL={url} XFILES_API_KEY={api_key}

test -s photo.jpg || curl -sS --fail -o photo.jpg "$XFILES_URL/docs/sample.jpg"

intent=$(curl -sS --fail-with-body "$XFILES_URL/api/v1/files/upload-intent" \
  -H "Authorization: Bearer $XFILES_API_KEY" -H "Content-Type: application/json" \
  -d "{{\"filename\": \"photo.jpg\", \"contentType\": \"image/jpeg\", \"size\": $(wc -c < photo.jpg), \"visibility\": \"public\",
       \"transformations\": {{\"image\": {{\"enabled\": true, \"visibility\": \"public\"}}}}}}") && echo "$intent" &&
curl -sS --fail-with-body -X PUT "$(echo "$intent" | sed 's|.*"uploadUrl": *"\([^"]*\)".*|\1|')" \
  -H "Content-Type: image/jpeg" --data-binary @photo.jpg &&
curl -sS --fail-with-body "$XFILES_URL/api/v1/files/confirm" \
  -H "Authorization: Bearer $XFILES_API_KEY" -H "Content-Type: application/json" \
  -d "{{\"fileId\": \"$(echo "$intent" | sed 's|.*"fileId": *"\([^"]*\)".*|\1|')\"}}" && echo &&
echo "Open $XFILES_URL/$(echo "$intent" | sed 's|.*"key": *"files/originals/\([^"]*\)[.][^"]*".*|files/variants/\1_w400.webp|')" ||
echo "It stopped at the answer above: $intent""#,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pasted_block_has_no_characters_that_an_interactive_shell_interprets() {
        let block = paste_block("http://127.0.0.1:8787", "xf_key");
        assert!(!block.contains('!') && !block.contains('#') && !block.contains('\t'));
    }
}
