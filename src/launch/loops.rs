//! Loops of a script that start one engine a turn: `for i in 0 1 2 3; do CUDA_VISIBLE_DEVICES=$i vllm serve m & done`.

use std::borrow::Cow;

/// Turns of one loop that are looked at; no machine has more GPUs.
const TURNS: i64 = 1024;

/// An open `for`.
#[derive(Debug, Clone)]
pub(super) struct Loop {
    /// Conditions and loops that were open before it.
    pub(super) depth: usize,
    pub(super) name: String,
    /// The values that its variable takes; None where they are not known.
    pub(super) items: Option<Vec<String>>,
    /// As the script writes them.
    text: String,
}

impl Loop {
    /// What stands behind the word `for`; `listed` gives the values of one word of its list.
    pub(super) fn of(
        words: &[String],
        depth: usize,
        listed: impl Fn(&str) -> Option<Vec<String>>,
    ) -> Option<Loop> {
        let [name, within, items @ ..] = words else { return None };
        let plain = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        (within == "in" && plain).then(|| Loop {
            depth,
            name: name.clone(),
            items: items.iter().map(|w| listed(w)).collect::<Option<Vec<_>>>().map(|v| v.concat()),
            text: items.join(" "),
        })
    }

    /// What is to be told of an engine that it starts.
    pub(super) fn told(&self) -> Option<String> {
        let Loop { name, text, .. } = self;
        match self.items.as_deref() {
            Some([] | [_]) => None,
            Some(all) => Some(format!(
                "the script starts {} engines, one for each {name} in {text}; the first of them is read",
                all.len()
            )),
            None => Some(format!(
                "the script starts an engine for each {name} in {text}, whose number is not known here; one of them is read"
            )),
        }
    }
}

/// One word of the list: itself, or `{0..7}`.
pub(super) fn values(word: &str) -> Option<Vec<String>> {
    if let Some((from, to)) = word.strip_prefix('{').and_then(|w| w.strip_suffix('}')?.split_once("..")) {
        let (from, to): (i64, i64) = (from.trim().parse().ok()?, to.trim().parse().ok()?);
        return (from <= to && to - from < TURNS).then(|| (from..=to).map(|n| n.to_string()).collect());
    }
    (!word.contains('$')).then(|| vec![word.to_owned()])
}

/// `for ((i=0; i<8; i++))` and `for i in $(seq 0 7)` as `for i in {0..7}`.
pub(super) fn plain(text: &str) -> Cow<'_, str> {
    if !text.contains("for ") || !(text.contains("((") || text.contains("$(seq ")) {
        return Cow::Borrowed(text);
    }
    let lines = text.split_inclusive('\n').map(|line| counted(line).or_else(|| sequence(line)));
    let mut out = String::with_capacity(text.len());
    for (line, changed) in text.split_inclusive('\n').zip(lines) {
        out.push_str(changed.as_deref().unwrap_or(line));
    }
    Cow::Owned(out)
}

/// A loop that counts up by one.
fn counted(line: &str) -> Option<String> {
    let (before, rest) = line.split_once("for ((")?;
    let (head, after) = rest.split_once("))")?;
    let mut parts = head.split(';').map(str::trim);
    let (name, from) = parts.next()?.split_once('=')?;
    let (limit, step) = (parts.next()?, parts.next()?);
    let name = name.trim();
    let up = [format!("{name}++"), format!("++{name}"), format!("{name}+=1")];
    let bound = limit.strip_prefix(name)?.trim().strip_prefix('<')?;
    let to = match bound.strip_prefix('=') {
        Some(last) => last.trim().to_owned(),
        None => format!("$(({}-1))", bound.trim()),
    };
    up.iter()
        .any(|u| *u == step.replace(' ', ""))
        .then(|| format!("{before}for {name} in {{{}..{to}}}{after}", from.trim()))
}

/// A loop over `$(seq FIRST LAST)` or `$(seq LAST)`.
fn sequence(line: &str) -> Option<String> {
    let (before, rest) = line.split_once("$(seq ")?;
    let mut depth = 1usize;
    let end = rest.char_indices().find_map(|(i, c)| {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ => {}
        }
        (depth == 0).then_some(i)
    })?;
    // Blanks inside arithmetic part nothing.
    let (mut words, mut open) = (vec![String::new()], 0usize);
    for c in rest[..end].trim().chars() {
        match c {
            '(' => open += 1,
            ')' => open = open.saturating_sub(1),
            _ => {}
        }
        match words.last_mut() {
            Some(_) if c.is_whitespace() && open == 0 => words.push(String::new()),
            Some(last) if !c.is_whitespace() => last.push(c),
            _ => {}
        }
    }
    words.retain(|w| !w.is_empty());
    let (from, to) = match words.as_slice() {
        [to] => ("1", to),
        [from, to] => (from.as_str(), to),
        _ => return None,
    };
    Some(format!("{before}{{{from}..{to}}}{}", &rest[end + 1..]))
}

#[cfg(test)]
mod tests {
    use crate::launch::{GpuLayout, Launch};

    #[test]
    fn an_engine_for_each_gpu_is_told() {
        for (head, n) in [
            ("for i in 0 1 2 3; do", "4 engines"),
            ("for i in {0..7}\ndo", "8 engines"),
            ("for i in $(seq 0 $((N - 1))); do", "2 engines"),
            ("for ((i=0; i<8; i++)); do", "8 engines"),
            ("for i in $GPUS; do", "whose number is not known"),
        ] {
            let l = Launch::parse(&format!(
                "N=2\n{head}\n  port=$((8000 + i))\n  CUDA_VISIBLE_DEVICES=$i vllm serve m --port $port -tp 1 > $i.log 2>&1 &\ndone\nwait"
            ));
            assert_eq!((l.model.as_deref(), GpuLayout::of(&l).gpus()), (Some("m"), 1), "{head}");
            assert!(l.problems.iter().any(|p| p.contains(n)), "{head}: {:?}", l.problems);
        }
        let one = Launch::parse("for i in 7; do vllm serve m --port $((1 + i)); done");
        assert_eq!(one.text(&["port"]), Some("8"));
        assert!(!one.problems.iter().any(|p| p.contains("engine")), "{:?}", one.problems);
        let two = Launch::parse(
            "CUDA_VISIBLE_DEVICES=0 vllm serve a &\nCUDA_VISIBLE_DEVICES=1 vllm serve b &\nwait",
        );
        assert_eq!(two.model.as_deref(), Some("a"));
        assert!(two.problems.iter().any(|p| p.contains("2 commands")), "{:?}", two.problems);
    }
}
