//! The command-line form of a workload: `PRESET | random:IN/OUT | sharegpt-lengths | sharegpt:PATH | trace:PATH | custom:PATH
//! | chat | mix:WEIGHT*WORKLOAD+WEIGHT*WORKLOAD...`, each with optional `,key=value` settings. Inside a mixture the
//! settings of one part follow it after semicolons: `mix:0.7*sharegpt+0.3*random:2000/100;prefix=512,n=200,rate=5`.

use super::presets::{PRESETS, preset};
use super::sharegpt;
use super::spec::{Component, Stage};
use super::{Arrivals, Dataset, RequestRate, WorkloadSpec};
use crate::error::{Error, Problem, Result};
use std::str::FromStr;

/// Settings that may follow the data set.
const KEYS: &str = "n, seed, rate, concurrency, burstiness, arrivals, stages, range, prefix, \
                    prefix-share, prefix-groups, output, scale, time-scale, turns, context, think";

/// Reads `long,n=100,rate=2.5`; reports every problem at once.
pub fn parse(text: &str) -> Result<WorkloadSpec> {
    let mut problems = Vec::new();
    let (mut spec, scale) = read(text, ',', &mut problems);
    if problems.is_empty() {
        if let Some(scale) = scale {
            let n = spec.num_prompts.unwrap_or_else(|| default_prompts(spec.dataset));
            spec.num_prompts = Some(((f64::from(n) * scale).round() as u32).max(1));
        }
        if spec.num_prompts.is_none() && !matches!(spec.dataset, Dataset::Trace | Dataset::Custom) {
            spec.num_prompts = Some(default_prompts(spec.dataset));
        }
        problems = spec.problems("--workload");
    }
    if problems.is_empty() {
        Ok(spec)
    } else {
        Err(Error::problems(format!("bad workload `{text}`"), problems))
    }
}

/// Data set and settings, `separator` between them; the scale of the number of requests stands apart.
fn read(text: &str, separator: char, problems: &mut Vec<Problem>) -> (WorkloadSpec, Option<f64>) {
    let mut parts = text.split(separator).map(str::trim);
    let mut inside = Vec::new();
    let first = parts.next().unwrap_or_default();
    let read = match first.strip_prefix("mix:") {
        Some(list) if separator == ',' => mixture(list, &mut inside),
        _ => head(first),
    };
    let mut problem = |key: &str, message: String, hint: &str| {
        problems.push(Problem::new("--workload", key, message).hint(hint));
    };
    let mut spec = read.unwrap_or_else(|(message, hint)| {
        problem(text, message, &hint);
        WorkloadSpec::random(1, 1, 1, 0)
    });
    let mut scale = None;
    for part in parts.filter(|p| !p.is_empty()) {
        let Some((key, value)) = part.split_once('=') else {
            problem(part, "is not `key=value`".into(), &format!("settings: {KEYS}"));
            continue;
        };
        if let Err((message, hint)) = set(&mut spec, &mut scale, key.trim(), value.trim()) {
            problem(key, message, &hint);
        }
    }
    problems.append(&mut inside);
    (spec, scale)
}

/// `WEIGHT*WORKLOAD+WEIGHT*WORKLOAD`; a plus that no weight follows belongs to a file name.
fn mixture(list: &str, problems: &mut Vec<Problem>) -> Result<WorkloadSpec, Bad> {
    let weight = |text: &str| text.split_once('*').is_some_and(|(w, _)| w.trim().parse::<f64>().is_ok());
    let mut texts: Vec<String> = Vec::new();
    for piece in list.split('+') {
        match texts.last_mut() {
            Some(before) if !weight(piece) => {
                before.push('+');
                before.push_str(piece);
            }
            _ => texts.push(piece.to_owned()),
        }
    }
    let mut components = Vec::new();
    for text in &texts {
        let Some((weight, workload)) = text.split_once('*') else {
            let hint = "such as mix:0.7*sharegpt+0.3*random:2000/100,n=200".to_owned();
            return Err((format!("`{text}` is not WEIGHT*WORKLOAD"), hint));
        };
        let weight = number(weight, "weight")?;
        let (own, scale) = read(workload, ';', problems);
        if workload.split(';').skip(1).any(of_the_whole) || scale.is_some() {
            let message = "sets number, seed or arrivals, which are those of the whole mixture".to_owned();
            let problem = Problem::new("--workload", text.as_str(), message);
            problems.push(problem.hint("put them behind the mixture, after a comma"));
        }
        // A preset brings its own number and seed.
        components
            .push(Component { weight, workload: WorkloadSpec { num_prompts: None, seed: None, ..own } });
    }
    let mut spec = WorkloadSpec::empty(Dataset::Mix);
    spec.seed = Some(0);
    spec.components = Some(components);
    Ok(spec)
}

