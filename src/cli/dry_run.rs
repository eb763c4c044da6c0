//! `dyno tune --dry-run`.

use crate::error::Result;
use crate::store::Plan;
use crate::tune::{PlannedSpaces, Spaces};

/// What a campaign would consider, without launching anything.
pub(super) fn show(plan: &Plan) -> Result<()> {
    let spaces = PlannedSpaces::new(plan)?;
    for engine in &plan.engines {
        let space = spaces.space(*engine, None)?;
        let knobs = space.knobs();
        let all = knobs.iter().map(|k| k.values.len() + 1).fold(1usize, usize::saturating_mul);
        let unknown: usize = knobs.iter().filter(|k| !k.modelled).map(|k| k.values.len()).sum();
        super::out::line(format!("{engine}: {} flags, {all} combinations", knobs.len()));
        for k in knobs {
            let values: Vec<String> = k.values.iter().map(ToString::to_string).collect();
            let by = if k.modelled { "forecast" } else { "to be learned by launches" };
            super::out::line(format!("  --{} {} ({by})", k.flag, values.join(" | ")));
        }
        let confirm = 2 * plan.settings.repeats.max(2);
        let search = plan.max_trials.map_or_else(
            || format!("about {} to {}", 6 + unknown / 3, 12 + unknown),
            |most| format!("at most {}", most.saturating_sub(confirm + 2)),
        );
        super::out::line(format!(
            "  launches: 2 of the defaults, {search} of the search, {confirm} to {} of the confirmation",
            2 * plan.settings.max_pairs
        ));
    }
    Ok(())
}
