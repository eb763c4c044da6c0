//! A script that a shell is given as one word: `bash -l -c SCRIPT NAME WORDS`.

use super::program::base;
use super::words;

/// Where a shell is started with a script (`bash -l -c SCRIPT`), and where the script stands.
pub(super) fn shell_script(words: &[String]) -> Option<(usize, usize)> {
    let shell = words.iter().position(|w| matches!(base(w), "bash" | "sh" | "zsh"))?;
    let options = words[shell + 1..].iter().take_while(|w| w.starts_with('-'));
    let last = options.take(4).position(|w| w.ends_with('c') && !w.starts_with("--"))?;
    Some((shell, shell + 2 + last))
}

/// Whether words start a shell whose script comes behind them.
pub(super) fn awaits_script(words: &[String]) -> bool {
    shell_script(words).is_some_and(|(_, at)| at == words.len())
}

/// A script that grows beyond this by its own words is left as it stands: words that hold the script itself would double it again
/// and again.
const LONGEST: usize = 1 << 16;

/// A shell's script with the words that follow it (behind the name that `$0` gets) in place of `"$@"`; what is put in is not
/// looked at again.
pub(super) fn positional(script: &str, given: &[String]) -> String {
    let all: Vec<String> = given.iter().map(|w| words::quote(w)).collect();
    let all = all.join(" ");
    let (mut out, mut rest) = (String::new(), script);
    let next = |text: &str| {
        let forms = ["\"$@\"", "\"${@}\"", "$@", "$*"];
        forms.iter().filter_map(|f| Some((text.find(f)?, f.len()))).min()
    };
    while let Some((at, length)) = next(rest) {
        out.push_str(&rest[..at]);
        out.push_str(&all);
        rest = &rest[at + length..];
        if out.len() > LONGEST {
            return script.to_owned();
        }
    }
    out + rest
}
