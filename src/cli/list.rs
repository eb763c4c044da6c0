//! `dyno list hardware|models|engines|spaces|flags`: what is known.

use super::flag_table::{self, Form};
use super::out;
use crate::engine::adapter;
use crate::error::{Error, Result};
use crate::hardware;
use crate::launch::{EngineKind, Version};
use crate::model::{self, Model};
use crate::process::which::find_program;
use crate::space::{Axis, Context, Flag, Space};
use comfy_table::{Table, presets};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// What is shown
    what: What,
    /// Directory with hardware/, models/ or search-spaces/ laid over the built-in data
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// With `flags`: print a Markdown table
    #[arg(long, conflicts_with = "json")]
    markdown: bool,
    /// With `spaces` and `flags`: the flags of this engine only
    #[arg(long)]
    engine: Option<EngineKind>,
    /// With `spaces`: only the flags worth searching for this model (needs --hardware)
    #[arg(long, requires = "hardware")]
    model: Option<String>,
    /// With `spaces`: only the flags worth searching on this hardware (needs --model)
    #[arg(long, requires = "model")]
    hardware: Option<String>,
    /// With `spaces`: the engine's release, such as 0.11.0 (default: the newest known)
    #[arg(long)]
    engine_version: Option<String>,
    /// With `spaces`: GPUs to spread over
    #[arg(long, default_value_t = 1)]
    num_gpus: u32,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum What {
    Hardware,
    Models,
    Engines,
    Spaces,
    /// What a prediction makes of each flag: modelled, told, or without effect
    Flags,
}

pub(super) fn run(args: Args) -> Result<()> {
    let dir = args.data_dir.as_deref();
    match args.what {
        What::Hardware => hardware_list(dir, args.json),
        What::Models => model_list(dir, args.json),
        What::Engines => engine_list(dir, args.json),
        What::Spaces => space_list(&args),
        What::Flags => {
            let form = match (args.json, args.markdown) {
                (true, _) => Form::Json,
                (_, true) => Form::Markdown,
                _ => Form::Text,
            };
            flag_table::run(dir, args.engine, form)
        }
    }
}

fn hardware_list(dir: Option<&Path>, json: bool) -> Result<()> {
    let catalog = hardware::Catalog::load(dir)?;
    if json {
        print_json(catalog.iter().map(|h| json!(h)).collect());
        return Ok(());
    }
    let rate = |x: Option<f64>| x.map_or("-".to_owned(), |x| format!("{x:.0}"));
    let rows = catalog.iter().map(|h| {
        vec![
            h.id.clone(),
            h.name.clone(),
            format!("{:.1}", h.memory().gib()),
            format!("{:.0}", h.bandwidth_gbps),
            format!("{}", h.bf16_tflops),
            rate(h.fp8_tflops),
            rate(h.fp4_tflops),
            h.sm.map_or("-".to_owned(), |s| format!("{}.{}", s / 10, s % 10)),
            h.link.clone(),
        ]
    });
    let head = ["id", "name", "GiB", "GB/s", "bf16", "fp8", "fp4", "cc", "link"];
    print_table(&head, rows);
    out::line("bf16, fp8, fp4: dense TFLOP/s; cc: CUDA compute capability. --json names the sources.");
    Ok(())
}

fn model_list(dir: Option<&Path>, json: bool) -> Result<()> {
    let catalog = model::Catalog::load(dir)?;
    if json {
        print_json(catalog.iter().map(model_json).collect());
        return Ok(());
    }
    let rows = catalog.iter().map(|m| {
        vec![
            m.id.clone(),
            format!("{:.1}", m.params().total() as f64 / 1e9),
            format!("{:.1}", m.params_active() as f64 / 1e9),
            m.layers.to_string(),
            m.moe.as_ref().map_or("-".into(), |e| format!("{} of {}", e.top_k, e.experts)),
            m.precision.to_string(),
            format!("{:.1}", m.weight_bytes() as f64 / 1e9),
            format!("{:.1}", m.kv_per_token(2.0).bytes(1) / 1e3),
            m.max_position.to_string(),
        ]
    });
    let head =
        ["model", "G params", "G active", "layers", "experts", "precision", "weights GB", "KV kB", "context"];
    print_table(&head, rows);
    out::line(
        "KV kB: bf16 cache of one token over all layers. Variants (-FP8, -AWQ, dated, -Instruct) resolve to their \
         family; any other model: a directory with config.json.",
    );
    Ok(())
}

fn model_json(m: &Model) -> Value {
    let mut v = json!(m);
    v["params_total"] = json!(m.params().total());
    v["params_active"] = json!(m.params_active());
    v["weight_bytes"] = json!(m.weight_bytes());
    v
}

