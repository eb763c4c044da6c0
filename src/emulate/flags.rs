//! vLLM's command line as the embedded engine takes it: names, aliases, kinds, the releases that have them,
//! and argparse's words for what is wrong.

use super::flag_table::Takes::{Nothing, Number, OnOff, OneOf, Whole, Wholes, Words};
pub use super::flag_table::{Flag, OWN, Takes, VLLM, Version};
use std::collections::BTreeMap;
use std::fmt::Write;

/// What was on the command line, by canonical name.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Given {
    /// `None`: the switch was set; several words are joined by spaces.
    pub values: BTreeMap<&'static str, Option<String>>,
    /// Switches turned off by their `--no-` form.
    pub off: Vec<&'static str>,
    pub help: bool,
}

impl Given {
    pub fn text(&self, name: &str) -> Option<&str> {
        self.values.get(name)?.as_deref()
    }
    pub fn on(&self, name: &str) -> bool {
        self.values.contains_key(name)
    }
    pub fn whole(&self, name: &str) -> Option<u64> {
        self.text(name).and_then(whole)
    }
    pub fn number(&self, name: &str) -> Option<f64> {
        self.text(name)?.parse().ok()
    }
    /// vLLM's part as words of a command, for the resolver of defaults.
    pub fn vllm_words(&self) -> Vec<String> {
        let mut words = vec!["vllm".to_owned(), "serve".to_owned()];
        words.extend(self.text("model").map(str::to_owned));
        let own = |n: &str| n == "model" || OWN.iter().any(|f| f.name() == n);
        for (name, value) in self.values.iter().filter(|(n, _)| !own(n)) {
            words.push(format!("--{name}"));
            words.extend(value.clone());
        }
        words.extend(self.off.iter().map(|n| format!("--no-{n}")));
        words
    }
}

/// Reads a command line for release `version`; the first problem in argparse's words.
pub fn parse(args: &[String], version: Version) -> Result<Given, String> {
    let mut given = Given::default();
    let mut unknown = Vec::new();
    let mut i = 0;
    while i < args.len() {
        let word = &args[i];
        i += 1;
        if matches!(word.as_str(), "-h" | "--help" | "--help=all") {
            given.help = true;
            continue;
        }
        if !word.starts_with('-') {
            if given.values.contains_key("model") {
                unknown.push(word.clone());
            } else {
                given.values.insert("model", Some(word.clone()));
            }
            continue;
        }
        let (name, attached) =
            word.split_once('=').map_or((word.as_str(), None), |(n, v)| (n, Some(v.to_owned())));
        match find(name, version) {
            None => {
                unknown.push(word.clone());
                // argparse lists the values that follow an unknown option with it.
                while i < args.len() && !args[i].starts_with('-') {
                    unknown.push(args[i].clone());
                    i += 1;
                }
            }
            Some((flag, true)) => {
                given.values.remove(flag.name());
                given.off.push(flag.name());
            }
            Some((flag, false)) => {
                let value = take_value(flag, name, attached, args, &mut i)?;
                given.off.retain(|n| *n != flag.name());
                given.values.insert(flag.name(), value);
            }
        }
    }
    if unknown.is_empty() { Ok(given) } else { Err(format!("unrecognized arguments: {}", unknown.join(" "))) }
}

/// The flag of this name in this release, and whether it is the `--no-` form.
fn find(written: &str, version: Version) -> Option<(&'static Flag, bool)> {
    let bare = written.trim_start_matches('-').replace('_', "-");
    // `-O3`, and dotted keys such as `--compilation-config.mode`.
    let head = bare.split('.').next().unwrap_or(&bare);
    let head = if !written.starts_with("--") && head.starts_with('O') { "O" } else { head };
    let lookup = |n: &str| OWN.iter().chain(VLLM).find(|f| f.names.contains(&n) && f.exists(version));
    if let Some(f) = lookup(head) {
        return Some((f, false));
    }
    lookup(head.strip_prefix("no-")?).filter(|f| f.takes == OnOff).map(|f| (f, true))
}

