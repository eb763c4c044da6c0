//! What is known before a launch: the space in numbers, its forecasts, and the worlds that the launches so far allow.

use super::additive::{self, Point, Posterior, Prior, Row, Sampling, Value, values_of};
use super::choose::{Contender, Worlds};
use super::culprits::{self, Blame, Failed};
use super::evaluator::Stage;
use super::forecasts::{Forecasts, modelled_part};
use super::ledger::{Launch, Ledger};
use super::space::{Knob, Space};
use crate::launch::Candidate;
use crate::stats::Interval;
use std::collections::BTreeSet;

/// A value of a modelled knob whose forecast effect is below this is one that physics says nothing of.
const NEUTRAL: f64 = 0.004;

/// Joint draws of effects and culprits by which a launch is chosen.
pub(super) const DRAWS: usize = 300;

/// A value that is this likely to fail is owed no launch: it waits until everything else was tried, and is then launched where that
/// is expected to pay all the same.
pub(super) const SUSPECT: f64 = 0.7;

/// What is this likely to fail is held for proven to: no launch holds it any more.
pub(super) const PROVEN: f64 = 0.95;

/// The modelled knobs of a space.
pub(super) struct Modelled<'a> {
    pub(super) space: &'a dyn super::space::Space,
    pub(super) knobs: Vec<Knob>,
}

impl super::space::Space for Modelled<'_> {
    fn knobs(&self) -> &[Knob] {
        &self.knobs
    }
    fn admits(&self, c: &Candidate) -> bool {
        self.space.admits(c)
    }
}

pub(super) fn considered(knobs: &[Knob]) -> usize {
    knobs.iter().map(|k| k.values.len() + 1).fold(1usize, usize::saturating_mul)
}

pub(super) struct EncodedSpace<'a> {
    pub(super) knobs: Vec<Knob>,
    pub(super) forecasts: Forecasts<'a>,
    pub(super) base: Candidate,
    /// By knob: values from whose forecast nothing follows.
    pub(super) neutral: Vec<Vec<u8>>,
    /// The values of each forecast combination; filled when they are first asked for.
    pub(super) encoded: Vec<Vec<Value>>,
}

/// What is known before a launch.
pub(super) struct Beliefs {
    pub(super) posterior: Posterior,
    pub(super) blames: Vec<Blame>,
    pub(super) at: f64,
    /// By knob: values from whose forecast nothing follows.
    free: Vec<Vec<u8>>,
    pub(super) contenders: Vec<Contender>,
    pub(super) designs: Vec<Point>,
    /// Points that ran.
    pub(super) ran: Vec<Point>,
    /// Points whose launches have not ended.
    pub(super) under_way: Vec<Point>,
}

/// A launch that is about to be made.
#[derive(Debug, Clone)]
pub(super) struct Planned {
    pub(super) stage: Stage,
    pub(super) point: Point,
    pub(super) candidate: Candidate,
    pub(super) predicted: Interval,
    /// What the prediction rests on, in words.
    pub(super) standing: Option<&'static str>,
}

impl Beliefs {
    /// What the launches in a ledger say, and those under way as if they gave what is expected of them; contenders and designs
    /// are left empty.
    pub(super) fn read(
        g: &mut EncodedSpace<'_>,
        ledger: &Ledger,
        under_way: &[Planned],
        seed: u64,
        draws: usize,
    ) -> Beliefs {
        let base = g.base.clone();
        let launches: Vec<&Launch> =
            ledger.launches().iter().filter(|l| l.candidate.engine == base.engine).collect();
        let mut rows = Vec::new();
        let (mut failed, mut ran) = (Vec::new(), Vec::new());
        for l in launches {
            let Some(point) = g.point(&l.candidate) else { continue };
            if let Some(f) = &l.failure {
                failed.push(Failed {
                    memory: f.memory,
                    named: g.named_in(&point, &format!("{} {}", f.root_cause, f.hint)),
                    point,
                });
                continue;
            }
            ran.push(point.clone());
            let (Some(y), Some(forecast)) = (ledger.gain_of(l, &base), g.forecast_of(&point)) else {
                continue;
            };
            // How bad a loser is does not matter, and must not bend the others.
            rows.push(Row { point, y: y.max(-0.3), at: l.at as f64, forecast: forecast.max(-0.3) });
        }
        for e in ledger.earlier().iter().filter(|e| e.candidate.engine == base.engine) {
            let Some(point) = g.point(&e.candidate) else { continue };
            if let Some(f) = &e.failure {
                let named = g.named_in(&point, &format!("{} {}", f.root_cause, f.hint));
                failed.push(Failed { memory: f.memory, named, point });
            } else if let (Some(y), Some(forecast)) = (e.gain, g.forecast_of(&point)) {
                ran.push(point.clone());
                rows.push(Row { point, y: y.max(-0.3), at: 0.0, forecast: forecast.max(-0.3) });
            }
        }
        for (n, p) in under_way.iter().enumerate() {
            let Some(forecast) = g.forecast_of(&p.point) else { continue };
            ran.push(p.point.clone());
            let (y, at) = (p.predicted.value.max(-0.3), (ledger.launches().len() + n) as f64);
            rows.push(Row { point: p.point.clone(), y, at, forecast: forecast.max(-0.3) });
        }
        let under_way = under_way.iter().map(|p| p.point.clone()).collect();
        let posterior = additive::sample(&rows, &g.priors(), Sampling { seed, draws });
        let modelled: Vec<Vec<bool>> = g.knobs.iter().map(|k| vec![k.modelled; k.values.len() + 1]).collect();
        failed.retain(|f| f.point.iter().any(|v| *v > 0));
        let blames = culprits::draws(&failed, &ran, &modelled, draws, seed);
        let at = ledger.launches().len() as f64;
        let free = g.free();
        let (contenders, designs) = (Vec::new(), Vec::new());
        Beliefs { posterior, blames, at, free, contenders, designs, ran, under_way }
    }

