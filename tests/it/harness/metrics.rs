//! What `/metrics` says, taken apart strictly: a line that is not understood fails the test.

use std::collections::{BTreeMap, BTreeSet};

use super::http;

/// The lines of one scrape in the older text form: name, labels, value.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    lines: BTreeMap<Series, f64>,
    types: BTreeMap<String, String>,
    /// As it came.
    pub text: String,
}

impl Metrics {
    /// Asks the web at this port.
    #[track_caller]
    pub fn scrape(port: u16) -> Metrics {
        let answer = http::get(port, "/metrics");
        assert_eq!(answer.status, 200, "{answer:?}");
        let kind = answer.header("content-type").expect("a content type");
        assert_eq!(kind, "text/plain; version=0.0.4; charset=utf-8");
        Metrics::parse(&answer.body)
    }

    #[track_caller]
    fn parse(text: &str) -> Metrics {
        let mut metrics = Metrics {
            text: text.to_owned(),
            ..Metrics::default()
        };
        let mut helped = BTreeSet::new();
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# HELP ") {
                let (name, help) = rest.split_once(' ').expect("a name and its meaning");
                assert!(help.ends_with('.') && help.len() > 10, "{line}");
                assert!(helped.insert(name.to_owned()), "twice: {line}");
            } else if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').expect("a name and its type");
                assert!(helped.contains(name), "no HELP before {line}");
                metrics.types.insert(name.to_owned(), kind.to_owned());
            } else {
                let (key, value) = sample(line).unwrap_or_else(|| panic!("not understood: {line}"));
                let family = metrics.family(&key.0);
                assert!(family.is_some(), "no TYPE for {line}");
                assert!(metrics.lines.insert(key, value).is_none(), "twice: {line}");
            }
        }
        metrics
    }

    /// The family that a line's name belongs to.
    fn family(&self, name: &str) -> Option<&str> {
        let mut of_histogram = ["_bucket", "_sum", "_count"].iter().filter_map(|suffix| {
            let family = name.strip_suffix(suffix)?;
            (self.types.get(family)? == "histogram").then_some(family)
        });
        let family = of_histogram.next().unwrap_or(name);
        self.types
            .get_key_value(family)
            .map(|(name, _)| name.as_str())
    }

    /// The value of one line.
    #[track_caller]
    pub fn get(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let key: Vec<(String, String)> = labels
            .iter()
            .map(|&(key, value)| (key.to_owned(), value.to_owned()))
            .collect();
        *self
            .lines
            .get(&(name.to_owned(), key))
            .unwrap_or_else(|| panic!("no {name}{labels:?} in\n{}", self.text))
    }

    /// The sum of all lines of this name.
    #[track_caller]
    pub fn sum(&self, name: &str) -> f64 {
        let lines: Vec<f64> = self
            .lines
            .iter()
            .filter(|((other, _), _)| other == name)
            .map(|(_, value)| *value)
            .collect();
        assert!(!lines.is_empty(), "no {name} in\n{}", self.text);
        lines.iter().sum()
    }

    /// The names of all lines.
    pub fn names(&self) -> BTreeSet<&str> {
        self.lines.keys().map(|(name, _)| name.as_str()).collect()
    }

    /// How many lines there are.
    pub fn n_lines(&self) -> usize {
        self.lines.len()
    }
}

/// A name and its labels.
type Series = (String, Vec<(String, String)>);

/// `name{key="value",…} 1.5`
fn sample(line: &str) -> Option<(Series, f64)> {
    let (series, value) = line.rsplit_once(' ')?;
    let value: f64 = value.parse().ok()?;
    let Some((name, labels)) = series.split_once('{') else {
        return Some(((series.to_owned(), Vec::new()), value));
    };
    let mut rest = labels.strip_suffix('}')?;
    let mut labels = Vec::new();
    while !rest.is_empty() {
        let (key, more) = rest.split_once("=\"")?;
        let (value, more) = more.split_once('"')?;
        labels.push((key.to_owned(), value.to_owned()));
        rest = more.strip_prefix(',').unwrap_or(more);
    }

    Some(((name.to_owned(), labels), value))
}
