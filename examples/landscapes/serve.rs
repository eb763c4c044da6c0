//! The same landscapes for other programs: one JSON object a line in, one out.
//!
//! | asked | answered |
//! |---|---|
//! | `{"open": {"number": 3, "blind": false, "noise": "1 %"}}` | `{"knobs": [{"flag": "max-num-seqs", "values": 4}, …], "best": 0.21}` |
//! | `{"launch": [0, 2, …]}` | `{"score": 7.1}`, `{"failed": "out-of-memory"}`, or `{"forbidden": true}`, which is no launch |
//! | `{"truth": [0, 2, …]}` | `{"gain": 0.12}`, or `null` where it does not start |
//!
//! A candidate is the number of the value of each knob, 0 = default. A launch has the two runs and the noise that the search of
//! this program is given; its score is the mean of the two.

use super::engine::{Engine, Half, NOISES, family_of, seed_of};
use super::landscape::Landscape;
use llm_dyno::search::{Ask, Evaluator, Runs, Stage};
use serde_json::{Value, json};
use std::io::{BufRead, Write};

pub(crate) fn main() {
    let mut open: Option<Land> = None;
    let mut out = std::io::stdout().lock();
    for line in std::io::stdin().lock().lines() {
        let Ok(line) = line else { return };
        let answer = match serde_json::from_str::<Value>(&line) {
            Ok(asked) => answer(&asked, &mut open),
            Err(e) => json!({ "error": e.to_string() }),
        };
        if writeln!(out, "{answer}").and_then(|()| out.flush()).is_err() {
            return;
        }
    }
}

struct Land {
    land: &'static Landscape,
    engine: Engine<'static>,
}

fn answer(asked: &Value, open: &mut Option<Land>) -> Value {
    if let Some(which) = asked.get("open") {
        let blind = which["blind"].as_bool().unwrap_or(false);
        let half = if blind { Half::Blind } else { Half::Development };
        let noise = NOISES.iter().find(|(name, _)| which["noise"] == *name);
        let (Some(number), Some((_, noise))) = (which["number"].as_u64(), noise) else {
            return json!({ "error": "open needs a number and a noise" });
        };
        let seed = seed_of(number, half);
        // A process holds few landscapes, each for as long as it lives.
        let land: &'static Landscape = Box::leak(Box::new(Landscape::new(family_of(number), seed)));
        let knobs: Vec<Value> =
            land.knobs.iter().map(|k| json!({ "flag": k.flag, "values": k.values.len() })).collect();
        let best = land.best().1;
        *open = Some(Land { land, engine: Engine::new(land, *noise, seed, usize::MAX) });
        return json!({ "knobs": knobs, "best": best });
    }
    let Some(open) = open else { return json!({ "error": "nothing is open" }) };
    let launch = asked.get("launch");
    let set: Vec<usize> = launch
        .or(asked.get("truth"))
        .and_then(Value::as_array)
        .map(|all| all.iter().filter_map(|v| Some(v.as_u64()? as usize)).collect())
        .unwrap_or_default();
    let fits = set.len() == open.land.knobs.len()
        && set.iter().zip(&open.land.knobs).all(|(v, k)| *v <= k.values.len());
    if !fits {
        return json!({ "error": "no candidate of this landscape" });
    }
    if launch.is_none() {
        return json!({ "gain": open.land.gain(&set) });
    }
    if !open.land.allowed(&set) {
        return json!({ "forbidden": true });
    }
    let candidate = open.land.candidate(&set);
    let ask = Ask { stage: Stage::Search, candidate, launch: 0, runs: Runs::primary(0, 2) };
    let Ok(answer) = open.engine.evaluate(&ask) else {
        return json!({ "error": "the virtual engine stopped" });
    };
    if let Some(failure) = answer.failure {
        return json!({ "failed": failure.class });
    }
    let mean = answer.samples.iter().map(|s| s.score).sum::<f64>() / answer.samples.len().max(1) as f64;
    json!({ "score": mean })
}
