//! Admission of connections: the limits overall, per port and per address, and the replacement of idle connections.
//!
//! A connection without a request in progress can be closed at any time without harm. A new connection therefore
//! replaces the one that has been idle for the longest time, and is refused only if all are busy.

use std::{
    collections::{BTreeMap, HashMap},
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::{Notify, futures::Notified};
use xfiles_core::prometheus::{Counters, Registry};

use super::limits::{ConnectionLimits, client_network};

/// One port may use three quarters of all connections, so that a quarter remains for the other.
const PORT_SHARE: (usize, usize) = (3, 4);

/// The purpose of a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Port {
    /// The API and the CDN.
    Api,
    /// The object store.
    Store,
}

impl Port {
    const COUNT: usize = 2;

    /// The name in metrics and logs.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Api => "api",
            Self::Store => "store",
        }
    }

    const fn index(self) -> usize {
        match self {
            Self::Api => 0,
            Self::Store => 1,
        }
    }
}

/// All connections of the process. Clones share them.
#[derive(Clone, Debug)]
pub(crate) struct Connections(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    limits: ConnectionLimits,
    max: usize,
    per_address: usize,
    table: Mutex<Table>,
    freed: Notify,
    meters: Meters,
}

/// The metrics of connections.
#[derive(Debug)]
struct Meters {
    open: Counters<1>,
    accepted: Counters<1>,
    refused: Counters<2>,
    closed: Counters<2>,
    bytes: Counters<2>,
}

#[derive(Debug, Default)]
struct Table {
    entries: HashMap<u64, Entry>,
    ports: [Group; Port::COUNT],
    addresses: HashMap<IpAddr, Group>,
    last_id: u64,
    /// A counter that orders the times at which connections became idle.
    moments: u64,
}

#[derive(Debug)]
struct Entry {
    port: Port,
    /// `None` if many clients share the address.
    address: Option<IpAddr>,
    waiting_since: Option<u64>,
    evicted: Arc<Notify>,
}

/// Connections of a port or address, with the idle ones sorted by time, longest first.
#[derive(Debug, Default)]
struct Group {
    open: usize,
    waiting: BTreeMap<u64, u64>,
}

/// The reason why there is no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Full {
    /// All connections, or those of the port, are busy.
    Server,
    /// The connections of the address are busy.
    Address,
}

impl Full {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Server => "full",
            Self::Address => "address",
        }
    }
}

/// The place of a connection; dropping it frees the place.
#[derive(Debug)]
pub(super) struct Place {
    connections: Connections,
    id: u64,
    port: Port,
    address: Option<IpAddr>,
    evicted: Arc<Notify>,
}

impl Connections {
    /// No connections yet, and a limit of `max`.
    pub(crate) fn new(limits: ConnectionLimits, max: usize, registry: &Registry) -> Self {
        let per_address = limits.per_address(max);
        let meters = Meters {
            open: registry.gauges("xfiles_connections_open", "Connections that are open.", ["port"]),
            accepted: registry.counters(
                "xfiles_connections_accepted_total",
                "Connections that were accepted.",
                ["port"],
            ),
            refused: registry.counters(
                "xfiles_connections_refused_total",
                "Connections that were refused: full, all connections are busy; address, all connections of the address are busy.",
                ["port", "reason"],
            ),
            closed: registry.counters(
                "xfiles_connections_closed_total",
                "Connections that the server closed early, by reason.",
                ["port", "reason"],
            ),
            bytes: registry.counters(
                "xfiles_connection_bytes_total",
                "Bytes received from clients (in) and sent to them (out).",
                ["port", "direction"],
            ),
        };
        for port in [Port::Api, Port::Store] {
            // So that every metric exists from the first scrape on.
            meters.open.add([port.as_str()], 0.0);
            meters.refused.add([port.as_str(), Full::Server.as_str()], 0.0);
            meters.refused.add([port.as_str(), Full::Address.as_str()], 0.0);
        }
        let ceiling = max as f64;
        registry.gauge("xfiles_connections_max", "The limit of open connections.", move || ceiling);
        let (table, freed) = (Mutex::default(), Notify::new());
        let connections = Self(Arc::new(Shared { limits, max, per_address, table, freed, meters }));
        let read = connections.clone();
        let help = "Connections with a request in progress; the others can be closed for new ones.";
        registry.gauge("xfiles_connections_working", help, move || read.table().working() as f64);
        connections
    }

    pub(super) fn limits(&self) -> &ConnectionLimits {
        &self.0.limits
    }