    pub(super) fn worlds(&self) -> Worlds<'_> {
        Worlds { posterior: &self.posterior, blames: &self.blames, at: self.at, free: &self.free }
    }

    /// Log gain that a launch would give, with its central 90 % interval.
    pub(super) fn predict(&self, point: &[u8], forecast: f64) -> Interval {
        let mut gains: Vec<f64> = self.worlds().raw(point, forecast).into_iter().flatten().collect();
        if gains.is_empty() {
            return Interval::exact(forecast);
        }
        gains.sort_by(f64::total_cmp);
        let value = crate::stats::mean(&gains);
        let sd = crate::stats::std_dev(&gains).hypot(self.posterior.spread());
        Interval::around(value, 1.645 * sd)
    }
}

impl EncodedSpace<'_> {
    pub(super) fn candidate(&self, point: &[u8]) -> Candidate {
        values_of(point).fold(self.base.clone(), |c, (k, v)| {
            c.with(&self.knobs[k].flag, self.knobs[k].values[v as usize - 1].clone())
        })
    }

    pub(super) fn planned(&mut self, step: &Beliefs, stage: Stage, point: Point) -> Planned {
        let predicted = step.predict(&point, self.forecast_of(&point).unwrap_or(0.0));
        let candidate = self.candidate(&point);
        let standing = self.forecasts.standing(&candidate);
        Planned { stage, point, candidate, predicted, standing }
    }

    /// A candidate as a point; `None` when it sets what no knob holds.
    pub(super) fn point(&self, c: &Candidate) -> Option<Point> {
        let mut point = vec![0; self.knobs.len()];
        for (flag, value) in c.flags.iter().filter(|(f, v)| self.base.flags.get(*f) != Some(v)) {
            let k = self.knobs.iter().position(|k| k.flag == *flag)?;
            point[k] = self.knobs[k].values.iter().position(|v| v == value)? as u8 + 1;
        }
        Some(point)
    }

    pub(super) fn named(&self, k: usize, v: u8) -> (String, String) {
        (self.knobs[k].flag.clone(), self.knobs[k].values[v as usize - 1].to_string())
    }

    /// Values of a point that a message names: the flag, or a value that is a word of its own.
    pub(super) fn named_in(&self, point: &[u8], text: &str) -> Vec<Value> {
        let text = text.to_lowercase();
        let says = |(k, v): &Value| {
            let (flag, value) = self.named(*k, *v);
            let word = value.len() >= 4
                && value.chars().any(char::is_alphabetic)
                && value != "true"
                && value != "false";
            text.contains(&flag)
                || text.contains(&flag.replace('-', "_"))
                || (word && text.contains(&value.to_lowercase()))
        };
        values_of(point).filter(says).collect()
    }

    pub(super) fn forecast_of(&mut self, point: &[u8]) -> Option<f64> {
        let c = self.candidate(point);
        let part = modelled_part(&c, &self.base, &self.knobs);
        self.forecasts.gain(&part)
    }

    pub(super) fn find_neutral(&mut self) {
        let is = |k: &Knob, v: &crate::launch::FlagValue| {
            !k.modelled || self.forecasts.single(k, v).is_none_or(|g| g.abs() < NEUTRAL)
        };
        let of = |k: &Knob| {
            let values = k.values.iter().enumerate().filter(|(_, v)| is(k, v));
            values.map(|(i, _)| i as u8 + 1).collect()
        };
        self.neutral = self.knobs.iter().map(of).collect();
    }

    /// Values by knob that may be turned without asking physics.
    pub(super) fn free(&self) -> Vec<Vec<u8>> {
        self.neutral.clone()
    }

    pub(super) fn priors(&self) -> Vec<Vec<Prior>> {
        let known = self.forecasts.known();
        let of = |k: &Knob| {
            let each = k.values.iter().map(|v| match self.forecasts.single(k, v) {
                Some(gain) if known => Prior::modelled(gain),
                _ => Prior::unmodelled(),
            });
            std::iter::once(Prior::unmodelled()).chain(each).collect()
        };
        self.knobs.iter().map(of).collect()
    }

    /// Unmodelled values that neither ran nor are suspected to fail.
    pub(super) fn untried(&self, space: &dyn Space, step: &Beliefs) -> BTreeSet<Value> {
        let mut out = BTreeSet::new();
        let known = self.forecasts.known();
        for (k, knob) in self.knobs.iter().enumerate().filter(|(_, k)| !known || !k.modelled) {
            for v in 1..=knob.values.len() as u8 {
                let ran = step.ran.iter().any(|p| p[k] == v);
                let mut alone = vec![0; self.knobs.len()];
                alone[k] = v;
                let fails = step.worlds().failure(&alone) > SUSPECT;
                if !ran && !fails && space.admits(&self.candidate(&alone)) {
                    out.insert((k, v));
                }
            }
        }
        out
    }

    /// Single changes that are proven to fail, and those that are only suspected to.
    pub(super) fn blamed(&self, step: &Beliefs) -> (Vec<Candidate>, Vec<Candidate>) {
        let alone = |(k, v): Value| {
            let mut point: Point = vec![0; self.knobs.len()];
            point[k] = v;
            point
        };
        let all = self.knobs.iter().enumerate();
        let all = all.flat_map(|(k, knob)| (1..=knob.values.len() as u8).map(move |v| (k, v)));
        let with_chance = all.map(alone).map(|p| (step.worlds().failure(&p), self.candidate(&p)));
        let doubted = with_chance.filter(|(chance, _)| *chance > SUSPECT);
        let (proven, suspected): (Vec<_>, Vec<_>) = doubted.partition(|(chance, _)| *chance > PROVEN);
        let candidates = |of: Vec<(f64, Candidate)>| of.into_iter().map(|(_, c)| c).collect();
        (candidates(proven), candidates(suspected))
    }

    /// The point, with as few values taken out as make it admitted; `None` when that does not help.
    pub(super) fn admitted(&self, space: &dyn Space, mut point: Point) -> Option<Point> {
        for _ in 0..4 {
            if space.admits(&self.candidate(&point)) {
                return Some(point);
            }
            let set: Vec<usize> = values_of(&point).map(|(k, _)| k).collect();
            let mends = set.iter().find(|k| {
                let mut less = point.clone();
                less[**k] = 0;
                space.admits(&self.candidate(&less))
            });
            let k = mends.or(set.last())?;
            point[*k] = 0;
        }
        None
    }
}

