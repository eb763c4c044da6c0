//! The landscapes for other programs: lines of JSON, as `landscapes serve` has them.

use super::machine::{Engine, Task};
use llm_dyno::error::{Error, Result};
use llm_dyno::search::{Ask, Evaluator, Runs, Space, Stage};
use serde_json::{Value, json};
use std::io::{BufRead, Write};

struct Open {
    task: &'static Task,
    space: Box<dyn Space>,
    engine: Engine<'static>,
}

/// Answers until the input ends.
///
/// Errors: none but those of the output.
pub(crate) fn main() -> Result<()> {
    let mut open: Option<Open> = None;
    let mut out = std::io::stdout().lock();
    for line in std::io::stdin().lock().lines() {
        let Ok(line) = line else { break };
        let answer = match serde_json::from_str::<Value>(&line) {
            Ok(asked) => answered(&asked, &mut open).unwrap_or_else(|e| json!({ "error": e.to_string() })),
            Err(e) => json!({ "error": e.to_string() }),
        };
        writeln!(out, "{answer}")
            .and_then(|()| out.flush())
            .map_err(|e| Error::failed("no output").source(e))?;
    }
    Ok(())
}

fn answered(asked: &Value, open: &mut Option<Open>) -> Result<Value> {
    if let Some(number) = asked.get("open").and_then(|o| o["number"].as_u64()) {
        // A process holds few of them, each for as long as it lives.
        let task: &'static Task = Box::leak(Box::new(Task::new(number)?));
        let knobs: Vec<Value> =
            task.knobs.iter().map(|k| json!({ "flag": k.flag, "values": k.values.len() })).collect();
        *open = Some(Open { task, space: task.space()?, engine: Engine::new(task, usize::MAX) });
        return Ok(json!({ "knobs": knobs, "best": task.best() - task.level() }));
    }
    let Some(open) = open else { return Ok(json!({ "error": "nothing is open" })) };
    let launch = asked.get("launch");
    let all = launch.or(asked.get("truth")).and_then(Value::as_array);
    let set: Vec<usize> = all.into_iter().flatten().filter_map(|v| Some(v.as_u64()? as usize)).collect();
    let fits = set.len() == open.task.knobs.len()
        && set.iter().zip(&open.task.knobs).all(|(v, k)| *v <= k.values.len());
    if !fits {
        return Ok(json!({ "error": "no candidate of this landscape" }));
    }
    let candidate = open.task.candidate(&set);
    if launch.is_none() {
        return Ok(json!({ "gain": open.task.truth(&candidate).map(|t| t - open.task.level()) }));
    }
    if !open.space.admits(&candidate) {
        return Ok(json!({ "forbidden": true }));
    }
    let ask = Ask { stage: Stage::Search, candidate, launch: 0, runs: Runs::primary(0, 2) };
    let Ok(answer) = open.engine.evaluate(&ask) else {
        return Ok(json!({ "error": "the machine stopped" }));
    };
    if let Some(failure) = answer.failure {
        return Ok(json!({ "failed": failure.class }));
    }
    let mean = answer.samples.iter().map(|s| s.score).sum::<f64>() / answer.samples.len().max(1) as f64;
    Ok(json!({ "score": mean }))
}
