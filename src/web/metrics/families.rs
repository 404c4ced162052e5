//! How a family of numbers is written: its name and meaning once, then a line for each set of labels.

use std::collections::HashSet;
use std::fmt;

use prometheus_client::encoding::{
    DescriptorEncoder, EncodeCounterValue, EncodeGaugeValue, NoLabelSet,
};
use prometheus_client::metrics::MetricType;

/// The labels of one line.
pub(super) type Labels = Vec<(&'static str, String)>;

/// One label.
pub(super) fn label(name: &'static str, value: impl Into<String>) -> Labels {
    vec![(name, value.into())]
}

/// Steps of a histogram: upper bound, and how many fell into the step.
pub(super) struct Steps {
    pub(super) sum: f64,
    pub(super) steps: Vec<(f64, u64)>,
}

/// A line that comes again is left out, because with two of the same labels none of a scrape is taken: for a moment a thread that
/// leaves and its successor have one name.
fn once_each<N>(lines: impl IntoIterator<Item = (Labels, N)>) -> impl Iterator<Item = (Labels, N)> {
    let mut seen = HashSet::new();
    lines
        .into_iter()
        .filter(move |(labels, _)| seen.insert(labels.clone()))
}

/// Where families are written to.
pub(super) struct Families<'a>(DescriptorEncoder<'a>);

impl<'a> Families<'a> {
    pub(super) fn new(encoder: DescriptorEncoder<'a>) -> Families<'a> {
        Families(encoder)
    }

    /// What only grows; `_total` is added to `name`.
    pub(super) fn counters<N: EncodeCounterValue>(
        &mut self,
        name: &str,
        help: &str,
        lines: impl IntoIterator<Item = (Labels, N)>,
    ) -> fmt::Result {
        let mut metric = self
            .0
            .encode_descriptor(name, help, None, MetricType::Counter)?;
        for (labels, value) in once_each(lines) {
            if labels.is_empty() {
                metric.encode_counter::<NoLabelSet, N, f64>(&value, None)?;
            } else {
                let mut line = metric.encode_family(&labels)?;
                line.encode_counter::<NoLabelSet, N, f64>(&value, None)?;
            }
        }
        Ok(())
    }

    /// What goes up and down.
    pub(super) fn gauges<N: EncodeGaugeValue>(
        &mut self,
        name: &str,
        help: &str,
        lines: impl IntoIterator<Item = (Labels, N)>,
    ) -> fmt::Result {
        let mut metric = self
            .0
            .encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (labels, value) in once_each(lines) {
            if labels.is_empty() {
                metric.encode_gauge(&value)?;
            } else {
                metric.encode_family(&labels)?.encode_gauge(&value)?;
            }
        }
        Ok(())
    }

    /// A counter without labels.
    pub(super) fn counter<N: EncodeCounterValue>(
        &mut self,
        name: &str,
        help: &str,
        value: N,
    ) -> fmt::Result {
        self.counters(name, help, [(Labels::new(), value)])
    }

    /// A gauge without labels.
    pub(super) fn gauge<N: EncodeGaugeValue>(
        &mut self,
        name: &str,
        help: &str,
        value: N,
    ) -> fmt::Result {
        self.gauges(name, help, [(Labels::new(), value)])
    }

    /// How long something takes.
    pub(super) fn histograms(
        &mut self,
        name: &str,
        help: &str,
        lines: impl IntoIterator<Item = (Labels, Steps)>,
    ) -> fmt::Result {
        let mut metric = self
            .0
            .encode_descriptor(name, help, None, MetricType::Histogram)?;
        for (labels, Steps { sum, steps }) in once_each(lines) {
            let count = steps.iter().map(|(_, n)| n).sum();
            metric
                .encode_family(&labels)?
                .encode_histogram::<NoLabelSet>(sum, count, &steps, None)?;
        }
        Ok(())
    }

    /// What something is, in labels; `_info` is added to `name`.
    pub(super) fn info(&mut self, name: &str, help: &str, labels: &Labels) -> fmt::Result {
        let mut metric = self
            .0
            .encode_descriptor(name, help, None, MetricType::Info)?;
        metric.encode_info(labels)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_two_lines_with_the_same_labels_the_first_is_written() {
        let lines = [
            (label("thread", "web"), 1),
            (label("thread", "keeper"), 2),
            (label("thread", "web"), 3),
        ];
        let values: Vec<i32> = once_each(lines).map(|(_, value)| value).collect();
        assert_eq!(values, [1, 2]);
    }
}