/// Whether a setting is one that only a whole mixture has.
fn of_the_whole(setting: &str) -> bool {
    const WHOLE: [&str; 9] = [
        "n",
        "num_prompts",
        "num-prompts",
        "seed",
        "rate",
        "concurrency",
        "burstiness",
        "arrivals",
        "stages",
    ];
    setting.split_once('=').is_some_and(|(key, _)| {
        WHOLE.contains(&key.trim()) || key.contains("request") || key.contains("max") || key.contains("scale")
    })
}

/// `vllm bench serve`'s default number of prompts; sessions for a chat workload.
fn default_prompts(dataset: Dataset) -> u32 {
    if dataset == Dataset::Chat { 100 } else { 1000 }
}

type Bad = (String, String);

fn head(text: &str) -> Result<WorkloadSpec, Bad> {
    let (name, rest) = text.split_once(':').map_or((text, None), |(n, r)| (n, Some(r)));
    let with_path = |dataset: Dataset, path: Option<&str>| {
        let mut spec = WorkloadSpec::empty(dataset);
        spec.seed = Some(0);
        spec.path = path.map(str::to_owned);
        spec
    };
    match (name, rest.filter(|r| !r.is_empty())) {
        ("random", Some(lengths)) => {
            let Some((i, o)) = lengths.split_once('/') else {
                return Err((format!("`{lengths}` is not IN/OUT"), "such as random:4000/200".into()));
            };
            let mut spec = with_path(Dataset::Random, None);
            (spec.input_len, spec.input_range) = length(i, "input length")?;
            (spec.output_len, spec.output_range) = length(o, "output length")?;
            Ok(spec)
        }
        ("random", None) => Err(("random needs lengths".into(), "such as random:4000/200".into())),
        // Found by hand: a name that meant the file on one machine and the table on another would compare the two.
        ("sharegpt", Some("cached")) => {
            let found = crate::host::hub_cache().and_then(|c| sharegpt::cached(&c));
            let missing = || {
                let message = "the file of ShareGPT is not in the hub's cache on this machine".to_owned();
                (message, format!("`{}`, or sharegpt:FILE", sharegpt::download()))
            };
            let file = found.ok_or_else(missing)?;
            Ok(with_path(Dataset::Sharegpt, Some(&file.display().to_string())))
        }
        ("sharegpt", Some(path)) => Ok(with_path(Dataset::Sharegpt, Some(path))),
        ("trace", Some(path)) => Ok(with_path(Dataset::Trace, Some(path))),
        ("custom", Some(path)) => Ok(with_path(Dataset::Custom, Some(path))),
        ("trace" | "custom", None) => Err((format!("{name} needs a file"), format!("such as {name}:FILE"))),
        ("chat", None) => Ok(with_path(Dataset::Chat, None)),
        ("mix", Some(_)) => Err(("a mixture inside a mixture".into(), "name its parts one by one".into())),
        ("mix", None) => {
            Err(("mix needs parts".into(), "such as mix:0.7*sharegpt+0.3*random:2000/100".into()))
        }
        (name, None) => preset(name).map(super::presets::Preset::spec).ok_or_else(|| unknown(name)),
        (name, Some(_)) => Err(unknown(name)),
    }
}

fn unknown(name: &str) -> Bad {
    let names: Vec<&str> = PRESETS.iter().map(|p| p.name).collect();
    (
        format!("unknown workload `{name}`"),
        format!(
            "one of {}, random:IN/OUT, sharegpt:FILE, sharegpt:cached, trace:FILE, custom:FILE, chat, mix:WEIGHT*WORKLOAD+...",
            names.join(", ")
        ),
    )
}

fn number<T: FromStr>(text: &str, what: &str) -> Result<T, Bad> {
    text.trim()
        .parse()
        .map_err(|_| (format!("{what} `{text}` is not a number it can be"), "a plain number".into()))
}

/// A length, and the range around it where one is given.
type Length = (Option<u32>, Option<(u32, u32)>);

/// `N`, or `A-B` for lengths uniform in a closed range, whose middle then stands for the length.
fn length(text: &str, what: &str) -> Result<Length, Bad> {
    let Some((low, high)) = text.split_once('-') else { return Ok((Some(number(text, what)?), None)) };
    let (low, high): (u32, u32) = (number(low, what)?, number(high, what)?);
    Ok((Some(low.midpoint(high).max(1)), Some((low, high))))
}

/// `RATE@SECONDS/RATE@SECONDSexp/...`
fn stages(text: &str) -> Result<Vec<Stage>, Bad> {
    text.split('/')
        .map(|part| {
            let (rate, seconds) = part.split_once('@').ok_or_else(|| {
                (format!("stage `{part}` is not RATE@SECONDS"), "such as 20@60/20@300".to_owned())
            })?;
            let (seconds, exponential) = seconds.strip_suffix("exp").map_or((seconds, false), |s| (s, true));
            let seconds = number(seconds.strip_suffix('s').unwrap_or(seconds), "seconds")?;
            Ok(Stage { rate: number(rate, "rate")?, seconds, exponential })
        })
        .collect()
}

