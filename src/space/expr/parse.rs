//! From the text of a condition to its tree, by recursive descent.

use super::node::{Node, Op, Term};

/// Characters of a condition; the longest one shipped has 129.
const LONGEST: usize = 2000;

/// The tree of a condition.
///
/// Errors: what is wrong, in one line.
pub(super) fn parse(text: &str) -> Result<Node, String> {
    // A condition is walked recursively: neither its nesting nor its chains may outgrow the stack.
    if text.len() > LONGEST {
        return Err(format!("is longer than the {LONGEST} characters that a condition may have"));
    }
    let tokens = tokens(text)?;
    let mut p = Parser { tokens: &tokens, at: 0 };
    let node = p.or()?;
    match p.tokens.get(p.at) {
        Some(t) => Err(format!("`{t}` is not expected there")),
        None => Ok(node),
    }
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
