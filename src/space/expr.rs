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

use crate::launch::Version;
use std::fmt;

/// A value of the language.
#[derive(Debug, Clone, PartialEq)]
pub enum Term {
    Bool(bool),
    Number(f64),
    Text(String),
    Version(Version),
}

/// Type of a [`Term`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Bool,
    Number,
    Text,
    Version,
}

impl Term {
    fn kind(&self) -> Kind {
        match self {
            Term::Bool(_) => Kind::Bool,
            Term::Number(_) => Kind::Number,
            Term::Text(_) => Kind::Text,
            Term::Version(_) => Kind::Version,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Op {
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
}

#[derive(Debug, Clone, PartialEq)]
enum Node {
    Term(Term),
    Name(String),
    Times(Box<Node>, Box<Node>),
    Modulo(Box<Node>, Box<Node>),
    Compare(Op, Box<Node>, Box<Node>),
    In(Box<Node>, Vec<Term>),
    Not(Box<Node>),
    And(Box<Node>, Box<Node>),
    Or(Box<Node>, Box<Node>),
}

/// Characters of a condition; the longest one shipped has 129.
const LONGEST: usize = 2000;

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
        // A condition is walked recursively: neither its nesting nor its chains may outgrow the stack.
        if text.len() > LONGEST {
            return Err(format!("is longer than the {LONGEST} characters that a condition may have"));
        }
        let tokens = tokens(text)?;
        let mut p = Parser { tokens: &tokens, at: 0 };
        let node = p.or()?;
        if let Some(t) = p.tokens.get(p.at) {
            return Err(format!("`{t}` is not expected there"));
        }
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

impl Node {
    fn kind(&self, kinds: &dyn Fn(&str) -> Option<Kind>) -> Result<Kind, String> {
        let want = |n: &Node, k: Kind| match n.kind(kinds)? {
            got if got == k => Ok(()),
            got => Err(format!("{got:?} where {k:?} is needed")),
        };
        match self {
            Node::Term(t) => Ok(t.kind()),
            Node::Name(n) => kinds(n).ok_or_else(|| format!("unknown name `{n}`")),
            Node::Times(a, b) | Node::Modulo(a, b) => {
                want(a, Kind::Number)?;
                want(b, Kind::Number)?;
                Ok(Kind::Number)
            }
            Node::Compare(op, a, b) => {
                let (ka, kb) = (a.kind(kinds)?, b.kind(kinds)?);
                if ka != kb {
                    return Err(format!("{ka:?} compared with {kb:?}"));
                }
                if !matches!(op, Op::Eq | Op::Ne) && matches!(ka, Kind::Text | Kind::Bool) {
                    return Err(format!("{ka:?} has no order"));
                }
                Ok(Kind::Bool)
            }
            Node::In(a, list) => {
                let k = a.kind(kinds)?;
                match list.iter().find(|t| t.kind() != k) {
                    Some(t) => Err(format!("{:?} in a list for {k:?}", t.kind())),
                    None => Ok(Kind::Bool),
                }
            }
            Node::Not(a) => want(a, Kind::Bool).map(|()| Kind::Bool),
            Node::And(a, b) | Node::Or(a, b) => {
                want(a, Kind::Bool)?;
                want(b, Kind::Bool)?;
                Ok(Kind::Bool)
            }
        }
    }

    fn value(&self, scope: &dyn Fn(&str) -> Option<Term>) -> Option<Term> {
        let truth = |n: &Node| match n.value(scope) {
            Some(Term::Bool(b)) => Some(b),
            _ => None,
        };
        let numbers = |a: &Node, b: &Node| match (a.value(scope)?, b.value(scope)?) {
            (Term::Number(a), Term::Number(b)) => Some((a, b)),
            _ => None,
        };
        match self {
            Node::Term(t) => Some(t.clone()),
            Node::Name(n) => scope(n),
            Node::Times(a, b) => numbers(a, b).map(|(a, b)| Term::Number(a * b)),
            Node::Modulo(a, b) => numbers(a, b).filter(|(_, b)| *b != 0.0).map(|(a, b)| Term::Number(a % b)),
            Node::Compare(op, a, b) => compare(*op, &a.value(scope)?, &b.value(scope)?).map(Term::Bool),
            Node::In(a, list) => {
                let v = a.value(scope)?;
                Some(Term::Bool(list.contains(&v)))
            }
            Node::Not(a) => truth(a).map(|b| Term::Bool(!b)),
            Node::And(a, b) => match (truth(a), truth(b)) {
                (Some(false), _) | (_, Some(false)) => Some(Term::Bool(false)),
                (Some(true), Some(true)) => Some(Term::Bool(true)),
                _ => None,
            },
            Node::Or(a, b) => match (truth(a), truth(b)) {
                (Some(true), _) | (_, Some(true)) => Some(Term::Bool(true)),
                (Some(false), Some(false)) => Some(Term::Bool(false)),
                _ => None,
            },
        }
    }

    fn names<'a>(&'a self, out: &mut Vec<&'a str>) {
        match self {
            Node::Term(_) => {}
            Node::Name(n) => out.push(n),
            Node::In(a, _) | Node::Not(a) => a.names(out),
            Node::Times(a, b)
            | Node::Modulo(a, b)
            | Node::Compare(_, a, b)
            | Node::And(a, b)
            | Node::Or(a, b) => {
                a.names(out);
                b.names(out);
            }
        }
    }
}

fn compare(op: Op, a: &Term, b: &Term) -> Option<bool> {
    use std::cmp::Ordering::{Equal, Greater, Less};
    let order = match (a, b) {
        (Term::Number(a), Term::Number(b)) => a.partial_cmp(b)?,
        (Term::Version(a), Term::Version(b)) => a.cmp(b),
        (Term::Text(a), Term::Text(b)) => a.cmp(b),
        (Term::Bool(a), Term::Bool(b)) => a.cmp(b),
        _ => return None,
    };
    Some(match op {
        Op::Eq => order == Equal,
        Op::Ne => order != Equal,
        Op::Lt => order == Less,
        Op::Le => order != Greater,
        Op::Gt => order == Greater,
        Op::Ge => order != Less,
    })
}

fn tokens(text: &str) -> Result<Vec<String>, String> {
    let mut out = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let len = match first {
            '\'' => match rest[1..].find('\'') {
                Some(end) => end + 2,
                None => return Err("a text is not closed with '".into()),
            },
            '=' | '!' | '<' | '>' => {
                let two = rest[1..].starts_with('=');
                if !two && matches!(first, '=' | '!') {
                    return Err(format!("`{first}` alone is no operator: write == or !="));
                }
                1 + usize::from(two)
            }
            '(' | ')' | '[' | ']' | ',' | '*' | '%' => 1,
            c if c.is_ascii_alphanumeric() || c == '_' => {
                let ends = |c: char| !(c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.'));
                rest.find(ends).unwrap_or(rest.len())
            }
            c => return Err(format!("`{c}` is not expected")),
        };
        out.push(rest[..len].to_owned());
        rest = rest[len..].trim_start();
    }
    Ok(out)
}

struct Parser<'a> {
    tokens: &'a [String],
    at: usize,
}

impl Parser<'_> {
    fn take(&mut self, token: &str) -> bool {
        let there = self.tokens.get(self.at).is_some_and(|t| t == token);
        self.at += usize::from(there);
        there
    }

