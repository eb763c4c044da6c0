//! What a shell makes of a script's variables: expansion, arithmetic, arrays, and settings that stand under a condition.

use super::branches::{Branch, Chain, Join, holds, is_test};
use super::defaults::LONGEST;
use super::loops::Loop;
use super::{arithmetic, defaults, words};
use std::collections::{BTreeMap, BTreeSet};

/// The variables of a script as far as they are known where the engine's command stands.
#[derive(Debug, Default)]
pub(super) struct Variables {
    pub(super) values: BTreeMap<String, String>,
    pub(super) arrays: BTreeMap<String, Vec<String>>,
    /// Every array of the script, in its order.
    pub(super) written: Vec<Written>,
    /// Set under a condition alone: which branch is taken is not known.
    pub(super) conditional: BTreeSet<String>,
    /// Arrays and variables whose words were taken.
    pub(super) used: BTreeSet<String>,
    /// Those under a condition that a variable's value was made of.
    made_of: BTreeMap<String, BTreeSet<String>>,
    /// Open `if`, `for`, `while` and `case`.
    open: Vec<Branch>,
    /// A test was read whose `then` has not come: another test may follow.
    testing: bool,
    chain: Chain,
    loops: Vec<Loop>,
    /// The last command that was evaluated.
    evaluated: Option<String>,
}

/// An array as the script writes it.
#[derive(Debug)]
pub(super) struct Written {
    pub(super) name: String,
    pub(super) items: Vec<String>,
    /// `NAME+=(…)`
    pub(super) added: bool,
}

impl Variables {
    /// Those of a script that begins with these values.
    pub(super) fn with(values: BTreeMap<String, String>) -> Variables {
        Variables { values, ..Variables::default() }
    }

    /// Follows the shell's keywords at the front of a command, and takes them off.
    pub(super) fn keywords(&mut self, words: &mut Vec<String>) {
        let several = std::mem::take(&mut self.testing) && words.first().is_some_and(|w| w != "then");
        if let Some(last) = self.open.last_mut().filter(|_| several) {
            *last = Branch::Open;
        }
        while let Some(w) = words.first() {
            let (word, before) = (w.clone(), self.open.len());
            let test = if word == "else" { Some(true) } else { self.decided(&words[1..]) };
            match word.as_str() {
                "if" => self.open.push(Branch::first(test)),
                "elif" | "else" => {
                    if let Some(last) = self.open.last_mut() {
                        *last = last.next(test);
                    }
                }
                "for" => self.open.push(Branch::Loop),
                "while" | "until" | "case" | "select" => self.open.push(Branch::Open),
                "fi" | "done" | "esac" => {
                    self.open.pop();
                }
                "then" | "do" | "{" | "!" | "time" => {}
                _ => break,
            }
            words.remove(0);
            self.loops.retain(|l| l.depth < self.open.len());
            if word == "if" || word == "elif" {
                self.testing = true;
                break;
            }
            if word == "for"
                && let Some(turns) = Loop::of(words, before, |w| self.listed(w))
            {
                if let Some(first) = turns.items.as_ref().and_then(|i| i.first()) {
                    self.values.insert(turns.name.clone(), first.clone());
                }
                self.loops.push(turns);
                words.clear();
            }
        }
    }

    /// Follows what the tests before a command say of it.
    pub(super) fn chained(&mut self, join: Join, words: &[String]) {
        self.chain = match join {
            Join::Apart => Chain::Free,
            Join::And => self.chain,
            Join::Or => self.chain.otherwise(),
        };
        if is_test(words) && !self.testing {
            self.chain = self.chain.tested(self.decided(words));
        }
    }

    /// Whether the script itself decides that a command does not run.
    pub(super) fn skipped(&self) -> bool {
        self.chain == Chain::Skipped || self.open.iter().any(|b| matches!(b, Branch::Skipped | Branch::Done))
    }

    /// Whether a condition or a loop is open.
    pub(super) fn decides(&self) -> bool {
        !self.open.is_empty()
    }

