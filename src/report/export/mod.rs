//! The recommended command as text for the place where it will run: containers, Kubernetes, systemd; and the campaign as
//! tables for other tools.
//!
//! Nothing is invented: program, flags, files and environment are those that were measured, start-up time and version are
//! those that were seen. Only the address differs, since a container must listen beyond its own loopback.

mod container;
mod kubernetes;
mod llmd;
mod table;

use super::subject::Subject;
use crate::launch::{EngineKind, Launch, quote};
use crate::stats::mean;
use serde_json::{Map, Value};

/// What is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// The command as a shell takes it.
    Shell,
    Docker,
    Podman,
    Compose,
    /// Deployment and Service.
    Kubernetes,
    /// KServe InferenceService.
    Kserve,
    /// Values of vLLM's production-stack chart.
    Helm,
    /// vLLM's own YAML of options.
    Recipe,
    Systemd,
    /// Parameters of `vllm bench sweep serve --serve-params`.
    Sweep,
    /// llm-d's benchmark report of one run of the recommended command.
    LlmD,
    /// Every measured run as a row.
    Csv,
}

/// Where the command is to run, as far as the record does not say it.
#[derive(Debug, Clone, Default)]
pub struct Place {
    /// Container image; the engine's own, by the version that was measured, when absent.
    pub image: Option<String>,
}

/// Everything an export needs of a campaign.
pub(super) struct Deployment {
    pub(super) engine: EngineKind,
    pub(super) model: String,
    /// Name that Kubernetes takes.
    pub(super) name: String,
    pub(super) image: String,
    pub(super) gpus: u32,
    /// Program and arguments with the address.
    pub(super) argv: Vec<String>,
    pub(super) env: Vec<(String, String)>,
    pub(super) files: Vec<(String, String)>,
    pub(super) port: u16,
    pub(super) health: &'static str,
    /// Mean seconds from start to ready over the campaign's launches.
    pub(super) startup_s: f64,
    /// Needs a GPU of the machine.
    pub(super) gpu: bool,
    /// Lines that say where this is from.
    pub(super) origin: Vec<String>,
}

/// Port that every export serves at.
const PORT: u16 = 8000;
/// A start may take this many times what was seen before it counts as hung: a cold cache downloads the weights first.
const PATIENCE: f64 = 10.0;

/// Writes one format.
///
/// Errors (as text): nothing to recommend, or an engine that the format is not for.
pub fn export(s: &Subject<'_>, format: Format, place: &Place) -> Result<String, String> {
    if format == Format::Csv {
        return Ok(table::csv(s));
    }
    if format == Format::Sweep {
        return table::sweep(s);
    }
    if format == Format::LlmD {
        return llmd::report(s);
    }
    if let Some(launch) = s.winner().and_then(|w| s.launch(w)).filter(|l| l.replicas.is_some()) {
        return match format {
            Format::Shell => Ok(launch.to_lines(s.run.plan.router.as_deref()) + "\n"),
            _ => Err(
                "the recommendation is of several replicas, which this format cannot hold; `--format shell` \
                      writes the command of each"
                    .to_owned(),
            ),
        };
    }
    let d = deployment(s, place)?;
    Ok(match format {
        Format::Shell => shell(&d),
        Format::Docker => container::run(&d, "docker"),
        Format::Podman => container::run(&d, "podman"),
        Format::Compose => container::compose(&d),
        Format::Systemd => container::systemd(&d),
        Format::Kubernetes => kubernetes::deployment(&d),
        Format::Kserve => kubernetes::kserve(&d),
        Format::Helm => kubernetes::helm(&d)?,
        Format::Recipe => recipe(&d)?,
        Format::Sweep | Format::LlmD | Format::Csv => String::new(),
    })
}

