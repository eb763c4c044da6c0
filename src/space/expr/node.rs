//! A condition as a tree: its types and its three-valued worth.

use crate::launch::Version;

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
pub(super) enum Op {
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Node {
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

impl Node {
    pub(super) fn kind(&self, kinds: &dyn Fn(&str) -> Option<Kind>) -> Result<Kind, String> {
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

    pub(super) fn value(&self, scope: &dyn Fn(&str) -> Option<Term>) -> Option<Term> {
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

    pub(super) fn names<'a>(&'a self, out: &mut Vec<&'a str>) {
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
