//! `dyno capacity`: the predicted ramp of load, its zones, and what a target load costs.

mod beside;
pub(super) mod published;

use super::predict::{Launch, read_profile};
use crate::capacity::plan::{Plan, plan};
use crate::capacity::simulated::{Options, Study, ramp};
use crate::capacity::{Axis, Breakpoint, SLO_CROSSING, ZoneSpan};
use crate::cost::setup::Setup;
use crate::cost::{Catalogs, KvRoom, Predictor};
use crate::error::{Error, Result};
use crate::scenario::{Key, Record};
use crate::search::Slo;
use comfy_table::{Cell, CellAlignment, Table};
use serde_json::{Value, json};
use std::io::IsTerminal;
use std::path::PathBuf;

/// Predict where capacity ends: a ramp of concurrency or rate, its zones, the largest load that keeps an SLO,
/// and replicas and cost for a target load.
///
/// The scenario comes from a file (its first record), or from --model, --hardware, --engine and --workload, with the
/// engine's own flags after `--`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  dyno capacity --model openai/gpt-oss-120b --hardware h100-sxm-80gb --workload random:3000/300 --slo ttft.p99=2s --target-rate 20\n  dyno capacity --scenario scenarios/radiant-gpt-oss-20b.toml --beside scenarios/radiant-gemma-3-27b.toml --svg ramps.svg"
)]
pub(super) struct CapacityArgs {
    /// Fitted profile (`dyno fit`, or `profile.toml` of a campaign)
    #[arg(long)]
    profile: Option<PathBuf>,
    /// JSON file with the scenario; or TOML, as in scenarios/, where what was published of it is held beside
    #[arg(long, alias = "scenarios", required_unless_present = "model")]
    scenario: Option<PathBuf>,
    #[command(flatten)]
    one: Launch,
    /// Ramp requests a second (an open loop) instead of requests in flight (a closed loop)
    #[arg(long, help_heading = "Ramp")]
    rate: bool,
    /// Loads to visit, such as 1,8,64,512; found by themselves when absent
    #[arg(long, value_delimiter = ',', help_heading = "Ramp")]
    loads: Vec<f64>,
    /// Most requests in flight that the ramp goes to
    #[arg(long, default_value_t = 4096, help_heading = "Ramp")]
    max_concurrency: u32,
    /// Promises to keep, such as ttft.p99=500ms,tpot.p99=50ms
    #[arg(long, help_heading = "Goal and cost")]
    slo: Option<Slo>,
    /// Load to carry in all, requests a second: prints replicas and cost
    #[arg(long, value_name = "REQUESTS_PER_S", help_heading = "Goal and cost")]
    target_rate: Option<f64>,
    /// Price of one GPU and hour, US dollars; that of the hardware file when absent
    #[arg(long, help_heading = "Goal and cost")]
    usd_per_gpu_hour: Option<f64>,
    /// Seconds after which the client gives a request up
    #[arg(long, default_value_t = 600.0, help_heading = "Ramp")]
    timeout: f64,
    /// Simulated draws of the coefficients behind each interval
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(..=10_000), help_heading = "Ramp")]
    draws: u32,
    /// Seed of lengths, arrivals and draws
    #[arg(long, default_value_t = 0, help_heading = "Ramp")]
    seed: u64,
    /// Print JSON only
    #[arg(long)]
    json: bool,
    /// Also write the JSON to this file
    #[arg(long)]
    out: Option<PathBuf>,
    /// Another scenario to hold beside, over the same loads: a table of all, and one picture with --svg (repeatable)
    #[arg(long, value_name = "FILE", conflicts_with = "rate")]
    beside: Vec<PathBuf>,
    /// Draw throughput and time per token over load, with the zones, as SVG here
    #[arg(long, value_name = "FILE", conflicts_with = "rate")]
    svg: Option<PathBuf>,
    /// Directory with hardware/ and models/ that are laid over the embedded ones
    #[arg(long)]
    data_dir: Option<PathBuf>,
}

