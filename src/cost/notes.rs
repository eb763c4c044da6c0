//! What a prediction has to tell beside its figures: what it stands on, what is left open, what is assumed.

use super::Footprint;
use super::conditions::{Conditions, FARTHEST};
use super::habits::{Intake, Likely};
use super::pooling;
use super::setup::Setup;
use super::standing::Standing;
use crate::engine::Speculation;
use crate::scenario::Key;
use crate::sim::SimResult;

/// Readings less likely than this are not simulated.
pub(super) const NEGLIGIBLE: f64 = 0.03;

/// What is to be told of a prediction, a sentence each.
pub(super) fn notes(
    setup: &Setup,
    run: &SimResult,
    conditions: &Conditions,
    likely: &[Likely],
) -> Vec<String> {
    let mut out: Vec<String> = setup.memory.refusals.iter().map(ToString::to_string).collect();
    let standing = conditions.standing;
    if standing == Standing::SameLaunch && conditions.distance >= FARTHEST {
        out.push(
            "no measured load of this launch is like this one in lengths, load and flags: its fit is carried further than it was \
             ever checked; measure one nearer before relying on it"
                .to_owned(),
        );
    }
    if standing == Standing::PriorUnseen && pooling::public_speaks_for(setup) {
        out.push(format!(
            "no public run of {} on {} with {} stands behind this: physics alone, with bounds as wide as it has been \
             wrong elsewhere",
            setup.model_kind().words(),
            setup.hardware.id,
            setup.config.engine
        ));
    }
    out.extend(open_readings(likely));
    out.extend(other_release(setup));
    if !setup.config.unmodelled.is_empty() {
        out.push(format!("flags without a model, taken as neutral: {}", setup.config.unmodelled.join(" ")));
    }
    out.extend(setup.config.speculative.iter().flat_map(|s| speculation_notes(s, setup)));
    if setup.config.data_parallel > 1
        && Footprint::new(&setup.model, &setup.config).expert_ranks(&setup.config) > 1.0
    {
        out.push(
            "data-parallel ranks of a mixture-of-experts model step together; they are taken as equally loaded, \
             so waits for the busiest rank are left out"
                .to_owned(),
        );
    }
    let sent_over = setup.requests.last().map_or(0.0, |r| r.arrival.secs());
    let took = run.metrics.get(Key::Duration).unwrap_or(0.0);
    if sent_over > 0.0 && took > OVERLOADED * sent_over {
        out.push(format!(
            "the load is above what this launch sustains: sent over {sent_over:.0} s, served over {took:.0} s; \
             waiting times grow as long as it lasts and hold for this many requests only"
        ));
    }
    out
}

/// What the scenario leaves open and changes the answer.
fn open_readings(likely: &[Likely]) -> Vec<String> {
    let all = || likely.iter().filter(|l| l.weight > NEGLIGIBLE);
    let mut out = Vec::new();
    if all().any(|l| l.habits.lengths != likely[0].habits.lengths) {
        out.push(
            "whether requests have exactly the lengths asked for is not known; exact ones march in step, and the bounds \
             cover both: say `\"lengths\": \"exact\"` or `\"scattered\"` in the scenario"
                .to_owned(),
        );
    }
    if all().any(|l| l.habits.intake == Intake::Balanced) {
        out.push(
            "whether prompts wait until every rank of data-parallel attention has one is not said; the bounds cover both: say \
             `attention_dp_config.enable_balance` in the launch (off is the engine's default)"
                .to_owned(),
        );
    }
    out
}

/// That a fit speaks for another release than the newest that it has seen.
fn other_release(setup: &Setup) -> Option<String> {
    let months = setup.config.months_older;
    (months != 0.0).then(|| {
        format!(
            "{} {} is {} than the newest release that the fit has seen, by about {:.0} months of releases: its steps are taken as {}",
            setup.config.engine,
            setup.config.version,
            if months > 0.0 { "older" } else { "newer" },
            months.abs().max(1.0),
            if months > 0.0 { "slower" } else { "faster" }
        )
    })
}

/// What is assumed of a launch's speculation.
fn speculation_notes(s: &Speculation, setup: &Setup) -> Vec<String> {
    let a = &s.acceptance;
    let tokens = |shares: &[f64]| 1.0 + a.proposed * shares.iter().sum::<f64>();
    let mut out = vec![format!(
        "speculation by {} of {} tokens: {:.2} tokens a step ({:.2} to {:.2}){}",
        s.method.name(),
        s.num_speculative_tokens,
        a.tokens_per_step(),
        tokens(&a.low),
        tokens(&a.high),
        if a.assumed {
            ", assumed from published runs of the method; the engine's counters tell it for a workload: say `acceptance` in \
             the scenario, or --acceptance"
        } else {
            ""
        }
    )];
    if setup.text == Some(false) {
        out.push(
            "this workload is sent as random token ids, on which the acceptance of speculated tokens means nothing: the \
             answer is that of text with such lengths"
                .to_owned(),
        );
    }
    out
}

/// Ratio of the time of serving to the time of sending from which a load counts as above capacity.
const OVERLOADED: f64 = 1.3;

#[cfg(test)]
mod tests {
    use crate::cost::{Catalogs, Predictor};

    #[test]
    fn what_the_launch_does_not_say_of_its_ranks_is_told() {
        let catalogs = Catalogs::load(None).unwrap();
        let said = |flags: &str| {
            let command = format!("trtllm-serve deepseek-ai/DeepSeek-R1 --tp_size 8 --ep_size 8 {flags}");
            let record = serde_json::from_value(serde_json::json!({
                "engine": "trtllm", "engine_version": "1.2.0", "hardware": "h200-sxm-141gb", "serve_command": command,
                "workload": { "dataset": "random", "input_len": 256, "output_len": 16, "num_prompts": 16,
                              "max_concurrency": 8, "seed": 1 }
            }))
            .unwrap();
            let p =
                Predictor { draws: 2, ..Predictor::new(&catalogs, None) }.predict(&record, false).unwrap();
            p.notes.iter().any(|n| n.contains("attention_dp_config.enable_balance"))
        };
        assert!(said("--enable_attention_dp true"));
        assert!(!said("--enable_attention_dp true --attention_dp_config.enable_balance true"));
        assert!(!said("--enable_attention_dp false"));
    }
}
