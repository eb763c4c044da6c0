//! Arrays of a script: `NAME=(word …)`, their whole (`${NAME[@]}`), their places (`${NAME[0]}`) and loops over them.

use super::defaults::{LONGEST, MOST_WORDS};
use super::loops;
use super::shell::{Variables, Written, expanded};

/// The word that stands in place of an array; no word of a shell has such a letter in it.
const MARK: &str = "\0array ";

impl Variables {
    /// The words with a mark in place of each array that is written among them (`NAME=(word …)`, `NAME+=(word …)`).
    pub(super) fn without_arrays(&mut self, given: &[String]) -> Vec<String> {
        let mut out = Vec::new();
        let mut words = given.iter();
        while let Some(w) = words.next() {
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
            out.push(format!("{MARK}{}", self.written.len()));
            self.written.push(Written { name: name.to_owned(), items, added });
        }
        out
    }

    /// Sets the arrays whose marks stand in a command, and takes the marks off. Where a condition or a loop decides, an array
    /// that is there already stays as it is.
    pub(super) fn take_arrays(&mut self, words: &mut Vec<String>) {
        let marks: Vec<usize> = words.iter().filter_map(|w| w.strip_prefix(MARK)?.parse().ok()).collect();
        words.retain(|w| !w.starts_with(MARK));
        let skipped = self.skipped();
        for at in marks.into_iter().filter(|_| !skipped) {
            let Some(Written { name, items, added }) = self.written.get(at) else { continue };
            let (name, added, items) = (name.clone(), *added, items.clone());
            let mut items = self.with_arrays(&items);
            let unsure = self.undecided() || self.loops_now();
            match self.arrays.get_mut(&name) {
                Some(_) if unsure => {
                    self.conditional.insert(name);
                }
                Some(own) if added => own.append(&mut items),
                _ => {
                    self.arrays.insert(name, items);
                }
            }
        }
    }

    /// An array by its name; one that is written further down fills a function that stands above it.
    fn array(&self, name: &str) -> Option<&Vec<String>> {
        let later = || self.written.iter().find(|w| w.name == name).map(|w| &w.items);
        self.arrays.get(name).or_else(later)
    }

    /// Words with `${NAME[@]}` replaced by the array's.
    pub(super) fn with_arrays(&mut self, words: &[String]) -> Vec<String> {
        let mut out = Vec::new();
        for w in words {
            let inner =
                w.strip_prefix("${").and_then(|w| w.strip_suffix("[@]}").or_else(|| w.strip_suffix("[*]}")));
            match inner.and_then(|name| Some((name, self.array(name)?.clone()))) {
                Some((name, items)) if out.len() + items.len() <= MOST_WORDS => {
                    out.extend(items);
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

    #[test]
    fn an_array_under_a_condition_that_the_script_decides() {
        let script = "MTP=1\nA=(--seed 1)\nif [ \"$MTP\" = 1 ]; then\n  A+=(--max-num-seqs 8)\nelse\n  A+=(--max-num-seqs 4)\nfi\n\
                      [ -z \"$MTP\" ] && A+=(-tp 4)\nvllm serve m \"${A[@]}\"";
        let l = Launch::parse(script);
        assert_eq!(
            (l.text(&["max-num-seqs"]), l.text(&["seed"]), l.text(&["tp"])),
            (Some("8"), Some("1"), None)
        );
        assert!(l.problems.is_empty(), "{:?}", l.problems);
        let l = Launch::parse("A=(--seed 1)\n[ -n \"$X\" ] && A+=(-tp 4)\nvllm serve m \"${A[@]}\"");
        assert_eq!(l.text(&["tp"]), None);
        assert!(
            l.problems.iter().any(|p| p.contains("$A is added to under a condition")),
            "{:?}",
            l.problems
        );
        let l = Launch::parse("start() {\n  vllm serve m \"${A[@]}\"\n}\nA=(-tp 4)\nstart");
        assert_eq!(l.text(&["tp"]), Some("4"), "{l:?}");
    }
}
