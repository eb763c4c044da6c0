//! Judging candidates: defaults, violations, axes to search, spelling in a release.

use super::Space;
use super::context::{Context, term};
use super::expr::Term;
use super::flag::{Constraint, Flag, OtherName, OutputChange, Phase, TuneRule};
use crate::launch::Version;
use crate::launch::{Candidate, FlagValue, TOGETHER, is_variable};
use serde::Serialize;
use std::collections::BTreeSet;

/// One flag to search over, with the values worth trying besides the default.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Axis {
    /// The flag's name in the context's release.
    pub flag: String,
    /// In the table's order: ascending where the values have one.
    pub values: Vec<FlagValue>,
    /// The default in this context, when the table knows it.
    pub default: Option<FlagValue>,
    pub phase: Vec<Phase>,
    pub changes_output: bool,
    /// What its values may do to the model's answers.
    pub output: OutputChange,
    pub doc: String,
    pub mechanism: String,
    pub source: String,
}

/// A candidate's conflict with the table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Violation {
    pub flag: String,
    pub message: String,
}

/// A difference between the table and the installed release: a fact to report, not an error.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Mismatch {
    pub flag: String,
    pub message: String,
}

/// How a flag is given in one release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Spelling {
    Flag(String),
    Env(String),
}

impl Space {
    fn version(&self, ctx: &Context<'_>) -> Version {
        ctx.version.unwrap_or(self.newest)
    }

    /// The flag's default in a context; `None` when the table does not know it.
    pub fn default_of(&self, flag: &Flag, ctx: &Context<'_>) -> Option<FlagValue> {
        self.default_at(flag, ctx, 0)
    }

    fn default_at(&self, flag: &Flag, ctx: &Context<'_>, depth: u32) -> Option<FlagValue> {
        let version = self.version(ctx);
        let fact = |name: &str| self.term_at(name, None, ctx, depth + 1);
        let rules = flag.defaults.iter().rev();
        let dated = rules.filter(|d| d.since.is_none_or(|s| version >= s));
        for rule in dated {
            match rule.when.as_ref().map_or(Some(true), |w| w.holds(&fact)) {
                Some(true) => return Some(rule.value.clone()),
                Some(false) => {}
                // Which default applies hangs on something unknown.
                None => return None,
            }
        }
        None
    }

    /// A name's value: a flag's as set, as fixed, or by default; else a fact of the context.
    fn term_at(&self, name: &str, c: Option<&Candidate>, ctx: &Context<'_>, depth: u32) -> Option<Term> {
        if name == "version" {
            return Some(Term::Version(self.version(ctx)));
        }
        let Some(flag) = self.flags.iter().find(|f| f.name == name) else { return ctx.fact(name) };
        let set = c.and_then(|c| value_in(c, flag)).or_else(|| ctx.fixed.and_then(|c| value_in(c, flag)));
        match set {
            Some(v) => Some(term(v)),
            // Defaults may hang on other flags' defaults; a circle ends as unknown.
            None if depth < 4 => self.default_at(flag, ctx, depth).map(|v| term(&v)),
            None => None,
        }
    }

    /// What is wrong with a candidate here: values out of range, flags that the release lacks, constraints
    /// broken. Flags that the table does not know are left to the engine; see [`Space::unknown_flags`].
    pub fn check(&self, candidate: &Candidate, ctx: &Context<'_>) -> Vec<Violation> {
        let candidate = &candidate.apart();
        let mut out = Vec::new();
        let version = self.version(ctx);
        let mut add = |flag: &Flag, message: String| out.push(Violation { flag: flag.name.clone(), message });
        for (name, value) in &candidate.flags {
            let Some(flag) = self.flag(name) else { continue };
            if self.spelling(flag, ctx).is_none() {
                add(flag, format!("{} is not in release {version}", shown(name)));
            }
            if let Some(message) = flag.objection(value, version) {
                add(flag, format!("{} {message}", shown(name)));
            }
        }
        let set = |name: &str| {
            self.flags.iter().find(|f| f.name == name).is_some_and(|f| {
                value_in(candidate, f).is_some() || ctx.fixed.is_some_and(|c| value_in(c, f).is_some())
            })
        };
        let scope = |name: &str| self.term_at(name, Some(candidate), ctx, 0);
        for flag in &self.flags {
            for c in &flag.constraints {
                let concerned = set(&flag.name) || c.need.names().iter().any(|n| set(n));
                if concerned && c.need.holds(&scope) == Some(false) {
                    add(flag, format!("needs {}: {}", c.need, c.why));
                }
            }
        }
        out
    }

    /// Why the engine cannot serve this model on this hardware at all, whatever the flags; empty when the
    /// table has nothing against it.
    pub fn limits_broken(&self, ctx: &Context<'_>) -> Vec<&Constraint> {
        let scope = |name: &str| self.term_at(name, None, ctx, 0);
        self.limits.iter().filter(|c| c.need.holds(&scope) == Some(false)).collect()
    }

