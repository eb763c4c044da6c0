//! `${NAME:-default}` of a shell: the variable's value, or the default where it has none.

use std::borrow::Cow;
use std::collections::BTreeMap;

/// Variables and arrays that would make a word longer than this, or a command of more words, stay as they stand: lines that each
/// double the one before have no end.
pub(super) const LONGEST: usize = 1 << 20;
pub(super) const MOST_WORDS: usize = 1 << 14;

/// How a default is marked; behind a colon it also stands for an empty value.
const MARKS: [&str; 4] = [":-", ":=", "-", "="];

/// The first `${NAME:-default}` (or `-`, `:=`, `=`) of a word: name, default, and the whole of it. Of one within the default of
/// another the inner.
pub(super) fn defaulted(word: &str) -> Option<(String, String, String)> {
    let first = word.find("${")?;
    let end = first + word[first..].find('}')?;
    let start = word[..end].rfind("${")?;
    let (name, _, default) = parts(&word[start + 2..end])?;
    (!default.contains('$')).then(|| (name.to_owned(), default.to_owned(), word[start..=end].to_owned()))
}

/// Name, mark and default of what stands between the braces.
fn parts(inner: &str) -> Option<(&str, &str, &str)> {
    let end = inner.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(inner.len());
    let (name, rest) = inner.split_at(end);
    let (mark, default) = MARKS.iter().find_map(|mark| Some((*mark, rest.strip_prefix(mark)?)))?;
    (!name.is_empty()).then_some((name, mark, default))
}

/// A word with the values of the variables that are known in place of their defaults.
pub(super) fn of_known<'w>(word: &'w str, env: &BTreeMap<String, String>) -> Cow<'w, str> {
    if !word.contains("${") {
        return Cow::Borrowed(word);
    }
    let (mut out, mut rest) = (String::with_capacity(word.len()), word);
    while let Some(at) = rest.find("${") {
        let inner = &rest[at + 2..];
        let found = closing(inner).and_then(|end| Some((end, value(&inner[..end], env)?)));
        if let Some((end, value)) = found.filter(|(_, v)| out.len() + rest.len() + v.len() <= LONGEST) {
            out.push_str(&rest[..at]);
            out.push_str(value);
            rest = &inner[end + 1..];
        } else {
            out.push_str(&rest[..at + 2]);
            rest = inner;
        }
    }
    out.push_str(rest);
    Cow::Owned(out)
}

/// Where the brace closes that is open in front of a text.
fn closing(text: &str) -> Option<usize> {
    let mut depth = 0usize;
    for (i, c) in text.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => return Some(i),
            '}' => depth -= 1,
            _ => {}
        }
    }
    None
}

/// What a variable with a default stands for, where the variable is known.
fn value<'a>(inner: &'a str, env: &'a BTreeMap<String, String>) -> Option<&'a str> {
    let (name, mark, default) = parts(inner)?;
    let own = env.get(name)?;
    // A value of other variables is not known, unless it is itself one with a default.
    if own.contains('$') && defaulted(own).is_none() {
        return None;
    }
    Some(if own.is_empty() && mark.starts_with(':') { default } else { own })
}

#[cfg(test)]
mod tests {
    use super::of_known;
    use crate::launch::{GpuLayout, Launch};
    use std::collections::BTreeMap;

    #[test]
    fn a_known_variable_wins_over_its_default() {
        let known = [("A", "1"), ("E", ""), ("U", "$1"), ("D", "${D:-8}")];
        let env: BTreeMap<String, String> = known.map(|(k, v)| (k.to_owned(), v.to_owned())).into();
        for (word, value) in [
            ("x${A:-2}y", "x1y"),
            ("${E:-2}${E-2}", "2"),
            ("${A:-${B:-c}}", "1"),
            ("${B:-${A:-c}}", "${B:-1}"),
            ("${U:-2} ${B:-3} ${A} ${A", "${U:-2} ${B:-3} ${A} ${A"),
            ("${D:-2}", "${D:-8}"),
        ] {
            assert_eq!(of_known(word, &env), value, "{word}");
        }
        let l = Launch::parse("TP=4\nPP=\nvllm serve m -tp ${TP:-1} -pp ${PP:-2}");
        assert_eq!((GpuLayout::of(&l).gpus(), l.problems.len()), (8, 0), "{l:?}");
    }
}