fn take_value(
    flag: &Flag,
    written: &str,
    attached: Option<String>,
    args: &[String],
    i: &mut usize,
) -> Result<Option<String>, String> {
    let shown = shown(flag);
    if matches!(flag.takes, Nothing | OnOff) {
        return match attached {
            Some(v) => Err(format!("argument {shown}: ignored explicit argument '{v}'")),
            None => Ok(None),
        };
    }
    let attached =
        attached.or_else(|| written.strip_prefix("-O").filter(|v| !v.is_empty()).map(str::to_owned));
    let is_value = |w: &String| !w.starts_with('-') || w.parse::<f64>().is_ok();
    let mut words: Vec<String> = attached.into_iter().collect();
    let several = matches!(flag.takes, Wholes | Words);
    while (words.is_empty() || several) && args.get(*i).is_some_and(is_value) {
        words.push(args[*i].clone());
        *i += 1;
    }
    if words.is_empty() {
        return Err(format!(
            "argument {shown}: expected {}",
            if several { "at least one argument" } else { "one argument" }
        ));
    }
    words.iter().try_for_each(|w| check(flag, &shown, w))?;
    Ok(Some(words.join(" ")))
}

fn check(flag: &Flag, shown: &str, word: &str) -> Result<(), String> {
    match flag.takes {
        Whole | Wholes if whole(word).is_none() => {
            Err(format!("argument {shown}: invalid int value: '{word}'"))
        }
        Number if word.parse::<f64>().map_or(true, f64::is_nan) => {
            Err(format!("argument {shown}: invalid float value: '{word}'"))
        }
        OneOf(choices) if !choices.contains(&word) => {
            let list: Vec<String> = choices.iter().map(|c| format!("'{c}'")).collect();
            Err(format!("argument {shown}: invalid choice: '{word}' (choose from {})", list.join(", ")))
        }
        _ => Ok(()),
    }
}

/// `8192`, `8k` (8,000), `8K` (8,192), `1.5k`; also m, M, g, G.
pub fn whole(text: &str) -> Option<u64> {
    if let Ok(n) = text.parse::<u64>() {
        return Some(n);
    }
    let unit = match text.chars().last()? {
        'k' => 1e3,
        'm' => 1e6,
        'g' => 1e9,
        'K' => 1024.0,
        'M' => 1_048_576.0,
        'G' => 1_073_741_824.0,
        _ => return None,
    };
    let n: f64 = text[..text.len() - 1].parse().ok()?;
    (n >= 0.0 && n.is_finite()).then_some((n * unit) as u64)
}

fn shown(flag: &Flag) -> String {
    let dash = |n: &str| if n.len() == 1 { format!("-{n}") } else { format!("--{n}") };
    let mut names: Vec<String> = vec![dash(flag.name())];
    if flag.takes == OnOff {
        names.push(format!("--no-{}", flag.name()));
    }
    names.extend(flag.names[1..].iter().map(|n| format!("-{n}")));
    names.join(", ")
}

/// Help in argparse's layout, so that a tool which reads vLLM's help reads this one too.
pub fn help(version: Version) -> String {
    let (a, b, c) = version;
    let mut out = format!(
        "usage: dyno emulate [model] --hardware HARDWARE [--port PORT] [options]\n\n\
         The embedded engine: an OpenAI-compatible server whose token times are simulated. It takes the flags of \
         vLLM {a}.{b}.{c};\nthose without effect on time are accepted and named in the log.\n\n\
         the embedded engine:\n"
    );
    for (title, flags) in [("", OWN), ("\nvLLM's options:\n", VLLM)] {
        out.push_str(title);
        for f in flags.iter().filter(|f| f.exists(version)) {
            let _ = writeln!(out, "  {}\n                        {}", usage(f), f.help);
        }
    }
    out
}

