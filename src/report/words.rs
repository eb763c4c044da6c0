//! Numbers and names as a reader wants them.

use crate::scenario::Key;
use crate::stats::Interval;
use crate::workload::{Dataset, RequestRate, WorkloadSpec};

/// `+12.3 %`, `-0.4 %`.
pub(super) fn percent(x: f64) -> String {
    let text = format!("{:+.1} %", 100.0 * x);
    if text == "-0.0 %" { "+0.0 %".to_owned() } else { text }
}

/// `+12.3 % (+10.1 to +14.6)`. A wide interval is printed as wide as it is: that is what it says.
pub(super) fn percent_interval(i: &Interval) -> String {
    if !(i.low.is_finite() && i.high.is_finite()) {
        return format!("{} (one pair: no interval)", percent(i.value));
    }
    format!("{} ({})", percent(i.value), range(i))
}

/// `+10.1 to +14.6`.
pub(super) fn range(i: &Interval) -> String {
    let bare = |x: f64| percent(x).trim_end_matches(" %").to_owned();
    match (i.low.is_finite(), i.high.is_finite()) {
        (true, true) if (1.0 + i.high) / (1.0 + i.low).max(1e-9) > 100.0 => "wider than tenfold".to_owned(),
        (true, true) => format!("{} to {}", bare(i.low), bare(i.high)),
        _ => "no interval".to_owned(),
    }
}

/// `98.3`, `95`: a confidence in percent.
pub(super) fn confidence(share: f64) -> String {
    let text = format!("{:.1}", 100.0 * share);
    text.trim_end_matches(".0").to_owned()
}

/// What a workload is, for a reader: what is sent, how many, and how it arrives.
pub(super) fn workload_words(w: &WorkloadSpec) -> String {
    let n = w.num_prompts.map_or("requests".to_owned(), |n| format!("{n} requests"));
    let what = match w.dataset {
        Dataset::Random => {
            let len = |fixed: Option<u32>, range: Option<(u32, u32)>| match (fixed, range) {
                (_, Some((a, b))) => format!("{a} to {b}"),
                (Some(x), None) => x.to_string(),
                (None, None) => "?".to_owned(),
            };
            format!(
                "{n} of {} prompt and {} output tokens, random token ids",
                len(w.input_len, w.input_range),
                len(w.output_len, w.output_range)
            )
        }
        // Without a file only the lengths are those of the data: said, since it decides what prefix caches and
        // speculative decoding can show.
        Dataset::Sharegpt if w.path.is_none() => {
            format!("{n} with the lengths of ShareGPT (a built-in table of lengths, random token ids)")
        }
        other => format!("{n} from {}", other.id()),
    };
    let arrival = match (w.request_rate, w.max_concurrency) {
        (RequestRate::PerSecond(r), Some(c)) => format!("{} a second, at most {c} in flight", number(r)),
        (RequestRate::PerSecond(r), None) => format!("{} a second", number(r)),
        (RequestRate::Inf, Some(c)) => format!("at most {c} in flight"),
        (RequestRate::Inf, None) => "all at once".to_owned(),
    };
    format!("{what}, {arrival}")
}

/// Three or four significant digits, thousands grouped.
pub(super) fn number(x: f64) -> String {
    if !x.is_finite() {
        return "–".to_owned();
    }
    if x == 0.0 {
        return "0".to_owned();
    }
    let decimals = match x.abs() {
        a if a >= 100.0 => 0,
        a if a >= 10.0 => 1,
        _ => 2,
    };
    let text = format!("{x:.decimals$}");
    // Nothing is minus nothing.
    let text = match text.strip_prefix('-') {
        Some(d) if d.chars().all(|c| c == '0' || c == '.') => d.to_owned(),
        _ => text,
    };
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

/// A load: a whole number of requests without decimals.
pub(super) fn load(x: f64) -> String {
    let text = number(x);
    if x.fract() == 0.0 { text.split('.').next().unwrap_or_default().to_owned() } else { text }
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

/// `1 launch`, `3 launches`.
pub(super) fn count(n: usize, one: &str, many: &str) -> String {
    format!("{n} {}", if n == 1 { one } else { many })
}

/// `total throughput` from `Total throughput (tok/s)`: for the middle of a sentence.
pub(super) fn key_name(key: &str) -> String {
    let words = key_words(key);
    let name = words.split(" (").next().unwrap_or_default();
    // Abbreviations such as TTFT keep their capitals.
    match name.split_once(' ') {
        Some((first, rest)) if first.len() > 1 && !first.starts_with('P') => {
            format!("{} {rest}", first.to_lowercase())
        }
        _ => name.to_owned(),
    }
}

/// A name of a person's clock: `2026-11-25 18:05 UTC`.
pub(super) fn date(unix_s: f64) -> String {
    let at = std::time::UNIX_EPOCH + std::time::Duration::from_secs_f64(unix_s.max(0.0));
    let text = humantime::format_rfc3339_seconds(at).to_string();
    text.get(..16).map_or(text.clone(), |t| format!("{} UTC", t.replace('T', " ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wide_interval_is_shown_as_wide() {
        let i = Interval { value: 0.834, low: -0.4, high: 4.0 };
        assert_eq!(percent_interval(&i), "+83.4 % (-40.0 to +400.0)");
        assert_eq!((confidence(0.9833), confidence(0.95)), ("98.3".into(), "95".into()));
        assert_eq!(key_name("mean_ttft_ms"), "mean TTFT");
        assert_eq!(key_name("p99_ttft_ms"), "P99 TTFT");
        assert_eq!(key_name("total_token_throughput"), "total throughput");
        assert_eq!(date(1795629912.2), "2026-11-25 18:05 UTC");
    }

    #[test]
    fn numbers_are_grouped_and_rounded() {
        assert_eq!(number(9743.28), "9,743");
        assert_eq!(number(1_234_567.0), "1,234,567");
        assert_eq!(number(48.57), "48.6");
        assert_eq!(number(-0.126), "-0.13");
        assert_eq!(number(f64::NAN), "–");
        assert_eq!((number(-0.0), number(-0.001)), ("0".into(), "0.00".into()));
        assert_eq!((load(16.0), load(28.92), load(1024.0)), ("16".into(), "28.9".into(), "1,024".into()));
        assert_eq!(percent(-0.0001), "+0.0 %");
        assert_eq!(duration(3725.0), "1 h 02 min");
        assert_eq!(key_words("p99_ttft_ms"), "P99 TTFT (ms)");
        assert_eq!(key_words("mean_e2el_ms"), "Mean E2E latency (ms)");
    }
}
