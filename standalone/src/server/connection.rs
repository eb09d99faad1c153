//! One connection from its first byte to its end: its time limits, and how it is closed.

use std::{
    future::poll_fn,
    net::SocketAddr,
    pin::{Pin, pin},
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use axum::Router;
use http::StatusCode;
use hyper::server::conn::http1::{Builder, Connection};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::watch,
    time::{Instant, Sleep, sleep_until, timeout},
};

use super::{
    Port,
    admission::Place,
    exchange::{Discarding, Exchange, Rest},
    limits::{ConnectionLimits, MAX_HEAD_BYTES},
    raw_refusal,
    socket::{Activity, Socket},
};

/// The bytes that are read and discarded after a request that could not be parsed, or on a refused connection.
const DISCARDED_UNPARSED: u64 = 1024 * 1024;

/// The time limit for this.
const DISCARD_UNPARSED_FOR: Duration = Duration::from_secs(2);

/// The reason for which a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// By HTTP: the client closed it, or the response had `Connection: close`.
    Http,
    /// The request was not valid HTTP, or its body did not match its head.
    Malformed,
    /// The head of a request did not arrive in time.
    HeadLate,
    /// No further request arrived.
    Idle,
    /// The client did not read its response.
    TookNothing,
    /// The connection was replaced by another.
    Evicted,
    /// The server stops.
    Stopped,
}

impl End {
    /// The reason in metrics, if the server decided.
    const fn reason(self) -> Option<&'static str> {
        match self {
            Self::Http => None,
            Self::Malformed => Some("malformed"),
            Self::HeadLate => Some("head_timeout"),
            Self::Idle => Some("idle"),
            Self::TookNothing => Some("write_timeout"),
            Self::Evicted => Some("evicted"),
            Self::Stopped => Some("stopped"),
        }
    }
}

/// The phase of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// A request is in progress. The limits for bodies apply.
    Working,
    /// The rest of a refused body is read.
    Discarding,
    /// A head is awaited or arriving, with this deadline.
    Waiting { until: Instant, end: End },
}

pub(super) async fn serve(
    stream: TcpStream,
    client: SocketAddr,
    handlers: Router,
    place: Place,
    mut stopping: watch::Receiver<bool>,
) {
    let limits = place.limits().clone();
    let activity = Arc::<Activity>::default();
    let rest = Arc::default();
    let exchange = Exchange {
        handlers,
        port: place.port(),
        client,
        body_idle: limits.body_idle,
        activity: Arc::clone(&activity),
        rest: Arc::clone(&rest),
    };
    let socket = Socket::new(stream, Arc::clone(&activity), limits.write_idle);
    let mut http = Builder::new();
    http.max_header_size(MAX_HEAD_BYTES);
    let now = Instant::now();
    let first = Phase::Waiting { until: now + limits.head, end: End::HeadLate };
    let mut driver = Driver {
        http: http.serve_connection(TokioIo::new(socket), exchange),
        activity: Arc::clone(&activity),
        rest,
        discarding: None,
        phase: first,
        alarm: Box::pin(sleep_until(now + limits.head)),
        begun: false,
        served: 0,
        place: &place,
        limits: &limits,
    };
    let end = {
        let mut evicted = pin!(place.evicted());
        let mut stopped = pin!(stopping.wait_for(|stop| *stop));
        let mut is_stopping = false;
        poll_fn(|cx| {
            // A dropped sender also means that the server has stopped.
            if !is_stopping && stopped.as_mut().poll(cx).is_ready() {
                is_stopping = true;
                driver.stop();
            }
            if let Poll::Ready(end) = driver.poll(cx) {
                return Poll::Ready(end);
            }
            while evicted.as_mut().poll(cx).is_ready() {
                if driver.phase != Phase::Working {
                    return Poll::Ready(End::Evicted);
                }
                // A request arrived at the same moment.
                evicted.set(place.evicted());
            }
            if is_stopping && driver.phase != Phase::Working { Poll::Ready(End::Stopped) } else { Poll::Pending }
        })
        .await
    };
    let stream = driver.http.into_parts().io.into_inner().into_stream();
    close(stream, &activity, end, place.port()).await;
    place.count_bytes(activity.take_bytes());
    if let Some(reason) = end.reason() {
        place.count_closed(reason);
    }
}