fn engine_list(dir: Option<&Path>, json: bool) -> Result<()> {
    let spaces = Space::load_all(dir)?;
    let mut rows = Vec::new();
    for kind in EngineKind::ALL {
        let a = adapter(kind);
        let command = a.programs().first().map_or("dyno emulate".to_owned(), |p| p.join(" "));
        // A python3 says nothing of the modules it has, and asking it takes seconds: `dyno doctor` does.
        let own = a.programs().iter().filter_map(|p| p.first()).filter(|p| !p.starts_with("python"));
        let program = own.into_iter().find_map(|p| find_program(p));
        let space = spaces.iter().find(|s| s.engine == kind);
        rows.push(json!({
            "engine": kind.id(),
            "command": command,
            "program": program.map(|p| p.display().to_string()),
            "oldest": space.map(|s| s.oldest),
            "newest": space.map(|s| s.newest),
            "flags": space.map_or(0, |s| s.flags.len()),
            "install": a.install_hint(),
        }));
    }
    if json {
        print_json(rows);
        return Ok(());
    }
    let text = |v: &Value| v.as_str().map_or_else(|| "-".to_owned(), str::to_owned);
    let table = rows.iter().map(|r| {
        let built_in = r["engine"] == "emulated";
        vec![
            text(&r["engine"]),
            text(&r["command"]),
            if built_in { "built in".to_owned() } else { text(&r["program"]) },
            if r["oldest"].is_null() {
                "-".to_owned()
            } else {
                format!("{} to {}", text(&r["oldest"]), text(&r["newest"]))
            },
            r["flags"].to_string(),
        ]
    });
    print_table(&["engine", "command", "program found", "releases known", "flags"], table);
    Ok(())
}

fn space_list(args: &Args) -> Result<()> {
    let dir = args.data_dir.as_deref();
    let mut spaces = Space::load_all(dir)?;
    if let Some(engine) = args.engine {
        spaces.retain(|s| s.engine == engine);
    }
    if let (Some(h), Some(m)) = (&args.hardware, &args.model) {
        let catalog = hardware::Catalog::load(dir)?;
        let model = model::Catalog::load(dir)?.find(m)?;
        let mut ctx = Context::new(catalog.find(h)?, &model);
        ctx.num_gpus = args.num_gpus.max(1);
        ctx.version = args.engine_version.as_deref().map(version).transpose()?;
        axes_list(&spaces, &ctx, args.json);
        return Ok(());
    }
    if args.json {
        let all = spaces.iter().flat_map(|s| s.flags.iter().map(|f| flag_json(s.engine.id(), f)));
        print_json(all.collect());
        return Ok(());
    }
    let rows = spaces.iter().flat_map(|s| {
        s.flags.iter().map(|f| {
            vec![
                s.engine.to_string(),
                format!("--{}", f.name),
                f.wants(),
                releases(f),
                phases(f),
                f.default.clone(),
            ]
        })
    });
    print_table(&["engine", "flag", "value", "releases", "phase", "default"], rows);
    Ok(())
}

fn axes_list(spaces: &[Space], ctx: &Context<'_>, json: bool) {
    let axes: Vec<(&Space, Axis)> =
        spaces.iter().flat_map(|s| s.tunable(ctx).into_iter().map(move |a| (s, a))).collect();
    if json {
        let with_engine = |(s, a): &(&Space, Axis)| {
            let mut v = json!(a);
            v["engine"] = json!(s.engine);
            v
        };
        print_json(axes.iter().map(with_engine).collect());
        return;
    }
    let rows = axes.iter().map(|(s, a)| {
        let values: Vec<String> = a.values.iter().map(ToString::to_string).collect();
        let default = a.default.as_ref().map_or("-".to_owned(), ToString::to_string);
        vec![s.engine.to_string(), format!("--{}", a.flag), default, values.join(" "), a.mechanism.clone()]
    });
    print_table(&["engine", "flag", "default", "values to try", "why it may help"], rows);
}

fn version(text: &str) -> Result<Version> {
    text.parse().map_err(|e: String| Error::usage(format!("--engine-version: {e}")))
}

fn releases(f: &Flag) -> String {
    match (f.span.since, f.span.removed) {
        (None, None) => "all".into(),
        (Some(s), None) => format!("{s} on"),
        (None, Some(r)) => format!("before {r}"),
        (Some(s), Some(r)) => format!("{s} until {r}"),
    }
}

fn phases(f: &Flag) -> String {
    f.phase.iter().map(|p| format!("{p:?}").to_lowercase()).collect::<Vec<_>>().join(", ")
}

fn flag_json(engine: &str, f: &Flag) -> Value {
    json!({
        "engine": engine,
        "flag": f.name,
        "type": f.kind,
        "value": f.wants(),
        "values": f.choices,
        "min": f.min,
        "max": f.max,
        "default": f.default,
        "since": f.span.since,
        "removed": f.span.removed,
        "aliases": f.aliases,
        "env": f.env,
        "phase": f.phase,
        "changes_output": f.changes_output,
        "tuned": !f.tune.is_empty(),
        "constraints": f.constraints.iter().map(|c| json!({"need": c.need.to_string(), "why": c.why}))
            .collect::<Vec<_>>(),
        "doc": f.doc,
        "mechanism": f.mechanism,
        "source": f.source,
    })
}

fn print_table<const N: usize>(head: &[&str; N], rows: impl Iterator<Item = Vec<String>>) {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(head.iter().copied());
    table.set_content_arrangement(comfy_table::ContentArrangement::Dynamic);
    for row in rows {
        table.add_row(row);
    }
    for line in table.to_string().lines() {
        out::line(line.trim_end());
    }
}

fn print_json(rows: Vec<Value>) {
    out::line(format_args!("{:#}", Value::Array(rows)));
}
