//! Accepting connections while the server runs. An error of one connection never ends the server.

use std::{io, net::SocketAddr, pin::pin, time::Duration};

use axum::Router;
use http::StatusCode;
use tokio::{
    io::AsyncWriteExt as _,
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
    time::{Instant, sleep_until, timeout, timeout_at},
};

use super::{
    Connections, Port,
    admission::{Full, Place},
    connection, raw_refusal,
};

/// The first and the longest pause after the system could not accept a connection. Only the closing of other
/// connections helps, so there is no event to wait for.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// How often a persistent problem is logged.
const LOG_EVERY: Duration = Duration::from_secs(30);

/// The number of refused connections that are kept open at the same time, so that their clients can read the response.
/// Others are closed at once.
const REFUSED_AT_ONCE: usize = 4;

/// How long a refused connection may take to receive a few hundred bytes.
const REFUSAL_TIME: Duration = Duration::from_secs(1);

/// Serves connections until `stopping`, and then until the last one has ended.
pub(crate) async fn serve(
    listener: TcpListener,
    port: Port,
    handlers: Router,
    connections: Connections,
    mut stopping: watch::Receiver<bool>,
) {
    let (mut open, mut refused) = (JoinSet::new(), JoinSet::new());
    let for_connections = stopping.clone();
    let mut door = Door::new(listener, port, connections);
    loop {
        let newcomer = tokio::select! {
            biased;
            _ = stopping.wait_for(|stop| *stop) => break,
            Some(_) = open.join_next() => continue,
            Some(_) = refused.join_next() => continue,
            newcomer = door.next() => newcomer,
        };
        match newcomer {
            Newcomer::Admitted(stream, client, place) => {
                open.spawn(connection::serve(stream, client, handlers.clone(), place, for_connections.clone()));
            }
            Newcomer::Refused(stream, full) if refused.len() < REFUSED_AT_ONCE => {
                refused.spawn(refuse(stream, port, full));
            }
            Newcomer::Refused(..) => {}
        }
    }
    drop(door);
    while open.join_next().await.is_some() {}
}

/// The next connection or event.
enum Newcomer {
    Admitted(TcpStream, SocketAddr, Place),
    Refused(TcpStream, Full),
}

struct Door {
    listener: TcpListener,
    port: Port,
    connections: Connections,
    /// A connection that was accepted and has no place yet.
    pending: Option<(TcpStream, SocketAddr)>,
    full_since: Option<Instant>,
    pause: Duration,
    closed_until: Option<Instant>,
    logged: Option<Instant>,
}

impl Door {
    fn new(listener: TcpListener, port: Port, connections: Connections) -> Self {
        Self {
            listener,
            port,
            connections,
            pending: None,
            full_since: None,
            pause: FIRST_PAUSE,
            closed_until: None,
            logged: None,
        }
    }

    /// Returns the next connection. Cancel-safe.
    async fn next(&mut self) -> Newcomer {
        loop {
            if let Some(until) = self.closed_until {
                sleep_until(until).await;
                self.closed_until = None;
            }
            let (stream, client) = match self.pending.take() {
                Some(pending) => pending,
                None => match self.listener.accept().await {
                    Ok(accepted) => {
                        self.pause = FIRST_PAUSE;
                        accepted
                    }
                    Err(error) => {
                        self.failed(&error);
                        continue;
                    }
                },
            };
            let connections = self.connections.clone();
            let mut freed = pin!(connections.freed());
            freed.as_mut().enable();
            let full = match connections.admit(self.port, client.ip()) {
                Ok(place) => {
                    self.full_since = None;
                    // Responses are written at once; Nagle's algorithm would only delay them. An error has no
                    // consequence.
                    drop(stream.set_nodelay(true));
                    return Newcomer::Admitted(stream, client, place);
                }
                Err(full) => full,
            };
            let since = *self.full_since.get_or_insert_with(Instant::now);
            let until = since + connections.limits().queue;
            // The limit of one address does not make other clients wait.
            if full == Full::Address || Instant::now() >= until {
                if full == Full::Address {
                    self.full_since = None;
                }
                connections.count_refused(self.port, full);
                if self.may_log() {
                    let (port, reason) = (self.port.as_str(), full.as_str());
                    tracing::warn!(port, reason, "connections are refused: all connections are busy");
                }
                return Newcomer::Refused(stream, full);
            }
            self.pending = Some((stream, client));
            // An expired timeout is handled in the next iteration.
            drop(timeout_at(until, freed).await);
        }
    }

    /// The system could not accept a connection: the client has disconnected, or a resource is exhausted.
    fn failed(&mut self, error: &io::Error) {
        use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};

        if matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted) {
            return;
        }
        self.connections.make_room();
        if self.may_log() {
            tracing::error!(
                port = self.port.as_str(),
                %error,
                "connections cannot be accepted at the moment; if too many files are open, raise the limit with ulimit -n or LimitNOFILE"
            );
        }
        self.closed_until = Some(Instant::now() + self.pause);
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
    }

    fn may_log(&mut self) -> bool {
        let due = self.logged.is_none_or(|logged| logged.elapsed() >= LOG_EVERY);
        if due {
            self.logged = Some(Instant::now());
        }
        due
    }
}

/// Sends the reason and lets the client read it.
async fn refuse(mut stream: TcpStream, port: Port, full: Full) {
    let status = match full {
        Full::Server => StatusCode::SERVICE_UNAVAILABLE,
        Full::Address => StatusCode::TOO_MANY_REQUESTS,
    };
    let text = raw_refusal(port, status);
    let said = timeout(REFUSAL_TIME, async {
        stream.write_all(text.as_bytes()).await?;
        stream.shutdown().await
    });
    if let Ok(Ok(())) = said.await {
        connection::discard(&mut stream).await;
    }
}