    fn or(&mut self) -> Result<Node, String> {
        let mut left = self.and()?;
        while self.take("or") {
            left = Node::Or(Box::new(left), Box::new(self.and()?));
        }
        Ok(left)
    }

    fn and(&mut self) -> Result<Node, String> {
        let mut left = self.not()?;
        while self.take("and") {
            left = Node::And(Box::new(left), Box::new(self.not()?));
        }
        Ok(left)
    }

    fn not(&mut self) -> Result<Node, String> {
        if self.take("not") { Ok(Node::Not(Box::new(self.not()?))) } else { self.compare() }
    }

    fn compare(&mut self) -> Result<Node, String> {
        let left = self.product()?;
        if self.take("in") {
            return self.list().map(|l| Node::In(Box::new(left), l));
        }
        let ops =
            [("==", Op::Eq), ("!=", Op::Ne), ("<=", Op::Le), (">=", Op::Ge), ("<", Op::Lt), (">", Op::Gt)];
        match ops.iter().find(|(t, _)| self.take(t)) {
            Some((_, op)) => Ok(Node::Compare(*op, Box::new(left), Box::new(self.product()?))),
            None => Ok(left),
        }
    }

    fn list(&mut self) -> Result<Vec<Term>, String> {
        if !self.take("[") {
            return Err("`in` is followed by a list in [ ]".into());
        }
        let mut out = Vec::new();
        loop {
            match self.atom()? {
                Node::Term(t) => out.push(t),
                _ => return Err("a list holds values only".into()),
            }
            if self.take("]") {
                return Ok(out);
            }
            if !self.take(",") {
                return Err("a list is closed with ]".into());
            }
        }
    }

    fn product(&mut self) -> Result<Node, String> {
        let mut left = self.atom()?;
        loop {
            if self.take("*") {
                left = Node::Times(Box::new(left), Box::new(self.atom()?));
            } else if self.take("%") {
                left = Node::Modulo(Box::new(left), Box::new(self.atom()?));
            } else {
                return Ok(left);
            }
        }
    }

    fn atom(&mut self) -> Result<Node, String> {
        let token = self.tokens.get(self.at).ok_or("ends too early")?.as_str();
        self.at += 1;
        if token == "(" {
            let inner = self.or()?;
            return if self.take(")") { Ok(inner) } else { Err("a ( is not closed".into()) };
        }
        let first = token.chars().next().unwrap_or(' ');
        let digit_after_v = token.starts_with('v') && token[1..].starts_with(|c: char| c.is_ascii_digit());
        Ok(match token {
            "true" => Node::Term(Term::Bool(true)),
            "false" => Node::Term(Term::Bool(false)),
            _ if first == '\'' => Node::Term(Term::Text(token[1..token.len() - 1].to_owned())),
            _ if digit_after_v => Node::Term(Term::Version(token.parse()?)),
            _ if first.is_ascii_digit() => {
                let n = token.parse().map_err(|_| format!("`{token}` is no number"))?;
                Node::Term(Term::Number(n))
            }
            _ if first.is_ascii_alphabetic() && !matches!(token, "and" | "or" | "in" | "not") => {
                Node::Name(token.to_owned())
            }
            _ => return Err(format!("`{token}` is not expected there")),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
