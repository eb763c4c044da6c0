//! From a file's rows to flags: names, spans, conditions and values are checked for what they mean.

use super::super::Space;
use super::super::context::fact_kind;
use super::super::expr::{Expr, Kind};
use super::super::flag::{Choice, Constraint, DefaultRule, Flag, FlagType, OtherName, Role, Span, TuneRule};
use super::shape::{RawChoice, RawConstraint, RawFlag, RawOther, RawSpace};
use crate::error::Problem;
use crate::launch::Version;
use std::collections::BTreeMap;

/// Values of one flag that a space may hold: the work of a search grows with their product.
const MOST_VALUES: usize = 1000;

struct Builder<'a> {
    file: &'a str,
    kinds: BTreeMap<String, Kind>,
    problems: Vec<Problem>,
}

/// The space of a file whose shape is checked.
///
/// Errors: every problem of its meaning.
pub(super) fn build(file: &str, raw: RawSpace) -> Result<Space, Vec<Problem>> {
    let mut builder = Builder { file, kinds: BTreeMap::new(), problems: Vec::new() };
    let space = builder.space(raw);
    if builder.problems.is_empty() { Ok(space) } else { Err(builder.problems) }
}

impl Builder<'_> {
    fn bad(&mut self, key: String, message: impl Into<String>) {
        self.problems.push(Problem::new(self.file, key, message));
    }

    fn space(&mut self, raw: RawSpace) -> Space {
        if raw.newest < raw.oldest {
            self.bad("newest".into(), "is before oldest");
        }
        for f in &raw.flag {
            if self.kinds.insert(f.name.clone(), f.kind.kind()).is_some() {
                self.bad(format!("flag.{}", f.name), "stands twice");
            }
        }
        let limits = self.constraints("limits", raw.limits);
        let flags: Vec<Flag> = raw.flag.into_iter().map(|f| self.flag(f)).collect();
        for f in &flags {
            for a in &f.aliases {
                if flags.iter().any(|other| other.name == a.name && other.span == Span::default()) {
                    self.bad(
                        format!("flag.{}.aliases", f.name),
                        format!("`{}` is a flag of its own", a.name),
                    );
                }
            }
        }
        Space {
            engine: raw.engine,
            oldest: raw.oldest,
            newest: raw.newest,
            doc: raw.doc,
            neutral: raw.neutral,
            limits,
            flags,
        }
    }

    fn flag(&mut self, raw: RawFlag) -> Flag {
        let key = format!("flag.{}", raw.name);
        let named_well = raw.name.starts_with(|c: char| c.is_ascii_alphabetic())
            && raw.name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
        if !named_well {
            self.bad(key.clone(), "is no flag name: letters, digits and dashes, without the leading dashes");
        }
        let role = match (raw.modelled, raw.neutral) {
            (true, true) => {
                self.bad(key.clone(), "is either modelled or neutral, not both");
                Role::Modelled
            }
            (true, false) => Role::Modelled,
            (false, true) => Role::Neutral,
            (false, false) => Role::Told,
        };
        let span = self.span(&key, raw.since, raw.removed);
        let defaults = raw.defaults.into_iter().map(|d| DefaultRule {
            value: d.value,
            since: d.since,
            when: self.condition(format!("{key}.defaults.if"), d.when),
        });
        let defaults = defaults.collect();
        let tune: Vec<TuneRule> = raw
            .tune
            .into_iter()
            .map(|t| TuneRule {
                when: self.condition(format!("{key}.tune.if"), t.when),
                values: t.values,
                times: t.times,
                changes_output: t.changes_output,
                output: t.output,
                also: t.also,
            })
            .collect();
        let constraints = self.constraints(&format!("{key}.constraints"), raw.constraints);
        let flag = Flag {
            choices: self.choices(&key, raw.values),
            kind: raw.kind,
            min: raw.min,
            max: raw.max,
            negatable: raw.negatable.unwrap_or(true),
            default: raw.default,
            defaults,
            span,
            aliases: self.others(&key, "aliases", raw.aliases),
            env: self.others(&key, "env", raw.env),
            role,
            phase: raw.phase,
            changes_output: raw.changes_output,
            doc: raw.doc,
            mechanism: raw.mechanism,
            source: raw.source,
            constraints,
            tune,
            useful: self.condition(format!("{key}.useful"), raw.useful),
            name: raw.name,
        };
        self.meaning(&key, &flag);
        flag
    }

    fn constraints(&mut self, key: &str, raw: Vec<RawConstraint>) -> Vec<Constraint> {
        raw.into_iter()
            .filter_map(|c| {
                let need = self.condition(format!("{key}.need"), Some(c.need))?;
                Some(Constraint { need, why: c.why })
            })
            .collect()
    }

    fn meaning(&mut self, key: &str, f: &Flag) {
        if f.phase.is_empty() {
            self.bad(format!("{key}.phase"), "names no phase");
        }
        if !f.tune.is_empty() && f.mechanism.is_empty() {
            self.bad(format!("{key}.mechanism"), "missing: a tuned flag says why it may help");
        }
        for d in &f.defaults {
            if !f.kind.accepts(&d.value) {
                self.bad(format!("{key}.defaults"), format!("`{}` is not {}", d.value, f.wants()));
            }
        }
        for rule in &f.tune {
            if rule.values.is_empty() && rule.times.is_empty() {
                self.bad(format!("{key}.tune"), "has neither values nor times");
            }
            if rule.values.len().max(rule.times.len()) > MOST_VALUES {
                self.bad(format!("{key}.tune"), format!("has more than {MOST_VALUES} values to try"));
                continue;
            }
            if !rule.times.is_empty() && !matches!(f.kind, FlagType::Int | FlagType::Float) {
                self.bad(format!("{key}.tune.times"), "needs a number");
            }
            for v in &rule.values {
                // A dated choice may be out of any one release; that it is listed at all is checked here.
                let listed = f.choices.iter().any(|c| c.value == v.to_string());
                let wrong = f.objection(v, Version(u32::MAX, 0, 0)).filter(|_| !listed);
                if let Some(message) = wrong {
                    self.bad(format!("{key}.tune.values"), message);
                }
            }
        }
    }

    fn condition(&mut self, key: String, text: Option<String>) -> Option<Expr> {
        let text = text?;
        let kinds = |name: &str| self.kinds.get(name).copied().or_else(|| fact_kind(name));
        match Expr::parse(&text, &kinds) {
            Ok(e) => Some(e),
            Err(message) => {
                self.bad(key, format!("{message} in \"{text}\""));
                None
            }
        }
    }

    fn span(&mut self, key: &str, since: Option<Version>, removed: Option<Version>) -> Span {
        if let (Some(s), Some(r)) = (since, removed)
            && r <= s
        {
            self.bad(format!("{key}.removed"), format!("{r} is not after since = {s}"));
        }
        Span { since, removed }
    }

    fn choices(&mut self, key: &str, raw: Vec<RawChoice>) -> Vec<Choice> {
        let mut out: Vec<Choice> = Vec::new();
        if raw.len() > MOST_VALUES {
            self.bad(format!("{key}.values"), format!("are more than {MOST_VALUES}"));
            return out;
        }
        for choice in raw {
            let (value, since, removed) = match choice {
                RawChoice::Plain(v) => (v, None, None),
                RawChoice::Dated { value, since, removed } => (value, since, removed),
            };
            if out.iter().any(|c| c.value == value) {
                self.bad(format!("{key}.values"), format!("`{value}` stands twice"));
            }
            let span = self.span(&format!("{key}.values"), since, removed);
            out.push(Choice { value, span });
        }
        out
    }

    fn others(&mut self, key: &str, what: &str, raw: Vec<RawOther>) -> Vec<OtherName> {
        raw.into_iter()
            .map(|o| OtherName {
                span: self.span(&format!("{key}.{what}"), o.since, o.removed),
                name: o.name,
            })
            .collect()
    }
}
