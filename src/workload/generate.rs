//! From a spec to its requests.

use super::bounds::PROMPT_TOKENS;
use super::draft::{ARRIVALS, Draft, HASHED_BLOCKS, HASHED_STRIDE, PROMPTS, SHARED_PREFIX, contents, rng};
use super::trace::HASHED_BLOCK;
use super::{
    Dataset, Follows, PlannedRequest, Prompt, RequestRate, RequestShape, WorkloadSpec, arrivals, bounds, mix,
    prompts,
};
use crate::error::{Error, Problem, Result};
use crate::units::Nanos;

/// Arrivals and lengths of every request, in order of arrival.
///
/// The turns of a chat session wait for each other; here, where no answer times are known, each stands at its
/// session's arrival plus the think times before it.
pub fn shapes(spec: &WorkloadSpec) -> Result<Vec<RequestShape>> {
    Ok(drafts(spec)?
        .into_iter()
        .map(|(arrival, d)| RequestShape { arrival, input_tokens: d.input, output_tokens: d.output })
        .collect())
}

/// The requests with their arrivals, in order of arrival (chat: session by session).
pub(super) fn drafts(spec: &WorkloadSpec) -> Result<Vec<(Nanos, Draft)>> {
    check(spec)?;
    let n = spec.num_prompts.unwrap_or(1000) as usize;
    // Stages last as long as they last: they say how many requests there are.
    let n = spec.stages.as_deref().map_or(n, |stages| arrivals::staged_count(spec, stages).min(1 << 24));
    let drafts = if spec.dataset == Dataset::Mix { mix::drafts(spec, n)? } else { contents(spec, n)? };
    Ok(arrange(spec, drafts))
}

/// Which part of the mixture each request belongs to, by its id.
pub fn part_of_each(spec: &WorkloadSpec) -> Result<Vec<usize>> {
    Ok(drafts(spec)?.into_iter().map(|(_, d)| d.part).collect())
}

/// Gives every draft its arrival: the file's own, or drawn ones.
fn arrange(spec: &WorkloadSpec, drafts: Vec<Draft>) -> Vec<(Nanos, Draft)> {
    let heads = drafts.iter().filter(|d| d.turn.is_none_or(|t| t.1 == 0)).count();
    let mut drawn = arrivals::arrivals(spec, heads, &mut rng(spec.seed.unwrap_or(0), ARRIVALS)).into_iter();
    // A file with times keeps them, unless the workload asks for a rate of its own.
    let own = drafts.iter().any(|d| d.arrival.is_some())
        && (spec.dataset == Dataset::Trace || spec.request_rate == RequestRate::Inf);
    let mut at = Nanos::ZERO;
    let mut out: Vec<(Nanos, Draft)> = drafts
        .into_iter()
        .map(|d| {
            at = match (d.turn, own) {
                (Some((_, turn, think)), _) if turn > 0 => at + think,
                (_, true) => d.arrival.unwrap_or_default(),
                _ => drawn.next().unwrap_or(at),
            };
            (at, d)
        })
        .collect();
    if own {
        out.sort_by_key(|(at, _)| *at);
    }
    out
}

/// The requests with their prompts, for a model of `vocab` token ids.
pub fn generate(spec: &WorkloadSpec, vocab: u32) -> Result<Vec<PlannedRequest>> {
    generate_run(spec, vocab, 0)
}