/// The point that is best on average over the worlds, grown value by value.
pub(super) fn best_on_average(
    worlds: &Worlds<'_>,
    starts: &[(Point, f64)],
    free: &[Vec<u8>],
) -> Option<Point> {
    let mean = |p: &Point, f: f64| worlds.contender(p, f).mean;
    let (start, forecast) = starts.iter().max_by(|a, b| mean(&a.0, a.1).total_cmp(&mean(&b.0, b.1)))?;
    let mut point = start.clone();
    let mut level = mean(&point, *forecast);
    for _ in 0..2 {
        for (k, values) in free.iter().enumerate() {
            for v in values.iter().chain(&[0]) {
                let had = point[k];
                if had == *v || (start[k] > 0 && !values.contains(&start[k])) {
                    continue;
                }
                point[k] = *v;
                let now = mean(&point, *forecast);
                if now > level {
                    level = now;
                } else {
                    point[k] = had;
                }
            }
        }
    }
    Some(point)
}

/// The knobs with the values that differ from the base.
pub(super) fn usable_knobs(space: &dyn Space, base: &Candidate) -> Vec<Knob> {
    let usable = |k: &Knob| {
        let mut k = k.clone();
        k.values.retain(|v| base.flags.get(&k.flag) != Some(v));
        (!k.values.is_empty()).then_some(k)
    };
    space.knobs().iter().filter_map(usable).collect()
}
