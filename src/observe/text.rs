//! The text that Prometheus reads (exposition format 0.0.4).

use std::fmt::{Display, Write as _};

use crate::observe::series::{BUCKETS, Durations, Reading};

/// What a metric is.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    Counter,
    Gauge,
    Histogram,
}

/// Labels of a series, in the order in which they are written.
pub(super) type Labels<'a> = [(&'a str, &'a str)];

/// A text that grows. The methods write lines; writing to a string cannot fail.
#[derive(Debug, Default)]
pub(super) struct Text(String);

impl Text {
    /// The whole text.
    pub(super) fn finish(self) -> String {
        self.0
    }

    /// What stands before the series of a metric.
    pub(super) fn family(&mut self, name: &str, kind: Kind, help: &str) {
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        let _infallible = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    /// One series.
    pub(super) fn sample(&mut self, name: &str, labels: &Labels<'_>, value: impl Display) {
        self.line(name, "", labels, None, value);
    }

    /// The series of one histogram.
    pub(super) fn durations(&mut self, name: &str, labels: &Labels<'_>, durations: &Durations) {
        let Reading { up_to, count, sum } = durations.read();
        for ((_, end), up_to) in BUCKETS.iter().zip(up_to) {
            self.line(name, "_bucket", labels, Some(end), up_to);
        }
        self.line(name, "_bucket", labels, Some("+Inf"), count);
        self.line(name, "_sum", labels, None, sum.as_secs_f64());
        self.line(name, "_count", labels, None, count);
    }

    fn line(
        &mut self,
        name: &str,
        suffix: &str,
        labels: &Labels<'_>,
        end: Option<&str>,
        value: impl Display,
    ) {
        self.0.push_str(name);
        self.0.push_str(suffix);
        let mut before = '{';
        for (label, value) in labels.iter().copied().chain(end.map(|end| ("le", end))) {
            let _infallible = write!(self.0, "{before}{label}=\"{}\"", Escaped(value));
            before = ',';
        }
        if before == ',' {
            self.0.push('}');
        }
        let _infallible = writeln!(self.0, " {value}");
    }
}

/// The value of a label.
struct Escaped<'a>(&'a str);

impl Display for Escaped<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.chars().try_for_each(|character| match character {
            '\\' => f.write_str("\\\\"),
            '"' => f.write_str("\\\""),
            '\n' => f.write_str("\\n"),
            other => f.write_char(other),
        })
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::indexing_slicing, reason = "a test fails by panicking")]
    use std::time::Duration;

    use super::*;

    #[test]
    fn series_are_written_as_prometheus_reads_them() {
        let mut text = Text::default();
        text.family("a_total", Kind::Counter, "What is counted.");
        text.sample("a_total", &[], 3);
        text.sample("a_total", &[("b", "c"), ("d", "\\ \" \n")], 0.5);
        text.sample("a_total", &[], f64::INFINITY);
        assert_eq!(
            text.finish(),
            "# HELP a_total What is counted.\n# TYPE a_total counter\na_total 3\n\
             a_total{b=\"c\",d=\"\\\\ \\\" \\n\"} 0.5\na_total inf\n"
        );
    }

    #[test]
    fn a_histogram_has_its_buckets_its_sum_and_its_number() {
        let durations = Durations::default();
        durations.record(Duration::from_micros(250));
        durations.record(Duration::from_secs(6));
        let mut text = Text::default();
        text.durations("d", &[("m", "x")], &durations);
        let text = text.finish();
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), BUCKETS.len() + 3);
        assert_eq!(&lines[..2], ["d_bucket{m=\"x\",le=\"0.0001\"} 0", "d_bucket{m=\"x\",le=\"0.00025\"} 1"]);
        let end = [
            "d_bucket{m=\"x\",le=\"5\"} 1",
            "d_bucket{m=\"x\",le=\"+Inf\"} 2",
            "d_sum{m=\"x\"} 6.00025",
            "d_count{m=\"x\"} 2",
        ];
        assert_eq!(&lines[11..], end);
    }
}
