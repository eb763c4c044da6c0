//! Asking a running engine what the quality gate compares: greedy answers with the engine's own scores, and how likely it
//! holds a given text.

use super::TrialSpec;
use super::session::Session;
use crate::quality::{Answer, Answers, Question, STOP, builtin};
use serde_json::{Value, json};
use std::path::Path;
use std::time::Duration;

/// Name of the file with a launch's answers, in the launch's directory.
pub const ANSWERS: &str = "answers.json";

/// Prompts in one request: equal batches on both sides, so that rounding differs as little as may be.
const BATCH: usize = 16;
const TOKENS: u32 = 48;
/// Questions in one request: their answers are long and their scores are not asked for.
const QUESTIONS: usize = 32;
/// Largest file of questions, in bytes (the whole MMLU-Pro has 8 MB).
const EVAL_LIMIT: u64 = 64 << 20;
/// Likeliest tokens asked for at each place.
const TOP: u32 = 5;
const LIMIT: Duration = Duration::from_secs(600);

impl Session<'_> {
    /// Asks the built-in prompts, puts the user's questions, and writes the answers beside the log. What the engine cannot say is noted there: the gate
    /// then decides by the rest, or does not decide.
    pub(super) fn answer_prompts(&mut self, spec: &TrialSpec) {
        let Some(quality) = &spec.quality else { return };
        let prompts = builtin();
        let mut out = Answers::default();
        if let Err(why) = self.generate(&prompts, &mut out) {
            out.missing = Some(why);
        } else {
            let reference = quality.reference.as_ref().and_then(|path| read_answers(Path::new(path)));
            let texts = reference.unwrap_or_else(|| out.clone());
            if let Err(why) = self.score(&prompts, &texts, &mut out) {
                out.missing = Some(format!("scores of a given text ({why})"));
            }
        }
        if let Some(Err(why)) = quality.eval.as_deref().map(|file| self.put_questions(file, &mut out)) {
            let missing = format!("answers to the questions of --eval ({why})");
            out.missing = Some(out.missing.map_or(missing.clone(), |m| format!("{m}; {missing}")));
        }
        if let Ok(json) = serde_json::to_vec(&out) {
            let _ = crate::host::write_private(&Path::new(&spec.dir).join(ANSWERS), &json);
        }
    }

    /// Puts the user's questions; all of them or none count, so that both sides were asked the same.
    fn put_questions(&self, file: &str, out: &mut Answers) -> Result<(), String> {
        let (questions, _) = read_questions(Path::new(file)).map_err(|e| e.join("; "))?;
        // One request has one bound of length.
        let mut order: Vec<usize> = (0..questions.len()).collect();
        order.sort_by_key(|&i| questions[i].max_tokens);
        let mut right = vec![false; questions.len()];
        let alike = order.chunk_by(|&a, &b| questions[a].max_tokens == questions[b].max_tokens);
        for batch in alike.flat_map(|all| all.chunks(QUESTIONS)) {
            let prompts: Vec<&str> = batch.iter().map(|&i| questions[i].prompt.as_str()).collect();
            let choices = self.choices(&json!({
                "model": self.model.id, "prompt": prompts, "max_tokens": questions[batch[0]].max_tokens, "temperature": 0.0,
                "stop": [STOP],
            }))?;
            for (&i, choice) in batch.iter().zip(&choices) {
                right[i] = questions[i].right(choice["text"].as_str().unwrap_or_default());
            }
        }
        out.chance = questions.iter().map(Question::chance).sum::<f64>() / questions.len() as f64;
        out.right = right;
        Ok(())
    }

    fn generate(&self, prompts: &[String], out: &mut Answers) -> Result<(), String> {
        for batch in prompts.chunks(BATCH) {
            let choices = self.choices(&json!({
                "model": self.model.id, "prompt": batch, "max_tokens": TOKENS, "temperature": 0.0, "logprobs": TOP,
            }))?;
            out.answers.extend(choices.iter().map(answer));
        }
        Ok(())
    }

    /// Log probabilities of the reference's answers, as the last tokens of prompt and answer together.
    fn score(&self, prompts: &[String], reference: &Answers, out: &mut Answers) -> Result<(), String> {
        let texts: Vec<String> =
            prompts.iter().zip(&reference.answers).map(|(p, a)| format!("{p}{}", a.text)).collect();
        let mut scored = Vec::new();
        for batch in texts.chunks(BATCH) {
            let choices = self.choices(&json!({
                "model": self.model.id, "prompt": batch, "max_tokens": 1, "temperature": 0.0, "logprobs": 1,
                "echo": true,
            }))?;
            scored.extend(choices.iter().map(log_probs));
        }
        for ((answer, mut all), reference) in out.answers.iter_mut().zip(scored).zip(&reference.answers) {
            // The last one is the token that had to be generated.
            all.pop();
            let n = reference.tokens.len().min(all.len());
            answer.scored = all.split_off(all.len() - n);
        }
        Ok(())
    }

    fn choices(&self, body: &Value) -> Result<Vec<Value>, String> {
        let mut choices = self.server.client.complete(body, LIMIT)?;
        choices.sort_by_key(|c| c["index"].as_u64());
        let asked = body["prompt"].as_array().map_or(0, Vec::len);
        if choices.len() == asked {
            Ok(choices)
        } else {
            Err(format!("{} answers to {asked} prompts", choices.len()))
        }
    }
}

/// The answers of a launch; `None` where there are none.
pub fn read_answers(path: &Path) -> Option<Answers> {
    serde_json::from_slice(&std::fs::read(path).ok()?).ok()
}

/// The questions of a file (`--eval`), and the file's checksum.
///
/// Errors: that it cannot be read, or every line that is no question.
pub fn read_questions(file: &Path) -> Result<(Vec<Question>, String), Vec<String>> {
    let failed = |e: std::io::Error| vec![e.to_string()];
    let text = crate::host::read_text(file, EVAL_LIMIT).map_err(failed)?;
    Ok((Question::read(&text)?, crate::host::fingerprint(file).map_err(failed)?))
}

fn answer(choice: &Value) -> Answer {
    let scores = &choice["logprobs"];
    let tokens: Vec<String> = scores["tokens"]
        .as_array()
        .map(|all| all.iter().filter_map(|t| t.as_str().map(str::to_owned)).collect())
        .unwrap_or_default();
    let text = choice["text"].as_str().unwrap_or_default().to_owned();
    let top = |place: &Value| -> Vec<(String, f64)> {
        let pairs = place.as_object().into_iter().flatten();
        pairs.filter_map(|(token, p)| Some((token.clone(), p.as_f64()?))).collect()
    };
    let top = scores["top_logprobs"].as_array().map(|all| all.iter().map(top).collect()).unwrap_or_default();
    // An engine without scores still gives its text.
    let tokens = if tokens.is_empty() { text.chars().map(String::from).collect() } else { tokens };
    Answer { text, tokens, top, scored: Vec::new() }
}

fn log_probs(choice: &Value) -> Vec<f64> {
    let all = choice["logprobs"]["token_logprobs"].as_array();
    // The first token of a text has no probability.
    all.map(|l| l.iter().filter_map(Value::as_f64).collect()).unwrap_or_default()
}
