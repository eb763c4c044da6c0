//! How much load one replica carries, by this campaign's fit.

use super::super::analysis::{Band, Ramp, Rung, Side};
use super::super::chart::{Curve, EQUALS, LoadPicture, Look, Svg, ZoneBand, load};
use super::super::doc::{Block, Section, Table, code, strong, text};
use super::super::subject::Subject;
use super::super::words::{self, number, workload_words};

pub(in super::super) fn section(s: &Subject<'_>) -> Option<Section> {
    let ramps = &s.analysis?.ramps;
    let best = ramps.last()?;
    let mut blocks = vec![Block::Para(text![format!(
        "Forecast by the cost model fitted in this campaign, not measured: the first workload ({}) as a closed loop with so \
         many requests in flight.",
        workload_words(&s.run.plan.primary().spec)
    )])];
    blocks.push(Block::Figure { name: "load", svg: Box::new(picture(&named(ramps), best)) });
    if let Some(plan) = best.planning_load {
        blocks.push(Block::Para(planned(s, best, plan)));
    }
    blocks.push(Block::Table(zones(best)));
    blocks.push(Block::Fold {
        summary: text!["Every load of the forecast"],
        blocks: vec![Block::Table(rungs(best))],
    });
    Some(Section { id: "load", title: "How much load it carries", blocks })
}

fn planned(s: &Subject<'_>, ramp: &Ramp, plan: f64) -> super::super::doc::Text {
    let near = ramp.rungs.iter().min_by(|a, b| {
        let far = |r: &Rung| (r.load.max(1e-9) / plan.max(1e-9)).ln().abs();
        far(a).total_cmp(&far(b))
    });
    let why = if s.run.plan.slo.0.is_empty() {
        "the lower end of the interval in which queueing begins or throughput stops growing; name an SLO with --slo for a \
         figure that follows from them"
    } else {
        "the largest load that meets the SLO by the pessimistic end of the forecast"
    };
    let mut t = text![
        "Plan ",
        strong(format!("{} requests in flight", words::load(plan))),
        format!(" on one replica: {why}.")
    ];
    if let Some(rate) = near.and_then(|r| r.request_rate) {
        t.push(format!(
            " Near that load one replica completes {} requests a second ({} to {}), so ten requests a second need {} \
             replicas.",
            number(rate.value),
            number(rate.low),
            number(rate.high),
            words::load((10.0 / rate.low.max(1e-9)).ceil())
        ));
    }
    t.push(" Check it on the server with ");
    t.push(code("dyno ramp"));
    t.push(", plan a target with ");
    t.push(code("dyno capacity --target-rate"));
    t.push(".");
    t
}

fn curve(name: &str, r: &Ramp, pick: fn(&Rung) -> Option<Band>, look: Look) -> Curve {
    let points = r.rungs.iter().filter_map(|x| pick(x).map(|b| [x.load, b.value, b.low, b.high])).collect();
    Curve { name: name.to_owned(), points, look }
}

/// A forecast ramp as a picture of its own, as the text of an SVG file.
pub(in super::super) fn load_picture(ramp: &Ramp) -> String {
    picture(&[("predicted", ramp, Look::Pick)], ramp).file()
}

/// Launches that can stand in one picture.
pub(in super::super) const SIDE_BY_SIDE: usize = EQUALS;

/// Several forecast ramps with their names in one picture, as the text of an SVG file.
pub(in super::super) fn load_pictures(ramps: &[(String, Ramp)]) -> String {
    let curves = |pick: fn(&Rung) -> Option<Band>| {
        ramps.iter().enumerate().map(|(i, (name, r))| curve(name, r, pick, Look::Equal(i))).collect()
    };
    let words: Vec<String> = ramps
        .iter()
        .map(|(name, r)| {
            let plan = r.planning_load.map_or("none".to_owned(), words::load);
            format!("{name}: load to plan with {plan}, at most {} tok/s", number(peak(r)))
        })
        .collect();
    let x = "requests in flight on one replica";
    load(&LoadPicture {
        title: format!("Throughput and time per output token over load, {} launches", ramps.len()),
        description: words.join("; "),
        x,
        throughput: curves(|x| x.total_token_throughput),
        latency: curves(|x| x.mean_tpot_ms),
        names: ("total tok/s", "mean TPOT, ms"),
        zones: Vec::new(),
        plan: None,
    })
    .file()
}