    /// Whether a loop is open.
    pub(super) fn loops_now(&self) -> bool {
        self.open.contains(&Branch::Loop)
    }

    pub(super) fn undecided(&self) -> bool {
        self.chain == Chain::Unknown || self.open.contains(&Branch::Open)
    }

    fn decided(&self, words: &[String]) -> Option<bool> {
        holds(words, |w| {
            let unsure = self.conditional.iter().any(|n| mentions(w, n));
            let whole = expanded(w, &self.values);
            (!unsure && !whole.contains(['$', '`'])).then_some(whole)
        })
    }

    /// `NAME=value` and `NAME+=value` as the script has them. What was set before stays where a condition decides.
    pub(super) fn set(&mut self, name: &str, value: &str, added: bool) {
        if self.undecided() {
            self.conditional.insert(name.to_owned());
            if self.values.contains_key(name) {
                return;
            }
        } else if !added {
            self.conditional.remove(name);
        }
        self.note_parts(name, value, added);
        let value = expanded(value, &self.values);
        let own = self.values.entry(name.to_owned()).or_default();
        if !added {
            own.clear();
        }
        own.push_str(&value);
    }

    fn note_parts(&mut self, name: &str, value: &str, added: bool) {
        if !value.contains('$') && !added {
            self.made_of.remove(name);
            return;
        }
        let mut parts: BTreeSet<String> =
            self.conditional.iter().filter(|n| mentions(value, n)).cloned().collect();
        let inner = self.made_of.iter().filter(|(n, _)| mentions(value, n) || (added && *n == name));
        parts.extend(inner.flat_map(|(_, p)| p.iter().cloned()).collect::<Vec<_>>());
        parts.remove(name);
        if parts.is_empty() {
            self.made_of.remove(name);
        } else {
            self.made_of.insert(name.to_owned(), parts);
        }
    }

    /// The words of a command that stand in a variable: `eval "$CMD"` as a shell's script, `$CMD` and `nohup $CMD` as the words
    /// that its value is, where they start an engine.
    pub(super) fn spelled(&mut self, given: Vec<String>, starts: fn(&[String]) -> bool) -> Vec<String> {
        if given.first().is_some_and(|w| w == "eval") {
            let text = given[1..].join(" ");
            let named: Vec<String> = self.values.keys().filter(|n| mentions(&text, n)).cloned().collect();
            self.used.extend(named);
            let whole = expanded(&text, &self.values);
            self.evaluated = Some(text);
            return vec!["sh".to_owned(), "-c".to_owned(), whole];
        }
        // The first word is split in any case (`$LAUNCHER vllm serve m`), and an empty one is none.
        let first = given.first().and_then(|w| variable(w)).and_then(|n| Some((n, self.values.get(n)?)));
        if let Some((name, value)) = first {
            self.used.insert(name.to_owned());
            return [&words::split(value).0, &given[1..]].concat();
        }
        let held = |w: &String| {
            let name = variable(w)?;
            let words = words::split(self.values.get(name)?).0;
            starts(&words).then(|| (name.to_owned(), words))
        };
        let Some((at, (name, inner))) = given.iter().enumerate().find_map(|(i, w)| Some((i, held(w)?)))
        else {
            return given;
        };
        self.used.insert(name);
        [&given[..at], &inner, &given[at + 1..]].concat()
    }

    /// What is to be told where no engine was found: a command that is made elsewhere may have started one.
    pub(super) fn unread(&self) -> Option<String> {
        let text = self.evaluated.as_ref()?;
        expanded(text, &self.values).contains('$').then(|| {
            format!("the script evaluates {text}, whose words are not known here: no engine is read of it")
        })
    }

    /// What is to be told of conditions in these words.
    pub(super) fn conditions(&self, words: &[String]) -> Vec<String> {
        let named = |n: &str| self.used.contains(n) || words.iter().any(|w| mentions(w, n));
        let within = |n: &String| self.made_of.iter().any(|(m, parts)| parts.contains(n) && named(m));
        let found = self.conditional.iter().filter(|n| named(n) || within(n));
        let turns = self.loops.iter().filter_map(Loop::told);
        let told = found.map(|n| match self.values.get(n) {
            Some(value) if value.len() <= 80 => {
                format!("${n} is set under a condition of the script too; {value:?} is taken")
            }
            _ => format!("${n} is added to under a condition of the script, which is left out"),
        });
        turns.chain(told).collect()
    }
}