/// The head of a help entry: every spelling with what it takes.
fn usage(f: &Flag) -> String {
    let upper = f.name().to_uppercase().replace('-', "_");
    let value = match f.takes {
        Nothing | OnOff => String::new(),
        Wholes | Words => format!(" {upper} [{upper} ...]"),
        OneOf(choices) => format!(" {{{}}}", choices.join(",")),
        _ => format!(" {upper}"),
    };
    shown(f).split(", ").map(|n| format!("{n}{value}")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Given, String> {
        read_at(line, (0, 11, 0))
    }
    fn read_at(line: &str, v: Version) -> Result<Given, String> {
        parse(&line.split_whitespace().map(str::to_owned).collect::<Vec<_>>(), v)
    }

    #[test]
    fn vllms_spellings_are_understood() {
        let g = read(
            "openai/gpt-oss-20b --hardware a100-sxm-80gb --max_num_seqs=128 -tp 2 --no-enable-prefix-caching \
             --max-num-batched-tokens 8k --async-scheduling -O3 --cuda-graph-sizes 1 2 4 --swap-space -1",
        )
        .unwrap();
        assert_eq!(g.text("model"), Some("openai/gpt-oss-20b"));
        assert_eq!((g.whole("max-num-seqs"), g.whole("max-num-batched-tokens")), (Some(128), Some(8000)));
        assert_eq!(g.whole("tensor-parallel-size"), Some(2));
        assert!(g.on("async-scheduling") && g.off == ["enable-prefix-caching"]);
        assert_eq!((g.text("cuda-graph-sizes"), g.text("compilation-config")), (Some("1 2 4"), Some("3")));
        let words = g.vllm_words().join(" ");
        assert!(words.starts_with("vllm serve openai/gpt-oss-20b --"), "{words}");
        assert!(words.contains("--max-num-seqs 128") && words.contains("--no-enable-prefix-caching"));
        assert!(!words.contains("hardware"));
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig::with_cases(128))]
        #[test]
        fn no_words_make_it_panic(words in proptest::collection::vec(
            "(--?[a-zO-]{0,12}(=.{0,4})?|--max-num-seqs|-O3|-tp|--cuda-graph-sizes|[0-9kKé.]{0,5}|\\PC{0,6})", 0..8)
        ) {
            let _ = parse(&words, (0, 11, 0));
        }
    }

    #[test]
    fn what_a_release_lacks_is_unrecognized() {
        for (line, v, want) in [
            ("m --stream-interval 4", (0, 11, 0), "unrecognized arguments: --stream-interval 4"),
            ("m --swap-space 4", (0, 18, 1), "unrecognized arguments: --swap-space 4"),
            (
                "m --num-scheduler-steps 8 --foo",
                (0, 11, 0),
                "unrecognized arguments: --num-scheduler-steps 8 --foo",
            ),
            ("m --no-disable-log-stats", (0, 11, 0), "unrecognized arguments: --no-disable-log-stats"),
            ("m --max-num-seqs", (0, 11, 0), "argument --max-num-seqs: expected one argument"),
            ("m --max-num-seqs many", (0, 11, 0), "argument --max-num-seqs: invalid int value: 'many'"),
            (
                "m --kv-cache-dtype fp99",
                (0, 11, 0),
                "argument --kv-cache-dtype: invalid choice: 'fp99' (choose from 'auto'",
            ),
            ("m --enforce-eager=1", (0, 11, 0), "ignored explicit argument '1'"),
            ("m other", (0, 11, 0), "unrecognized arguments: other"),
        ] {
            let e = read_at(line, v).unwrap_err();
            assert!(e.starts_with(want) || e.contains(want), "{line}: {e}");
        }
        assert!(read_at("m --stream-interval 4", (0, 12, 0)).is_ok());
    }

    #[test]
    fn the_search_space_asks_for_nothing_unknown_and_agrees_on_releases() {
        let rows = |text: &str| text.parse::<toml::Table>().unwrap()["flag"].as_array().unwrap().clone();
        let name = |row: &toml::Value| row["name"].as_str().unwrap().to_owned();
        for row in rows(include_str!("../../search-spaces/emulated.toml")) {
            let name = name(&row);
            // What goes together is spelt in flags that have rows of their own.
            if crate::launch::TOGETHER.contains(&name.as_str()) {
                continue;
            }
            assert!(VLLM.iter().any(|f| f.names.contains(&name.as_str())), "--{name}");
        }
        for row in rows(include_str!("../../search-spaces/vllm.toml")) {
            let name = name(&row);
            let Some(flag) = VLLM.iter().find(|f| f.name() == name) else { continue };
            let version = |key: &str| {
                row.get(key)
                    .and_then(|v| v.as_str()?.parse().ok())
                    .map(|v: crate::launch::Version| (v.0, v.1, v.2))
            };
            if let Some(since) = version("since").filter(|v| *v > (0, 11, 0)) {
                assert_eq!(flag.since, since, "--{name} since");
            }
            assert_eq!(flag.removed, version("removed"), "--{name} removed");
        }
    }

    #[test]
    fn no_name_stands_twice_and_the_help_names_every_flag() {
        let mut seen = std::collections::BTreeSet::new();
        for f in OWN.iter().chain(VLLM) {
            assert!(f.names.iter().all(|n| seen.insert(*n)), "{:?} stands twice", f.names);
        }
        let text = help((0, 11, 0));
        for f in OWN.iter().chain(VLLM).filter(|f| f.exists((0, 11, 0))) {
            assert!(text.contains(&format!("\n  --{}", f.name())), "{}", f.name());
        }
        assert!(!text.contains("--stream-interval") && help((0, 19, 0)).contains("--stream-interval"));
        assert!(read("--help").unwrap().help);
    }
}