/// The most tokens a second of any load.
fn peak(r: &Ramp) -> f64 {
    r.rungs.iter().filter_map(|r| r.total_token_throughput).map(|b| b.value).fold(0.0, f64::max)
}

/// The ramps by their sides; that of the defaults stands back where there are two.
fn named(ramps: &[Ramp]) -> Vec<(&'static str, &Ramp, Look)> {
    let of = |r: &Ramp| match r.side {
        Side::Defaults => "defaults",
        Side::Recommended => "recommended",
    };
    let look = |r: &Ramp| if r.side == Side::Defaults && ramps.len() > 1 { Look::Faint } else { Look::Pick };
    ramps.iter().map(|r| (of(r), r, look(r))).collect()
}

fn picture(ramps: &[(&'static str, &Ramp, Look)], best: &Ramp) -> Svg {
    let mut throughput = Vec::new();
    let mut latency = Vec::new();
    for &(name, r, look) in ramps {
        throughput.push(curve(name, r, |x| x.total_token_throughput, look));
        latency.push(curve(name, r, |x| x.mean_tpot_ms, look));
    }
    let most = best.rungs.iter().map(|r| r.load).fold(1.0, f64::max);
    let zones: Vec<ZoneBand> = best
        .zones
        .iter()
        .map(|z| ZoneBand { name: zone_name(&z.zone), from: z.from, to: z.to.unwrap_or(most) })
        .collect();
    let words: Vec<String> = zones
        .iter()
        .map(|z| format!("{} from {} to {} in flight", z.name, words::load(z.from), words::load(z.to)))
        .collect();
    load(&LoadPicture {
        title: "Throughput and time per output token over load".to_owned(),
        description: format!(
            "Total throughput rises to {} tok/s. Zones: {}.",
            number(peak(best)),
            words.join("; ")
        ),
        x: "requests in flight on one replica",
        throughput,
        latency,
        names: ("total tok/s", "mean TPOT, ms"),
        zones,
        plan: best.planning_load,
    })
}

/// The zones' names as their reader plans with them.
fn zone_name(zone: &str) -> String {
    match zone {
        "safe" => "no queueing".to_owned(),
        "early degradation" | "early-degradation" => "efficient".to_owned(),
        other => other.to_owned(),
    }
}

fn zones(r: &Ramp) -> Table {
    let mut t = Table::new("Zones", &["Zone", ">From", ">To", ">90 % interval of the end", "Ends where"]);
    for z in &r.zones {
        t.row(vec![
            zone_name(&z.zone).into(),
            words::load(z.from).into(),
            z.to.map_or("end of the ramp".to_owned(), words::load).into(),
            z.to_interval
                .map_or("–".to_owned(), |(a, b)| format!("{} to {}", words::load(a), words::load(b)))
                .into(),
            z.criterion.clone().into(),
        ]);
    }
    t
}

fn rungs(r: &Ramp) -> Table {
    let head = [
        ">In flight",
        ">req/s",
        ">Total tok/s",
        ">Mean TTFT, ms",
        ">Mean TPOT, ms",
        ">Mean E2E, ms",
        "Limited by",
    ];
    let mut t = Table::new("Value and 90 % interval", &head);
    let cell = |b: Option<Band>| {
        b.map_or("–".to_owned(), |b| {
            format!("{} ({} to {})", number(b.value), number(b.low), number(b.high))
        })
    };
    for x in &r.rungs {
        t.row(vec![
            words::load(x.load).into(),
            cell(x.request_rate).into(),
            cell(x.total_token_throughput).into(),
            cell(x.mean_ttft_ms).into(),
            cell(x.mean_tpot_ms).into(),
            cell(x.mean_e2el_ms).into(),
            x.binding.clone().into(),
        ]);
    }
    t
}
