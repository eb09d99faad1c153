//! `xf upload` cancels its unfinished uploads on the server when it is interrupted or fails.

use std::{fs, net::TcpListener, path::Path, process::Stdio};

use super::{Command, Server, run, xf};

/// A server whose upload URLs lead to a listener of the test.
fn server(folder: &Path) -> (Server, TcpListener) {
    let store = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("http://{}", store.local_addr().expect("a bound socket has an address"));
    (Server::start_with(folder, &["--s3-public-url", &url]), store)
}

fn client(folder: &Path, server: &Server) -> Command {
    let mut command = xf(folder);
    command.env("XFILES_URL", server.text("url")).env("XFILES_API_KEY", server.text("apiKey"));
    command
}

#[test]
fn an_interrupt_cancels_the_uploads_in_progress() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["a.txt", "b.txt"] {
        fs::write(folder.path().join(name), "hello").unwrap();
    }
    for signal in ["-INT", "-TERM"] {
        let (server, store) = server(folder.path());
        let upload = client(folder.path(), &server)
            .args(["upload", "a.txt", "b.txt"])
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // Both have begun and are sending, to a store that does not respond.
        let sending = (store.accept().unwrap(), store.accept().unwrap());
        let (_, pending, note) = run(client(folder.path(), &server).args(["ls", "--pending"]));
        assert!(pending.contains("a.txt") && pending.contains("b.txt"), "{pending}");
        assert!(note.contains("2 pending uploads, 10 B reserved"), "{note}");

        assert!(Command::new("kill").args([signal, &upload.id().to_string()]).status().unwrap().success());
        let ended = upload.wait_with_output().unwrap();
        assert_eq!(ended.status.code(), Some(130));
        let said = String::from_utf8(ended.stderr).unwrap();
        assert!(said.contains("interrupted; cancelled on the server: 2 uploads"), "{said}");
        drop(sending);
        let (_, pending, note) = run(client(folder.path(), &server).args(["ls", "--pending"]));
        assert_eq!((pending.as_str(), note.contains("no pending uploads")), ("", true), "{note}");
        assert_eq!(server.terminate(), Some(0));
        fs::remove_dir_all(folder.path().join(".xfiles")).unwrap();
    }
}

#[test]
fn a_failed_upload_is_cancelled() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a.txt"), "hello").unwrap();
    let (server, store) = server(folder.path());
    // Nothing listens at the upload URL any more.
    drop(store);
    let (code, _, said) = run(client(folder.path(), &server).args(["upload", "a.txt"]));
    assert_eq!(code, Some(3), "{said}");
    let (_, pending, note) = run(client(folder.path(), &server).args(["ls", "--pending", "--json"]));
    assert_eq!(serde_json::from_str::<serde_json::Value>(&pending).unwrap()["files"], serde_json::json!([]), "{note}");
    assert_eq!(server.terminate(), Some(0));
}
