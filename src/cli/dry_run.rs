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
    for engine in &plan.engines {
        let space = spaces.space(*engine, None)?;
        considered(*engine, space.as_ref());
        let (least, most) = launches(plan, space.as_ref());
        time(plan, *engine, least, most)?;
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
            "  time: a run of {} takes about {run:.0} s by physics, so {:.0} to {:.0} minutes of load; the engine's start comes \
             on top {least} to {most} times",
            plan.primary().name,
            2.0 * run * least as f64 / 60.0,
            2.0 * run * most as f64 / 60.0,
        ),
        None => "  time: the load cannot be forecast here".to_owned(),
    };
    super::out::line(line);
    if let Some(budget) = plan.budget_s {
        super::out::line(format!("  the budget ends the search after {:.0} minutes", budget / 60.0));
    }
    Ok(())
}
