//! What a shell makes of a script's variables: expansion, arithmetic, arrays, and settings that stand under a condition.

use super::loops::Loop;
use std::collections::{BTreeMap, BTreeSet};

/// The variables of a script as far as they are known where the engine's command stands.
#[derive(Debug, Default)]
pub(super) struct Variables {
    pub(super) values: BTreeMap<String, String>,
    arrays: BTreeMap<String, Vec<String>>,
    /// Set under a condition alone: which branch is taken is not known.
    conditional: BTreeSet<String>,
    /// Arrays whose words were taken.
    used: BTreeSet<String>,
    /// Open `if`, `for`, `while` and `case`.
    depth: usize,
    loops: Vec<Loop>,
}

impl Variables {
    /// Takes the arrays (`NAME=(word …)`, `NAME+=(word …)`) out of the words; under a condition nothing is added.
    pub(super) fn without_arrays(&mut self, given: &[String]) -> Vec<String> {
        let mut out = Vec::new();
        let mut words = given.iter();
        let (mut depth, mut begins) = (0usize, true);
        while let Some(w) = words.next() {
            // A keyword is one only where a command begins.
            if begins {
                depth = nested(w, depth);
            }
            begins = w.ends_with(';') || ["then", "do", "else", "&&", "||", "|", "&"].contains(&w.as_str());
            let Some((name, first, added)) = array(w) else {
                out.push(w.clone());
                continue;
            };
            let mut items = Vec::new();
            let mut next = Some(first.to_owned());
            while let Some(item) = next {
                let last = item.ends_with(')') && !item.contains("$(");
                let item = if last { item[..item.len() - 1].to_owned() } else { item };
                if !item.is_empty() && item != ";" {
                    items.push(item);
                }
                next = if last { None } else { words.next().cloned() };
            }
            let mut items = self.with_arrays(&items);
            match self.arrays.get_mut(name) {
                Some(_) if depth > 0 => {
                    self.conditional.insert(name.to_owned());
                }
                Some(own) if added => own.append(&mut items),
                _ => {
                    self.arrays.insert(name.to_owned(), items);
                }
            }
        }
        out
    }

    /// Words with `${NAME[@]}` replaced by the array's.
    pub(super) fn with_arrays(&mut self, words: &[String]) -> Vec<String> {
        let mut out = Vec::new();
        for w in words {
            let inner =
                w.strip_prefix("${").and_then(|w| w.strip_suffix("[@]}").or_else(|| w.strip_suffix("[*]}")));
            match inner.and_then(|name| Some((name, self.arrays.get(name)?))) {
                Some((name, items)) => {
                    out.extend(items.iter().cloned());
                    self.used.insert(name.to_owned());
                }
                None => out.push(w.clone()),
            }
        }
        out
    }

    /// Follows the shell's keywords at the front of a command, and takes them off.
    pub(super) fn keywords(&mut self, words: &mut Vec<String>) {
        while let Some(w) = words.first() {
            let before = self.depth;
            self.depth = nested(w, self.depth);
            if self.depth == before && !["then", "do", "else", "elif", "{", "!", "time"].contains(&w.as_str())
            {
                break;
            }
            let word = words.remove(0);
            self.loops.retain(|l| l.depth < self.depth);
            if word == "for"
                && let Some(open) = Loop::of(words, before, |w| expanded(w, &self.values))
            {
                if let Some(first) = open.items.as_ref().and_then(|i| i.first()) {
                    self.values.insert(open.name.clone(), first.clone());
                }
                self.loops.push(open);
                words.clear();
            }
        }
    }

    /// `NAME=value` as the script sets it. What was set before stays where a condition decides.
    pub(super) fn set(&mut self, name: &str, value: &str) {
        if self.depth > 0 {
            self.conditional.insert(name.to_owned());
            if self.values.contains_key(name) {
                return;
            }
        } else {
            self.conditional.remove(name);
        }
        let value = expanded(value, &self.values);
        self.values.insert(name.to_owned(), value);
    }

    /// What is to be told of conditions in these words.
    pub(super) fn conditions(&self, words: &[String]) -> Vec<String> {
        let used = |n: &&String| {
            let forms = [format!("${n}"), format!("${{{n}}}"), format!("${{{n}[@]}}")];
            self.used.contains(*n) || words.iter().any(|w| forms.iter().any(|f| w.contains(f.as_str())))
        };
        let named = self.conditional.iter().filter(used);
        let turns = self.loops.iter().filter_map(Loop::told);
        let told = named.map(|n| match self.values.get(n) {
            Some(value) => format!("${n} is set under a condition of the script too; {value:?} is taken"),
            None => format!("${n} is added to under a condition of the script, which is left out"),
        });
        turns.chain(told).collect()
    }
}

/// The nesting behind a word.
fn nested(word: &str, depth: usize) -> usize {
    match word {
        "if" | "for" | "while" | "until" | "case" | "select" => depth + 1,
        "fi" | "done" | "esac" => depth.saturating_sub(1),
        _ => depth,
    }
}

/// Name and first word of an array's assignment, and whether it adds to one.
fn array(word: &str) -> Option<(&str, &str, bool)> {
    let (name, rest) = word.split_once("=(")?;
    let (name, added) = name.strip_suffix('+').map_or((name, false), |n| (n, true));
    let plain = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    plain.then_some((name, rest, added))
}