/// `NAME=value`.
pub(crate) fn assignment(w: &str) -> Option<(&str, &str)> {
    let (name, value) = w.split_once('=')?;
    let ok = !name.is_empty()
        && !name.starts_with(|c: char| c.is_ascii_digit())
        // `vllm==0.9.2` is a pin.
        && !value.starts_with('=')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    ok.then_some((name, value))
}

/// The name where a word is one variable and nothing else.
fn variable(word: &str) -> Option<&str> {
    let name = word.strip_prefix('$')?;
    let name = name.strip_prefix('{').and_then(|n| n.strip_suffix('}')).unwrap_or(name);
    let plain = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    plain.then_some(name)
}

/// Whether a word takes in a variable or an array.
fn mentions(word: &str, name: &str) -> bool {
    if !word.contains('$') {
        return false;
    }
    let ends = |rest: &str| rest.chars().next().is_none_or(|c| !(c.is_ascii_alphanumeric() || c == '_'));
    let after = |form: &str| word.match_indices(form).any(|(i, _)| ends(&word[i + form.len()..]));
    after(&format!("${name}")) || after(&format!("${{{name}"))
}

/// Whether a word takes in a variable without a default of its own: `$NAME`, `${NAME}`.
fn takes_in(word: &str, name: &str) -> bool {
    let ends = |rest: &str| rest.chars().next().is_none_or(|c| !(c.is_ascii_alphanumeric() || c == '_'));
    let plain = format!("${name}");
    word.contains(&format!("${{{name}}}"))
        || word.match_indices(&plain).any(|(i, _)| ends(&word[i + plain.len()..]))
}