    /// Whether the table has nothing against a candidate.
    pub fn admits(&self, candidate: &Candidate, ctx: &Context<'_>) -> bool {
        self.check(candidate, ctx).is_empty()
    }

    /// The most that a candidate's flags may do to the model's answers, by the table.
    pub fn output_change(&self, candidate: &Candidate) -> OutputChange {
        let of = |(name, value): (&String, &FlagValue)| {
            let Some(flag) = self.flag(name) else { return OutputChange::None };
            let rule = flag.tune.iter().find(|r| r.values.contains(value));
            let plain = if flag.changes_output { OutputChange::Approximate } else { OutputChange::None };
            // A value with a draft model's name in it stands in no rule as it is.
            let told = rule.or(flag.tune.first()).and_then(|r| r.output);
            told.unwrap_or_else(|| rule.map_or(plain, |r| output_of(flag, r)))
        };
        let variant = candidate.variant().map(|_| OutputChange::Approximate);
        candidate.flags.iter().map(of).chain(variant).max().unwrap_or(OutputChange::None)
    }

    /// Flags of a candidate that the table does not know.
    pub fn unknown_flags<'c>(&self, candidate: &'c Candidate) -> Vec<&'c str> {
        candidate.flags.keys().map(String::as_str).filter(|n| self.flag(n).is_none()).collect()
    }

    /// The flags worth searching over in a context, each with its values: present in the release, allowed on
    /// this hardware and model, different from the default, of use for the load, not fixed by the user.
    pub fn tunable(&self, ctx: &Context<'_>) -> Vec<Axis> {
        self.flags.iter().filter_map(|f| self.axis(f, ctx)).collect()
    }

    fn axis(&self, flag: &Flag, ctx: &Context<'_>) -> Option<Axis> {
        let fixed = ctx.fixed.is_some_and(|c| c.flags.keys().any(|n| self.flag(n) == Some(flag)));
        let spelled = match self.spelling(flag, ctx).filter(|_| !fixed)? {
            Spelling::Flag(name) => name,
            Spelling::Env(name) if name == flag.name => name,
            // A release in which another name's environment variable does it has no such axis.
            Spelling::Env(_) => return None,
        };
        let scope = |name: &str| self.term_at(name, None, ctx, 0);
        // A rule whose condition cannot be decided is not one to act on.
        let holds = |r: &&TuneRule| r.when.as_ref().is_none_or(|w| w.holds(&scope) == Some(true));
        let first = flag.tune.iter().filter(|r| !r.also).find(holds);
        let further = flag.tune.iter().filter(|r| r.also).filter(holds);
        let rules: Vec<&TuneRule> = first
            .into_iter()
            .chain(further)
            .filter(|r| output_of(flag, r) <= ctx.allowed_output_change)
            .collect();
        let output = rules.iter().map(|r| output_of(flag, r)).max()?;
        let changes_output = output == OutputChange::Approximate;
        let default = self.default_of(flag, ctx);
        let mut values = Vec::new();
        for rule in &rules {
            values.extend(rule.values.iter().map(|v| with_draft(v, ctx.draft_model)));
            values.extend(rule.times.iter().filter_map(|t| multiple(default.as_ref()?, *t)));
        }
        let base = Candidate::baseline(self.engine);
        values.retain(|v| {
            let c = base.with(&flag.name, v.clone());
            let useful = flag.useful.as_ref().and_then(|u| u.holds(&|n| self.term_at(n, Some(&c), ctx, 0)));
            Some(v) != default.as_ref() && useful != Some(false) && self.admits(&c, ctx)
        });
        // A layout whose parts the user has fixed is not turned.
        let held = |n: &String| ctx.fixed.is_some_and(|c| c.flags.keys().any(|f| self.same(f, n)));
        values.retain(|v| !base.with(&flag.name, v.clone()).apart().flags.keys().any(&held));
        let mut seen = Vec::new();
        values.retain(|v| {
            !seen.contains(v) && {
                seen.push(v.clone());
                true
            }
        });
        if values.is_empty() {
            return None;
        }
        Some(Axis {
            flag: spelled,
            values,
            default,
            phase: flag.phase.clone(),
            changes_output,
            output,
            doc: flag.doc.clone(),
            mechanism: flag.mechanism.clone(),
            source: flag.source.clone(),
        })
    }

    /// Whether two names mean one flag.
    fn same(&self, a: &str, b: &str) -> bool {
        a == b || self.flag(a).is_some_and(|f| self.flag(b) == Some(f))
    }

    /// How the flag is given in the context's release; `None` when it cannot be. The installed release's own
    /// list of flags, when known, decides over the table.
    pub fn spelling(&self, flag: &Flag, ctx: &Context<'_>) -> Option<Spelling> {
        let version = self.version(ctx);
        // No engine lists its environment variables.
        if is_variable(&flag.name) {
            return flag.span.holds(version).then(|| Spelling::Env(flag.name.clone()));
        }
        let by_env = || of_release(&flag.env, version).map(|n| Spelling::Env(n.to_owned()));
        if let Some(names) = ctx.installed {
            let together = |n: &str| match n {
                "speculative" => names.contains("speculative-algorithm"),
                // Every engine has a form of it.
                other => TOGETHER.contains(&other),
            };
            let has = |n: &str| {
                names.contains(n) || together(n) || n.split_once('.').is_some_and(|(h, _)| names.contains(h))
            };
            let own = std::iter::once(&flag.name).chain(flag.aliases.iter().map(|a| &a.name));
            return own.into_iter().find(|n| has(n)).map(|n| Spelling::Flag(n.clone())).or_else(by_env);
        }
        if flag.span.holds(version) {
            return Some(Spelling::Flag(flag.name.clone()));
        }
        of_release(&flag.aliases, version).map(|n| Spelling::Flag(n.to_owned())).or_else(by_env)
    }

    /// The candidate as the context's release spells it: renamed flags under their name of that release, and
    /// those that were environment variables as such. What the release lacks stays as it is.
    pub fn spelled(&self, candidate: &Candidate, ctx: &Context<'_>) -> Candidate {
        let mut out = Candidate { flags: std::collections::BTreeMap::new(), ..candidate.clone() };
        for (name, value) in &candidate.flags {
            match self.flag(name).and_then(|f| self.spelling(f, ctx)) {
                Some(Spelling::Env(env)) => {
                    let text = match value {
                        FlagValue::Bool(b) => u8::from(*b).to_string(),
                        other => other.to_string(),
                    };
                    out.env.insert(env, text);
                }
                Some(Spelling::Flag(spelled)) => {
                    out.flags.insert(spelled, value.clone());
                }
                None => {
                    out.flags.insert(name.clone(), value.clone());
                }
            }
        }
        out
    }

    /// Where the installed release's own list of flags differs from what the table says of that release.
    pub fn mismatches(&self, version: Version, installed: &BTreeSet<String>) -> Vec<Mismatch> {
        let mut out = Vec::new();
        for flag in self.flags.iter().filter(|f| has_a_word_of_its_own(&f.name)) {
            let listed = installed.contains(&flag.name);
            let expected = flag.span.holds(version) || of_release(&flag.aliases, version) == Some(&flag.name);
            let message = match (expected, listed) {
                (true, false) => {
                    format!("release {version} does not list it, although the table has it there")
                }
                (false, true) => format!("release {version} lists it, although the table does not"),
                _ => continue,
            };
            out.push(Mismatch { flag: flag.name.clone(), message });
        }
        out
    }
}

