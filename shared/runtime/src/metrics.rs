//! Metrics in `CloudWatch`'s embedded metric format: a line of JSON on stdout, from which it takes them.
//!
//! The format is specified at
//! <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html>,
//! which names stdout as the way on Lambda; logs go to stderr. The only dimension is the service.

use std::io::{self, Write};

use fanfold_domain::Timestamp;
use serde_json::{Map, Value, json};
use tracing::error;

/// The namespace of all our metrics.
pub const NAMESPACE: &str = "Fanfold";

/// Metrics of one invocation, to be written together.
#[derive(Debug, Clone)]
pub struct Metrics {
    service: &'static str,
    metrics: Vec<Metric>,
}

#[derive(Debug, Clone)]
struct Metric {
    name: &'static str,
    unit: &'static str,
    value: u64,
}

impl Metrics {
    /// No metrics yet, of this service.
    pub fn new(service: &'static str) -> Self {
        Self { service, metrics: Vec::new() }
    }

    /// Adds to a count. At most 100 names, with [`Metrics::bytes`] and [`Metrics::milliseconds`].
    pub fn count(&mut self, name: &'static str, value: u64) {
        self.add(name, "Count", value);
    }

    /// Adds to a number of bytes.
    pub fn bytes(&mut self, name: &'static str, value: u64) {
        self.add(name, "Bytes", value);
    }

    /// Adds to a duration in milliseconds.
    pub fn milliseconds(&mut self, name: &'static str, value: u64) {
        self.add(name, "Milliseconds", value);
    }

    /// Writes the metrics to stdout as measured at that moment; nothing if there are none.
    pub fn emit(self, at: Timestamp) {
        if self.metrics.is_empty() {
            return;
        }
        if let Err(error) = writeln!(io::stdout().lock(), "{}", self.line(at)) {
            error!(%error, "metrics were not written");
        }
    }

    fn add(&mut self, name: &'static str, unit: &'static str, value: u64) {
        match self.metrics.iter_mut().find(|metric| metric.name == name) {
            Some(metric) => metric.value += value,
            None => self.metrics.push(Metric { name, unit, value }),
        }
    }

    fn line(&self, at: Timestamp) -> Value {
        let declared: Vec<_> =
            self.metrics.iter().map(|metric| json!({ "Name": metric.name, "Unit": metric.unit })).collect();
        let mut line = Map::new();
        line.insert(
            "_aws".to_owned(),
            json!({
                "Timestamp": at.0,
                "CloudWatchMetrics": [{
                    "Namespace": NAMESPACE,
                    "Dimensions": [["service"]],
                    "Metrics": declared,
                }],
            }),
        );
        line.insert("service".to_owned(), self.service.into());
        for metric in &self.metrics {
            line.insert(metric.name.to_owned(), metric.value.into());
        }
        Value::Object(line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_declares_each_metric_that_it_has() {
        let mut metrics = Metrics::new("worker");
        metrics.count("records", 10);
        metrics.bytes("bytes_in", 64);
        metrics.count("records", 5);
        let wanted = json!({
            "_aws": {
                "Timestamp": 1_767_225_600_000_u64,
                "CloudWatchMetrics": [{
                    "Namespace": "Fanfold",
                    "Dimensions": [["service"]],
                    "Metrics": [
                        { "Name": "records", "Unit": "Count" },
                        { "Name": "bytes_in", "Unit": "Bytes" },
                    ],
                }],
            },
            "service": "worker",
            "records": 15,
            "bytes_in": 64,
        });
        assert_eq!(metrics.line(Timestamp(1_767_225_600_000)), wanted);
        assert!(!metrics.line(Timestamp(0)).to_string().contains('\n'));
    }
}
