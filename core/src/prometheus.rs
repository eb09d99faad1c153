//! What a process tells a Prometheus server about itself, in its text format.
//!
//! A gauge or a counter that some part of the program already keeps is registered with one line:
//!
//! ```
//! # use xfiles_core::prometheus::Registry;
//! # let registry = Registry::default();
//! registry.gauge("xfiles_queue_length", "Requests that wait for a worker.", || 3.0);
//! assert!(registry.render().contains("xfiles_queue_length 3\n"));
//! ```
//!
//! A label must come from a fixed set: a method's name, the pattern of a route, a class of status. Whatever a caller
//! passes, a value is cut at [`MAX_LABEL_BYTES`] and a family has at most [`MAX_SERIES`] series, so that no client can
//! make the process or its scrapes grow.

use std::{
    borrow::Cow,
    collections::BTreeMap,
    fmt::{self, Write as _},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use http::{Method, StatusCode};

/// The longest label value; the rest is cut off.
pub const MAX_LABEL_BYTES: usize = 100;

/// The most series of one family. What would make one more is counted with [`OTHER`] for every label.
pub const MAX_SERIES: usize = 2_000;

/// The label of what has no label of its own.
pub const OTHER: &str = "other";

/// Where metrics are registered and rendered. Clones are the same one.
#[derive(Clone, Default)]
pub struct Registry(Arc<Mutex<Vec<Family>>>);

struct Family {
    name: &'static str,
    help: &'static str,
    kind: &'static str,
    source: Source,
}

enum Source {
    Single(Box<dyn Fn() -> f64 + Send + Sync>),
    Labelled(Arc<Mutex<Series>>),
}

type Series = BTreeMap<String, f64>;

impl Registry {
    /// A value that goes up and down, read at each scrape. `read` must be quick: it may read an atomic or take a lock
    /// for a moment, and must not wait for I/O.
    pub fn gauge(&self, name: &'static str, help: &'static str, read: impl Fn() -> f64 + Send + Sync + 'static) {
        self.register(name, help, "gauge", Source::Single(Box::new(read)));
    }

    /// A value that only goes up, read at each scrape.
    pub fn counter(&self, name: &'static str, help: &'static str, read: impl Fn() -> f64 + Send + Sync + 'static) {
        self.register(name, help, "counter", Source::Single(Box::new(read)));
    }

    /// Counters by labels. Registered again under the same name, they are the same ones.
    pub fn counters<const N: usize>(
        &self,
        name: &'static str,
        help: &'static str,
        labels: [&'static str; N],
    ) -> Counters<N> {
        let series = self.labelled(name, help, "counter");
        Counters { labels, series }
    }

    /// Gauges by labels; see [`Counters::add`], which takes negative numbers as well.
    pub fn gauges<const N: usize>(
        &self,
        name: &'static str,
        help: &'static str,
        labels: [&'static str; N],
    ) -> Counters<N> {
        let series = self.labelled(name, help, "gauge");
        Counters { labels, series }
    }

    /// Everything, in the text format.
    pub fn render(&self) -> String {
        let mut text = String::new();
        for Family { name, help, kind, source } in self.families().iter() {
            // Writing to a String does not fail.
            let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
            match source {
                Source::Single(read) => drop(writeln!(text, "{name} {}", read())),
                Source::Labelled(series) => {
                    for (labels, value) in locked(series).iter() {
                        let _ = writeln!(text, "{name}{{{labels}}} {value}");
                    }
                }
            }
        }
        text
    }

    fn labelled(&self, name: &'static str, help: &'static str, kind: &'static str) -> Arc<Mutex<Series>> {
        let found = self.families().iter().find_map(|family| match &family.source {
            Source::Labelled(series) if family.name == name => Some(Arc::clone(series)),
            Source::Labelled(_) | Source::Single(_) => None,
        });
        found.unwrap_or_else(|| {
            let series = Arc::<Mutex<Series>>::default();
            self.register(name, help, kind, Source::Labelled(Arc::clone(&series)));
            series
        })
    }

    /// Replaces what is registered under the name, because a scrape with a name twice is invalid.
    fn register(&self, name: &'static str, help: &'static str, kind: &'static str, source: Source) {
        let mut families = self.families();
        families.retain(|family| family.name != name);
        families.push(Family { name, help, kind, source });
    }

    fn families(&self) -> MutexGuard<'_, Vec<Family>> {
        locked(&self.0)
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.families().iter().map(|family| family.name).collect();
        f.debug_tuple("Registry").field(&names).finish()
    }
}

/// Numbers by labels. Clones are the same ones.
#[derive(Clone, Debug)]
pub struct Counters<const N: usize> {
    labels: [&'static str; N],
    series: Arc<Mutex<Series>>,
}

impl<const N: usize> Counters<N> {
    /// Adds to the series of these label values.
    pub fn add(&self, values: [&str; N], by: f64) {
        let labels = self.text(values);
        let mut series = locked(&self.series);
        if let Some(value) = series.get_mut(&labels) {
            *value += by;
        } else {
            let labels = if series.len() < MAX_SERIES { labels } else { self.text([OTHER; N]) };
            *series.entry(labels).or_insert(0.0) += by;
        }
    }

    /// Adds one.
    pub fn increment(&self, values: [&str; N]) {
        self.add(values, 1.0);
    }

    fn text(&self, values: [&str; N]) -> String {
        let mut text = String::new();
        for (label, value) in self.labels.iter().zip(values) {
            let comma = if text.is_empty() { "" } else { "," };
            // Writing to a String does not fail.
            let _ = write!(text, "{comma}{label}=\"{}\"", escaped(value));
        }
        text
    }
}

/// A label value as the format has it, cut at the limit.
fn escaped(value: &str) -> Cow<'_, str> {
    let cut = clip(value, MAX_LABEL_BYTES);
    if !cut.contains(['\\', '"', '\n']) {
        return Cow::Borrowed(cut);
    }
    Cow::Owned(cut.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"))
}

/// The beginning of a text, at most so many bytes and whole characters, for a label or a field of a log line.
pub fn clip(text: &str, bytes: usize) -> &str {
    &text[..text.floor_char_boundary(bytes)]
}

/// The name of a method, if it is one of HTTP's own; any other token is [`OTHER`], because it is the client's text.
pub fn method_label(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        Method::TRACE => "TRACE",
        Method::CONNECT => "CONNECT",
        _ => OTHER,
    }
}

/// The class of a status.
pub fn status_class(status: StatusCode) -> &'static str {
    match status.as_u16() / 100 {
        1 => "1xx",
        2 => "2xx",
        3 => "3xx",
        4 => "4xx",
        5 => "5xx",
        _ => OTHER,
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_registered_is_rendered_with_help_and_type() {
        let registry = Registry::default();
        registry.gauge("xfiles_a", "A.", || 2.5);
        registry.counter("xfiles_b_total", "B.", || 7.0);
        let counters = registry.counters("xfiles_c_total", "C.", ["method", "status"]);
        counters.increment(["GET", "200"]);
        counters.add(["GET", "200"], 2.0);
        assert_eq!(
            registry.render(),
            "# HELP xfiles_a A.\n# TYPE xfiles_a gauge\nxfiles_a 2.5\n\
             # HELP xfiles_b_total B.\n# TYPE xfiles_b_total counter\nxfiles_b_total 7\n\
             # HELP xfiles_c_total C.\n# TYPE xfiles_c_total counter\nxfiles_c_total{method=\"GET\",status=\"200\"} 3\n"
        );
    }

    #[test]
    fn a_name_is_rendered_once() {
        let registry = Registry::default();
        registry.gauge("xfiles_a", "A.", || 1.0);
        registry.gauge("xfiles_a", "A.", || 2.0);
        registry.counters("xfiles_c_total", "C.", ["port"]).increment(["api"]);
        registry.counters("xfiles_c_total", "C.", ["port"]).increment(["api"]);
        let text = registry.render();
        assert_eq!(text.matches("# TYPE").count(), 2, "{text}");
        assert!(text.contains("xfiles_a 2\n") && text.contains("{port=\"api\"} 2\n"), "{text}");
    }

    #[test]
    fn neither_long_labels_nor_many_of_them_make_it_grow() {
        let registry = Registry::default();
        let counters = registry.counters("xfiles_c_total", "C.", ["method"]);
        for n in 0..3 * MAX_SERIES {
            counters.increment([&format!("{n}-{}", "x".repeat(10_000))]);
        }
        let text = registry.render();
        assert_eq!(text.lines().count(), 2 + MAX_SERIES + 1);
        assert!(text.len() < (MAX_SERIES + 3) * (MAX_LABEL_BYTES + 50), "{}", text.len());
        assert!(text.contains(&format!("{{method=\"other\"}} {}\n", 2 * MAX_SERIES)), "the rest is counted together");
    }

    #[test]
    fn a_label_cannot_end_itself() {
        let registry = Registry::default();
        registry.counters("xfiles_c_total", "C.", ["a"]).increment(["x\"} 1\n\\"]);
        assert!(registry.render().ends_with("xfiles_c_total{a=\"x\\\"} 1\\n\\\\\"} 1\n"));
    }

    #[test]
    fn only_methods_of_http_have_labels_of_their_own() {
        assert_eq!(method_label(&Method::PATCH), "PATCH");
        assert_eq!(method_label(&Method::from_bytes(&[b'X'; 1_000]).unwrap()), OTHER);
        assert_eq!(method_label(&Method::from_bytes(b"get").unwrap()), OTHER);
    }
}