/// Whether the engine's help can list a row: parts of a JSON value, flags that only go together and environment variables have
/// no word of their own there.
fn has_a_word_of_its_own(name: &str) -> bool {
    !name.contains('.') && !TOGETHER.contains(&name) && !is_variable(name)
}

/// What the values of a rule may do to the answers.
pub(super) fn output_of(flag: &Flag, rule: &TuneRule) -> OutputChange {
    let changes = flag.changes_output || rule.changes_output;
    rule.output.unwrap_or(if changes { OutputChange::Approximate } else { OutputChange::None })
}

fn shown(name: &str) -> String {
    if is_variable(name) { name.to_owned() } else { format!("--{name}") }
}

/// A value with the name of the user's draft model where the table leaves room for it.
fn with_draft(value: &FlagValue, draft: Option<&str>) -> FlagValue {
    match (value, draft) {
        (FlagValue::Text(t), Some(name)) => FlagValue::Text(t.replace("{draft}", name)),
        _ => value.clone(),
    }
}

/// The flag's value in a candidate, under whichever of its names it is given there.
fn value_in<'c>(candidate: &'c Candidate, flag: &Flag) -> Option<&'c FlagValue> {
    let names = std::iter::once(&flag.name).chain(flag.aliases.iter().map(|a| &a.name));
    names
        .into_iter()
        .find_map(|n| candidate.flags.get(n).or_else(|| candidate.flags.get(&n.replace('_', "-"))))
}

fn of_release(names: &[OtherName], version: Version) -> Option<&str> {
    names.iter().find(|n| n.span.holds(version)).map(|n| n.name.as_str())
}

fn multiple(default: &FlagValue, times: f64) -> Option<FlagValue> {
    match default {
        FlagValue::Int(i) => Some(FlagValue::Int((*i as f64 * times).round() as i64)),
        FlagValue::Float(x) => Some(FlagValue::Float(x * times)),
        _ => None,
    }
}
