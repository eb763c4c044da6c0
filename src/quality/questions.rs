//! Questions with known answers (`--eval FILE.jsonl`): how they are put to an engine, and how its answer is read.

use serde::Deserialize;
use serde_json::Value;

/// How an answer is held against the known one.
#[derive(Debug, Clone, PartialEq)]
enum Key {
    /// The letter of an option, A for the first.
    Choice(char),
    /// The last number of the answer.
    Number(f64),
    /// The first line of the answer, but for case, spaces and a full stop.
    Exact(String),
}

/// One question with its answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Question {
    /// What the engine is to go on from.
    pub prompt: String,
    /// Most tokens of the answer.
    pub max_tokens: u32,
    key: Key,
    options: usize,
}

/// A line of the file; other keys (category, source, …) are passed over.
#[derive(Deserialize)]
struct Row {
    question: String,
    #[serde(default)]
    options: Vec<String>,
    answer: Value,
    #[serde(default)]
    max_tokens: Option<u32>,
}

/// Room for a worked calculation, a few words, a letter.
const NUMBER_TOKENS: u32 = 400;
const EXACT_TOKENS: u32 = 48;
const CHOICE_TOKENS: u32 = 16;

/// What GSM8K writes before its result.
const RESULT: &str = "####";

/// Where an engine begins to ask itself the next question, its answer has ended.
pub const STOP: &str = "\nQuestion:";

impl Question {
    /// Questions of a JSON-lines file: `question` and `answer`, with `options` for a choice (as MMLU-Pro has them: the answer is
    /// a letter, or the text of an option), a number, or a text that ends in `#### NUMBER` (as GSM8K has them); any other text
    /// is matched whole. `max_tokens` bounds the answer.
    ///
    /// Errors: every line that is none, with its number from 1.
    pub fn read(text: &str) -> Result<Vec<Question>, Vec<String>> {
        let lines = text.lines().enumerate().filter(|(_, l)| !l.trim().is_empty());
        let (mut out, mut wrong) = (Vec::new(), Vec::new());
        for (i, line) in lines {
            let row = serde_json::from_str::<Row>(line).map_err(|e| e.to_string());
            match row.and_then(Question::of) {
                Ok(q) => out.push(q),
                Err(why) => wrong.push(format!("line {}: {why}", i + 1)),
            }
        }
        if out.is_empty() && wrong.is_empty() {
            wrong.push("holds no question".to_owned());
        }
        if wrong.is_empty() { Ok(out) } else { Err(wrong) }
    }

    fn of(row: Row) -> Result<Question, String> {
        let text = match &row.answer {
            Value::String(s) => s.trim().to_owned(),
            Value::Number(n) => n.to_string(),
            other => return Err(format!("`answer` is {other}, neither text nor number")),
        };
        if text.is_empty() || row.question.trim().is_empty() {
            return Err("`question` and `answer` must not be empty".to_owned());
        }
        let question = row.question.trim();
        let (key, most, prompt) = if !row.options.is_empty() {
            let list: String =
                row.options.iter().zip('A'..='Z').map(|(o, l)| format!("{l}. {}\n", o.trim())).collect();
            let prompt = format!("Question: {question}\nOptions:\n{list}Answer: The best option is");
            (Key::Choice(letter(&text, &row.options)?), CHOICE_TOKENS, prompt)
        } else if let Some(x) = result(&text) {
            let prompt = format!(
                "Question: {question}\nThink step by step, and end with the result as a number.\nAnswer:"
            );
            (Key::Number(x), NUMBER_TOKENS, prompt)
        } else {
            (Key::Exact(plain(&text)), EXACT_TOKENS, format!("Question: {question}\nAnswer:"))
        };
        let max_tokens = row.max_tokens.unwrap_or(most).max(1);
        Ok(Question { prompt, max_tokens, key, options: row.options.len() })
    }

    /// Whether an answer is right.
    pub fn right(&self, answer: &str) -> bool {
        let own = answer.split(STOP).next().unwrap_or_default();
        match &self.key {
            Key::Choice(letter) => chosen(own, self.options) == Some(*letter),
            Key::Number(x) => last_number(own).is_some_and(|y| (x - y).abs() <= 1e-6 * x.abs().max(1.0)),
            Key::Exact(text) => own.lines().map(plain).find(|l| !l.is_empty()).as_ref() == Some(text),
        }
    }

    /// Probability that a guess is right.
    pub fn chance(&self) -> f64 {
        if self.options == 0 { 0.0 } else { 1.0 / self.options as f64 }
    }
}

/// The letter of the right option, from a letter or an option's text.
fn letter(answer: &str, options: &[String]) -> Result<char, String> {
    let letters: Vec<char> = ('A'..='Z').take(options.len()).collect();
    if letters.len() < options.len() {
        return Err(format!("{} options are more than letters", options.len()));
    }
    let mut word = answer.chars();
    let by_letter = word.next().filter(|c| word.next().is_none() && letters.contains(c));
    let by_text = || options.iter().position(|o| o.trim() == answer).map(|i| letters[i]);
    by_letter.or_else(by_text).ok_or_else(|| {
        format!("`answer` is `{answer}`, neither a letter of the {} options nor one of them", options.len())
    })
}

