//! The OpenMetrics form of a scrape, and who gets it.
//!
//! It differs from the Prometheus text form in little: a counter's family goes by its name
//! without `_total`, bounds are written as fractions, and the end is marked. Not here: the
//! Prometheus text form itself (the `prometheus` crate).

use std::fmt::Write as _;

/// Its media type.
pub const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// The media type of the Prometheus text form.
pub const PROMETHEUS_TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What a bucket's bound stands after.
const BOUND: &str = "le=\"";

/// Whether somebody who accepts this would rather have OpenMetrics.
#[must_use]
pub fn is_wanted(accept: &str) -> bool {
    let (mut open, mut text) = (0.0, Weight::default());
    for range in accept.split(',') {
        let mut parts = range.split(';').map(str::trim);
        let media = parts.next().unwrap_or_default().to_ascii_lowercase();
        let (mut quality, mut is_known) = (1.0_f32, true);
        for (name, value) in parts.filter_map(|part| part.split_once('=')) {
            match name.trim().to_ascii_lowercase().as_str() {
                "q" => quality = value.trim().parse().unwrap_or(0.0),
                "version" => is_known = matches!(value.trim_matches('"'), "1.0.0" | "0.0.1"),
                _ => {}
            }
        }
        match media.as_str() {
            "application/openmetrics-text" if is_known => open = quality.max(open),
            "text/plain" => text.on_range(quality, 2),
            "text/*" => text.on_range(quality, 1),
            "*/*" => text.on_range(quality, 0),
            _ => {}
        }
    }
    open > 0.0 && open >= text.quality
}

/// How much something is wanted: the most exact range that fits it counts.
#[derive(Default)]
struct Weight {
    quality: f32,
    exactness: u8,
}

impl Weight {
    fn on_range(&mut self, quality: f32, exactness: u8) {
        if exactness >= self.exactness {
            (self.quality, self.exactness) = (quality, exactness);
        }
    }
}

/// Makes it of the Prometheus text form.
#[must_use]
pub fn open_metrics(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + text.len() / 16);
    for line in text.lines() {
        let comment = line.strip_prefix("# ").and_then(|rest| rest.split_once(' '));
        if let Some((what, rest)) = comment {
            let (name, rest) = rest.split_once(' ').unwrap_or((rest, ""));
            let family = name.strip_suffix("_total").unwrap_or(name);
            // Writing to a string cannot fail.
            let _is_written = writeln!(out, "# {what} {family} {rest}").is_ok();
            continue;
        }
        match line.split_once(BOUND).and_then(|(before, rest)| {
            rest.split_once('"').map(|(bound, after)| (before, bound, after))
        }) {
            Some((before, bound, after)) => {
                let is_whole = bound.bytes().all(|byte| byte.is_ascii_digit());
                let fraction = if is_whole { ".0" } else { "" };
                let _is_written =
                    writeln!(out, "{before}{BOUND}{bound}{fraction}\"{after}").is_ok();
            }
            None => {
                out.push_str(line);
                out.push('\n');
            }
        }
    }
    out.push_str("# EOF\n");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_asks_for_it_gets_it() {
        for (accept, wanted) in [
            ("application/openmetrics-text", true),
            ("Application/OpenMetrics-Text; version=1.0.0; charset=utf-8", true),
            // What Prometheus 2.42 sends.
            (
                "application/openmetrics-text;version=1.0.0,application/openmetrics-text;\
                 version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
                true,
            ),
            ("text/plain;q=0.5, application/openmetrics-text;q=0.5", true),
            ("text/plain, application/openmetrics-text;q=0.5", false),
            ("application/openmetrics-text;q=0", false),
            ("application/openmetrics-text;q=x", false),
            ("application/openmetrics-text;version=2.0.0", false),
            ("application/openmetrics-text;q=0.5, */*;q=0.8, text/plain;q=0.2", true),
            ("*/*", false),
            ("text/html", false),
            ("", false),
        ] {
            assert_eq!(is_wanted(accept), wanted, "{accept}");
        }
    }

    #[test]
    fn the_differences_are_made() {
        let text = "# HELP a_total What \\n it is.\n# TYPE a_total counter\na_total{le_x=\"1\"} 2\n\
                    # HELP b_seconds S.\n# TYPE b_seconds histogram\nb_seconds_bucket{le=\"1\"} 0\n\
                    b_seconds_bucket{le=\"0.5\"} 0\nb_seconds_bucket{le=\"+Inf\"} 0\n\
                    b_seconds_sum 0\nb_seconds_count 0\n";
        let want = "# HELP a What \\n it is.\n# TYPE a counter\na_total{le_x=\"1\"} 2\n\
                    # HELP b_seconds S.\n# TYPE b_seconds histogram\n\
                    b_seconds_bucket{le=\"1.0\"} 0\nb_seconds_bucket{le=\"0.5\"} 0\n\
                    b_seconds_bucket{le=\"+Inf\"} 0\nb_seconds_sum 0\nb_seconds_count 0\n# EOF\n";
        assert_eq!(open_metrics(text), want);
    }
}