    /// A place for a connection from this address, possibly that of an idle one, which is closed.
    pub(super) fn admit(&self, port: Port, address: IpAddr) -> Result<Place, Full> {
        let shared = &*self.0;
        let address = (!shared.limits.is_shared(address)).then(|| client_network(address));
        let mut table = self.table();
        if let Some(address) = address {
            while let Some(group) = table.addresses.get(&address).filter(|group| group.open >= shared.per_address) {
                let longest = group.longest().ok_or(Full::Address)?;
                table.evict(longest, shared);
            }
        }
        let share = (shared.max * PORT_SHARE.0 / PORT_SHARE.1).max(1);
        while table.ports[port.index()].open >= share {
            let longest = table.ports[port.index()].longest().ok_or(Full::Server)?;
            table.evict(longest, shared);
        }
        while table.entries.len() >= shared.max {
            let longest = table.longest_of_all().ok_or(Full::Server)?;
            table.evict(longest, shared);
        }
        table.last_id += 1;
        let id = table.last_id;
        let evicted = Arc::new(Notify::new());
        table.insert(id, Entry { port, address, waiting_since: None, evicted: Arc::clone(&evicted) });
        table.wait(id);
        drop(table);
        shared.meters.open.add([port.as_str()], 1.0);
        shared.meters.accepted.increment([port.as_str()]);
        Ok(Place { connections: self.clone(), id, port, address, evicted })
    }

    /// Closes the connection that has been idle for the longest time, because another resource is exhausted.
    pub(super) fn make_room(&self) {
        let mut table = self.table();
        if let Some(longest) = table.longest_of_all() {
            table.evict(longest, &self.0);
        }
    }

