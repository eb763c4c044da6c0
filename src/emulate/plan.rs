//! From the command line to a launch: everything read, checked and resolved before anything runs.

use super::coefficients;
use super::fault::Fault;
use super::flags::{self, Given, Version};
use crate::cost::{Coefficients, Footprint, memory};
use crate::engine::{EngineConfig, resolve_launch};
use crate::error::{Error, Problem, Result};
use crate::hardware::{self, Hardware};
use crate::launch::{self, EngineKind, Launch, assumed_version};
use crate::model::{self, Model};
use crate::sim::KvLayout;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

/// A launch of the embedded engine.
#[derive(Debug, Clone)]
pub struct Plan {
    pub version: Version,
    pub given: Given,
    pub model: Model,
    pub hardware: Hardware,
    pub config: EngineConfig,
    pub memory: memory::MemoryEstimate,
    /// Environment variables that vLLM would read (`VLLM_…`).
    pub env: BTreeMap<String, String>,
    /// GPUs of the emulated machine.
    pub num_gpus: u32,
    /// Names under which the model is served; the first is the one in answers.
    pub served: Vec<String>,
    pub host: String,
    pub port: u16,
    pub api_keys: Vec<String>,
    pub seed: u64,
    pub noise: f64,
    pub coefficients: Coefficients,
    pub startup: Duration,
    pub fault: Fault,
    pub mean_output_tokens: Option<f64>,
}

/// What the command line asks for.
#[derive(Debug)]
pub enum Asked {
    Help(String),
    Serve(Box<Plan>),
}

/// Reads the arguments after `dyno emulate`. `entropy` seeds the noise when `--seed` does not, so that
/// launches scatter as real ones do.
pub fn plan(args: &[String], env: BTreeMap<String, String>, entropy: u64) -> Result<Asked> {
    let version = emulated_version(args)?;
    let given = flags::parse(args, version).map_err(|e| argparse(&e, version))?;
    if given.help {
        return Ok(Asked::Help(flags::help(version)));
    }
    let mut problems = Vec::new();
    let data_dir = given.text("data-dir").map(Path::new);
    let hardware = keep(&mut problems, "--hardware", find_hardware(&given, data_dir));
    let model = keep(&mut problems, "--model", find_model(&given, data_dir));
    let fault = given.text("fault").map_or(Ok(Fault::None), |f| f.parse().map_err(Error::usage));
    let fault = keep(&mut problems, "--fault", fault);
    let scaled =
        given.text("coefficients").map_or(Ok(Coefficients::default()), |p| coefficients::read(Path::new(p)));
    let coefficients = match scaled {
        Ok(c) => Some(c),
        Err(e) if !e.problems.is_empty() => {
            problems.extend(e.problems);
            None
        }
        other => keep(&mut problems, "--coefficients", other),
    };
    let port = given.whole("port").unwrap_or(8000);
    let port = keep(
        &mut problems,
        "--port",
        u16::try_from(port).map_err(|_| Error::usage(format!("{port} is no port"))),
    );
    let startup = number(&given, "startup-s", 0.2, 0.0..=86_400.0, &mut problems);
    let noise = number(&given, "noise", 1.0, 0.0..=20.0, &mut problems);
    let mean = number(&given, "mean-output-tokens", 0.0, 0.0..=1e9, &mut problems);
    let (Some(hardware), Some(model), Some(fault), Some(coefficients), Some(port)) =
        (hardware, model, fault, coefficients, port)
    else {
        return Err(Error::problems("the embedded engine cannot start like this", problems));
    };
    if !problems.is_empty() {
        return Err(Error::problems("the embedded engine cannot start like this", problems));
    }
    let (config, memory) = resolve(&given, version, &hardware, &model);
    let words = |name: &str| given.text(name).map(|t| t.split(' ').map(str::to_owned).collect::<Vec<_>>());
    Ok(Asked::Serve(Box::new(Plan {
        version,
        served: words("served-model-name").unwrap_or_else(|| vec![model.id.clone()]),
        api_keys: words("api-key").unwrap_or_default(),
        host: given.text("host").unwrap_or("127.0.0.1").to_owned(),
        port,
        seed: given.whole("seed").unwrap_or(entropy),
        noise,
        num_gpus: given.whole("num-gpus").unwrap_or(8).min(1024) as u32,
        startup: Duration::from_secs_f64(startup),
        mean_output_tokens: (mean > 0.0).then_some(mean),
        model,
        hardware,
        config,
        memory,
        env,
        coefficients,
        fault,
        given,
    })))
}

