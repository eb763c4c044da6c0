//! Reading an engine's own `--help`: the judge of which flags the installed version has.

use crate::launch::{Candidate, canonical_flag};
use regex::Regex;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::LazyLock;

/// One flag as the help names it.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct HelpFlag {
    /// A `--no-…` form exists.
    pub negative: bool,
    /// The flag takes no value.
    pub switch: bool,
    /// Allowed values, when the help lists them.
    pub choices: Vec<String>,
}

/// Every flag of the installed version by name without dashes; aliases are entries of their own.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct HelpFlags {
    pub flags: BTreeMap<String, HelpFlag>,
}

/// An option line of argparse or click: at most a few spaces, then a dash.
static OPTION: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"^ {1,8}(-{1,2}[A-Za-z].*)$").expect("constant"));
static NAME: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"(?:^|[\s,/])(--?[A-Za-z][A-Za-z0-9_.-]*)").expect("constant"));
static CHOICES: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"[\{\[]([^\}\]]*[,|][^\}\]]*)[\}\]]").expect("constant"));

impl HelpFlags {
    /// Parses the text of `--help`, argparse or click style.
    pub fn parse(text: &str) -> HelpFlags {
        let mut help = HelpFlags::default();
        for head in heads(text) {
            let names: Vec<String> = NAME.captures_iter(&head).map(|c| c[1].to_owned()).collect();
            let long: Vec<&String> = names.iter().filter(|n| n.starts_with("--")).collect();
            let negative = long.iter().any(|n| n.starts_with("--no-"));
            let choices = CHOICES.captures(&head).map_or_else(Vec::new, |c| {
                c[1].split([',', '|']).map(|s| s.trim().to_owned()).filter(|s| s != "...").collect()
            });
            let switch = names.last().is_some_and(|n| head.trim_end().ends_with(n.as_str()));
            for name in long {
                // An alias list may hold `--no-x` beside `--x`: both are the one flag.
                if let Some(flag) = canonical_flag(name) {
                    let entry = help.flags.entry(flag).or_default();
                    entry.negative |= negative;
                    entry.switch |= switch;
                    if entry.choices.is_empty() {
                        entry.choices.clone_from(&choices);
                    }
                }
            }
        }
        help
    }

    /// The flag's entry; a dotted name (`compilation-config.mode`) is judged by its head.
    pub fn get(&self, name: &str) -> Option<&HelpFlag> {
        let name = name.replace('_', "-");
        self.flags.get(&name).or_else(|| self.flags.get(name.split('.').next().unwrap_or(&name)))
    }

    /// What of the candidate this version does not accept, one line each; empty when all is well or when
    /// nothing is known of the version.
    pub fn objections(&self, candidate: &Candidate) -> Vec<String> {
        if self.flags.is_empty() {
            return Vec::new();
        }
        candidate
            .flags
            .iter()
            .filter_map(|(name, value)| {
                let Some(flag) = self.get(name) else {
                    return Some(format!("--{name} is not in this version"));
                };
                let text = value.to_string();
                let negated = matches!(value, crate::launch::FlagValue::Bool(false));
                if negated && !flag.negative && flag.switch {
                    return Some(format!("--no-{name} is not in this version"));
                }
                let judged = !flag.choices.is_empty() && !flag.switch && !text.contains(' ');
                (judged && !flag.choices.contains(&text))
                    .then(|| format!("--{name} {text}: this version takes {}", flag.choices.join(", ")))
            })
            .collect()
    }
}

/// Heads of option entries: the option line without its explanation, joined over wrapped lines until the
/// braces of a choice list close.
fn heads(text: &str) -> Vec<String> {
    let mut heads: Vec<String> = Vec::new();
    let mut open = false;
    for line in text.lines() {
        let head =
            |s: &str| s.split("   ").next().unwrap_or(s).split("  ").next().unwrap_or(s).trim().to_owned();
        if open {
            if let Some(last) = heads.last_mut() {
                last.push_str(line.trim());
                open = last.matches('{').count() > last.matches('}').count();
            }
        } else if let Some(c) = OPTION.captures(line) {
            let h = head(&c[1]);
            open = h.matches('{').count() > h.matches('}').count();
            heads.push(h);
        }
    }
    heads
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::launch::EngineKind;
    use crate::launch::FlagValue;

    const HELP: &str = "\
usage: vllm serve [model_tag] [options]

options:
  --api-server-count API_SERVER_COUNT, -asc API_SERVER_COUNT
                        How many API server processes to run.
  --disable-log-stats   Disable logging statistics. (default: False)
  --enable-prefix-caching, --no-enable-prefix-caching
                        Whether to enable prefix caching. See --max-num-seqs.
  --kv-cache-dtype {auto,bfloat16,
                    fp8}
                        Data type.
  --cudagraph-capture-sizes CUDAGRAPH_CAPTURE_SIZES [CUDAGRAPH_CAPTURE_SIZES ...]
                        Sizes to capture.
  --max_batch_size INTEGER        Maximum number of requests
  --backend [pytorch|tensorrt|trt]
                                  The backend
";

    #[test]
    fn argparse_and_click_are_read() {
        let h = HelpFlags::parse(HELP);
        let names: Vec<&str> = h.flags.keys().map(String::as_str).collect();
        assert_eq!(
            names,
            [
                "api-server-count",
                "backend",
                "cudagraph-capture-sizes",
                "disable-log-stats",
                "enable-prefix-caching",
                "kv-cache-dtype",
                "max-batch-size"
            ]
        );
        assert!(h.get("enable-prefix-caching").unwrap().negative);
        assert!(h.get("disable-log-stats").unwrap().switch);
        assert!(!h.get("api-server-count").unwrap().switch);
        assert_eq!(h.get("kv-cache-dtype").unwrap().choices, ["auto", "bfloat16", "fp8"]);
        assert_eq!(h.get("backend").unwrap().choices, ["pytorch", "tensorrt", "trt"]);
    }

    #[test]
    fn what_the_version_lacks_is_named() {
        let h = HelpFlags::parse(HELP);
        let c = Candidate::baseline(EngineKind::Vllm)
            .with("stream-interval", FlagValue::Int(4))
            .with("kv-cache-dtype", FlagValue::Text("fp4".into()))
            .with("disable-log-stats", FlagValue::Bool(false))
            .with("enable-prefix-caching", FlagValue::Bool(false));
        assert_eq!(
            h.objections(&c),
            [
                "--no-disable-log-stats is not in this version",
                "--kv-cache-dtype fp4: this version takes auto, bfloat16, fp8",
                "--stream-interval is not in this version",
            ]
        );
        assert!(HelpFlags::default().objections(&c).is_empty(), "unknown version: the engine judges");
    }
}
