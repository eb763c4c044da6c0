//! The benchmark report of llm-d (versions 0.1 and 0.2, YAML or JSON): what was served, by what, under which load, and
//! statistics with their units beside them.

use super::parallel::{self, Shares, engine_named};
use super::{E2EL, ITL, TPOT, TTFT, set, throughputs, totals_workload};
use crate::launch::{EngineKind, quote};
use crate::scenario::{Key, Metrics, Record};
use crate::workload::RequestRate;
use serde_json::{Map, Value};

pub(super) fn is(object: &Map<String, Value>) -> bool {
    object.contains_key("version")
        && object.get("scenario").is_some_and(Value::is_object)
        && (object.contains_key("results") || object.contains_key("metrics"))
}

pub(super) fn read(object: &Map<String, Value>) -> Result<Record, String> {
    let whole = Value::Object(object.clone());
    let figures = whole
        .pointer("/results/request_performance/aggregate")
        .or_else(|| whole.get("metrics"))
        .ok_or("the report has no aggregated results")?;
    let m = metrics(&whole, figures);
    let launch = launch(&whole)?;
    let mut workload = totals_workload(&m);
    let load = |path: &str| whole.pointer(&format!("/scenario/load/standardized{path}"));
    let number = |path: &str| load(path).and_then(Value::as_f64);
    // 0.1 has the load tool's own arguments instead.
    let stage_rate = || whole.pointer("/scenario/load/args/load/stages/0/rate").and_then(Value::as_f64);
    workload.request_rate = number("/rate_qps")
        .or_else(stage_rate)
        .filter(|r| *r > 0.0)
        .map_or(RequestRate::Inf, RequestRate::PerSecond);
    workload.max_concurrency = number("/concurrency").filter(|c| *c >= 1.0).map(|c| c as u32);
    workload.num_prompts = whole_count(figures.pointer("/requests/total"));
    let mut notes = Vec::new();
    if load("/multi_turn/enabled") == Some(&Value::Bool(true)) {
        notes.push("the load was of several turns".to_owned());
    }
    if load("/prefix/num_groups").is_some() {
        notes.push("the prompts had prefixes in common".to_owned());
    }
    notes.extend(launch.note);
    Ok(Record {
        engine: launch.engine,
        model: launch.model,
        hardware: launch.hardware,
        num_gpus: launch.gpus,
        serve_command: launch.command,
        workload: Some(workload),
        result: Some(m),
        source: Some("llm-d benchmark report".into()),
        note: (!notes.is_empty()).then(|| notes.join("; ")),
        ..Record::default()
    })
}

fn whole_count(v: Option<&Value>) -> Option<u32> {
    v.and_then(Value::as_f64).filter(|n| *n >= 1.0).map(|n| n as u32)
}

fn metrics(whole: &Value, figures: &Value) -> Metrics {
    let number = |path: &str| figures.pointer(path).and_then(Value::as_f64);
    // A rate is a block of statistics in 0.2 and a plain number in 0.1.
    let rate = |names: &[&str]| {
        names.iter().find_map(|n| {
            let at = format!("/throughput/{n}");
            number(&format!("{at}/mean")).or_else(|| number(&at))
        })
    };
    let mut m = Metrics::default();
    let (total, failed) = (number("/requests/total"), number("/requests/failures"));
    let completed = total.map(|t| t - failed.unwrap_or(0.0) - number("/requests/incomplete").unwrap_or(0.0));
    set(&mut m, Key::Completed, completed);
    set(&mut m, Key::Failed, failed);
    set(&mut m, Key::RequestThroughput, rate(&["request_rate", "requests_rate", "requests_per_sec"]));
    set(&mut m, Key::OutputThroughput, rate(&["output_token_rate", "output_tokens_per_sec"]));
    set(&mut m, Key::TotalTokenThroughput, rate(&["total_token_rate", "total_tokens_per_sec"]));
    let stated = whole.pointer("/metrics/time/duration").and_then(Value::as_f64);
    let iso = whole.pointer("/run/time/duration").and_then(Value::as_str).and_then(iso_seconds);
    let counted = completed.zip(m.get(Key::RequestThroughput)).filter(|(_, r)| *r > 0.0).map(|(c, r)| c / r);
    set(&mut m, Key::Duration, stated.or(iso).or(counted));
    let mean = |name: &str| Some((completed? * number(&format!("/requests/{name}/mean"))?).round());
    set(&mut m, Key::TotalInputTokens, mean("input_length"));
    set(&mut m, Key::TotalOutputTokens, mean("output_length"));
    for (name, keys) in [
        ("time_to_first_token", TTFT),
        ("time_per_output_token", TPOT),
        ("inter_token_latency", ITL),
        ("request_latency", E2EL),
    ] {
        let at = format!("/latency/{name}");
        let unit = figures.pointer(&format!("{at}/units")).and_then(Value::as_str).unwrap_or("s");
        let factor = if unit.starts_with("ms") { 1.0 } else { 1e3 };
        for (key, fields) in keys.into_iter().zip([
            &["mean"][..],
            &["p50", "median"],
            &["stddev", "std"],
            &["p90"],
            &["p95"],
            &["p99"],
        ]) {
            let value = fields.iter().find_map(|f| number(&format!("{at}/{f}")));
            set(&mut m, key, value.map(|v| v * factor));
        }
    }
    throughputs(&mut m);
    m
}