struct Driver<'p> {
    http: Connection<TokioIo<Socket>, Exchange>,
    activity: Arc<Activity>,
    rest: Arc<Mutex<Option<Rest>>>,
    discarding: Option<Discarding>,
    phase: Phase,
    /// Fires at the end of the phase, or earlier.
    alarm: Pin<Box<Sleep>>,
    /// Whether a head had begun to arrive at the last check.
    begun: bool,
    /// The number of requests at the last check.
    served: u64,
    place: &'p Place,
    limits: &'p ConnectionLimits,
}

impl Driver<'_> {
    fn stop(&mut self) {
        if self.phase == Phase::Working {
            Pin::new(&mut self.http).graceful_shutdown();
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        loop {
            if let Poll::Ready(result) = Pin::new(&mut self.http).poll(cx) {
                let malformed = result.is_err_and(|error| error.is_parse());
                return Poll::Ready(match (self.activity.took_nothing(), malformed) {
                    (true, _) => End::TookNothing,
                    (false, true) => End::Malformed,
                    (false, false) => End::Http,
                });
            }
            if self.discarding.is_none() {
                let rest = self.rest.lock().unwrap_or_else(PoisonError::into_inner).take();
                self.discarding = rest.map(|rest| Discarding::new(rest, self.limits));
            }
            let Some(discarding) = &mut self.discarding else { break };
            if discarding.poll_end(cx).is_pending() {
                break;
            }
            // Drops the body, so that the connection ends.
            self.discarding = None;
        }
        self.look();
        self.poll_alarm(cx)
    }

    /// Determines the phase. A request may have arrived and completed since the last check.
    fn look(&mut self) {
        let (was, served) = (self.phase, self.activity.served());
        let renewed = served != self.served;
        self.served = served;
        if self.activity.is_working() {
            if was != Phase::Working {
                self.place.work();
            }
            self.phase = Phase::Working;
            return;
        }
        if self.discarding.is_some() {
            self.phase = Phase::Discarding;
        } else {
            let begun = self.activity.has_begun();
            // The time limit for the first head starts when the connection is opened.
            let same = begun == self.begun || served == 0;
            if !matches!(was, Phase::Waiting { .. }) || renewed || !same {
                let limits = self.limits;
                let (time, end) = if begun { (limits.head, End::HeadLate) } else { (limits.keep_alive, End::Idle) };
                self.phase = Phase::Waiting { until: Instant::now() + time, end };
            }
            self.begun = begun;
        }
        if was == Phase::Working || renewed {
            self.place.count_bytes(self.activity.take_bytes());
            self.place.wait();
        }
    }

    fn poll_alarm(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        let Phase::Waiting { until, end } = self.phase else { return Poll::Pending };
        // Only moved to an earlier time; an alarm that fires too early is set again.
        if self.alarm.deadline() > until || self.alarm.is_elapsed() {
            self.alarm.as_mut().reset(until);
        }
        while self.alarm.as_mut().poll(cx).is_ready() {
            if Instant::now() >= until {
                return Poll::Ready(end);
            }
            self.alarm.as_mut().reset(until);
        }
        Poll::Pending
    }
}

/// Closes the connection so that the client can read the response.
async fn close(mut stream: TcpStream, activity: &Activity, end: End, port: Port) {
    if end == End::HeadLate && activity.has_begun() {
        let text = raw_refusal(port, StatusCode::REQUEST_TIMEOUT);
        drop(timeout(DISCARD_UNPARSED_FOR, stream.write_all(text.as_bytes())).await);
    }
    let unread = end == End::Malformed || activity.has_unread() || end == End::HeadLate && activity.has_begun();
    if unread && !activity.has_ended() {
        drop(stream.shutdown().await);
        discard(&mut stream).await;
    }
}

/// Reads what the client still sends, for a short time.
pub(super) async fn discard(stream: &mut TcpStream) {
    let mut buffer = vec![0; 16 * 1024];
    let mut left = DISCARDED_UNPARSED;
    let all = async {
        while left > 0 {
            match stream.read(&mut buffer).await {
                Ok(0) | Err(_) => return,
                Ok(read) => left = left.saturating_sub(read as u64),
            }
        }
    };
    // Later bytes are not read.
    drop(timeout(DISCARD_UNPARSED_FOR, all).await);
}