    /// Completes when a place may have become free after this call.
    pub(super) fn freed(&self) -> Notified<'_> {
        self.0.freed.notified()
    }

    pub(super) fn count_refused(&self, port: Port, full: Full) {
        self.0.meters.refused.increment([port.as_str(), full.as_str()]);
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Group {
    fn longest(&self) -> Option<u64> {
        self.waiting.first_key_value().map(|(_, id)| *id)
    }
}

impl Table {
    fn working(&self) -> usize {
        self.entries.len() - self.ports.iter().map(|group| group.waiting.len()).sum::<usize>()
    }

    fn longest_of_all(&self) -> Option<u64> {
        let first = self.ports.iter().filter_map(|group| group.waiting.first_key_value());
        first.min_by_key(|(since, _)| **since).map(|(_, id)| *id)
    }

    fn insert(&mut self, id: u64, entry: Entry) {
        self.ports[entry.port.index()].open += 1;
        if let Some(address) = entry.address {
            self.addresses.entry(address).or_default().open += 1;
        }
        self.entries.insert(id, entry);
    }

    fn wait(&mut self, id: u64) {
        self.moments += 1;
        let moment = self.moments;
        if let Some(entry) = self.entries.get_mut(&id).filter(|entry| entry.waiting_since.is_none()) {
            entry.waiting_since = Some(moment);
            self.ports[entry.port.index()].waiting.insert(moment, id);
            if let Some(group) = entry.address.and_then(|address| self.addresses.get_mut(&address)) {
                group.waiting.insert(moment, id);
            }
        }
    }

    /// Marks the connection as busy. Returns true if it still has its place.
    fn work(&mut self, id: u64) -> bool {
        let Some(entry) = self.entries.get_mut(&id) else { return false };
        if let Some(moment) = entry.waiting_since.take() {
            self.ports[entry.port.index()].waiting.remove(&moment);
            if let Some(group) = entry.address.and_then(|address| self.addresses.get_mut(&address)) {
                group.waiting.remove(&moment);
            }
        }
        true
    }

    fn remove(&mut self, id: u64) -> Option<Entry> {
        self.work(id);
        let entry = self.entries.remove(&id)?;
        self.ports[entry.port.index()].open -= 1;
        if let Some(address) = entry.address
            && let Some(group) = self.addresses.get_mut(&address)
        {
            group.open -= 1;
            if group.open == 0 {
                self.addresses.remove(&address);
            }
        }
        Some(entry)
    }

    fn evict(&mut self, id: u64, shared: &Shared) {
        if let Some(entry) = self.remove(id) {
            entry.evicted.notify_one();
            shared.meters.open.add([entry.port.as_str()], -1.0);
        }
    }
}

impl Place {
    /// Marks the connection as idle: it may be replaced, after those that became idle earlier.
    pub(super) fn wait(&self) {
        let mut table = self.connections.table();
        table.work(self.id);
        table.wait(self.id);
        drop(table);
        // Wakes connections that found only busy ones.
        self.connections.0.freed.notify_waiters();
    }

    /// Marks the connection as busy. A request that has begun is not cancelled: if the connection was replaced at the
    /// same moment, the limit is exceeded by one until another connection ends.
    pub(super) fn work(&self) {
        let mut table = self.connections.table();
        if !table.work(self.id) {
            let (port, address, evicted) = (self.port, self.address, Arc::clone(&self.evicted));
            table.insert(self.id, Entry { port, address, waiting_since: None, evicted });
            drop(table);
            self.connections.0.meters.open.add([port.as_str()], 1.0);
        }
    }

    /// Completes when the connection has been replaced.
    pub(super) async fn evicted(&self) {
        self.evicted.notified().await;
    }

    pub(super) fn limits(&self) -> &ConnectionLimits {
        self.connections.limits()
    }

    pub(super) fn port(&self) -> Port {
        self.port
    }

    /// Counts received and sent bytes.
    pub(super) fn count_bytes(&self, (received, sent): (u64, u64)) {
        let bytes = &self.connections.0.meters.bytes;
        for (direction, count) in [("in", received), ("out", sent)] {
            if count > 0 {
                bytes.add([self.port.as_str(), direction], count as f64);
            }
        }
    }

    /// Counts the reason for which the server closes the connection.
    pub(super) fn count_closed(&self, reason: &'static str) {
        self.connections.0.meters.closed.increment([self.port.as_str(), reason]);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.connections.table().remove(self.id).is_some() {
            self.connections.0.meters.open.add([self.port.as_str()], -1.0);
        }
        self.connections.0.freed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    const LOOPBACK: &str = "127.0.0.1";

    fn connections(max: usize, per_address: usize) -> Connections {
        let limits = ConnectionLimits { max_per_address: per_address.try_into().ok(), ..Default::default() };
        Connections::new(limits, max, &Registry::default())
    }

    fn admit(connections: &Connections, port: Port, address: &str) -> Result<Place, Full> {
        connections.admit(port, address.parse().unwrap())
    }

    fn is_evicted(place: &Place) -> bool {
        place.evicted().now_or_never().is_some()
    }

    #[test]
    fn the_connection_idle_for_longest_is_closed() {
        let connections = connections(4, 100);
        let places: Vec<Place> = (0..3).map(|_| admit(&connections, Port::Api, LOOPBACK).unwrap()).collect();
        // The first one has served a request and is idle again: now the second has been idle longest.
        places[0].wait();
        let _other = admit(&connections, Port::Store, LOOPBACK).unwrap();
        let _newcomer = admit(&connections, Port::Store, LOOPBACK).unwrap();
        assert_eq!(places.iter().map(is_evicted).collect::<Vec<_>>(), [false, true, false]);
        // A request arrived at the same moment: it is served, and two others are closed for the next connection.
        places[1].work();
        assert_eq!(connections.table().entries.len(), 5);
        let _next = admit(&connections, Port::Store, LOOPBACK).unwrap();
        assert_eq!(connections.table().entries.len(), 4);
    }

    #[test]
    fn busy_connections_are_not_closed_for_a_new_one() {
        let connections = connections(4, 100);
        let busy = |port| {
            let place = admit(&connections, port, LOOPBACK)?;
            place.work();
            Ok::<_, Full>(place)
        };
        let (first, _second) = (busy(Port::Api).unwrap(), busy(Port::Api).unwrap());
        let (_third, _fourth) = (busy(Port::Store).unwrap(), busy(Port::Store).unwrap());
        assert_eq!(busy(Port::Api).unwrap_err(), Full::Server);
        let mut freed = Box::pin(connections.freed());
        assert!(freed.as_mut().now_or_never().is_none());
        drop(first);
        assert!(freed.now_or_never().is_some());
        busy(Port::Api).unwrap();
    }

    #[test]
    fn one_port_leaves_a_quarter_to_the_other() {
        let connections = connections(8, 100);
        let mut busy = Vec::new();
        while let Ok(place) = admit(&connections, Port::Api, LOOPBACK) {
            place.work();
            busy.push(place);
        }
        assert_eq!(busy.len(), 6);
        admit(&connections, Port::Store, LOOPBACK).unwrap().work();
    }

    #[test]
    fn one_address_has_its_share_and_proxies_have_no_limit() {
        let connections = connections(16, 2);
        let busy = |address| {
            let place = admit(&connections, Port::Store, address)?;
            place.work();
            Ok::<_, Full>(place)
        };
        let (first, _second) = (busy("203.0.113.1").unwrap(), busy("203.0.113.1").unwrap());
        assert_eq!(busy("203.0.113.1").unwrap_err(), Full::Address);
        let _others = (busy("203.0.113.2").unwrap(), busy(LOOPBACK).unwrap(), busy(LOOPBACK).unwrap());
        let _more = (busy(LOOPBACK).unwrap(), busy("2001:db8::1").unwrap(), busy("2001:db8::2").unwrap());
        assert_eq!(busy("2001:db8::3").unwrap_err(), Full::Address);
        // An idle connection is closed for a new one of the same address before any is refused.
        first.wait();
        busy("203.0.113.1").unwrap();
        assert!(is_evicted(&first));
    }

    #[test]
    fn closed_connections_leave_no_state() {
        let connections = connections(4, 2);
        for n in 0..1_000 {
            drop(admit(&connections, Port::Api, &format!("203.0.{}.{}", n / 250, n % 250)).unwrap());
        }
        let table = connections.table();
        assert!(table.entries.is_empty() && table.addresses.is_empty());
        assert!(table.ports.iter().all(|group| group.open == 0 && group.waiting.is_empty()));
    }
}