/// `$NAME` and `${NAME}` where the command itself set them, and `$((…))` where all of it is known.
pub(super) fn expanded(word: &str, env: &BTreeMap<String, String>) -> String {
    if !word.contains('$') {
        return word.to_owned();
    }
    let mut out = arithmetic(word, env);
    for (name, value) in env.iter().rev() {
        out = out.replace(&format!("${{{name}}}"), value);
        let plain = format!("${name}");
        let ends = |rest: &str| rest.chars().next().is_none_or(|c| !(c.is_ascii_alphanumeric() || c == '_'));
        if let Some(at) = out.find(&plain)
            && ends(&out[at + plain.len()..])
        {
            out = out.replacen(&plain, value, 1);
        }
    }
    out
}

/// A word with its arithmetic worked out where every name in it is a known number.
fn arithmetic(word: &str, env: &BTreeMap<String, String>) -> String {
    let Some((before, rest)) = word.split_once("$((") else { return word.to_owned() };
    let Some((inner, after)) = rest.split_once("))") else { return word.to_owned() };
    match Sum::new(inner, env).value() {
        Some(n) => format!("{before}{n}{}", arithmetic(after, env)),
        None => word.to_owned(),
    }
}

/// A sum of whole numbers with `+ - * / %` and parentheses.
struct Sum<'a> {
    rest: &'a str,
    env: &'a BTreeMap<String, String>,
}

impl<'a> Sum<'a> {
    fn new(text: &'a str, env: &'a BTreeMap<String, String>) -> Sum<'a> {
        Sum { rest: text, env }
    }

    /// All of the text, or nothing.
    fn value(mut self) -> Option<i64> {
        let n = self.sum(0)?;
        self.rest.trim().is_empty().then_some(n)
    }

    fn next(&mut self, among: &[char]) -> Option<char> {
        let rest = self.rest.trim_start();
        let c = rest.chars().next().filter(|c| among.contains(c))?;
        self.rest = &rest[c.len_utf8()..];
        Some(c)
    }

    fn sum(&mut self, depth: u8) -> Option<i64> {
        let mut n = self.product(depth)?;
        while let Some(c) = self.next(&['+', '-']) {
            let m = self.product(depth)?;
            n = if c == '+' { n.checked_add(m) } else { n.checked_sub(m) }?;
        }
        Some(n)
    }

    fn product(&mut self, depth: u8) -> Option<i64> {
        let mut n = self.factor(depth)?;
        while let Some(c) = self.next(&['*', '/', '%']) {
            let m = self.factor(depth)?;
            n = match c {
                '*' => n.checked_mul(m),
                '/' => n.checked_div(m),
                _ => n.checked_rem(m),
            }?;
        }
        Some(n)
    }

    fn factor(&mut self, depth: u8) -> Option<i64> {
        if depth > 16 {
            return None;
        }
        if self.next(&['(']).is_some() {
            let n = self.sum(depth + 1)?;
            return self.next(&[')']).map(|_| n);
        }
        let rest = self.rest.trim_start().trim_start_matches('$');
        let rest = rest.strip_prefix('{').unwrap_or(rest);
        let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(rest.len());
        let (name, after) = rest.split_at(end);
        self.rest = after.strip_prefix('}').unwrap_or(after);
        name.parse().ok().or_else(|| self.env.get(name)?.trim().parse().ok())
    }
}

/// The first `${NAME:-default}` (or `-`, `:=`, `=`) of a word: name, default, and the whole of it.
pub(super) fn defaulted(word: &str) -> Option<(String, String, String)> {
    let start = word.find("${")?;
    let end = start + word[start..].find('}')?;
    let inner = &word[start + 2..end];
    let name: String = inner.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
    let rest = &inner[name.len()..];
    let default = [":-", ":=", "-", "="].into_iter().find_map(|mark| rest.strip_prefix(mark))?;
    let plain = !name.is_empty() && !default.contains('$');
    plain.then(|| (name, default.to_owned(), word[start..=end].to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::launch::{GpuLayout, Launch};

    #[test]
    fn arithmetic_of_known_numbers() {
        let env = BTreeMap::from([("dp".to_owned(), "2".to_owned())]);
        for (word, value) in [
            ("$((dp*512))", "1024"),
            ("a$(( (1+$dp) * 4 - ${dp} ))b", "a10b"),
            ("$((dp*unknown))", "$((dp*unknown))"),
            ("$((1/0))", "$((1/0))"),
            ("$((1+))", "$((1+))"),
        ] {
            assert_eq!(expanded(word, &env), value);
        }
    }

    #[test]
    fn arrays_and_conditions_of_a_script() {
        let l = Launch::parse(
            "ARGS=(--max-num-seqs 8)\nARGS+=(\n  --block-size 64\n)\nif (( X )); then\n  ARGS+=(-tp 4)\nfi\nCMD=(vllm serve m \"${ARGS[@]}\")\n\
             nohup \"${CMD[@]}\" > log 2>&1 &",
        );
        assert_eq!((l.integer(&["max-num-seqs"]), l.integer(&["block-size"])), (Some(8), Some(64)), "{l:?}");
        assert_eq!(GpuLayout::of(&l).gpus(), 1);
        assert!(
            l.problems.iter().any(|p| p.contains("$ARGS is added to under a condition")),
            "{:?}",
            l.problems
        );
        let l = Launch::parse(
            "TP=2\nif [ \"$1\" = big ]; then\n  TP=8\n  EXTRA=\"--enforce-eager -pp 2\"\nfi\nvllm serve m -tp $TP $EXTRA",
        );
        assert_eq!((GpuLayout::of(&l).gpus(), l.switch(&["enforce-eager"])), (4, Some(true)), "{l:?}");
        assert!(
            l.problems.iter().any(|p| p.contains("$EXTRA is set under a condition of the script")),
            "{:?}",
            l.problems
        );
    }
}