/// The first letter that stands alone: `B`, `(B)`, `B.`; one after "answer is" or "option is" before that. A sentence that
/// begins with the article "A" chooses nothing by it.
fn chosen(answer: &str, options: usize) -> Option<char> {
    let lower = answer.to_ascii_lowercase();
    let said = ["answer is", "option is"].iter().filter_map(|m| Some(lower.rfind(m)? + m.len())).max();
    let words = answer[said.unwrap_or(0)..].split_whitespace().enumerate();
    let alone = |(at, word): (usize, &str)| {
        let bare = word.trim_matches(|c: char| !c.is_alphanumeric());
        let mut chars = bare.chars();
        let c = chars.next().filter(|_| chars.next().is_none())?;
        let article = c == 'A' && word == "A" && at == 0 && answer.split_whitespace().count() > 3;
        let known = ('A'..='Z').take(options).any(|l| l == c);
        (known && !article).then_some(c)
    };
    words.into_iter().find_map(alone)
}

/// The number of an answer key: the whole text, or what stands after GSM8K's mark.
fn result(text: &str) -> Option<f64> {
    let text = text.rsplit_once(RESULT).map_or(text, |(_, after)| after);
    text.trim().replace([',', '$'], "").parse().ok().filter(|x: &f64| x.is_finite())
}

/// The last number in a text; commas between digits belong to it.
fn last_number(text: &str) -> Option<f64> {
    let text = text.rsplit_once(RESULT).map_or(text, |(_, after)| after);
    let belongs = |c: char| c.is_ascii_digit() || matches!(c, '.' | ',' | '-');
    let words = text.split(|c: char| !belongs(c));
    let number = |w: &str| {
        let w = w.trim_end_matches(['.', ',', '-']).replace(',', "");
        // "12-5" is a calculation; its last part counts.
        let from = w.rfind('-').filter(|&i| i > 0).map_or(0, |i| i + 1);
        w[from..].parse::<f64>().ok().filter(|x| x.is_finite())
    };
    words.filter_map(number).next_back()
}

fn plain(text: &str) -> String {
    let words: Vec<String> = text.split_whitespace().map(str::to_lowercase).collect();
    words.join(" ").trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_forms_are_read_and_answers_judged() {
        let mmlu = r#"{"question_id": 70, "question": "Which?", "options": ["air", "water", "fire"], "answer": "B", "answer_index": 1, "category": "x"}"#;
        let gsm = r#"{"question": "How many?", "answer": "2 x 620 = <<2*620=1240>>1,240\n#### 1,240"}"#;
        let exact = r#"{"question": "Capital of France?", "answer": "Paris", "max_tokens": 4}"#;
        let by_text = r#"{"question": "Which?", "options": ["air", "water"], "answer": "water"}"#;
        let all = Question::read(&[mmlu, gsm, exact, by_text].join("\n\n")).unwrap();
        let [choice, number, exact, by_text] = &all[..] else { panic!("{all:?}") };
        for (q, right, wrong) in [
            (
                choice,
                &[" B", " (B)", " B. water", ": the answer is B", "A guess: the answer is (B)."][..],
                &[" A", " C", "", " Because"][..],
            ),
            (
                number,
                &["2 x 620 = 1240.", "so $1,240", "#### 1240", "1240.00 dollars"],
                &["1241", "none", "1240 and 5"],
            ),
            (exact, &[" paris.", "\nParis\nQuestion: next"], &["Lyon", "", "Paris is the capital"]),
            (by_text, &["B"], &["A"]),
        ] {
            let judged = |all: &[&str]| all.iter().map(|a| q.right(a)).collect::<Vec<_>>();
            assert_eq!(
                (judged(right), judged(wrong)),
                (vec![true; right.len()], vec![false; wrong.len()]),
                "{q:?}"
            );
        }
        assert!((choice.chance() - 1.0 / 3.0).abs() < 1e-12 && number.chance() == 0.0);
        assert_eq!(exact.max_tokens, 4);
        assert!(choice.prompt.contains("\nB. water\n"), "{}", choice.prompt);
    }

    #[test]
    fn every_wrong_line_is_named() {
        let text = "{\"question\": \"q\", \"answer\": 4}\nnot json\n{\"question\": \"q\", \"answer\": null}\n\
                    {\"question\": \"q\", \"options\": [\"x\"], \"answer\": \"B\"}\n";
        let wrong = Question::read(text).unwrap_err();
        let starts = ["line 2:", "line 3:", "line 4:"];
        assert!(wrong.len() == 3 && wrong.iter().zip(starts).all(|(w, s)| w.starts_with(s)), "{wrong:?}");
        assert!(Question::read("\n").is_err());
    }

    #[test]
    fn no_answer_makes_it_panic() {
        let q = &Question::read(r#"{"question": "q", "options": ["x", "y"], "answer": "B"}"#).unwrap()[0];
        let n = &Question::read(r#"{"question": "q", "answer": -3.5}"#).unwrap()[0];
        for text in
            ["", "-", "é is the answer is é", "1.2.3", "--3.5", "ANSWER IS", "İ answer is B", "9-", "-3.5"]
        {
            let _ = (q.right(text), n.right(text));
        }
        assert!(n.right("x = -3.5."));
    }
}