/// As [`generate`], with other prompt contents for each `run` number: lengths and arrivals stay those of the
/// seed, so that repeats are comparable, and no repeat finds its prompts in the engine's prefix cache. Prompts
/// that come from a file stay what they are.
pub fn generate_run(spec: &WorkloadSpec, vocab: u32, run: u64) -> Result<Vec<PlannedRequest>> {
    let seed = spec.seed.unwrap_or(0);
    // Runs are far apart in stream space; the streams below are those of lengths and arrivals.
    let streams = run.wrapping_mul(16);
    let shared: Vec<Vec<Vec<u32>>> =
        mix::parts(spec).iter().map(|part| shared_prefixes(part, vocab, streams)).collect();
    let mut contents = rng(seed, streams.wrapping_add(PROMPTS));
    let mut before: Vec<u32> = Vec::new();
    let mut requests = Vec::new();
    let drafts = drafts(spec)?;
    let tokens: u64 =
        drafts.iter().filter(|(_, d)| d.prompt.is_none()).map(|(_, d)| u64::from(d.input)).sum();
    if tokens > PROMPT_TOKENS {
        let message = format!("its prompts have {tokens} tokens; at most {PROMPT_TOKENS} are made");
        return Err(Error::usage(message).hint("fewer or shorter requests"));
    }
    for ((arrival, draft), id) in drafts.into_iter().zip(0..) {
        let follows = draft.turn.filter(|t| t.1 > 0).map(|t| Follows { id: id - 1, think: t.2 });
        let prompt = draft.prompt.unwrap_or_else(|| {
            // A turn begins with the whole conversation before it, any other prompt with the shared prefix.
            let prefix =
                || draft.prefix.and_then(|group| shared.get(draft.part)?.get(group as usize)).cloned();
            let mut ids =
                if follows.is_some() { std::mem::take(&mut before) } else { prefix().unwrap_or_default() };
            for hash in &draft.hash_ids {
                let mut block =
                    rng(seed ^ hash.wrapping_mul(HASHED_STRIDE), streams.wrapping_add(HASHED_BLOCKS));
                ids.extend(prompts::token_ids(HASHED_BLOCK, vocab, &mut block));
            }
            ids.truncate(draft.input as usize);
            ids.extend(prompts::token_ids(draft.input - ids.len() as u32, vocab, &mut contents));
            if draft.turn.is_some() {
                before.clone_from(&ids);
            }
            Prompt::TokenIds(ids)
        });
        // The later turns of a session are due when the one before has ended, not at a time.
        let arrival = if follows.is_some() { Nanos::ZERO } else { arrival };
        requests.push(PlannedRequest {
            id,
            arrival,
            prompt,
            input_tokens: draft.input,
            output_tokens: draft.output,
            follows,
        });
    }
    Ok(requests)
}

/// The prefixes that requests of a workload may begin with.
fn shared_prefixes(spec: &WorkloadSpec, vocab: u32, streams: u64) -> Vec<Vec<u32>> {
    let mut ids = rng(spec.seed.unwrap_or(0), streams.wrapping_add(SHARED_PREFIX));
    let len = spec.random_prefix_len.unwrap_or(0);
    (0..spec.prefix_groups.unwrap_or(1)).map(|_| prompts::token_ids(len, vocab, &mut ids)).collect()
}

fn check(spec: &WorkloadSpec) -> Result<()> {
    let problems = spec.problems("workload");
    if problems.is_empty() {
        Ok(())
    } else {
        Err(Error::problems("the workload cannot be generated", problems))
    }
}

impl WorkloadSpec {
    /// Everything that is wrong with the values of this spec; `place` is the file or option it stands in.
    pub fn problems(&self, place: &str) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut bad = |key: &str, message: String| problems.push(Problem::new(place, key, message));
        let positive = |x: Option<f64>| x.is_none_or(|x| x > 0.0 && x.is_finite());
        for (key, value) in [
            ("input_len", self.input_len),
            ("output_len", self.output_len),
            ("num_prompts", self.num_prompts),
            ("max_concurrency", self.max_concurrency),
            ("turns", self.turns),
        ] {
            if value == Some(0) {
                bad(key, "must be at least 1".into());
            }
        }
        for (key, value) in [("input_len", self.input_len), ("output_len", self.output_len)] {
            let range = if key == "input_len" { self.input_range } else { self.output_range };
            if self.dataset == Dataset::Random && value.is_none() && range.is_none() {
                bad(key, "is missing; a random workload needs it".into());
            }
        }
        for (key, value) in [("burstiness", self.burstiness), ("time_scale", self.time_scale)] {
            if !positive(value) {
                bad(key, "must be a positive number".into());
            }
        }
        for (key, range) in [("input_range", self.input_range), ("output_range", self.output_range)] {
            if range.is_some_and(|(low, high)| low == 0 || high < low) {
                bad(key, "must be two numbers from 1, the smaller first".into());
            }
        }
        if self.prefix_share.is_some_and(|s| !(0.0..=1.0).contains(&s)) {
            bad("prefix_share", "must be a share from 0 to 1".into());
        }
        if self.prefix_groups == Some(0) {
            bad("prefix_groups", "must be at least 1".into());
        }
        for stage in self.stages.as_deref().unwrap_or_default() {
            if !((0.0..1e9).contains(&stage.rate) && (1e-3..1e9).contains(&stage.seconds)) {
                bad("stages", "each needs a rate from 0 and a positive number of seconds".into());
            }
        }
        if self.stages.as_deref().is_some_and(|s| arrivals::staged_count(self, s) == 0) {
            bad("stages", "offer not a single request".into());
        }
        if self.think_time_s.is_some_and(|t| !(0.0..1e6).contains(&t)) {
            bad("think_time_s", "must be a number of seconds from 0".into());
        }
        if self.random_range_ratio.is_some_and(|r| !(0.0..1.0).contains(&r)) {
            bad("random_range_ratio", "must be at least 0 and below 1".into());
        }
        if matches!(self.dataset, Dataset::Trace | Dataset::Custom) && self.path.is_none() {
            bad("path", format!("is missing; a {} workload needs a file", self.dataset.id()));
        }
        if self.context_min.zip(self.context_max).is_some_and(|(low, high)| low > high) {
            bad("context_max", "must not be below context_min".into());
        }
        problems.extend(bounds::problems(self, place).into_iter().chain(mix::problems(self, place)));
        problems
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::parse;

