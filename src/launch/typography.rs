//! Dashes and quotes of a text program, which no engine takes for its own.

const DASHES: [char; 4] = ['\u{2013}', '\u{2014}', '\u{2212}', '\u{2011}'];

/// The words without those that no shell means, and what is to be told of them. Nothing is guessed around them.
pub(super) fn plain(words: Vec<String>, problems: &mut Vec<String>) -> Vec<String> {
    let (mut kept, mut skip) = (Vec::new(), false);
    for w in words {
        if w.starts_with(DASHES) {
            let meant = format!("--{}", w.trim_start_matches(DASHES).trim_start_matches('-'));
            problems.push(format!(
                "`{w}` begins with a typographic dash: no flag to the engine; `{meant}` was meant"
            ));
            skip = !w.contains('=');
            continue;
        }
        let value = std::mem::take(&mut skip) && !w.starts_with('-');
        if value {
            continue;
        }
        if w.contains(['\u{201c}', '\u{201d}', '\u{2018}', '\u{2019}']) {
            problems.push(format!("`{w}` has typographic quotes, which a shell takes as letters"));
        }
        kept.push(w);
    }
    kept
}

#[cfg(test)]
mod tests {
    use crate::launch::Launch;

    #[test]
    fn what_no_shell_means_is_told() {
        let l = Launch::parse("vllm serve m \u{2013}max-num-seqs 64 --max-model-len 8192");
        assert!(
            l.problems[0].contains("typographic dash") && l.problems[0].contains("`--max-num-seqs`"),
            "{:?}",
            l.problems
        );
        assert_eq!((l.model.as_deref(), l.integer(&["max-model-len"])), (Some("m"), Some(8192)));
        let l = Launch::parse("vllm serve $MODEL --tensor-parallel-size=$TP");
        assert_eq!(l.text(&["tensor-parallel-size"]), Some("$TP"));
    }
}