pub(super) fn run(args: CapacityArgs) -> Result<()> {
    check(&args)?;
    let (mut record, published) = scenario(&args)?;
    let catalogs = Catalogs::load(args.data_dir.as_deref())?;
    let profile = read_profile(args.profile.as_deref())?;
    let predictor =
        Predictor { draws: args.draws, seed: args.seed, ..Predictor::new(&catalogs, profile.as_ref()) };
    let options = Options {
        axis: if args.rate { Axis::Rate } else { Axis::Concurrency },
        loads: args.loads.clone(),
        max_concurrency: args.max_concurrency,
        timeout_s: args.timeout,
        slo: args.slo.iter().flat_map(|s| &s.0).map(|c| (c.key, c.limit_ms)).collect(),
    };
    let study = ramp(&record, &predictor, &options)?;
    for note in crate::engine::told(&record, &catalogs.models) {
        super::out::note(format_args!("dyno: {note}"));
    }
    let setup = Setup::new(&record, &catalogs)?;
    let gpus = setup.config.gpus();
    let kv_room = KvRoom::of(&setup, &predictor.coefficients(&setup).0);
    record.num_gpus = Some(gpus);
    let price = price(&args, &record, &catalogs, gpus);
    let target = args.target_rate.map(|r| plan(&study, r, price));
    let cost =
        study.planning_load().and_then(|_| plan(&study, 1.0, price)).and_then(|p| p.usd_per_million_tokens);
    let others = beside::others(&args, &catalogs, &predictor, &options)?;
    let mut value = to_json(&record, &study, target.as_ref(), cost);
    if !others.is_empty() {
        value["beside"] = beside::to_json(&others);
    }
    value["kv_pool_tokens"] = json!(kv_room.tokens);
    value["max_concurrency_at_max_model_len"] = json!(kv_room.max_concurrency);
    if let Some(path) = &args.out {
        crate::scenario::write_whole(path, &serde_json::to_string_pretty(&value).unwrap_or_default())?;
    }
    if let Some(path) = &args.svg {
        let curves = beside::curves((&record, &study), &others);
        let drawn = match &curves[..] {
            [(_, alone)] => crate::report::load_picture(alone),
            several => crate::report::load_pictures(several),
        };
        crate::scenario::write_whole(path, &drawn)?;
    }
    if args.json {
        super::out::line(serde_json::to_string_pretty(&value).unwrap_or_default());
    } else {
        let beside = published.map_or(String::new(), |p| p.beside(&study));
        let mut said = text(&study, target.as_ref(), cost, price, gpus) + &beside;
        if !others.is_empty() {
            said += &beside::table((&record, gpus, &study), &others);
        }
        super::out::line(said);
    }
    super::out::note(format_args!("dyno: rests on {}", study.basis));
    super::out::note(format_args!("dyno: {kv_room} a replica"));
    for n in &study.notes {
        super::out::note(format_args!("dyno: {n}"));
    }
    Ok(())
}

fn check(args: &CapacityArgs) -> Result<()> {
    let mut problems = Vec::new();
    let mut say = |flag: &str, what: &str, hint: &str| {
        problems.push(crate::error::Problem::new(flag, "", what).hint(hint));
    };
    if args.loads.iter().any(|l| !l.is_finite() || *l <= 0.0) {
        say("--loads", "a load is above 0", "such as 1,8,64,512");
    }
    if args.target_rate.is_some_and(|r| !r.is_finite() || r <= 0.0) {
        say("--target-rate", "a rate is above 0", "requests a second");
    }
    if args.max_concurrency == 0 {
        say("--max-concurrency", "is 0", "1 or more");
    }
    if args.timeout.is_nan() || args.timeout <= 0.0 {
        say("--timeout", "is not above 0", "seconds");
    }
    if problems.is_empty() { Ok(()) } else { Err(Error::problems("bad arguments", problems)) }
}