fn argparse(message: &str, (a, b, c): Version) -> Error {
    Error::usage(format!("emulate: error: {message}")).hint(format!(
        "`dyno emulate --help` lists what vLLM {a}.{b}.{c} takes; --emulate-version takes another release"
    ))
}

fn emulated_version(args: &[String]) -> Result<Version> {
    let value = args.iter().enumerate().find_map(|(i, a)| match a.strip_prefix("--emulate-version") {
        Some("") => Some(args.get(i + 1).map_or("", String::as_str)),
        Some(rest) => rest.strip_prefix('='),
        None => None,
    });
    let numbers = |v: launch::Version| (v.0, v.1, v.2);
    let Some(text) = value else { return Ok(numbers(assumed_version(EngineKind::Emulated))) };
    text.parse().ok().map(numbers).filter(|v| ((0, 10, 0)..(1, 0, 0)).contains(v)).ok_or_else(|| {
        Error::usage(format!("--emulate-version `{text}` is no release of vLLM"))
            .hint("such as 0.11.0, from 0.10 on")
    })
}

fn find_hardware(given: &Given, data_dir: Option<&Path>) -> Result<Hardware> {
    let id = given.text("hardware").ok_or_else(|| {
        Error::usage("missing: which GPU to emulate").hint("`dyno list hardware` shows the known ones")
    })?;
    hardware::Catalog::load(data_dir)?.find(id).cloned()
}

fn find_model(given: &Given, data_dir: Option<&Path>) -> Result<Model> {
    let id = given.text("model").ok_or_else(|| {
        Error::usage("missing: which model to serve").hint("`dyno list models` shows the known ones")
    })?;
    model::Catalog::load(data_dir)?.find(id)
}

fn keep<T>(problems: &mut Vec<Problem>, flag: &str, result: Result<T>) -> Option<T> {
    match result {
        Ok(t) => Some(t),
        Err(e) => {
            let p = Problem::new("command line", flag, e.what);
            problems.push(match e.hint {
                Some(h) => p.hint(h),
                None => p,
            });
            problems.extend(e.problems);
            None
        }
    }
}

fn number(
    given: &Given,
    name: &str,
    default: f64,
    range: std::ops::RangeInclusive<f64>,
    problems: &mut Vec<Problem>,
) -> f64 {
    let x = given.number(name).unwrap_or(default);
    if !range.contains(&x) {
        let message = format!("{x} is outside of {} to {}", range.start(), range.end());
        problems.push(Problem::new("command line", format!("--{name}"), message));
    }
    x
}

/// Defaults by release and hardware, then flags, then the KV room they leave.
fn resolve(
    given: &Given,
    version: Version,
    hw: &Hardware,
    model: &Model,
) -> (EngineConfig, memory::MemoryEstimate) {
    let launch = Launch {
        engine: Some(EngineKind::Emulated),
        version: Some(version.into()),
        ..Launch::from_argv(&given.vllm_words())
    };
    let mut config = resolve_launch(&launch, None, hw, model).expect("the engine is named");
    if let Some(bytes) = given.whole("kv-cache-memory-bytes") {
        let block = memory::estimate(&config, hw, model).block_bytes;
        config.num_kv_blocks = Some((bytes as f64 / block) as u64);
    }
    let memory = memory::estimate(&config, hw, model);
    config.num_kv_blocks = Some(memory.blocks);
    (config, memory)
}

impl Plan {
    /// How the KV room is cut up. One block of those reported is vLLM's own null block.
    pub fn layout(&self) -> KvLayout {
        let footprint = Footprint::new(&self.model, &self.config);
        let (_, full, sliding) = memory::kv_groups(&footprint);
        let sliding_only = footprint.full_layers <= 0.0 && footprint.local_layers > 0.0;
        KvLayout {
            block_size: self.config.block_size.max(1),
            blocks: self.memory.blocks.saturating_sub(1),
            full_groups: if sliding_only { 0 } else { full as u32 },
            sliding_groups: if sliding_only { 1 } else { sliding as u32 },
            window: footprint.window.unwrap_or(0),
        }
    }

    pub fn version_text(&self) -> String {
        let (a, b, c) = self.version;
        format!("{a}.{b}.{c}")
    }
}
