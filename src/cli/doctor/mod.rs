//! `dyno doctor`: what is installed, what is free, what is left over, and what will work for a model here;
//! before an hour is lost. It changes nothing, and starts nothing unless told to ask.

mod engines;
mod fitness;
mod host;

use super::out;
use crate::error::{Error, Result};
use crate::executor::{self, ExecutorConfig};
use crate::hardware::{self, Hardware};
use crate::model;
use crate::telemetry::{self, Detected};
use crate::units::Bytes;
use serde::Serialize;
use std::path::PathBuf;

/// Look at this machine: engines, GPU, leftovers, disk, limits, and what will work for a model here.
///
/// Exit code 0 when nothing is in the way, 4 when something will not work.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Say what will work for this model: hub name or directory with config.json
    #[arg(long)]
    model: Option<String>,
    /// Hardware id, where none is detected or another is meant (see `dyno list hardware`)
    #[arg(long)]
    hardware: Option<String>,
    /// GPUs of the launch
    #[arg(long, default_value_t = 1)]
    num_gpus: u32,
    /// Longest prompt plus output that will be served
    #[arg(long)]
    max_model_len: Option<u32>,
    /// More Python environments to look into (the directory that holds bin/ and lib/)
    #[arg(long, value_name = "DIR")]
    python: Vec<PathBuf>,
    /// Command that starts an engine in a container, to check its program and image
    #[arg(long, value_name = "COMMAND")]
    engine_command: Option<String>,
    #[command(flatten)]
    container: super::container::ContainerArgs,
    #[command(flatten)]
    executor: super::executor::ExecutorArgs,
    /// Ports that servers will use
    #[arg(long, value_name = "PORT", default_values_t = [8000, 30000])]
    port: Vec<u16>,
    /// Also ask each engine for its flags (half a minute the first time) and compare them with what is known
    #[arg(long)]
    ask: bool,
    /// Do not try to reach the model hub
    #[arg(long)]
    offline: bool,
    /// Directory with hardware/, models/ or search-spaces/ laid over the built-in data
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// How much a finding matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Level {
    Good,
    Note,
    /// Will cost time or spoil numbers.
    Warning,
    /// Will not work.
    Bad,
}

/// One thing found.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct Finding {
    topic: &'static str,
    level: Level,
    text: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
}

impl Finding {
    fn new(topic: &'static str, level: Level, text: impl Into<String>) -> Finding {
        Finding { topic, level, text: text.into(), hint: None }
    }
    fn hint(mut self, hint: impl Into<String>) -> Finding {
        self.hint = Some(hint.into());
        self
    }
}

pub(super) fn run(args: Args) -> Result<()> {
    let dir = args.data_dir.as_deref();
    let catalog = hardware::Catalog::load(dir)?;
    let named = args.hardware.as_deref().map(|id| catalog.find(id)).transpose()?;
    let model = args.model.as_deref().map(|m| model::Catalog::load(dir)?.find(m)).transpose()?;
    let mut out = Vec::new();
    let detected = telemetry::detect();
    let found = gpus(&detected, &catalog, args.num_gpus, named.is_some(), &mut out);
    let hardware = named.or(found);
    let installed = engines::installed(&args.python);
    out.extend(engines::findings(&installed, args.engine_command.as_deref(), dir)?);
    out.extend(args.container.container(None).as_ref().map(engines::image));
    out.extend(args.executor.config(None).map(|c| place(&c, args.num_gpus)));
    if args.ask {
        out.extend(engines::ask(&installed, dir)?);
    }
    out.extend(host::findings(&args.port, args.offline, model.as_ref()));
    if let Some(model) = &model {
        match hardware {
            Some(h) => {
                out.extend(fitness::findings(model, h, &installed, args.num_gpus, args.max_model_len, dir)?);
            }
            None => out.push(
                Finding::new("model", Level::Note, "what will work is not known without the hardware")
                    .hint("give --hardware ID"),
            ),
        }
    }
    print(&out, args.json);
    match out.iter().filter(|f| f.level == Level::Bad).count() {
        0 => Ok(()),
        1 => Err(Error::negative("one thing here will not work as it is")),
        n => Err(Error::negative(format!("{n} things here will not work as they are"))),
    }
}

/// Whether an executor answers, and what it has for launches of this size.
fn place(config: &ExecutorConfig, num_gpus: u32) -> Finding {
    match executor::executor(config).and_then(|e| Ok((e.name(), e.places(num_gpus)?))) {
        Ok((name, p)) => {
            let text = format!("{name}: room for {} launches at once: {}", p.launches, p.described);
            Finding::new("executor", Level::Good, text)
        }
        Err(e) => Finding::new("executor", Level::Bad, e.what).hint(e.hint.unwrap_or_default()),
    }
}

/// Findings on the GPUs; returns the part they are, when that is certain.
fn gpus<'c>(
    detected: &Result<Detected>,
    catalog: &'c hardware::Catalog,
    num_gpus: u32,
    named: bool,
    out: &mut Vec<Finding>,
) -> Option<&'c Hardware> {
    let d = match detected {
        Ok(d) => d,
        Err(e) => {
            let f = Finding::new("gpu", if named { Level::Note } else { Level::Warning }, e.what.clone());
            out.push(match &e.hint {
                Some(h) if !named => f.hint(h.clone()),
                _ => f,
            });
            return None;
        }
    };
    let cuda = d.cuda.as_ref().map_or(String::new(), |c| format!(", CUDA up to {c}"));
    out.push(Finding::new("gpu", Level::Good, format!("driver {}{cuda}", d.driver)));
    for g in &d.gpus {
        let used = Bytes(g.memory.0.saturating_sub(g.free.0));
        out.push(Finding::new(
            "gpu",
            Level::Good,
            format!("{}: {}, {} of {} free", g.index, g.name, g.free, g.memory),
        ));
        if !g.processes.is_empty() {
            let pids: Vec<String> = g.processes.iter().map(|p| p.pid.to_string()).collect();
            let text = format!("{}: in use by process {} ({used})", g.index, pids.join(", "));
            out.push(
                Finding::new("gpu", Level::Warning, text)
                    .hint("engines size their cache by free memory, and shared GPUs give shared numbers"),
            );
        } else if used.gib() > 2.0 {
            let text = format!("{}: {used} are taken by no process that the driver names", g.index);
            out.push(
                Finding::new("gpu", Level::Warning, text)
                    .hint("another container, or a server that has just ended"),
            );
        }
    }
    match d.hardware(catalog, num_gpus as usize) {
        Ok(h) => {
            out.push(Finding::new("gpu", Level::Good, format!("known as `{}`", h.id)));
            Some(h)
        }
        Err(e) => {
            let f = Finding::new("gpu", Level::Warning, e.what);
            out.push(match e.hint {
                Some(h) => f.hint(h),
                None => f,
            });
            None
        }
    }
}

fn print(findings: &[Finding], json: bool) {
    if json {
        out::line(format_args!("{:#}", serde_json::json!(findings)));
        return;
    }
    let mut topic = "";
    for f in findings {
        if f.topic != topic {
            topic = f.topic;
            out::line(format_args!("{topic}"));
        }
        let mark = match f.level {
            Level::Good => "ok  ",
            Level::Note => "note",
            Level::Warning => "WARN",
            Level::Bad => "BAD ",
        };
        out::line(format_args!("  {mark} {}", f.text));
        if let Some(h) = &f.hint {
            out::line(format_args!("       {h}"));
        }
    }
    let count = |l: Level| findings.iter().filter(|f| f.level == l).count();
    out::line(format_args!("{} bad, {} warnings", count(Level::Bad), count(Level::Warning)));
}
