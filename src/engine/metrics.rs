//! Prometheus text and the names that engines give their counters.

use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// Names of the series that the tool reads; an empty name means that the engine has none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MetricNames {
    /// Prompt tokens looked up in the prefix cache, and those found there.
    pub cache_queries: &'static str,
    pub cache_hits: &'static str,
    pub prompt_tokens: &'static str,
    pub generation_tokens: &'static str,
    pub preemptions: &'static str,
    pub running: &'static str,
    pub waiting: &'static str,
    /// Share of KV blocks in use, 0..1.
    pub kv_usage: &'static str,
    /// Histograms of the time in the waiting queue, and from being scheduled to the first token, seconds.
    pub queue_time: &'static str,
    pub prefill_time: &'static str,
    /// Series whose labels carry configuration.
    pub config_info: &'static [&'static str],
}

/// Label names and values.
type Labels = BTreeMap<String, String>;

/// One scrape: series name to its samples (labels and value).
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Samples(BTreeMap<String, Vec<(Labels, f64)>>);

impl Samples {
    /// Reads Prometheus text; lines that are not samples are passed over.
    pub fn parse(text: &str) -> Samples {
        let mut all: BTreeMap<String, Vec<_>> = BTreeMap::new();
        for line in text.lines().filter(|l| !l.starts_with('#')) {
            if let Some((name, labels, value)) = sample(line) {
                all.entry(name).or_default().push((labels, value));
            }
        }
        Samples(all)
    }

    /// Adds the series of another engine: sums then are over both, as over the ranks of one.
    pub fn join(&mut self, other: Samples) {
        for (name, mut series) in other.0 {
            self.0.entry(name).or_default().append(&mut series);
        }
    }

    /// Sum over the series' label sets (engines, workers); `None` when the series is absent.
    pub fn sum(&self, name: &str) -> Option<f64> {
        self.0.get(name).map(|s| s.iter().map(|(_, v)| v).sum())
    }

    /// Largest value over the label sets.
    pub fn max(&self, name: &str) -> Option<f64> {
        self.0.get(name)?.iter().map(|(_, v)| *v).reduce(f64::max)
    }

    pub fn labels(&self, name: &str) -> Option<&Labels> {
        self.0.get(name)?.first().map(|(labels, _)| labels)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// `name{a="x",b="y"} 1.5` or `name 1.5`, with an optional time stamp behind.
fn sample(line: &str) -> Option<(String, Labels, f64)> {
    let line = line.trim();
    let (name, labels, rest) = if let Some(open) = line.find('{') {
        let close = close_of(line, open)?;
        (&line[..open], labels(&line[open + 1..close]), &line[close + 1..])
    } else {
        let space = line.find(' ')?;
        (&line[..space], Labels::new(), &line[space..])
    };
    let value = rest.split_whitespace().next()?.parse().ok()?;
    Some((name.to_owned(), labels, value))
}

/// Index of the brace that closes the label set; braces inside quotes do not count.
fn close_of(line: &str, open: usize) -> Option<usize> {
    let (mut quoted, mut escaped) = (false, false);
    for (i, c) in line.char_indices().skip_while(|(i, _)| *i <= open) {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            '}' if !quoted => return Some(i),
            _ => {}
        }
    }
    None
}

fn labels(text: &str) -> Labels {
    let mut map = Labels::new();
    let mut rest = text;
    while let Some((name, after)) = rest.split_once("=\"") {
        let mut value = String::new();
        let mut chars = after.char_indices();
        let mut end = after.len();
        while let Some((i, c)) = chars.next() {
            match c {
                '\\' => value.extend(chars.next().map(|(_, c)| if c == 'n' { '\n' } else { c })),
                '"' => {
                    end = i + 1;
                    break;
                }
                c => value.push(c),
            }
        }
        map.insert(name.trim_matches([',', ' ']).to_owned(), value);
        rest = after.get(end..).unwrap_or("");
    }
    map
}

/// A label or a Python literal as JSON: numbers and booleans by type, `None` and empty left out.
pub(super) fn typed(text: &str) -> Option<Value> {
    match text {
        "None" | "" | "null" => None,
        "True" | "true" => Some(Value::Bool(true)),
        "False" | "false" => Some(Value::Bool(false)),
        t => Some(
            t.parse::<i64>()
                .map(Value::from)
                .or_else(|_| t.parse::<f64>().map(Value::from))
                .unwrap_or_else(|_| Value::from(t.trim_matches(['\'', '"']))),
        ),
    }
}

/// Facts in the labels of the configuration series, under the names of the contract where there is one.
pub fn config_facts(names: &MetricNames, samples: &Samples) -> Map<String, Value> {
    const KEPT: &[(&str, &str)] = &[
        ("num_gpu_blocks", "num_gpu_blocks"),
        ("block_size", "block_size"),
        ("enable_prefix_caching", "enable_prefix_caching"),
        ("gpu_memory_utilization", "gpu_memory_utilization"),
        ("cache_dtype", "cache_dtype"),
        ("kv_cache_size_tokens", "num_kv_tokens"),
        ("kv_cache_max_concurrency", "kv_cache_max_concurrency"),
        ("page_size", "block_size"),
        ("num_pages", "num_gpu_blocks"),
    ];
    let mut facts = Map::new();
    for labels in names.config_info.iter().filter_map(|n| samples.labels(n)) {
        for (label, key) in KEPT {
            if let Some(value) = labels.get(*label).and_then(|v| typed(v)) {
                facts.insert((*key).to_owned(), value);
            }
        }
    }
    facts
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"# HELP vllm:prefix_cache_hits_total hits
vllm:prefix_cache_hits_total{engine="0",model_name="a{b}"} 12.0
vllm:prefix_cache_hits_total{engine="1",model_name="a{b}"} 3.0
vllm:cache_config_info{block_size="128",cache_dtype="auto",enable_prefix_caching="True",kv_cache_size_tokens="1048576",num_gpu_blocks="8192",sliding_window="None"} 1.0
plain_total 4e2 1795310287
broken{
"#;

    #[test]
    fn samples_are_summed_over_engines() {
        let s = Samples::parse(TEXT);
        assert_eq!(s.sum("vllm:prefix_cache_hits_total"), Some(15.0));
        assert_eq!(s.max("vllm:prefix_cache_hits_total"), Some(12.0));
        assert_eq!(s.sum("plain_total"), Some(400.0));
        assert_eq!(s.sum("absent"), None);
        assert_eq!(s.labels("vllm:prefix_cache_hits_total").unwrap()["model_name"], "a{b}");
    }

    #[test]
    fn the_configuration_series_gives_facts() {
        let facts = config_facts(&super::super::vllm_like::METRICS, &Samples::parse(TEXT));
        assert_eq!(facts["num_gpu_blocks"], 8192);
        assert_eq!(facts["num_kv_tokens"], 1_048_576);
        assert_eq!(facts["enable_prefix_caching"], true);
        assert!(!facts.contains_key("sliding_window"));
    }
}