fn set(spec: &mut WorkloadSpec, scale: &mut Option<f64>, key: &str, value: &str) -> Result<(), Bad> {
    match key {
        "n" | "num_prompts" | "num-prompts" => spec.num_prompts = Some(number(value, "n")?),
        "seed" => spec.seed = Some(number(value, "seed")?),
        "rate" | "request_rate" | "request-rate" => spec.request_rate = rate(value)?,
        "concurrency" | "max_concurrency" | "max-concurrency" => {
            spec.max_concurrency = if value == "none" { None } else { Some(number(value, "concurrency")?) };
        }
        "burstiness" => spec.burstiness = Some(number(value, "burstiness")?),
        "arrivals" => {
            spec.arrivals = match value {
                "poisson" => None,
                "gamma" => Some(Arrivals::Gamma),
                "constant" => Some(Arrivals::Constant),
                other => {
                    return Err((format!("unknown arrivals `{other}`"), "poisson, gamma, constant".into()));
                }
            }
        }
        "range" => spec.random_range_ratio = Some(number(value, "range")?),
        "prefix" => spec.random_prefix_len = Some(number(value, "prefix")?),
        "prefix-share" | "prefix_share" => spec.prefix_share = Some(number(value, "prefix-share")?),
        "prefix-groups" | "prefix_groups" => spec.prefix_groups = Some(number(value, "prefix-groups")?),
        "stages" => spec.stages = Some(stages(value)?),
        "output" => spec.output_len = Some(number(value, "output")?),
        "scale" => match number::<f64>(value, "scale")? {
            s if s > 0.0 && s.is_finite() => *scale = Some(s),
            _ => return Err((format!("scale {value} must be positive"), "0.1 for a small machine".into())),
        },
        "time-scale" | "time_scale" => spec.time_scale = Some(number(value, "time-scale")?),
        "think" => spec.think_time_s = Some(number(value, "think")?),
        "turns" => spec.turns = Some(number(value, "turns")?),
        "context" => {
            let (low, high) = value.split_once('-').ok_or_else(|| {
                (format!("context `{value}` is not MIN-MAX"), "such as 2048-4096".to_owned())
            })?;
            spec.context_min = Some(number(low, "context")?);
            spec.context_max = Some(number(high, "context")?);
        }
        other => return Err((format!("unknown setting `{other}`"), format!("one of {KEYS}"))),
    }
    Ok(())
}

/// `inf` or a positive number of requests per second.
fn rate(value: &str) -> Result<RequestRate, Bad> {
    match value.parse::<f64>() {
        Ok(r) if r == f64::INFINITY => Ok(RequestRate::Inf),
        Ok(r) if r > 0.0 && r.is_finite() => Ok(RequestRate::PerSecond(r)),
        _ => Err((format!("rate `{value}` is not positive"), "requests per second, or inf".into())),
    }
}

impl FromStr for RequestRate {
    type Err = Error;
    fn from_str(s: &str) -> Result<RequestRate> {
        rate(s).map_err(|(message, hint)| Error::usage(message).hint(hint))
    }
}

impl FromStr for WorkloadSpec {
    type Err = Error;
    fn from_str(s: &str) -> Result<WorkloadSpec> {
        parse(s)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_reads() {
        assert_eq!(parse("long").unwrap(), WorkloadSpec::random(4000, 200, 500, 42));
        assert_eq!(parse("medium,scale=0.1").unwrap().num_prompts, Some(50));
        let w = parse("random:128/32,n=10,seed=7,rate=2.5,concurrency=4,burstiness=0.5,range=0.2,prefix=16")
            .unwrap();
        assert_eq!((w.input_len, w.output_len, w.num_prompts), (Some(128), Some(32), Some(10)));
        assert_eq!((w.seed, w.max_concurrency, w.burstiness), (Some(7), Some(4), Some(0.5)));
        assert_eq!((w.random_range_ratio, w.random_prefix_len), (Some(0.2), Some(16)));
        assert_eq!(w.request_rate, RequestRate::PerSecond(2.5));
        assert_eq!(parse("sharegpt:/a/b.json").unwrap().path.as_deref(), Some("/a/b.json"));
        assert_eq!(parse("trace:t.csv,time-scale=0.5").unwrap().time_scale, Some(0.5));
        assert_eq!(parse("chat,turns=3,context=2048-4096").unwrap().context_max, Some(4096));
        assert_eq!(parse("short,rate=inf").unwrap().request_rate, RequestRate::Inf);
    }

    #[test]
    fn all_problems_are_named_at_once() {
        let e = parse("random:12,n=x,rate=-1,bogus=3,alone").unwrap_err();
        assert_eq!(e.kind.exit_code(), 2);
        assert_eq!(e.problems.len(), 5, "{e}");
        let e = parse("random:0/10,burstiness=0,rate=1,range=1.5").unwrap_err();
        assert_eq!(e.problems.len(), 3, "{e}");
        for bad in ["", "nope", "trace", "random", "random:", "short:1", "chat,context=9", ",,,"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
