//! The bytes of a client's connection: counts them, records the state of the connection, and ends it if the client does
//! not read.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

use super::stall::Patience;

/// The activity on a connection. Set and read only by the task that drives the connection, except if a handler has
/// passed a body to another task.
#[derive(Debug, Default)]
pub(super) struct Activity {
    /// Requests that were begun and whose responses are not complete.
    requests: AtomicUsize,
    served: AtomicU64,
    /// Bytes received since the last request began or the last response ended.
    since_request: AtomicU64,
    received: AtomicU64,
    sent: AtomicU64,
    write_blocked: AtomicBool,
    /// The client has closed its sending side.
    ended: AtomicBool,
    /// The client has sent data that will not be read.
    unread: AtomicBool,
    took_nothing: AtomicBool,
}

impl Activity {
    pub(super) fn begin_request(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.served.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn end_request(&self) {
        self.since_request.store(0, Ordering::Relaxed);
        self.requests.fetch_sub(1, Ordering::Relaxed);
    }

    /// Returns true if a request is in progress or its response is not complete.
    pub(super) fn is_working(&self) -> bool {
        self.requests.load(Ordering::Relaxed) > 0 || self.write_blocked.load(Ordering::Relaxed)
    }

    pub(super) fn served(&self) -> u64 {
        self.served.load(Ordering::Relaxed)
    }

    pub(super) fn has_begun(&self) -> bool {
        self.since_request.load(Ordering::Relaxed) > 0
    }

    pub(super) fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Relaxed)
    }

    pub(super) fn leave_unread(&self) {
        self.unread.store(true, Ordering::Relaxed);
    }

    pub(super) fn has_unread(&self) -> bool {
        self.unread.load(Ordering::Relaxed)
    }

    pub(super) fn took_nothing(&self) -> bool {
        self.took_nothing.load(Ordering::Relaxed)
    }

    /// The bytes received and sent since the last call.
    pub(super) fn take_bytes(&self) -> (u64, u64) {
        (self.received.swap(0, Ordering::Relaxed), self.sent.swap(0, Ordering::Relaxed))
    }
}

/// A monitored connection.
pub(super) struct Socket {
    stream: TcpStream,
    activity: Arc<Activity>,
    patience: Patience,
}

impl Socket {
    pub(super) fn new(stream: TcpStream, activity: Arc<Activity>, write_idle: Duration) -> Self {
        Self { stream, activity, patience: Patience::new(write_idle) }
    }

    pub(super) fn into_stream(self) -> TcpStream {
        self.stream
    }

    fn wrote(&mut self, written: Poll<io::Result<usize>>, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        match written {
            Poll::Ready(written) => {
                self.activity.write_blocked.store(false, Ordering::Relaxed);
                if let Ok(bytes) = written {
                    self.activity.sent.fetch_add(bytes as u64, Ordering::Relaxed);
                    self.patience.progress(bytes);
                }
                Poll::Ready(written)
            }
            Poll::Pending => {
                self.activity.write_blocked.store(true, Ordering::Relaxed);
                ready!(self.patience.poll_lost(cx));
                self.activity.took_nothing.store(true, Ordering::Relaxed);
                Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
            }
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let (before, room) = (buffer.filled().len(), buffer.remaining());
        ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
        let read = (buffer.filled().len() - before) as u64;
        if read == 0 && room > 0 {
            self.activity.ended.store(true, Ordering::Relaxed);
        }
        self.activity.received.fetch_add(read, Ordering::Relaxed);
        self.activity.since_request.fetch_add(read, Ordering::Relaxed);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.wrote(written, cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.wrote(written, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    /// Called when there is nothing more to write for now.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.patience.restore();
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
