//! Observations made ready for a fit.

use super::setup::{Catalogs, Setup, scenario_of};
use crate::error::Result;
use crate::scenario::{Metrics, Record, RequestRow};

/// An observation made ready for a fit.
#[derive(Debug, Clone)]
pub struct Case {
    pub setup: Setup,
    pub measured: Metrics,
    /// Whether medians are compared.
    pub medians: bool,
    /// Timings of single requests, when the record carries them.
    pub rows: Vec<TimedRow>,
    pub label: String,
    pub version: Option<String>,
}

/// Timing of one request: its place among the requests by arrival, TTFT and the time after the first token.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TimedRow {
    pub index: usize,
    pub ttft_s: f64,
    pub decode_s: f64,
}

impl Case {
    /// `None` for a record with neither a result nor a request with timings.
    pub fn new(record: &Record, catalogs: &Catalogs) -> Result<Option<Case>> {
        let rows = timed_rows(record);
        if record.result.is_none() && rows.is_empty() {
            return Ok(None);
        }
        Ok(Some(Case {
            setup: Setup::new(&scenario_of(record), catalogs)?,
            measured: record.result.clone().unwrap_or_default(),
            medians: true,
            rows,
            label: label(record),
            version: record.engine_version.clone().or_else(|| record.launch().version.map(|v| v.to_string())),
        }))
    }
}

fn timed_rows(record: &Record) -> Vec<TimedRow> {
    let mut rows: Vec<&RequestRow> = record.requests.iter().flatten().collect();
    rows.sort_by(|a, b| a.arrival_s.total_cmp(&b.arrival_s));
    rows.iter()
        .enumerate()
        .filter_map(|(index, r)| {
            let ttft_s = r.ttft_s.filter(|t| *t > 0.0)?;
            let decode_s = r.e2e_s.map_or(0.0, |e| (e - ttft_s).max(0.0));
            Some(TimedRow { index, ttft_s, decode_s })
        })
        .collect()
}

/// Short text for tables: the command and the workload.
pub fn label(r: &Record) -> String {
    let command = r.serve_command.as_deref().unwrap_or("");
    let Some(w) = &r.workload else { return command.to_owned() };
    let mut text = format!("{command} | {}", w.dataset.id());
    if !w.parts().is_empty() {
        text = format!("{command} | {}", w.label());
    }
    if let (Some(i), Some(o)) = (w.input_len, w.output_len) {
        text += &format!(" {i}/{o}");
    }
    if let Some(c) = w.max_concurrency {
        text += &format!(" c{c}");
    }
    text
}
