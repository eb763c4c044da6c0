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
    let mut comment = false;
    while let Some(c) = chars.next() {
        // An apostrophe in a comment opens no quote, and a backslash at its end joins nothing.
        comment = match c {
            '\n' => false,
            '#' => comment || quote.is_none() && out.ends_with(|b: char| b.is_whitespace()) || out.is_empty(),
            _ => comment,
        };
        if comment {
            continue;
        }
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

/// Splits lines into words as [`split`] does, with a word `;` where a newline ends a command.
///
/// A newline ends none before a line that begins with a dash or is indented deeper: a command in YAML or a document has no
/// backslashes. The bodies of `then`, `do` and `{` are indented too, and are commands.
pub(super) fn commands(text: &str) -> (Vec<String>, bool) {
    let text = joined(&text.replace('\0', ""));
    let mut out = String::with_capacity(text.len());
    let mut open: Option<char> = None;
    let mut indent = 0;
    for line in text.split_inclusive('\n') {
        let code = line.trim_start();
        let deep = line.len() - code.len();
        if open.is_none() {
            if code.is_empty() || code.starts_with('#') {
                continue;
            }
            let block = [" then", " do", "{", "else"].iter().any(|w| out.trim_end().ends_with(w));
            if !out.is_empty() && !code.starts_with('-') && (deep <= indent || block) {
                out.push_str(" ;\n");
                indent = deep;
            }
            if out.is_empty() {
                indent = deep;
            }
        }
        open = left_open(line, open);
        out.push_str(line);
    }
    split(&out)
}

/// The quote that is open at the end of a line; a comment opens none.
fn left_open(line: &str, mut open: Option<char>) -> Option<char> {
    let (mut chars, mut before) = (line.chars(), ' ');
    while let Some(c) = chars.next() {
        match (c, open) {
            ('\\', None | Some('"')) => {
                chars.next();
            }
            ('#', None) if before.is_whitespace() => break,
            ('\'' | '"', None) => open = Some(c),
            (c, Some(q)) if c == q => open = None,
            _ => {}
        }
        before = c;
    }
    open
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
    fn a_newline_ends_a_command_unless_the_next_line_goes_on() {
        let of = |text: &str| commands(text).0.join(" ");
        assert_eq!(of("export A=1\nvllm serve m \\\n  -tp 2\n"), "export A=1 ; vllm serve m -tp 2");
        assert_eq!(of("# it's a note\n\nA=1 # it's more\nvllm serve m"), "A=1 ; vllm serve m");
        assert_eq!(
            of("vllm serve\n  m\n  --seed 1\n--max-num-seqs 2"),
            "vllm serve m --seed 1 --max-num-seqs 2"
        );
        assert_eq!(of("if true; then\n  vllm serve m\nfi"), "if true; then ; vllm serve m ; fi");
        assert_eq!(of("sh -c 'cd /x\nvllm serve m'"), "sh -c cd /x\nvllm serve m");
    }

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