fn deployment(s: &Subject<'_>, place: &Place) -> Result<Deployment, String> {
    let winner = s.winner().ok_or("the campaign has nothing to recommend")?;
    let launch = s.launch(winner).ok_or("the record holds no command of the recommended candidate")?;
    let version =
        s.verdict.engines.iter().find(|e| e.engine == winner.engine).and_then(|e| e.version.clone());
    let plan = &s.run.plan;
    let starts: Vec<f64> = s
        .trials
        .iter()
        .filter(|t| t.result.spec.candidate == *winner)
        .filter_map(|t| Subject::facts(t).map(|f| f.startup_s))
        .collect();
    let argv = with_address(winner.engine, program_name(&launch));
    let origin = vec![
        format!(
            "From the campaign of {} (dyno {}).",
            super::words::date(s.run.created_unix_s),
            s.run.dyno_version
        ),
        format!(
            "{} on {} x {}{}{}.",
            plan.model,
            plan.num_gpus,
            plan.hardware,
            version.as_ref().map_or(String::new(), |v| format!(", {} {v}", winner.engine)),
            if s.emulated() { ", emulated: not measured on this hardware" } else { "" }
        ),
    ];
    Ok(Deployment {
        engine: winner.engine,
        model: plan.model.clone(),
        name: dns_name(&plan.model),
        image: place
            .image
            .clone()
            .or_else(|| measured_image(s))
            .unwrap_or_else(|| image(winner.engine, version.as_deref())),
        gpus: plan.num_gpus,
        argv,
        env: launch.env.into_iter().collect(),
        files: launch.files.into_iter().map(|f| (f.path, f.text)).collect(),
        port: PORT,
        health: "/health",
        startup_s: if starts.is_empty() { 60.0 } else { mean(&starts) },
        gpu: plan.hardware != "cpu" && winner.engine != EngineKind::Emulated,
        origin,
    })
}

/// The program by its name: where it lay on the measured machine is of no use elsewhere.
fn program_name(launch: &Launch) -> Vec<String> {
    let mut argv = launch.argv.clone();
    if let Some(first) = argv.first_mut()
        && let Some((_, name)) = first.rsplit_once('/')
    {
        *first = name.to_owned();
    }
    argv
}

/// A container is reached from outside, so the engine must not bind to the loopback alone.
fn with_address(engine: EngineKind, mut argv: Vec<String>) -> Vec<String> {
    let has = |argv: &[String], flag: &str| {
        argv.iter().any(|w| w == flag || w.strip_prefix(flag).is_some_and(|r| r.starts_with('=')))
    };
    // Every engine spells these two the same way.
    let _ = engine;
    if !has(&argv, "--host") {
        argv.extend(["--host".to_owned(), "0.0.0.0".to_owned()]);
    }
    if !has(&argv, "--port") {
        argv.extend(["--port".to_owned(), PORT.to_string()]);
    }
    argv
}

/// The image that the campaign ran in: by the digest of its registry where it has one, so that the same one runs again.
fn measured_image(s: &Subject<'_>) -> Option<String> {
    let named = s.run.plan.container.as_ref()?.image.clone();
    let seen = s.trials.iter().rev().filter_map(|t| Subject::facts(t)?.image.as_ref());
    // What was built here has no registry to be had from.
    let had = |d: &String| !d.starts_with("localhost/");
    Some(seen.filter_map(|i| i.digest.clone()).find(had).unwrap_or(named))
}

/// The makers' own image of the measured version.
fn image(engine: EngineKind, version: Option<&str>) -> String {
    // A local part such as +cpu names a build, not a release.
    let release = version.map(|v| v.split('+').next().unwrap_or(v));
    let tag = |prefix: &str| release.map_or("latest".to_owned(), |v| format!("{prefix}{v}"));
    match engine {
        EngineKind::Vllm => format!("vllm/vllm-openai:{}", tag("v")),
        EngineKind::Sglang => format!("lmsysorg/sglang:{}", tag("v")),
        EngineKind::Trtllm => format!("nvcr.io/nvidia/tensorrt-llm/release:{}", tag("")),
        EngineKind::Emulated => "localhost/dyno:latest".to_owned(),
    }
}

