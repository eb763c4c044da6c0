//! Multi-turn chat sessions whose context grows turn by turn.

use super::WorkloadSpec;
use crate::units::Nanos;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Exp1};

const TURNS: u32 = 5;
const CONTEXT: (u32, u32) = (2048, 4096);
const OUTPUT: u32 = 200;
/// Mean think time between the end of an answer and the next turn, seconds.
const THINK_S: f64 = 1.0;

/// One turn: session, position in it, its prompt's length, and the think time before it.
pub(super) struct Turn {
    pub(super) session: u32,
    pub(super) turn: u32,
    pub(super) input: u32,
    pub(super) output: u32,
    pub(super) think: Nanos,
}

/// `num_prompts` sessions of `turns` turns. The context grows in equal steps from `context_min` to `context_max`
/// (prompt of the first turn to prompt of the last); think times are exponential.
pub(super) fn turns(spec: &WorkloadSpec, sessions: usize, rng: &mut ChaCha8Rng) -> Vec<Turn> {
    let turns = spec.turns.unwrap_or(TURNS).max(1);
    let low = spec.context_min.unwrap_or(CONTEXT.0).max(1);
    let high = spec.context_max.unwrap_or(CONTEXT.1).max(low);
    let output = spec.output_len.unwrap_or(OUTPUT);
    let mean = spec.think_time_s.unwrap_or(THINK_S);
    let mut all = Vec::with_capacity(sessions * turns as usize);
    for session in 0..sessions as u32 {
        for turn in 0..turns {
            let grown = u64::from(high - low) * u64::from(turn) / u64::from(turns - 1).max(1);
            let gap: f64 = Exp1.sample(rng);
            let think = if turn == 0 { Nanos::ZERO } else { Nanos::from_secs_f64(gap * mean) };
            all.push(Turn { session, turn, input: low + grown as u32, output, think });
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use crate::workload::{Prompt, generate, parse};

    #[test]
    fn context_grows_and_each_turn_extends_the_one_before() {
        let requests = generate(&parse("chat,n=3,turns=3,context=20-40,output=5").unwrap(), 1000).unwrap();
        assert_eq!(requests.len(), 9);
        for session in requests.chunks(3) {
            let prompts: Vec<&Vec<u32>> = session
                .iter()
                .map(|r| match &r.prompt {
                    Prompt::TokenIds(ids) => ids,
                    other => panic!("{other:?}"),
                })
                .collect();
            assert_eq!(prompts.iter().map(|p| p.len()).collect::<Vec<_>>(), [20, 30, 40]);
            assert!(prompts[1].starts_with(prompts[0]) && prompts[2].starts_with(prompts[1]));
            assert!(session[0].follows.is_none());
            assert_eq!(session[2].follows.unwrap().id, session[1].id);
        }
        assert_ne!(requests[0].prompt, requests[3].prompt);
    }
}
