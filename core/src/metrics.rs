//! The counts that alarms watch, written as CloudWatch reads them out of a log: one line in its embedded metric format.
//! No name, id or path is ever in one.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::clock::{Clock, Timestamp};

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Metric {
    /// Records that owe work which a run of the cleanup could not do.
    OverduePlans,
    /// For how many seconds the record had been due that a run of the cleanup found waiting longest.
    OldestOverdueSeconds,
    /// Items of the table that the cleanup could not read and has passed over.
    UnreadableItems,
    /// 1 while the reconciliation removes nothing, because too much of bucket and table does not match.
    ReconciliationStopped,
    /// Variants that the worker was asked for although the bucket holds them: the CDN cannot read the bucket, or two
    /// asked at once.
    VariantsStoredBefore,
}

impl Metric {
    /// Every metric.
    pub const ALL: [Self; 5] = [
        Self::OverduePlans,
        Self::OldestOverdueSeconds,
        Self::UnreadableItems,
        Self::ReconciliationStopped,
        Self::VariantsStoredBefore,
    ];

    /// The name in CloudWatch.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::OverduePlans => "OverduePlans",
            Self::OldestOverdueSeconds => "OldestOverdueSeconds",
            Self::UnreadableItems => "UnreadableItems",
            Self::ReconciliationStopped => "ReconciliationStopped",
            Self::VariantsStoredBefore => "VariantsStoredBefore",
        }
    }
}

/// Where counts go: to the log of a Lambda function, or nowhere.
#[derive(Clone, Debug, Default)]
pub struct Metrics(Option<(Arc<str>, Clock)>);

impl Metrics {
    /// Counts for that namespace, or for nobody.
    pub fn new(namespace: Option<String>, clock: Clock) -> Self {
        Self(namespace.map(|namespace| (namespace.into(), clock)))
    }

    /// Notes a count.
    pub fn count(&self, metric: Metric, count: u64) {
        if let Some((namespace, clock)) = &self.0 {
            println!("{}", line(namespace, metric, count, clock.now()));
        }
    }
}

fn line(namespace: &str, metric: Metric, count: u64, now: Timestamp) -> Value {
    json!({
        "_aws": {
            "Timestamp": now.as_millis(),
            "CloudWatchMetrics": [{
                "Namespace": namespace,
                "Dimensions": [[]],
                "Metrics": [{"Name": metric.as_str(), "Unit": "Count"}],
            }],
        },
        metric.as_str(): count,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_names_its_metric_and_holds_its_value_under_that_name() {
        for metric in Metric::ALL {
            let line = line("XFiles/test", metric, 3, Timestamp::from_millis(1_767_290_412_345));
            let described = &line["_aws"]["CloudWatchMetrics"][0];
            assert_eq!((described["Namespace"].as_str(), &line[metric.as_str()]), (Some("XFiles/test"), &json!(3)));
            assert_eq!(described["Metrics"][0]["Name"], metric.as_str());
            assert_eq!(line["_aws"]["Timestamp"], 1_767_290_412_345_i64);
        }
    }
}
