//! Words of a command line as a POSIX shell reads and writes them.

/// Splits a line into words: blanks separate, quotes group, a backslash takes the next character as it is.
///
/// A line that no shell would take (a quote that never closes) is split at its blanks, and the second value is false. NUL,
/// which no argument can hold, is left out.
pub fn split(line: &str) -> (Vec<String>, bool) {
    let line = line.replace('\0', "");
    match shlex::split(&joined(&line)) {
        Some(words) => (words, true),
        None => (line.split_whitespace().map(str::to_owned).collect(), false),
    }
}

/// The line without its continuations: a shell takes a backslash and the newline behind it away before it looks for words,
/// but not between single quotes.
fn joined(line: &str) -> String {
    let mut out = String::with_capacity(line.len());
    let mut quote: Option<char> = None;
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        match (c, quote) {
            ('\\', None | Some('"')) => match chars.next() {
                Some('\n') => {}
                Some(escaped) => out.extend([c, escaped]),
                None => out.push(c),
            },
            ('\'' | '"', None) => {
                quote = Some(c);
                out.push(c);
            }
            (c, Some(q)) if c == q => {
                quote = None;
                out.push(c);
            }
            (c, _) => out.push(c),
        }
    }
    out
}

/// One word as a shell takes it back. NUL, which no argument can hold, is left out.
pub fn quote(word: &str) -> String {
    let without_nul = word.replace('\0', "");
    shlex::try_quote(&without_nul).map_or_else(|_| without_nul.clone(), std::borrow::Cow::into_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_quote_that_never_closes_is_told() {
        assert_eq!(
            split("vllm serve 'a b"),
            (vec!["vllm".into(), "serve".into(), "'a".into(), "b".into()], false)
        );
        assert_eq!(split("a\\\n b"), (vec!["a".into(), "b".into()], true));
    }

    proptest! {
        #[test]
        fn what_is_quoted_is_split_again(words in proptest::collection::vec("[^\0]{0,12}", 0..6)) {
            let line = words.iter().map(|w| quote(w)).collect::<Vec<_>>().join(" ");
            prop_assert_eq!(split(&line), (words, true));
        }
    }
}
