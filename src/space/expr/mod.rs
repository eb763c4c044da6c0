//! The constraint language: comparisons of flags, versions, hardware and model facts.
//!
//! ```text
//! expr    = and { "or" and }
//! and     = not { "and" not }
//! not     = [ "not" ] compare
//! compare = product [ ("==" | "!=" | "<" | "<=" | ">" | ">=") product | "in" "[" value { "," value } "]" ]
//! product = atom { ("*" | "%") atom }
//! atom    = number | 'text' | v1.2.3 | true | false | name | "(" expr ")"
//! ```
//!
//! A name is a flag (`max-num-seqs`) or a fact (`sm`, `model.moe`, `load.in_flight`). What is not known
//! makes a comparison unknown, and unknown never refuses anything (three-valued logic).

mod node;
mod parse;

use node::Node;
pub use node::{Kind, Term};
use parse::parse;
use std::fmt;

/// A parsed condition, with its text for messages.
#[derive(Debug, Clone, PartialEq)]
pub struct Expr {
    text: String,
    node: Node,
}

impl fmt::Display for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Expr {
    /// Parses and types a condition; `kinds` gives the type of a name, or `None` for an unknown one.
    ///
    /// Errors: what is wrong, in one line.
    pub fn parse(text: &str, kinds: &dyn Fn(&str) -> Option<Kind>) -> Result<Expr, String> {
        let node = parse(text)?;
        match node.kind(kinds)? {
            Kind::Bool => Ok(Expr { text: text.to_owned(), node }),
            _ => Err("must be a condition, true or false".into()),
        }
    }

    /// Whether the condition holds; `None` when it hangs on something that `scope` does not know.
    pub fn holds(&self, scope: &dyn Fn(&str) -> Option<Term>) -> Option<bool> {
        match self.node.value(scope)? {
            Term::Bool(b) => Some(b),
            _ => None,
        }
    }

    /// Every name in the condition.
    pub fn names(&self) -> Vec<&str> {
        let mut out = Vec::new();
        self.node.names(&mut out);
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::launch::Version;

    fn kinds(name: &str) -> Option<Kind> {
        Some(match name {
            "sm" | "max-num-seqs" | "max-num-batched-tokens" | "unset" => Kind::Number,
            "vendor" | "kv-cache-dtype" => Kind::Text,
            "model.moe" => Kind::Bool,
            "version" => Kind::Version,
            _ => return None,
        })
    }

    fn scope(name: &str) -> Option<Term> {
        Some(match name {
            "sm" => Term::Number(80.0),
            "max-num-seqs" => Term::Number(256.0),
            "max-num-batched-tokens" => Term::Number(2048.0),
            "vendor" => Term::Text("nvidia".into()),
            "model.moe" => Term::Bool(true),
            "version" => Term::Version(Version(0, 11, 0)),
            _ => return None,
        })
    }

    fn holds(text: &str) -> Option<bool> {
        Expr::parse(text, &kinds).unwrap_or_else(|e| panic!("{text}: {e}")).holds(&scope)
    }

    #[test]
    fn conditions_are_evaluated() {
        for (text, truth) in [
            ("max-num-batched-tokens >= max-num-seqs", true),
            ("sm >= 90 or vendor == 'amd'", false),
            ("not (sm >= 90) and model.moe", true),
            ("version >= v0.10.2 and version < v0.14", true),
            ("vendor in ['amd', 'nvidia']", true),
            ("max-num-seqs % 32 == 0", true),
            ("max-num-batched-tokens <= max-num-seqs * 2", false),
        ] {
            assert_eq!(holds(text), Some(truth), "{text}");
        }
    }

    #[test]
    fn the_unknown_refuses_nothing_by_itself() {
        assert_eq!(holds("unset > 1"), None);
        assert_eq!(holds("unset > 1 or sm == 80"), Some(true));
        assert_eq!(holds("unset > 1 and sm == 90"), Some(false));
        assert_eq!(holds("kv-cache-dtype == 'fp8' and sm == 80"), None);
    }

    #[test]
    fn mistakes_are_named() {
        for (text, part) in [
            ("sm >= 'x'", "compared with"),
            ("smm >= 1", "unknown name `smm`"),
            ("sm = 1", "=="),
            ("vendor < 'x'", "no order"),
            ("sm", "condition"),
            ("sm == 1 sm", "not expected"),
            ("(sm == 1", "not closed"),
            ("vendor == 'x", "not closed"),
            ("vendor in 'x'", "list"),
            ("sm ==", "ends too early"),
            ("", "ends too early"),
            ("sm == 1 & sm == 2", "`&`"),
        ] {
            let e = Expr::parse(text, &kinds).unwrap_err();
            assert!(e.contains(part), "{text}: {e}");
        }
    }

    proptest::proptest! {
        #![proptest_config(proptest::test_runner::Config { cases: 400, failure_persistence: None, ..Default::default() })]

        #[test]
        fn no_text_makes_it_panic(text in "([a-z0-9.'()\\[\\],<>=!*% é-]|sm|max-num-seqs|and|or|not|in|v0.1|==){0,24}") {
            if let Ok(e) = Expr::parse(&text, &kinds) {
                let _ = e.holds(&scope);
            }
        }
    }

    #[test]
    fn names_are_listed() {
        let e = Expr::parse("max-num-batched-tokens >= max-num-seqs and sm > 1", &kinds).unwrap();
        assert_eq!(e.names(), ["max-num-batched-tokens", "max-num-seqs", "sm"]);
    }
}
