//! What the campaign's fitted model says of the defaults and of the recommended command: the ramp of load and the mean
//! decode step of either. Worked out once at the end of a campaign and kept beside the record.

use crate::capacity::simulated::{Options, Study, ramp};
use crate::cost::binding::mean_steps;
use crate::cost::{Breakdown, Catalogs, Predictor, Profile, Setup};
use crate::error::{Error, Result};
use crate::launch::Candidate;
use crate::report::Subject;
use crate::report::analysis::{Analysis, Band, FILE, Ramp, Rung, SCHEMA, Side, Step, ZoneRow};
use crate::scenario::{Key, Record, write_private};
use std::path::Path;

/// Requests in flight that are forecast: an octave a step tells zones apart, and costs less than a second.
const LOADS: [f64; 11] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0];
/// Draws of the coefficients behind an interval.
const DRAWS: u32 = 6;

/// Reads `analysis.json`; `None` when there is none.
///
/// Errors: a file that cannot be read as such, named.
pub(super) fn read(dir: &Path) -> Result<Option<Analysis>> {
    let path = dir.join(FILE);
    let Ok(text) = std::fs::read_to_string(&path) else { return Ok(None) };
    let found: Analysis = serde_json::from_str(&text).map_err(|e| {
        Error::usage("the analysis beside the record cannot be read")
            .at(path.display())
            .source(e)
            .hint("delete the file: `dyno report` works it out again")
    })?;
    Ok((found.schema == SCHEMA).then_some(found))
}

/// Works the analysis out from the profile in `dir` and writes it there. `None` where the model has nothing to say, such as
/// for a launch that it cannot forecast: a report without it is whole in everything that was measured.
pub(super) fn work_out(dir: &Path, s: &Subject<'_>) -> Result<Option<Analysis>> {
    if !s.verdict.complete || s.verdict.compared.is_none() {
        return Ok(None);
    }
    let plan = &s.run.plan;
    let catalogs = Catalogs::load(plan.data_dir.as_deref().map(Path::new))?;
    let profile = profile(dir)?;
    let usd_per_gpu_hour = catalogs.hardware.find(&plan.hardware).ok().and_then(|h| h.usd_per_hour);
    let mut found = Analysis { schema: SCHEMA, usd_per_gpu_hour, ..Analysis::default() };
    // Without a fit of this very campaign a forecast would be the prior's: not this box's figures.
    if let Some(profile) = &profile {
        let predictor = Predictor { draws: DRAWS, ..Predictor::new(&catalogs, Some(profile)) };
        for (side, candidate) in sides(s) {
            let Some(record) = s.observed(candidate) else { continue };
            let scenario = Record { requests: None, result: None, ..record.clone() };
            // What the model cannot forecast is left out; the figures that were measured stand without it.
            if let Ok(study) = ramp(&scenario, &predictor, &options(s)) {
                found.ramps.push(ramp_of(side, &study));
            }
            if let Some(step) = step(side, &scenario, &predictor) {
                found.steps.push(step);
            }
        }
    }
    let text = serde_json::to_string_pretty(&found)
        .map_err(|e| Error::failed("the analysis cannot be written as JSON").source(e))?;
    write_private(&dir.join(FILE), &text)?;
    // Read back, so that a report written now and one written later see the same digits.
    read(dir)
}

fn profile(dir: &Path) -> Result<Option<Profile>> {
    let path = dir.join("profile.toml");
    match std::fs::read_to_string(&path) {
        Ok(text) => Profile::parse(&path.display().to_string(), &text).map(Some),
        Err(_) => Ok(None),
    }
}

fn sides<'a>(s: &Subject<'a>) -> Vec<(Side, &'a Candidate)> {
    let Some(c) = &s.verdict.compared else { return Vec::new() };
    let mut out = vec![(Side::Defaults, &c.baseline)];
    if c.winner != c.baseline {
        out.push((Side::Recommended, &c.winner));
    }
    out
}

fn options(s: &Subject<'_>) -> Options {
    let slo = s.run.plan.slo.0.iter().map(|c| (c.key, c.limit_ms)).collect();
    Options { loads: LOADS.to_vec(), slo, ..Options::default() }
}

/// A simulated ramp as a report keeps it.
pub(super) fn ramp_of(side: Side, study: &Study) -> Ramp {
    let rungs = study
        .rungs
        .iter()
        .map(|r| {
            let band =
                |key: Key| r.steady.get(key.name()).map(|v| Band { value: v.value, low: v.p05, high: v.p95 });
            Rung {
                load: r.load,
                request_rate: band(Key::RequestThroughput),
                total_token_throughput: band(Key::TotalTokenThroughput),
                mean_ttft_ms: band(Key::MeanTtftMs),
                mean_tpot_ms: band(Key::MeanTpotMs),
                mean_e2el_ms: band(Key::MeanE2elMs),
                binding: r.binding.clone(),
            }
        })
        .collect();
    let zones = study
        .zones
        .iter()
        .map(|z| ZoneRow {
            zone: z.zone.to_string(),
            from: z.from,
            to: z.to,
            to_interval: z.to_interval,
            criterion: z.criterion.clone(),
        })
        .collect();
    Ramp {
        side,
        basis: study.basis.clone(),
        rungs,
        zones,
        planning_load: study.planning_load(),
        slo_load: study.slo_load.and_then(|l| l.central),
    }
}

/// The mean decode-only step of the first workload as it was served.
fn step(side: Side, scenario: &Record, predictor: &Predictor<'_>) -> Option<Step> {
    let setup = Setup::new(scenario, predictor.catalogs).ok()?;
    let point = Predictor { draws: 0, ..predictor.clone() }.predict_setup(&setup, true).ok()?;
    let (c, _) = predictor.coefficients(&setup);
    let (shape, n) = mean_steps(&setup, &c, &point.simulated)[0];
    if n == 0 {
        return None;
    }
    let b = setup.physical(&c).breakdown(&shape);
    let overlap = setup.config.overlap;
    let period = if overlap { b.device().max(b.host) } else { b.device() + b.host };
    Some(Step {
        side,
        decode_rows: shape.decode_rows,
        context_tokens: shape.decode_ctx,
        period_ms: period / 1e6,
        overlap,
        parts: device_parts(&b),
        host_ms: b.host / 1e6,
    })
}

/// Milliseconds by component of the device's time; a stream and its arithmetic overlap, so each shows what it adds.
fn device_parts(b: &Breakdown) -> Vec<(String, f64)> {
    let parts = [
        ("dense weights and their arithmetic", b.weight_stream.hypot(b.dense_compute)),
        ("experts and their arithmetic", b.expert_stream.hypot(b.expert_compute)),
        ("decode attention: KV reads", b.kv_read),
        ("activations", b.activations),
        ("communication", b.communication),
        ("layers' fixed overhead", b.overhead),
        ("sampling and metadata", b.rows),
        ("launch without a graph", b.eager_launch),
    ];
    parts.into_iter().filter(|p| p.1 > 0.0).map(|(n, ns)| (n.to_owned(), ns / 1e6)).collect()
}
