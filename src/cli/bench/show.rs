//! What a bench prints, and the exit code that its run earns.

use super::super::out::note;
use super::measure::Measured;
use super::{BenchArgs, Plan};
use crate::error::{Error, Kind, Result};
use crate::load::block;
use crate::scenario::{Key, Record};
use crate::trial::{WatchedRun, as_error};

/// What the prefix cache did to the run, in words.
fn cache_remarks(plan: &Plan, m: &Measured) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(why) = m.run.warm_cache(&plan.workload) {
        lines.push(format!("NOT COLD: {why}; use another --seed, or restart the server"));
    }
    if let Some((warm, _)) = &m.repeated {
        for (name, key) in [
            ("mean TTFT", Key::MeanTtftMs),
            ("mean E2EL", Key::MeanE2elMs),
            ("total token throughput", Key::TotalTokenThroughput),
        ] {
            if let (Some(cold), Some(again)) = (m.run.result.metrics.get(key), warm.result.metrics.get(key)) {
                lines.push(format!("repeated: {name} {cold:.2} -> {again:.2}, factor {:.3}", again / cold));
            }
        }
        let hits =
            warm.hit_ratio().map_or("not told by the server".into(), |s| format!("{:.1} %", s * 100.0));
        lines.push(format!("repeated: prompt tokens from the prefix cache: {hits}"));
    }
    lines
}

pub(super) fn show(args: &BenchArgs, plan: &Plan, measured: &Measured, records: &[Record]) -> Result<()> {
    let result = &measured.run.result;
    let text = if args.json {
        match records {
            [one] => serde_json::to_string_pretty(one),
            both => serde_json::to_string_pretty(both),
        }
        .map_err(|e| Error::failed("the observation cannot be written as JSON").source(e))?
    } else {
        block(&result.metrics, &plan.workload)
    };
    super::super::out::line(text);
    for line in result.remarks().into_iter().chain(cache_remarks(plan, measured)) {
        note(line);
    }
    Ok(())
}

/// An interrupted run and a run without a single completed request are failures, after their record is written.
pub(super) fn verdict(run: &WatchedRun) -> Result<()> {
    let result = &run.result;
    let stopped = run.failure.as_ref().is_some_and(|f| f.class == crate::engine::Class::Interrupted);
    if stopped {
        return Err(Error::new(
            Kind::Interrupted,
            "the run was stopped; what was measured until then is written",
        ));
    }
    if let Some(failure) = &run.failure {
        let log = failure.log.clone().unwrap_or_else(|| "the server".to_owned());
        return Err(as_error(failure, std::path::Path::new(&log)));
    }
    if result.rows.iter().any(crate::load::Row::completed) {
        return Ok(());
    }
    let causes: Vec<String> =
        result.errors.iter().map(|(kind, c)| format!("{} x {kind}: {}", c.count, c.first)).collect();
    Err(Error::failed(format!("no request completed ({})", causes.join("; ")))
        .hint("is the model name right, and do the prompts fit the server's context length?"))
}
