//! `$((…))` of a shell, of whole numbers.

use std::collections::BTreeMap;

/// A word with its arithmetic worked out where every name in it is a known number.
pub(super) fn worked_out(word: &str, env: &BTreeMap<String, String>) -> String {
    let Some((before, rest)) = word.split_once("$((") else { return word.to_owned() };
    let Some((inner, after)) = rest.split_once("))") else { return word.to_owned() };
    match Sum::new(inner, env).value() {
        Some(n) => format!("{before}{n}{}", worked_out(after, env)),
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

#[cfg(test)]
mod tests {
    use super::worked_out;
    use std::collections::BTreeMap;

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
            assert_eq!(worked_out(word, &env), value);
        }
    }
}
