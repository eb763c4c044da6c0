//! Numbers and names as a reader wants them.

use crate::scenario::Key;
use crate::stats::Interval;

/// `+12.3 %`, `-0.4 %`.
pub(super) fn percent(x: f64) -> String {
    let text = format!("{:+.1} %", 100.0 * x);
    if text == "-0.0 %" { "+0.0 %".to_owned() } else { text }
}

/// An interval whose bounds lie further apart than this factor says nothing worth reading.
const WIDEST: f64 = 4.0;

/// `+12.3 % (+10.1 to +14.6)`; without an interval that says something, the value alone.
pub(super) fn percent_interval(i: &Interval) -> String {
    if !(i.low.is_finite() && i.high.is_finite()) {
        return format!("{} (one pair: no interval)", percent(i.value));
    }
    if (1.0 + i.high) / (1.0 + i.low).max(1e-9) > WIDEST {
        return format!("{} (too few runs for an interval)", percent(i.value));
    }
    let bare = |x: f64| percent(x).trim_end_matches(" %").to_owned();
    format!("{} ({} to {})", percent(i.value), bare(i.low), bare(i.high))
}

/// Three or four significant digits, thousands grouped.
pub(super) fn number(x: f64) -> String {
    if !x.is_finite() {
        return "–".to_owned();
    }
    let decimals = match x.abs() {
        a if a >= 100.0 => 0,
        a if a >= 10.0 => 1,
        _ => 2,
    };
    let text = format!("{x:.decimals$}");
    let (sign, digits) = text.strip_prefix('-').map_or(("", text.as_str()), |d| ("-", d));
    let (whole, fraction) = digits.split_once('.').map_or((digits, None), |(w, f)| (w, Some(f)));
    let mut grouped = String::new();
    for (i, c) in whole.chars().enumerate() {
        if i > 0 && (whole.len() - i) % 3 == 0 {
            grouped.push(',');
        }
        grouped.push(c);
    }
    match fraction {
        Some(f) => format!("{sign}{grouped}.{f}"),
        None => format!("{sign}{grouped}"),
    }
}

/// `2 min 05 s`, `41 s`, `1 h 02 min`.
pub(super) fn duration(s: f64) -> String {
    let s = s.max(0.0).round() as u64;
    match s {
        0..60 => format!("{s} s"),
        60..3600 => format!("{} min {:02} s", s / 60, s % 60),
        _ => format!("{} h {:02} min", s / 3600, s % 3600 / 60),
    }
}

/// A result key for a table: name and unit.
pub(super) fn key_words(key: &str) -> String {
    let Some(k) = Key::from_name(key) else { return key.to_owned() };
    match k {
        Key::RequestThroughput => "Request throughput (req/s)".into(),
        Key::RequestGoodput => "Goodput (req/s)".into(),
        Key::OutputThroughput => "Output throughput (tok/s)".into(),
        Key::TotalTokenThroughput => "Total throughput (tok/s)".into(),
        _ => {
            let mut parts = key.split('_');
            let stat = parts.next().unwrap_or_default();
            let what = parts.next().unwrap_or_default().to_uppercase().replace("E2EL", "E2E latency");
            let stat = match stat {
                "mean" => "Mean".to_owned(),
                "median" => "Median".to_owned(),
                other => other.to_uppercase(),
            };
            format!("{stat} {what} (ms)")
        }
    }
}

/// Text for one cell of a Markdown table: one line, no cell borders.
pub(super) fn cell(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_and_rounded() {
        assert_eq!(number(9743.28), "9,743");
        assert_eq!(number(1_234_567.0), "1,234,567");
        assert_eq!(number(48.57), "48.6");
        assert_eq!(number(-0.126), "-0.13");
        assert_eq!(number(f64::NAN), "–");
        assert_eq!(percent(-0.0001), "+0.0 %");
        assert_eq!(duration(3725.0), "1 h 02 min");
        assert_eq!(key_words("p99_ttft_ms"), "P99 TTFT (ms)");
        assert_eq!(key_words("mean_e2el_ms"), "Mean E2E latency (ms)");
    }
}
