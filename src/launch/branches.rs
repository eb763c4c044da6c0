//! Conditions of a script as far as its own settings decide them: `if [ -n "$X" ]`, `[ "$MODE" = fp8 ] && ARGS+=…`.

/// A construct that is open where a command stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Branch {
    /// A loop, whose body runs.
    Loop,
    /// Whether its commands run is not known.
    Open,
    Runs,
    /// Its commands do not run; those of a later branch may.
    Skipped,
    /// A branch before it ran.
    Done,
}

impl Branch {
    /// The first branch of an `if`.
    pub(super) fn first(decided: Option<bool>) -> Branch {
        match decided {
            None => Branch::Open,
            Some(true) => Branch::Runs,
            Some(false) => Branch::Skipped,
        }
    }

    /// The branch behind this one: an `elif` with its own test, an `else` with one that holds.
    pub(super) fn next(self, decided: Option<bool>) -> Branch {
        match self {
            Branch::Skipped => Branch::first(decided),
            Branch::Runs | Branch::Done => Branch::Done,
            Branch::Open | Branch::Loop => Branch::Open,
        }
    }
}

/// What the tests before a command say of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Chain {
    /// It hangs on none.
    #[default]
    Free,
    Unknown,
    Runs,
    Skipped,
}

impl Chain {
    /// The chain behind `||`.
    pub(super) fn otherwise(self) -> Chain {
        match self {
            Chain::Runs => Chain::Skipped,
            Chain::Skipped => Chain::Runs,
            same => same,
        }
    }

    /// The chain behind one more test.
    pub(super) fn tested(self, decided: Option<bool>) -> Chain {
        match (self, decided) {
            (Chain::Skipped, _) | (_, Some(false)) => Chain::Skipped,
            (Chain::Unknown, _) | (_, None) => Chain::Unknown,
            _ => Chain::Runs,
        }
    }
}

/// How a command hangs on the one before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Join {
    Apart,
    And,
    Or,
}

/// How many conditions, loops and functions are open behind the words at the front of a command.
pub(super) fn nested(words: &[String], depth: usize) -> usize {
    let front = words
        .iter()
        .take_while(|w| matches!(w.as_str(), "then" | "do" | "else" | "{" | "function") || w.ends_with("()"));
    let last = front.clone().count();
    let functions = front.filter(|w| w.as_str() == "{").count();
    let depth = depth + functions;
    match words.get(last).map(String::as_str) {
        Some("if" | "for" | "while" | "until" | "case" | "select") => depth + 1,
        Some("fi" | "done" | "esac" | "}") => depth.saturating_sub(1),
        _ => depth,
    }
}

/// Whether words are a test.
pub(super) fn is_test(words: &[String]) -> bool {
    words.first().is_some_and(|w| ["[", "[[", "test", "(("].contains(&w.as_str()) || w.starts_with("(("))
}

/// Whether a test holds; None where it is no test that is known here, or one of its words is not known.
pub(super) fn holds(words: &[String], known: impl Fn(&str) -> Option<String>) -> Option<bool> {
    let own: Vec<&str> = words.iter().map(String::as_str).collect();
    let inner = match own.as_slice() {
        ["!", rest @ ..] => {
            let rest: Vec<String> = rest.iter().map(|w| (*w).to_owned()).collect();
            return holds(&rest, known).map(|t| !t);
        }
        ["[", inner @ .., "]"] | ["[[", inner @ .., "]]"] | ["test", inner @ ..] => inner,
        _ => return None,
    };
    match inner {
        ["-n", word] => Some(!known(word)?.is_empty()),
        ["-z", word] => Some(known(word)?.is_empty()),
        [a, "=" | "==", b] if !b.contains(['*', '?']) => Some(known(a)? == known(b)?),
        [a, "!=", b] if !b.contains(['*', '?']) => Some(known(a)? != known(b)?),
        [a, op, b] => {
            let a: i64 = known(a)?.trim().parse().ok()?;
            let b: i64 = known(b)?.trim().parse().ok()?;
            Some(match *op {
                "-eq" => a == b,
                "-ne" => a != b,
                "-gt" => a > b,
                "-ge" => a >= b,
                "-lt" => a < b,
                "-le" => a <= b,
                _ => return None,
            })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::launch::{GpuLayout, Launch};

    #[test]
    fn a_test_of_known_words() {
        let of = |text: &str| {
            let words: Vec<String> = text.split(' ').map(str::to_owned).collect();
            holds(&words, |w| (!w.starts_with('$')).then(|| w.replace('E', "")))
        };
        assert_eq!(
            (of("[ -n E ]"), of("[[ -z E ]]"), of("test -n a")),
            (Some(false), Some(true), Some(true))
        );
        assert_eq!(
            (of("[ a = a ]"), of("! [ a == b ]"), of("[ a != b ]")),
            (Some(true), Some(true), Some(true))
        );
        assert_eq!(
            (of("[ 4 -gt 2 ]"), of("[ 1 -eq 2 ]"), of("[ x -gt 2 ]")),
            (Some(true), Some(false), None)
        );
        assert_eq!(
            (of("[ -n $X ]"), of("[[ a == a* ]]"), of("[ -f a ]"), of("grep a")),
            (None, None, None, None)
        );
    }

    #[test]
    fn branches_that_the_script_decides_itself() {
        let script = "MODE=b\nif [ \"$MODE\" = a ]; then\n  vllm serve one -tp 8\nelif [ $MODE == b ]; then\n  TP=4\nelse\n  TP=2\nfi\n\
                      [ -z \"$TP\" ] && TP=1\nif [ $TP -gt 2 ] && [ -n \"$UNKNOWN\" ]; then\n  PP=2\nfi\nvllm serve two -tp $TP";
        let l = Launch::parse(script);
        assert_eq!((l.model.as_deref(), GpuLayout::of(&l).gpus()), (Some("two"), 4), "{l:?}");
        assert!(l.problems.is_empty(), "{:?}", l.problems);
        let l = Launch::parse("TP=2\n[ -n \"$BIG\" ] && TP=8\nvllm serve m -tp $TP");
        assert_eq!(GpuLayout::of(&l).gpus(), 2);
        assert!(l.problems.iter().any(|p| p.contains("$TP is set under a condition")), "{:?}", l.problems);
    }
}
