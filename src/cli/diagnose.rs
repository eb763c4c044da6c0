//! `dyno diagnose LOG`: what an engine's log of a failed or odd start says.

use crate::engine::failure::{Excerpt, SpeedWarning, assess, speed_warnings};
use crate::engine::{Class, Verdict};
use crate::error::{Error, Result};
use crate::launch::EngineKind;
use serde_json::{Value, json};
use std::path::PathBuf;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Log file of the engine, or `-` for standard input
    log: PathBuf,
    /// The engine that wrote it: vllm, sglang, trtllm, emulated (recognised from the text when left out)
    #[arg(long)]
    engine: Option<EngineKind>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: Args) -> Result<()> {
    let name = args.log.display().to_string();
    let log = if name == "-" {
        Excerpt::read(std::io::stdin().lock())
    } else {
        std::fs::File::open(&args.log).and_then(Excerpt::read)
    }
    .map_err(|e| Error::usage("the log cannot be read").at(&name).source(e))?;
    let verdict = assess(&log, args.engine);
    let slow = speed_warnings(&log);
    if args.json {
        let value = as_json(verdict.as_ref(), &slow, args.engine);
        super::out::line(format_args!("{value:#}"));
    } else {
        as_text(verdict.as_ref(), &slow, &name);
    }
    match verdict {
        Some(v) if v.class == Class::Unknown && v.cause.is_none() => {
            Err(Error::negative("the log shows a failure that is not known").at(name))
        }
        _ => Ok(()),
    }
}

fn as_json(verdict: Option<&Verdict>, slow: &[SpeedWarning], engine: Option<EngineKind>) -> Value {
    let warnings: Vec<Value> = slow
        .iter()
        .map(|w| {
            json!({
                "kind": w.kind, "line": w.line, "count": w.count, "text": w.text, "costs": w.kind.cost(),
                "helps": w.kind.helps(),
            })
        })
        .collect();
    match verdict {
        Some(v) => json!({
            "class": v.class, "cause": v.cause, "root_cause": v.root_cause, "engine": v.engine,
            "phase": v.phase_id(), "next": v.next, "remedies": v.remedies, "line": v.line, "slow": warnings,
        }),
        None => json!({
            "class": "none", "cause": Value::Null, "root_cause": Value::Null, "engine": engine,
            "phase": Value::Null, "next": nothing_failed(slow), "remedies": [],
            "line": Value::Null, "slow": warnings,
        }),
    }
}

/// A log without a failure; what slows the server down is the next thing to look at.
fn nothing_failed(slow: &[SpeedWarning]) -> String {
    let mut text = "there is no sign of a failure in this log".to_owned();
    for w in slow {
        text += &format!("; {}: {} ({})", w.kind.id(), w.kind.cost(), w.kind.helps());
    }
    text
}

fn as_text(verdict: Option<&Verdict>, slow: &[SpeedWarning], name: &str) {
    match verdict {
        None => super::out::line(format_args!("no sign of a failure in {name}")),
        Some(v) => {
            let engine = v.engine.map_or("unknown", EngineKind::id);
            let cause = v.cause.filter(|c| *c != v.class.id()).map_or(String::new(), |c| format!(" ({c})"));
            super::out::line(format_args!("class       {}{cause}", v.class));
            super::out::line(format_args!("engine      {engine}"));
            super::out::line(format_args!("phase       {}", v.phase_id()));
            let line = v.line.map_or(String::new(), |n| format!(" (line {n})"));
            super::out::line(format_args!("root cause  {}{line}", v.root_cause));
            super::out::line(format_args!("next        {}", v.next));
        }
    }
    for w in slow {
        super::out::line(format_args!(
            "slow        {} (line {}, {} times): {}",
            w.text,
            w.line,
            w.count,
            w.kind.cost()
        ));
    }
}