fn scenario(args: &CapacityArgs) -> Result<(Record, Option<published::Published>)> {
    let mut all = match &args.scenario {
        Some(path) if path.extension().is_some_and(|e| e == "toml") => return published::read(path),
        path => args.one.scenarios(path.as_deref(), args.data_dir.as_deref())?.0,
    };
    if all.is_empty() {
        return Err(Error::usage("the file holds no scenario"));
    }
    Ok((all.swap_remove(0), None))
}

/// US dollars for one replica, of as many GPUs as the launch takes, and hour.
fn price(args: &CapacityArgs, record: &Record, catalogs: &Catalogs, gpus: u32) -> Option<f64> {
    let listed = || {
        record.hardware.as_deref().and_then(|h| catalogs.hardware.find(h).ok()).and_then(|h| h.usd_per_hour)
    };
    args.usd_per_gpu_hour.or_else(listed).map(|p| p * f64::from(gpus))
}

fn to_json(record: &Record, study: &Study, target: Option<&Option<Plan>>, cost: Option<f64>) -> Value {
    json!({
        "scenario": record,
        "gpus": record.num_gpus,
        "axis": study.axis,
        "points": study.rungs,
        "breakpoints": study.breakpoints,
        "zones": study.zones,
        "slo_load": study.slo_load,
        "planning_load": study.planning_load(),
        "usd_per_million_tokens": cost,
        "target": target,
        "basis": study.basis,
        "notes": study.notes,
    })
}

/// Columns of the steady part, and whether with their intervals.
const SHOWN: &[(Key, &str, bool)] = &[
    (Key::RequestThroughput, "req/s", true),
    (Key::OutputThroughput, "output tok/s", false),
    (Key::MeanTtftMs, "TTFT ms", false),
    (Key::P99TtftMs, "p99 TTFT ms", true),
    (Key::MeanTpotMs, "TPOT ms", true),
];

/// Columns of a table that goes into a file or a pipe; a terminal says its own.
const WIDTH: u16 = 140;

fn table(study: &Study, axis: &str) -> Table {
    let mut t = Table::new();
    t.load_style(comfy_table::presets::NOTHING);
    t.set_content_arrangement(comfy_table::ContentArrangement::Dynamic);
    if !std::io::stdout().is_terminal() {
        t.set_width(WIDTH);
    }
    let closed = study.axis == Axis::Concurrency;
    let burst = closed.then_some("with burst");
    let head = [axis, "zone"].into_iter().chain(SHOWN.iter().map(|s| s.1)).chain(burst);
    t.set_header(head.chain(["KV", "limited by"]));
    for r in &study.rungs {
        let right = |s: String| Cell::new(s).set_alignment(CellAlignment::Right);
        let mut row = vec![right(short(r.load)), Cell::new(r.zone)];
        row.extend(SHOWN.iter().map(|(k, _, interval)| {
            right(r.steady.get(k.name()).map_or("unstable".into(), |v| match interval {
                true => format!("{} [{}, {}]", short(v.value), short(v.p05), short(v.p95)),
                false => short(v.value),
            }))
        }));
        if closed {
            let whole = r.predicted.get(Key::P99TtftMs.name());
            row.push(right(whole.map_or("unstable".into(), |v| short(v.value))));
        }
        row.push(right(format!("{:.0} %", r.kv_use * 100.0)));
        row.push(Cell::new(brief(&r.binding)));
        t.add_row(row);
    }
    t
}

