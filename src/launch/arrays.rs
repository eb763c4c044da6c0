//! Arrays of a script: `NAME=(word …)`, their whole (`${NAME[@]}`), their places (`${NAME[0]}`) and loops over them.

use super::loops;
use super::shell::{LONGEST, MOST_WORDS, Variables, expanded, nested};

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
                Some((name, items)) if out.len() + items.len() <= MOST_WORDS => {
                    out.extend(items.iter().cloned());
                    self.used.insert(name.to_owned());
                }
                _ => out.push(self.indexed(w)),
            }
        }
        out
    }

    /// A word with `${NAME[2]}` and `${NAME[$i]}` replaced by what the array holds there.
    fn indexed(&self, word: &str) -> String {
        let mut out = word.to_owned();
        let mut from = 0;
        while let Some(at) = out[from..].find("${").map(|i| from + i) {
            from = at + 2;
            let Some((name, rest)) = out[from..].split_once('[') else { break };
            let Some((index, _)) = rest.split_once("]}") else { continue };
            let Some(items) = self.arrays.get(name) else { continue };
            let end = from + name.len() + 1 + index.len() + 2;
            let at_index = expanded(index, &self.values).parse::<usize>().ok();
            if let Some(item) = at_index.and_then(|i| items.get(i)).filter(|i| i.len() + out.len() <= LONGEST)
            {
                let item = item.clone();
                out.replace_range(at..end, &item);
                from = at + item.len();
            }
        }
        out
    }

    /// The values of one word of a loop's list.
    pub(super) fn listed(&self, word: &str) -> Option<Vec<String>> {
        let array = |front: &str| {
            let inner = word.strip_prefix(front)?;
            self.arrays.get(inner.strip_suffix("[@]}").or_else(|| inner.strip_suffix("[*]}"))?)
        };
        if let Some(items) = array("${!") {
            return Some((0..items.len()).map(|i| i.to_string()).collect());
        }
        array("${").cloned().or_else(|| loops::values(&expanded(word, &self.values)))
    }
}

/// Name and first word of an array's assignment, and whether it adds to one.
fn array(word: &str) -> Option<(&str, &str, bool)> {
    let (name, rest) = word.split_once("=(")?;
    let (name, added) = name.strip_suffix('+').map_or((name, false), |n| (n, true));
    let plain = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    plain.then_some((name, rest, added))
}

#[cfg(test)]
mod tests {
    use crate::launch::Launch;

    #[test]
    fn places_in_arrays_and_loops_over_them() {
        let l = Launch::parse(
            "MODELS=(\n  a/b\n  c/d\n)\nPORTS=( \"90\" \"91\" )\nfor i in ${!MODELS[@]}; do\n  vllm serve ${MODELS[$i]} --port ${PORTS[$i]} --seed ${PORTS[1]} &\ndone",
        );
        assert_eq!(
            (l.model.as_deref(), l.text(&["port"]), l.text(&["seed"])),
            (Some("a/b"), Some("90"), Some("91"))
        );
        assert!(l.problems.iter().any(|p| p.contains("2 engines")), "{:?}", l.problems);
        let l = Launch::parse(
            "M=(a/b c/d e/f)\nfor m in \"${M[@]}\"; do\n  vllm serve $m --port ${NONE[0]}\ndone",
        );
        assert_eq!((l.model.as_deref(), l.text(&["port"])), (Some("a/b"), Some("${NONE[0]}")));
        assert!(l.problems.iter().any(|p| p.contains("3 engines")), "{:?}", l.problems);
    }
}
