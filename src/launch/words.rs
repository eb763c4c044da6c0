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

/// The line without its continuations and comments: a shell takes a backslash and the newline behind it away before it looks
/// for words, but not between single quotes. What a substitution runs (`$(…)`, backquotes) becomes one word, and so does a
/// semicolon that ends a command; one in quotes is a letter as others are.
fn joined(line: &str) -> String {
    let mut out = String::with_capacity(line.len());
    let mut quote: Option<char> = None;
    let mut rest = line;
    // An escaped blank is part of a word, and what follows it is no comment.
    let mut blank = true;
    while let Some(c) = rest.chars().next() {
        let inside = quote;
        match (c, quote) {
            ('#', None) if blank => {
                // An apostrophe in a comment opens no quote, and a backslash at its end joins nothing.
                rest = &rest[rest.find('\n').unwrap_or(rest.len())..];
                continue;
            }
            ('$', None | Some('"')) if rest.starts_with("$(") => {
                let taken = substitution(rest, quote.is_some(), &mut out);
                (rest, blank) = (&rest[taken..], false);
                continue;
            }
            ('\\', None | Some('"')) => {
                let escaped = rest[1..].chars().next();
                match escaped {
                    Some('\n') => {}
                    Some(e) => {
                        out.extend([c, e]);
                        blank = false;
                    }
                    None => out.push(c),
                }
                rest = &rest[1 + escaped.map_or(0, char::len_utf8)..];
                continue;
            }
            ('\'' | '"', None) => quote = Some(c),
            (c, Some(q)) if c == q => quote = None,
            (';', None) if rest[1..].chars().next().is_none_or(char::is_whitespace) => out.push(' '),
            _ => {}
        }
        blank = inside.is_none() && c.is_whitespace();
        out.push(c);
        rest = &rest[c.len_utf8()..];
    }
    out
}

/// Copies a substitution from its `$(` to its closing parenthesis without what would part it into words; returns how long it
/// is. One that is never closed is copied by its first two letters.
fn substitution(text: &str, quoted: bool, out: &mut String) -> usize {
    let mut depth = 0usize;
    for (i, c) in text.char_indices() {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if c == ')' && depth == 0 {
            let end = i + 1;
            let own = |c: &char| !matches!(c, '"' | '\'' | '\\' | '`') && (quoted || !c.is_whitespace());
            out.extend(text[..end].chars().filter(own).map(|c| if c == '\n' { ' ' } else { c }));
            return end;
        }
    }
    out.push_str("$(");
    2
}

/// Splits lines into words as [`split`] does, with a word `;` where a newline ends a command.
///
/// A newline ends none before a line that begins with a dash or is indented deeper: a command in YAML or a document has no
/// backslashes. The bodies of `then`, `do` and `{` are indented too, and are commands.
pub(super) fn commands(text: &str) -> (Vec<String>, bool) {
    let text = joined(&super::loops::plain(text).replace('\0', ""));
    let mut out = String::with_capacity(text.len());
    let mut open: Option<char> = None;
    let mut indent = 0;
    let last = text.trim_end().len();
    let mut end = 0;
    for line in text.split_inclusive('\n') {
        let code = line.trim_start();
        let deep = line.len() - code.len();
        end += line.len();
        if open.is_none() {
            // A heading has a command below it.
            let heading = end < last && is_heading(code);
            if code.is_empty() || code.starts_with('#') || code.starts_with("```") || heading {
                continue;
            }
            let block = [" then", " do", "{", "else"].iter().any(|w| out.trim_end().ends_with(w));
            let done = settled(&out);
            if !out.is_empty() && !code.starts_with('-') && (deep <= indent || block || done) {
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

/// Whether the last line only sets something, so that no command goes on behind it.
fn settled(text: &str) -> bool {
    let last = text.trim_end().rsplit('\n').next().unwrap_or_default().trim();
    last.starts_with("export ") && !last.ends_with('\\')
}

/// A line of a document that announces the command below it (`vllm serve command:`).
fn is_heading(line: &str) -> bool {
    let text = line.trim_end();
    let words = text.split_whitespace().count();
    text.ends_with(':') && words > 1 && !text.contains(" -") && !text.contains(['"', '\'', '=', '$'])
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
        assert_eq!(of("if true; then\n  vllm serve m\nfi"), "if true ; then ; vllm serve m ; fi");
        assert_eq!(of("vllm serve m:\n"), "vllm serve m:");
        assert_eq!(of("export A=1\n python -m x \\\n--model m"), "export A=1 ; python -m x --model m");
        assert_eq!(of("sh -c 'cd /x\nvllm serve m'"), "sh -c cd /x\nvllm serve m");
        assert_eq!(
            of("vllm serve command:\n```\n  vllm serve m\n  --seed 1\n```\n"),
            "vllm serve m --seed 1"
        );
    }

    #[test]
    fn a_quote_that_never_closes_is_told() {
        assert_eq!(
            split("vllm serve 'a b"),
            (vec!["vllm".into(), "serve".into(), "'a".into(), "b".into()], false)
        );
        assert_eq!(split("a\\\n b"), (vec!["a".into(), "b".into()], true));
        // An escaped blank is part of a word; a comment begins only behind a blank that is none.
        assert_eq!(split("a \\ #b c").0, ["a", " #b", "c"]);
        assert_eq!(
            split("A=1; b 'c;' \"d; e\" f;g \\; h;").0,
            ["A=1", ";", "b", "c;", "d; e", "f;g", ";", "h", ";"]
        );
        assert_eq!(split("a \\  # b c").0, ["a", " "]);
        assert_eq!(split("# a").0, Vec::<String>::new());
        // A substitution is one word, whatever it runs.
        assert_eq!(
            split("a $( [[ $C -gt 4 ]] && echo 30 ) $((d * 2)) \"x $(f \"$0\" 'y')\"").0,
            ["a", "$([[$C-gt4]]&&echo30)", "$((d*2))", "x $(f $0 y)"]
        );
        assert_eq!(split("a $(b c").0, ["a", "$(b", "c"]);
    }

    proptest! {
        #[test]
        fn what_is_quoted_is_split_again(words in proptest::collection::vec("[^\0]{0,12}", 0..6)) {
            let line = words.iter().map(|w| quote(w)).collect::<Vec<_>>().join(" ");
            prop_assert_eq!(split(&line), (words, true));
        }
    }
}