fn text(
    study: &Study,
    target: Option<&Option<Plan>>,
    cost: Option<f64>,
    price: Option<f64>,
    gpus: u32,
) -> String {
    let closed = study.axis == Axis::Concurrency;
    let axis = if closed { "in flight" } else { "req/s offered" };
    let t = table(study, axis);
    let mut out = format!(
        "{t}\n(of the steady part: value, and the interval that holds it nine times in ten{})\n\nZones\n",
        if closed {
            ". With burst: p99 TTFT of a whole run,\n which begins with all its requests at once"
        } else {
            ""
        }
    );
    for z in &study.zones {
        out.push_str(&zone_line(z));
    }
    out.push_str("\nBreakpoints\n");
    // Without an SLO its crossing says nothing.
    let asked = |b: &&Breakpoint| study.slo_load.is_some() || b.name != SLO_CROSSING;
    for b in study.breakpoints.iter().filter(asked) {
        out.push_str(&breakpoint_line(b));
    }
    if let Some(s) = study.slo_load {
        let say = |x: Option<f64>| x.map_or("less than the lightest load of the ramp".into(), short);
        out.push_str(&format!(
            "\nThe SLO is kept up to {} {axis}; up to {} with the pessimistic end of the interval.\n",
            say(s.central),
            say(s.pessimistic)
        ));
    }
    out.push_str(&planning_lines(study, axis, cost.zip(price)));
    match target {
        Some(Some(p)) => out.push_str(&plan_line(p, axis, gpus)),
        Some(None) => {
            out.push_str("\nNo load keeps the SLO, so no number of replicas can be planned with.\n");
        }
        None => {}
    }
    out
}

/// What binds, without its shares of the time.
fn brief(binding: &str) -> String {
    let parts = binding.split("; ").map(|p| {
        let p = p.split(" (").next().unwrap_or(p);
        let p = p.split(" in ").next().unwrap_or(p);
        p.strip_prefix("requests wait for ").map_or(p.to_owned(), |what| format!("wait for {what}"))
    });
    parts.collect::<Vec<_>>().join("; ")
}

/// The load to plan with, and what tokens cost at it: US dollars for a million, and for a replica and hour.
fn planning_lines(study: &Study, axis: &str, cost: Option<(f64, f64)>) -> String {
    let Some(load) = study.planning_load() else { return String::new() };
    let why = if study.slo_load.is_some() {
        "the largest that keeps the SLO by the pessimistic end of the interval"
    } else {
        "the lower end of the interval in which queueing begins; --slo gives a figure that follows from your promises"
    };
    let mut out = format!("\nLoad to plan one replica with: {} {axis} ({why}).\n", short(load));
    if let Some((per_token, per_hour)) = cost {
        out.push_str(&format!(
            "At that load a million tokens cost {per_token:.3} US dollars, at {per_hour:.2} a replica and hour.\n"
        ));
    }
    out
}

fn zone_line(z: &ZoneSpan) -> String {
    let to = match (z.to, z.to_interval) {
        (Some(to), Some((a, b))) => format!("{} [{}, {}]", short(to), short(a), short(b)),
        _ => "the end of the ramp".to_owned(),
    };
    format!("  {:<18} from {:>7} to {to}: {}\n", z.zone.to_string(), short(z.from), z.criterion)
}

fn breakpoint_line(b: &Breakpoint) -> String {
    let at = b.at.map_or("not reached".to_owned(), |i| {
        format!("{} [{}, {}]", short(i.value), short(i.p05), short(i.p95))
    });
    format!("  {:<18} {at}: {}\n", b.name, b.criterion)
}

fn plan_line(p: &Plan, axis: &str, gpus: u32) -> String {
    let mut s = format!(
        "\n{} req/s need {} replicas of {gpus} GPU(s) ({} to hold nineteen times in twenty), each at {} {axis} and {} req/s \
         [{}, {}]",
        short(p.target_rate),
        p.replicas,
        p.replicas_safe,
        short(p.load),
        short(p.replica_rate.value),
        short(p.replica_rate.p05),
        short(p.replica_rate.p95),
    );
    if let Some(d) = p.usd_per_hour {
        s.push_str(&format!("; {} replicas cost {d:.2} US dollars an hour", p.replicas_safe));
    }
    s.push_str(".\n");
    s
}

/// Three significant digits.
fn short(x: f64) -> String {
    match x.abs() {
        v if v >= 100.0 || v == 0.0 => format!("{x:.0}"),
        v if v >= 10.0 => format!("{x:.1}"),
        v if v >= 1.0 => format!("{x:.2}"),
        _ => format!("{x:.3}"),
    }
}