/// `$NAME`, `${NAME}` and `${NAME:-default}` where the command itself set them, and `$((…))` where all of it is known.
pub(crate) fn expanded(word: &str, env: &BTreeMap<String, String>) -> String {
    if !word.contains('$') {
        return word.to_owned();
    }
    let mut out = arithmetic::worked_out(&defaults::of_known(word, env), env);
    // What a value says of its own variable was not known when it was set, and is not what it is now.
    for (name, value) in env.iter().rev().filter(|(name, value)| !takes_in(value, name)) {
        let braced = format!("${{{name}}}");
        if out.len() + (out.matches(&braced).count() + 1) * value.len() > LONGEST {
            continue;
        }
        out = out.replace(&braced, value);
        let plain = format!("${name}");
        let ends = |rest: &str| rest.chars().next().is_none_or(|c| !(c.is_ascii_alphanumeric() || c == '_'));
        if let Some(at) = out.find(&plain)
            && ends(&out[at + plain.len()..])
        {
            out = out.replacen(&plain, value, 1);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use crate::launch::{GpuLayout, Launch};

    /// Thirty lines, each of which doubles the one before.
    #[test]
    fn what_doubles_again_and_again_takes_no_memory() {
        let words: String = (0..30).map(|i| format!("A{}=${{A{i}}}${{A{i}}}\n", i + 1)).collect();
        let l = Launch::parse(&format!("A0=xxxxxxxx\n{words}vllm serve m --served-model-name \"$A30\""));
        assert!(l.env.values().all(|v| v.len() < 1 << 21) && l.argv.iter().all(|w| w.len() < 1 << 21));
        assert_eq!(l.model.as_deref(), Some("m"));
        let arrays = "A+=(\"${A[@]}\" \"${A[@]}\")\n".repeat(30);
        let l = Launch::parse(&format!("A=(-tp 2)\n{arrays}vllm serve m \"${{A[@]}}\""));
        assert!(l.argv.len() < 1 << 18, "{}", l.argv.len());
    }

    #[test]
    fn a_value_that_names_its_own_variable_is_the_same_when_it_is_read_again() {
        let l = Launch::parse("k='a $k'\nvllm serve m --served-model-name=\"$k\"");
        assert_eq!(l.engine, Some(crate::launch::EngineKind::Vllm));
        let again = Launch::parse(&l.to_text());
        assert_eq!((&l.env, &l.argv), (&again.env, &again.argv), "{}", l.to_text());
    }

    #[test]
    fn arrays_and_conditions_of_a_script() {
        let l = Launch::parse(
            "ARGS=(--max-num-seqs 8)\nARGS+=(\n  --block-size 64\n)\nif (( X )); then\n  ARGS+=(-tp 4)\nfi\nCMD=(vllm serve m \"${ARGS[@]}\")\n\
             nohup \"${CMD[@]}\" > log 2>&1 &",
        );
        assert_eq!((l.integer(&["max-num-seqs"]), l.integer(&["block-size"])), (Some(8), Some(64)), "{l:?}");
        assert_eq!(GpuLayout::of(&l).gpus(), 1);
        assert!(
            l.problems.iter().any(|p| p.contains("$ARGS is added to under a condition")),
            "{:?}",
            l.problems
        );
        let l = Launch::parse(
            "TP=2\nif [ \"$1\" = big ]; then\n  TP=8\n  EXTRA=\"--enforce-eager -pp 2\"\nfi\nvllm serve m -tp $TP $EXTRA",
        );
        assert_eq!((GpuLayout::of(&l).gpus(), l.switch(&["enforce-eager"])), (4, Some(true)), "{l:?}");
        assert!(
            l.problems.iter().any(|p| p.contains("$EXTRA is set under a condition of the script")),
            "{:?}",
            l.problems
        );
    }

    #[test]
    fn a_command_in_a_variable_is_read() {
        let l = Launch::parse(
            "MODEL=org/m\nTP=2\nfor i in 0 1; do\n  cmd=\"CUDA_VISIBLE_DEVICES=$i vllm serve $MODEL --port $((8000 + i))\"\n  \
             cmd=\"$cmd -tp $TP\"\n  if [ -n \"$EXTRA\" ]; then\n    cmd+=\" $EXTRA\"\n  fi\n  echo $cmd\n  \
             eval $cmd > $i.log 2>&1 &\ndone",
        );
        assert_eq!((l.model.as_deref(), GpuLayout::of(&l).gpus()), (Some("org/m"), 2), "{l:?}");
        assert_eq!((l.text(&["port"]), l.env["CUDA_VISIBLE_DEVICES"].as_str()), (Some("8000"), "0"));
        for told in ["2 engines", "$cmd is set under a condition"] {
            assert!(l.problems.iter().any(|p| p.contains(told)), "{told}: {:?}", l.problems);
        }
        let l = Launch::parse(
            "CMD='python3 -m sglang.launch_server --model-path m'\nCMD+=' --tp 4'\nnohup $CMD > log &",
        );
        assert_eq!((l.model.as_deref(), GpuLayout::of(&l).gpus()), (Some("m"), 4), "{l:?}");
        assert!(l.problems.is_empty(), "{:?}", l.problems);
    }

    #[test]
    fn a_command_that_cannot_be_worked_out_is_told_and_none_of_its_words_is_a_model() {
        let l = Launch::parse("pip install vllm\nCMD=$(build serve)\neval \"$CMD --port 8000\"");
        assert_eq!((l.engine, l.model.as_deref()), (None, None), "{l:?}");
        assert!(l.problems.iter().any(|p| p.contains("the script evaluates $CMD")), "{:?}", l.problems);
        let l = Launch::parse("source lib.sh\ncheck_env\npython serve.py data --model org/m");
        assert_eq!((l.engine, l.model.as_deref()), (None, Some("org/m")), "{l:?}");
        let deep = format!("{}vllm serve m", "eval ! ".repeat(5000));
        assert_eq!(Launch::parse(&deep).engine, None);
        let l = Launch::parse("source lib.sh\ncheck_env\nrun_server data");
        assert_eq!((l.engine, l.model.as_deref()), (None, None), "{l:?}");
    }
}
