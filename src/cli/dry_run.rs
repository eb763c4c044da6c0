//! `dyno tune --dry-run`: what a campaign would consider, and about how long it would take.

use crate::error::Result;
use crate::launch::{Candidate, EngineKind, is_variable};
use crate::search::Space;
use crate::store::Plan;
use crate::tune::forecaster::SimForecaster;
use crate::tune::observed::Observed;
use crate::tune::{PlannedSpaces, Spaces};

/// Prints the plan of every engine; launches nothing.
pub(super) fn show(plan: &Plan) -> Result<()> {
    let spaces = PlannedSpaces::new(plan)?;
    crate::tune::spelling(plan).into_iter().for_each(super::out::line);
    for engine in &plan.engines {
        let space = spaces.space(*engine, None)?;
        considered(*engine, space.as_ref());
        let (least, most) = launches(plan, space.as_ref());
        time(plan, *engine, least, most)?;
    }
    if let Some(job) = super::executor::first_job(plan)? {
        super::out::line(format!("the first trial as the executor gets it:\n{job}"));
    }
    Ok(())
}

fn considered(engine: EngineKind, space: &dyn Space) {
    let knobs = space.knobs();
    let all = knobs.iter().map(|k| k.values.len() + 1).fold(1usize, usize::saturating_mul);
    super::out::line(format!("{engine}: {} flags, {all} combinations", knobs.len()));
    for k in knobs {
        let values: Vec<String> = k.values.iter().map(ToString::to_string).collect();
        let by = if k.modelled { "forecast" } else { "to be learned by launches" };
        let dashes = if is_variable(&k.flag) { "" } else { "--" };
        super::out::line(format!("  {dashes}{} {} ({by})", k.flag, values.join(" | ")));
    }
}

/// Prints how many launches there will be, and returns the least and the most of them.
fn launches(plan: &Plan, space: &dyn Space) -> (usize, usize) {
    let unknown: usize = space.knobs().iter().filter(|k| !k.modelled).map(|k| k.values.len()).sum();
    let first = plan.tries.len();
    let confirm = 2 * plan.settings.repeats.max(2) as usize;
    let longest = 2 * plan.settings.max_pairs as usize;
    let (low, high) = match plan.max_trials {
        None => (6 + unknown / 3 + first, 12 + unknown + first),
        Some(most) => {
            let left = (most as usize).saturating_sub(confirm + 2);
            ((6 + unknown / 3 + first).min(left), left)
        }
    };
    super::out::line(format!(
        "  launches: 2 of the defaults, about {low} to {high} of the search, {confirm} to {longest} of the confirmation"
    ));
    (2 + low + confirm, 2 + high + longest)
}

/// Prints the time of the load by physics; that of starting the engine is not forecast.
fn time(plan: &Plan, engine: EngineKind, least: usize, most: usize) -> Result<()> {
    let mut forecaster = SimForecaster::new(plan, engine, None, Observed::default())?;
    let line = match forecaster.run_seconds(&Candidate::baseline(engine)) {
        // Two runs a launch.
        Some(run) => format!(
            "  time: a run of {} takes about {} by physics, so {} to {} of load; the engine's start comes on top {least} to {most} \
             times",
            plan.primary().name,
            rounded(run),
            rounded(2.0 * run * least as f64),
            rounded(2.0 * run * most as f64),
        ),
        None => "  time: the load cannot be forecast here".to_owned(),
    };
    super::out::line(line);
    if let Some(budget) = plan.budget_s {
        super::out::line(format!("  the budget ends the search after {}", rounded(budget)));
    }
    Ok(())
}

/// A time to whole seconds, above two minutes to whole minutes.
fn rounded(seconds: f64) -> String {
    let step = if seconds < 120.0 { 1.0 } else { 60.0 };
    let whole = ((seconds / step).round() * step).max(1.0);
    humantime::format_duration(std::time::Duration::from_secs(whole as u64)).to_string()
}