/// Lower case letters, digits and dashes, at most 40, as a DNS label.
fn dns_name(model: &str) -> String {
    let last = model.rsplit('/').next().unwrap_or(model).to_lowercase();
    let mut out: String =
        last.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).take(40).collect();
    while out.contains("--") {
        out = out.replace("--", "-");
    }
    let out = out.trim_matches('-').to_owned();
    // A label of a Service begins with a letter.
    match out.chars().next() {
        None => "model".to_owned(),
        Some(c) if c.is_ascii_digit() => format!("m-{out}"),
        Some(_) => out,
    }
}

fn shell(d: &Deployment) -> String {
    let mut out = comment(d);
    for (path, text) in &d.files {
        out.push_str(&format!("cat > {} <<'EOF'\n{}\nEOF\n", quote(path), text.trim_end()));
    }
    let env: Vec<String> = d.env.iter().map(|(k, v)| format!("{k}={}", quote(v))).collect();
    let words: Vec<String> = d.argv.iter().map(|w| quote(w)).collect();
    out.push_str(&format!("{}\n", env.into_iter().chain(words).collect::<Vec<_>>().join(" ")));
    out
}

/// Options as `vllm serve --config FILE` reads them: the flags' own long names; a switch that turns something off keeps its
/// `no-`.
fn recipe(d: &Deployment) -> Result<String, String> {
    if d.engine != EngineKind::Vllm {
        return Err(format!("the recipe is vLLM's own form; the engine here is {}", d.engine));
    }
    let mut root = Map::new();
    root.insert("model".into(), Value::from(d.model.as_str()));
    for (flag, value) in Launch::from_argv(&d.argv).flags {
        let value = match value.as_deref().map(serde_json::from_str::<Value>) {
            None => Value::Bool(true),
            // Objects stay text, as a command line has them.
            Some(Ok(number @ (Value::Number(_) | Value::Bool(_)))) => number,
            Some(_) => Value::from(value.unwrap_or_default()),
        };
        root.insert(flag, value);
    }
    let run = "# vllm serve --config THIS_FILE\n";
    let env: String = d.env.iter().map(|(k, v)| format!("# needs {k}={}\n", quote(v))).collect();
    Ok(format!("{run}{env}{}", yaml(d, &[Value::Object(root)])))
}

fn comment(d: &Deployment) -> String {
    d.origin.iter().map(|l| format!("# {}\n", l.replace('\n', " "))).collect()
}

/// Seconds that a start may take.
fn patience_s(d: &Deployment) -> u64 {
    ((d.startup_s * PATIENCE).max(300.0) / 10.0).ceil() as u64 * 10
}

/// YAML of one document, with the origin above.
fn yaml(d: &Deployment, documents: &[Value]) -> String {
    let texts: Vec<String> = documents
        .iter()
        .map(|v| serde_saphyr::to_string(v).unwrap_or_default().trim_end().to_owned())
        .collect();
    format!("{}{}\n", comment(d), texts.join("\n---\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_labels() {
        assert_eq!(dns_name("openai/gpt-oss-20b"), "gpt-oss-20b");
        assert_eq!(dns_name("Qwen/Qwen3-14B_FP8."), "qwen3-14b-fp8");
        assert_eq!(dns_name("/models/7B"), "m-7b");
        assert_eq!(dns_name("///"), "model");
    }

    #[test]
    fn images_are_those_of_the_version() {
        assert_eq!(image(EngineKind::Vllm, Some("0.11.0+cpu")), "vllm/vllm-openai:v0.11.0");
        assert_eq!(image(EngineKind::Trtllm, Some("1.2.0")), "nvcr.io/nvidia/tensorrt-llm/release:1.2.0");
        assert_eq!(image(EngineKind::Sglang, None), "lmsysorg/sglang:latest");
    }

    #[test]
    fn an_address_that_was_given_stays() {
        let words = |t: &str| t.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let out = with_address(EngineKind::Vllm, words("vllm serve m --port=9"));
        assert_eq!(out, words("vllm serve m --port=9 --host 0.0.0.0"));
    }
}
