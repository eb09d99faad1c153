//! Tests of connections with processes and signals: few file descriptors, and a stop while clients keep connections
//! open.

use std::{
    fs::{self, File},
    io::{Read as _, Write as _},
    net::TcpStream,
    process::Command,
};

use super::{Client, SERVE, Server, xf};

fn connect(url: &str) -> TcpStream {
    TcpStream::connect(url.trim_start_matches("http://")).unwrap()
}

#[test]
fn clients_are_served_with_few_file_descriptors() {
    let folder = tempfile::tempdir().unwrap();
    let mut limited = Command::new("sh");
    let program = xf(folder.path()).get_program().to_owned();
    limited.args(["-c", "ulimit -n 64; exec \"$0\" \"$@\""]).arg(program).args(SERVE).current_dir(folder.path());
    let server = Server::run(&mut limited, folder.path());
    let client = Client::of(&server, server.text("apiKey"));
    let store = server.ready["s3"]["endpoint"].as_str().unwrap();
    let mut held = Vec::new();
    for n in 0..100 {
        let mut idle = [connect(server.text("url")), connect(store)];
        if n % 2 == 0 {
            // They may have been closed already.
            for stream in &mut idle {
                drop(stream.write_all(b"GET / HTTP/1.1\r\nhost"));
            }
        }
        held.push(idle);
    }
    for n in 0..10 {
        let intent = client.intent(&format!("{n}.txt"), 5).json();
        assert_eq!(client.put(intent["uploadUrl"].as_str().unwrap(), b"hello"), 200);
        assert_eq!(client.confirm(intent["fileId"].as_str().unwrap()).status, 200);
        assert_eq!(client.read(&format!("/{}", intent["key"].as_str().unwrap())).body, b"hello");
    }
    drop(held);
    assert_eq!(server.terminate(), Some(0));
}

#[test]
fn a_stop_closes_idle_connections_at_once_and_answers_waiting_clients() {
    let folder = tempfile::tempdir().unwrap();
    let log_path = folder.path().join("log");
    let log = File::create(&log_path).unwrap();
    let server = Server::run_logging(xf(folder.path()).args(SERVE), folder.path(), log);
    let client = Client::of(&server, server.text("apiKey"));
    let intent = client.intent("waited-for.txt", 5).json();
    let store = server.ready["s3"]["endpoint"].as_str().unwrap();

    let idle = [connect(server.text("url")), connect(store)];
    let mut half = [connect(server.text("url")), connect(store)];
    for stream in &mut half {
        stream.write_all(b"PUT / HTTP/1.1\r\nhost: x\r\n").unwrap();
    }
    let mut waiting = connect(server.text("url"));
    let (id, key) = (intent["fileId"].as_str().unwrap(), server.text("apiKey"));
    let head = format!("GET /api/v1/files/{id}?wait=25 HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\n\r\n");
    waiting.write_all(head.as_bytes()).unwrap();
    let mut metrics = String::new();
    while !metrics.contains("xfiles_connections_working 1\n") {
        metrics = String::from_utf8(client.read_url(server.text("metricsUrl")).body).unwrap();
    }

    server.signal("-TERM");
    let mut answer = String::new();
    waiting.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 404 ") && answer.contains("\"file_not_found\""), "{answer}");
    assert_eq!(server.wait(), Some(0));
    let log = fs::read_to_string(log_path).unwrap();
    assert!(!log.contains("did not finish in time"), "the stop waited for a connection: {log}");
    drop((idle, half));
}

#[test]
fn a_metrics_port_in_use_stops_the_start_only_if_it_was_given() {
    let folder = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let mut asked = xf(folder.path());
    asked.args(SERVE).args(["--metrics-listen", &address.to_string()]);
    super::assert_refused(&mut asked, "choose another with --metrics-listen");
    let off = Server::start_with(folder.path(), &["--metrics-listen", "off"]);
    assert!(off.ready.get("metricsUrl").is_none());
    assert_eq!(off.terminate(), Some(0));
}

#[test]
fn more_connections_than_open_files_are_refused_with_a_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let start = |limit: &str, more: &[&str]| {
        let mut limited = Command::new("sh");
        let program = xf(folder.path()).get_program().to_owned();
        let script = format!("ulimit -n {limit}; exec \"$0\" \"$@\"");
        limited.args(["-c", &script]).arg(program).args(SERVE).args(more).current_dir(folder.path());
        limited
    };
    super::assert_refused(&mut start("64", &["--max-connections", "1000"]), "ask for fewer with --max-connections");
    super::assert_refused(&mut start("24", &[]), "with ulimit -n or LimitNOFILE");
}