/// `PT1M2.5S` as seconds.
fn iso_seconds(text: &str) -> Option<f64> {
    let mut seconds = 0.0;
    let mut digits = String::new();
    for c in text.strip_prefix("PT")?.chars() {
        let unit = match c {
            'H' => 3600.0,
            'M' => 60.0,
            'S' => 1.0,
            c => {
                digits.push(c);
                continue;
            }
        };
        seconds += std::mem::take(&mut digits).parse::<f64>().ok()? * unit;
    }
    Some(seconds)
}

#[derive(Default)]
struct Served {
    engine: Option<EngineKind>,
    model: Option<String>,
    hardware: Option<String>,
    gpus: Option<u32>,
    command: Option<String>,
    note: Option<String>,
}

fn launch(whole: &Value) -> Result<Served, String> {
    if let Some(stack) = whole.pointer("/scenario/stack").and_then(Value::as_array) {
        // The kind stands in the standardised part; drafts of 0.2 had it in the metadata.
        let kind = |c: &&Value| {
            let of = |path: &str| c.pointer(path).and_then(Value::as_str) == Some("inference_engine");
            of("/standardized/kind") || of("/metadata/kind")
        };
        let engines: Vec<&Value> = stack.iter().filter(kind).collect();
        let role = |c: &&Value| {
            c.pointer("/standardized/role").and_then(Value::as_str).unwrap_or("aggregate").to_owned()
        };
        let split =
            engines.iter().any(|c| role(c) == "decode") && engines.iter().any(|c| role(c) == "prefill");
        if split {
            return Err(
                "prefill and decode ran on GPUs of their own (disaggregated), which is not modelled".into()
            );
        }
        return Ok(engines.first().map_or_else(Served::default, |c| component(c, &engines)));
    }
    let text = |path: &str| whole.pointer(path).and_then(Value::as_str).map(str::to_owned);
    let at = "/scenario/host/accelerator/0";
    let count = |path: &str| whole_count(whole.pointer(path));
    let engine = text("/scenario/platform/engine/0/name");
    let mut s = Served {
        engine: engine.as_deref().and_then(engine_named),
        model: text("/scenario/model/name"),
        hardware: text(&format!("{at}/model")),
        gpus: count(&format!("{at}/count")),
        ..Served::default()
    };
    let of = |name: &str| count(&format!("{at}/parallelism/{name}"));
    let shares =
        Shares { tensor: of("tp"), pipeline: of("pp"), data: of("dp"), expert: of("ep"), attention: false };
    let native = whole.pointer("/scenario/platform/engine/0/args");
    finish(&mut s, shares, native);
    Ok(s)
}

/// One engine of the stack of version 0.2. Its replicas, and the other engines, serve together: for the GPUs they are ranks of
/// data parallelism.
fn component(c: &Value, engines: &[&Value]) -> Served {
    let text = |path: &str| c.pointer(path).and_then(Value::as_str).map(str::to_owned);
    let of = |name: &str| whole_count(c.pointer(&format!("/standardized/accelerator/parallelism/{name}")));
    let (tool, image) = (text("/standardized/tool"), text("/standardized/tool_version"));
    let named = |t: &Option<String>| t.as_deref().and_then(engine_named);
    let replicas = |c: &&Value| whole_count(c.pointer("/standardized/replicas")).unwrap_or(1);
    let n: u32 = engines.iter().map(replicas).sum();
    let ranks = of("dp").unwrap_or(1).saturating_mul(n.max(1));
    let mut s = Served {
        // llm-d's own images serve with vLLM.
        engine: named(&tool).or_else(|| named(&image)).or(Some(EngineKind::Vllm)),
        model: text("/standardized/model/name"),
        hardware: text("/standardized/accelerator/model"),
        gpus: whole_count(c.pointer("/standardized/accelerator/count")).map(|g| g.saturating_mul(n.max(1))),
        note: (n > 1).then(|| format!("{n} engines served together, read as ranks of data parallelism")),
        ..Served::default()
    };
    let shares = Shares {
        tensor: of("tp"),
        pipeline: of("pp"),
        data: Some(ranks),
        expert: of("ep"),
        attention: false,
    };
    finish(&mut s, shares, c.pointer("/native/args"));
    if let Some(command) = s.command.as_mut().filter(|c| n > 1 && !c.contains("--data-parallel-size")) {
        command.push_str(&format!(" --data-parallel-size {ranks}"));
    }
    s
}

/// The command: the component's own arguments where the report has them, else how the GPUs share the work.
fn finish(s: &mut Served, shares: Shares, native: Option<&Value>) {
    let (Some(engine), Some(model)) = (s.engine, s.model.as_deref()) else { return };
    let own = native.and_then(Value::as_object).filter(|a| a.keys().any(|k| k.starts_with('-')));
    s.command = Some(match own {
        Some(args) => {
            let flag = |(name, value): (&String, &Value)| match value {
                Value::Null => name.clone(),
                Value::String(t) => format!("{name} {}", quote(t)),
                other => format!("{name} {}", quote(&other.to_string())),
            };
            let flags: Vec<String> = args.iter().filter(|(k, _)| k.starts_with('-')).map(flag).collect();
            format!("{} {}", parallel::program(engine, model), flags.join(" "))
        }
        None => parallel::command(engine, model, shares),
    });
}
