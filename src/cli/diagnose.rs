//! `dyno diagnose LOG`: what an engine's log of a failed or odd start says.

use crate::engine::diagnose;
use crate::error::{Error, Result};
use crate::scenario::EngineKind;
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
    let bytes = if name == "-" {
        let mut all = Vec::new();
        std::io::Read::read_to_end(&mut std::io::stdin(), &mut all).map(|_| all)
    } else {
        std::fs::read(&args.log)
    }
    .map_err(|e| Error::usage("the log cannot be read").at(&name).source(e))?;
    let log = String::from_utf8_lossy(&bytes);
    let verdict = diagnose(&log, args.engine);
    if args.json {
        let value = match &verdict {
            Some(v) => json!({
                "class": v.class, "root_cause": v.root_cause, "engine": v.engine, "phase": v.phase,
                "next": v.next, "line": v.line,
            }),
            None => json!({
                "class": "none", "root_cause": Value::Null, "engine": args.engine, "phase": Value::Null,
                "next": "there is no sign of a failure in this log",
            }),
        };
        super::out::line(format_args!("{value:#}"));
        return Ok(());
    }
    match verdict {
        None => super::out::line(format_args!("no sign of a failure in {name}")),
        Some(v) => {
            let engine = v.engine.map_or("unknown", EngineKind::id);
            super::out::line(format_args!("class       {}", v.class));
            super::out::line(format_args!("engine      {engine}"));
            super::out::line(format_args!("phase       {}", v.phase.id()));
            let line = v.line.map_or(String::new(), |n| format!(" (line {n})"));
            super::out::line(format_args!("root cause  {}{line}", v.root_cause));
            super::out::line(format_args!("next        {}", v.next));
        }
    }
    Ok(())
}
