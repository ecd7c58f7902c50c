//! `/metrics` as numbers, and the conservation law in them.

use std::collections::BTreeMap;

/// One scrape.
#[derive(Clone, Debug, Default)]
pub(crate) struct Metrics {
    samples: Vec<Sample>,
}

#[derive(Clone, Debug)]
struct Sample {
    name: String,
    labels: BTreeMap<String, String>,
    value: f64,
}

impl Metrics {
    /// Reads the Prometheus text form.
    pub(crate) fn parse(text: &str) -> Self {
        let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        Self { samples: lines.map(Sample::parse).collect() }
    }

    /// The sum over all series of a metric that have these labels.
    pub(crate) fn sum(&self, name: &str, labels: &[(&str, &str)]) -> u64 {
        let values = self.of(name, labels).map(|sample| sample.value);
        let sum: f64 = values.sum();
        assert!(sum >= 0.0 && sum.fract() == 0.0, "{name} is {sum}");
        format!("{sum}").parse().expect("a count")
    }

    /// Whether there is such a series.
    pub(crate) fn has(&self, name: &str, labels: &[(&str, &str)]) -> bool {
        self.of(name, labels).next().is_some()
    }

    /// The values that a label takes in a metric.
    pub(crate) fn values(&self, name: &str, label: &str) -> Vec<String> {
        let mut values: Vec<_> =
            self.of(name, &[]).filter_map(|sample| sample.labels.get(label).cloned()).collect();
        values.sort();
        values.dedup();
        values
    }

    /// The names of all labels there are.
    pub(crate) fn label_names(&self) -> Vec<String> {
        let mut names: Vec<_> =
            self.samples.iter().flat_map(|sample| sample.labels.keys().cloned()).collect();
        names.sort();
        names.dedup();
        names
    }

    /// Frames of a source: received, mapped, discarded.
    pub(crate) fn frames(&self, source: &str) -> (u64, u64, u64) {
        let sum = |name| self.sum(name, &[("source", source)]);
        (
            sum("chatmux_frames_received_total"),
            sum("chatmux_frames_mapped_total"),
            sum("chatmux_frames_discarded_total"),
        )
    }

    /// Frames of a source that were discarded for a reason.
    pub(crate) fn discarded(&self, source: &str, reason: &str) -> u64 {
        self.sum("chatmux_frames_discarded_total", &[("source", source), ("reason", reason)])
    }

    /// The sources that the law does not hold for.
    pub(crate) fn lawless(&self) -> Vec<String> {
        let holds = |source: &String| {
            let (received, mapped, discarded) = self.frames(source);
            received == mapped + discarded
        };
        let mut sources = self.values("chatmux_frames_received_total", "source");
        assert!(!sources.is_empty(), "no source is counted");
        sources.retain(|source| !holds(source));
        sources
    }

    fn of<'a>(
        &'a self,
        name: &'a str,
        labels: &'a [(&'a str, &'a str)],
    ) -> impl Iterator<Item = &'a Sample> {
        self.samples.iter().filter(move |sample| {
            let has =
                |(key, value): &(&str, &str)| sample.labels.get(*key).is_some_and(|v| v == value);
            sample.name == name && labels.iter().all(has)
        })
    }
}

impl Sample {
    fn parse(line: &str) -> Self {
        let (series, value) = line.rsplit_once(' ').expect("NAME VALUE");
        let (name, rest) = series.split_once('{').unwrap_or((series, ""));
        let mut labels = BTreeMap::new();
        let mut rest = rest.trim_end_matches('}');
        while let Some((key, after)) = rest.split_once("=\"") {
            let end = after.find('"').expect("a label's end");
            labels.insert(key.trim_start_matches(',').to_owned(), after[..end].to_owned());
            rest = &after[end + 1..];
        }
        Self { name: name.to_owned(), labels, value: value.parse().expect("a number") }
    }
}