    #[test]
    fn equal_seeds_give_equal_requests_and_other_seeds_others() {
        let spec = parse("random:64/8,n=20,range=0.5,rate=5,seed=9").unwrap();
        assert_eq!(generate(&spec, 1000).unwrap(), generate(&spec, 1000).unwrap());
        let again = generate_run(&spec, 1000, 1).unwrap();
        let first = generate(&spec, 1000).unwrap();
        for (a, b) in first.iter().zip(&again) {
            assert_eq!(
                (a.arrival, a.input_tokens, a.output_tokens),
                (b.arrival, b.input_tokens, b.output_tokens)
            );
            assert_ne!(a.prompt, b.prompt);
        }
        let other = WorkloadSpec { seed: Some(10), ..spec.clone() };
        assert_ne!(shapes(&spec).unwrap(), shapes(&other).unwrap());
    }

    #[test]
    fn a_longer_run_begins_like_a_shorter_one() {
        let short = shapes(&parse("random:64/8,n=20,range=0.5").unwrap()).unwrap();
        let long = shapes(&parse("random:64/8,n=200,range=0.5").unwrap()).unwrap();
        assert_eq!(short[..], long[..20]);
    }

    #[test]
    fn prompts_share_the_stated_prefix_only() {
        let spec = parse("random:32/2,n=50,prefix=16").unwrap();
        let prompts: Vec<Vec<u32>> = generate(&spec, 500)
            .unwrap()
            .into_iter()
            .map(|r| match r.prompt {
                Prompt::TokenIds(ids) => ids,
                other => panic!("not token ids: {other:?}"),
            })
            .collect();
        assert!(prompts.iter().all(|p| p.len() == 48 && p[..16] == prompts[0][..16]));
        let tails: std::collections::HashSet<&[u32]> = prompts.iter().map(|p| &p[16..32]).collect();
        assert_eq!(tails.len(), 50);
    }

    #[test]
    fn a_share_of_the_requests_begins_with_one_of_the_prefixes() {
        let spec = parse("random:8/2,n=400,prefix=16,prefix-share=0.25,prefix-groups=3").unwrap();
        let requests = generate(&spec, 500).unwrap();
        let with: Vec<_> = requests.iter().filter(|r| r.input_tokens == 24).collect();
        assert!((60..140).contains(&with.len()), "{}", with.len());
        assert!(requests.iter().all(|r| r.input_tokens == 24 || r.input_tokens == 8));
        let heads: std::collections::HashSet<Vec<u32>> = with
            .iter()
            .filter_map(
                |r| if let Prompt::TokenIds(ids) = &r.prompt { Some(ids[..16].to_vec()) } else { None },
            )
            .collect();
        assert_eq!(heads.len(), 3);
    }

    #[test]
    fn bad_specs_are_refused_with_every_problem() {
        let mut spec = WorkloadSpec::empty(Dataset::Random);
        spec.burstiness = Some(f64::NAN);
        let e = shapes(&spec).unwrap_err();
        assert_eq!(e.problems.len(), 3, "{e}");
    }
}
