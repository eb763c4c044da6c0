//! One seeded landscape: an engine whose best command is known.
//!
//! Its throughput is a scheduler's physics times effects that physics does not know. The forecast that a search is given is
//! the same physics with wrong parameters and without one of its parts.

use llm_dyno::launch::{Candidate, EngineKind, FlagValue};
use llm_dyno::search::{Knob, Space};
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Two values, by number of knob and of value, and what they do together.
type Pair = ((usize, usize), (usize, usize), f64);

/// How a landscape is drawn; a reader may want to know that no result hangs on one of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Family {
    /// Steps of a scheduler: saturating in sequences and token budget, overlap, chunking.
    Scheduler,
    /// Random tables with random pairs: nothing is monotone.
    Table,
    /// Few modelled knobs, many backends and switches.
    Backends,
    /// Physics is worth little, one pair of unmodelled values is worth most.
    Pairs,
    /// No effect at all.
    Null,
}

#[derive(Debug, Clone)]
pub(crate) struct Landscape {
    pub(crate) family: Family,
    pub(crate) knobs: Vec<Knob>,
    /// Log effect of each value, by knob.
    effects: Vec<Vec<f64>>,
    pairs: Vec<Pair>,
    crash: Vec<Vec<(usize, usize)>>,
    hang: Vec<(usize, usize)>,
    /// Whether the log of a crash names the value.
    pub(crate) names: bool,
    forbidden: Vec<((usize, usize), (usize, usize))>,
    physics: Physics,
    forecast: Physics,
}

/// Log throughput over the modelled knobs.
#[derive(Debug, Clone)]
struct Physics {
    /// Weights of: steps by sequences, steps by token budget, host overlap, memory, chunking.
    weight: [f64; 5],
    /// Where more sequences stop to pay.
    knee: f64,
    table: Vec<Vec<f64>>,
    table_pairs: Vec<Pair>,
}

impl Physics {
    fn log(&self, set: &[usize]) -> f64 {
        let level = |k: usize, of: &[f64]| of.get(set.get(k).copied().unwrap_or(0)).copied().unwrap_or(1.0);
        let seqs = level(0, &[1.0, 0.25, 0.5, 2.0, 4.0]);
        let budget = level(1, &[1.0, 0.5, 2.0, 4.0, 8.0]);
        let overlap = level(2, &[0.0, 1.0]);
        let memory = level(3, &[1.0, 1.06]);
        let chunk = level(4, &[0.0, 0.3, 0.6, 1.0]);
        let w = &self.weight;
        let running = seqs.min(self.knee * memory);
        // Time of a token: weights read once a step for all rows, host work a step, prompt chunks by budget.
        let host = w[2] * (1.0 - 0.8 * overlap);
        let time = 1.0
            + w[0] / running
            + host / running
            + w[1] / budget
            + 0.02 * w[1] * budget
            + w[3] * (seqs / (self.knee * memory) - 1.0).max(0.0)
            + w[4] * (chunk - 0.5).powi(2);
        let on = |(k, v): (usize, usize)| set.get(k) == Some(&v);
        let table: f64 =
            self.table.iter().enumerate().map(|(k, of)| of.get(set[k]).copied().unwrap_or(0.0)).sum();
        let pairs: f64 = self.table_pairs.iter().filter(|(a, b, _)| on(*a) && on(*b)).map(|p| p.2).sum();
        table + pairs - time.ln()
    }
}

const MODELLED: [(&str, &[i64]); 6] = [
    ("max-num-seqs", &[64, 128, 512, 1024]),
    ("max-num-batched-tokens", &[1024, 4096, 8192, 16384]),
    ("async-scheduling", &[1]),
    ("gpu-memory-utilization", &[95]),
    ("long-prefill-token-threshold", &[512, 1024, 2048]),
    ("block-size", &[32, 64]),
];

const UNMODELLED: [(&str, &[&str]); 12] = [
    ("attention-backend", &["FLASHINFER", "TRITON_ATTN", "FLEX_ATTENTION"]),
    ("moe-backend", &["marlin", "cutlass"]),
    ("stream-interval", &["4", "10"]),
    ("disable-custom-all-reduce", &["true"]),
    ("compilation-level", &["0", "2"]),
    ("enable-dbo", &["true"]),
    ("swap-space", &["0"]),
    ("VLLM_USE_DEEP_GEMM", &["1"]),
    ("VLLM_ALLREDUCE", &["nccl", "symm"]),
    ("api-server-count", &["2", "4"]),
    ("numa-bind", &["true"]),
    ("kv-offloading", &["native"]),
];

impl Landscape {
    pub(crate) fn new(family: Family, seed: u64) -> Landscape {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let modelled = match family {
            Family::Backends => 3,
            Family::Pairs => rng.random_range(3..5),
            _ => rng.random_range(4..=6),
        };
        let most = if modelled >= 5 { 6 } else { 9 };
        let unmodelled = if family == Family::Backends { most } else { rng.random_range(4..=most) };
        let mut knobs: Vec<Knob> = MODELLED[..modelled]
            .iter()
            .map(|(flag, values)| Knob {
                flag: (*flag).to_owned(),
                values: values.iter().map(|v| FlagValue::Int(*v)).collect(),
                modelled: true,
            })
            .collect();
        let mut names: Vec<usize> = (0..UNMODELLED.len()).collect();
        for i in (1..names.len()).rev() {
            names.swap(i, rng.random_range(0..=i));
        }
        knobs.extend(names[..unmodelled].iter().map(|&n| Knob {
            flag: UNMODELLED[n].0.to_owned(),
            values: UNMODELLED[n].1.iter().map(|v| FlagValue::Text((*v).to_owned())).collect(),
            modelled: false,
        }));
        // At most 50,000 candidates.
        while knobs.iter().map(|k| k.values.len() + 1).product::<usize>() > 50_000 {
            knobs.pop();
        }
        let mut l = Landscape {
            family,
            effects: knobs.iter().map(|k| vec![0.0; k.values.len() + 1]).collect(),
            knobs,
            pairs: Vec::new(),
            crash: Vec::new(),
            hang: Vec::new(),
            names: rng.random::<f64>() < 0.5,
            forbidden: Vec::new(),
            physics: Physics { weight: [0.0; 5], knee: 2.0, table: Vec::new(), table_pairs: Vec::new() },
            forecast: Physics { weight: [0.0; 5], knee: 2.0, table: Vec::new(), table_pairs: Vec::new() },
        };
        if family != Family::Null {
            l.draw_effects(modelled, &mut rng);
            l.draw_physics(modelled, &mut rng);
        }
        l.draw_failures(modelled, &mut rng);
        l
    }

    fn any_value(&self, from: usize, rng: &mut impl Rng) -> (usize, usize) {
        let k = rng.random_range(from..self.knobs.len());
        (k, rng.random_range(1..=self.knobs[k].values.len()))
    }

    fn draw_effects(&mut self, modelled: usize, rng: &mut ChaCha8Rng) {
        let with_effect = rng.random_range(2..=8);
        for _ in 0..with_effect {
            let (k, v) = self.any_value(modelled, rng);
            let size = match self.family {
                Family::Pairs => rng.random_range(0.01..0.04),
                _ => rng.random_range(0.02..0.12),
            };
            self.effects[k][v] = if rng.random::<f64>() < 0.6 { size } else { -size };
        }
        let pairs = if self.family == Family::Pairs { 3 } else { rng.random_range(0..=2) };
        for _ in 0..pairs {
            let a = self.any_value(if self.family == Family::Pairs { modelled } else { 0 }, rng);
            let b = self.any_value(modelled, rng);
            if a.0 != b.0 {
                let size = rng.random_range(0.03..0.10);
                self.pairs.push((a, b, if rng.random::<f64>() < 0.5 { size } else { -size }));
            }
        }
    }

    fn draw_physics(&mut self, modelled: usize, rng: &mut ChaCha8Rng) {
        let strength = if self.family == Family::Pairs { 0.3 } else { 1.0 };
        let mut off = |x: f64, by: f64| x * (1.0 + by * rng.random_range(-1.0..1.0));
        if self.family == Family::Table {
            for k in 0..modelled {
                let of: Vec<f64> = (0..=self.knobs[k].values.len())
                    .map(|v| if v == 0 { 0.0 } else { rng.random_range(-0.1..0.1) })
                    .collect();
                let wrong = of.iter().map(|x| x * rng.random_range(0.4..1.5)).collect();
                self.physics.table.push(of);
                self.forecast.table.push(wrong);
            }
            for _ in 0..4 {
                let (a, b) = (self.any_value(0, rng), self.any_value(0, rng));
                if a.0 < modelled && b.0 < modelled && a.0 != b.0 {
                    let x = rng.random_range(-0.06..0.06);
                    self.physics.table_pairs.push((a, b, x));
                    self.forecast.table_pairs.push((a, b, x * rng.random_range(0.0..1.5)));
                }
            }
            return;
        }
        let weight = [0.25, 0.3, 0.25, 0.15, 0.15].map(|w| strength * off(w, 0.6));
        self.physics.weight = weight;
        self.forecast.weight = weight.map(|w| off(w, 0.5));
        self.physics.knee = off(2.0, 0.6);
        self.forecast.knee = off(self.physics.knee, 0.3);
        // One part is missing in the forecast.
        let part = rng.random_range(0..10);
        if part < 5 {
            self.forecast.weight[part] = 0.0;
        }
        if modelled == 6 && rng.random::<f64>() < 0.5 {
            // A modelled knob with an effect that physics does not see.
            self.effects[5][2] = rng.random_range(0.02..0.09);
        }
    }

    fn draw_failures(&mut self, modelled: usize, rng: &mut ChaCha8Rng) {
        for _ in 0..rng.random_range(0..=2) {
            let v = self.any_value(modelled, rng);
            self.crash.push(vec![v]);
        }
        if rng.random::<f64>() < 0.3 {
            let (a, b) = (self.any_value(0, rng), self.any_value(modelled, rng));
            if a.0 != b.0 {
                self.crash.push(vec![a, b]);
            }
        }
        if rng.random::<f64>() < 0.3 {
            let v = self.any_value(modelled, rng);
            self.hang.push(v);
        }
        if rng.random::<f64>() < 0.3 {
            // Too much memory.
            self.crash.push(vec![(0, self.knobs[0].values.len()), (1, self.knobs[1].values.len())]);
        }
        if rng.random::<f64>() < 0.5 {
            let (a, b) = (self.any_value(0, rng), self.any_value(0, rng));
            if a.0 != b.0 {
                self.forbidden.push((a, b));
            }
        }
    }

    pub(crate) fn set(&self, c: &Candidate) -> Vec<usize> {
        let of = |k: &Knob| c.flags.get(&k.flag).and_then(|v| k.values.iter().position(|x| x == v));
        self.knobs.iter().map(|k| of(k).map_or(0, |v| v + 1)).collect()
    }

    pub(crate) fn candidate(&self, set: &[usize]) -> Candidate {
        let on = set.iter().enumerate().filter(|(_, v)| **v > 0);
        on.fold(Candidate::baseline(EngineKind::Emulated), |c, (k, v)| {
            c.with(&self.knobs[k].flag, self.knobs[k].values[v - 1].clone())
        })
    }

    pub(crate) fn allowed(&self, set: &[usize]) -> bool {
        let on = |(k, v): (usize, usize)| set[k] == v;
        !self.forbidden.iter().any(|(a, b)| on(*a) && on(*b))
    }

    /// Why a candidate does not start: class and what the log says.
    pub(crate) fn failure(&self, set: &[usize]) -> Option<(&'static str, String)> {
        let on = |(k, v): &(usize, usize)| set[*k] == *v;
        let name = |(k, v): &(usize, usize)| {
            if self.names {
                format!("RuntimeError: {} is not supported here", self.knobs[*k].values[v - 1])
            } else {
                "engine core died".to_owned()
            }
        };
        if let Some(h) = self.hang.iter().find(|h| on(h)) {
            let _ = h;
            return Some(("not-ready", "no answer before the time was over".to_owned()));
        }
        self.crash.iter().find(|all| all.iter().all(on)).map(|all| {
            let memory = all.len() == 2 && all[0].0 == 0 && all[1].0 == 1;
            if memory {
                ("out-of-memory", "CUDA out of memory".to_owned())
            } else {
                ("backend", name(&all[0]))
            }
        })
    }

    /// True log gain over the defaults; `None` when it does not start.
    pub(crate) fn gain(&self, set: &[usize]) -> Option<f64> {
        if self.failure(set).is_some() {
            return None;
        }
        let zero = vec![0; set.len()];
        let on = |(k, v): (usize, usize)| set[k] == v;
        let own: f64 = set.iter().enumerate().map(|(k, v)| self.effects[k][*v]).sum();
        let pairs: f64 = self.pairs.iter().filter(|(a, b, _)| on(*a) && on(*b)).map(|p| p.2).sum();
        Some(own + pairs + self.physics.log(set) - self.physics.log(&zero))
    }

    pub(crate) fn forecast(&self, set: &[usize]) -> f64 {
        self.forecast.log(set)
    }

    /// The best of all candidates.
    pub(crate) fn best(&self) -> (Vec<usize>, f64) {
        let mut set = vec![0; self.knobs.len()];
        let mut best = (set.clone(), 0.0);
        loop {
            if self.allowed(&set)
                && let Some(g) = self.gain(&set).filter(|g| *g > best.1)
            {
                best = (set.clone(), g);
            }
            let Some(k) = (0..set.len()).find(|&k| set[k] < self.knobs[k].values.len()) else { return best };
            set[k] += 1;
            set[..k].fill(0);
        }
    }

    /// A candidate by its number in the nested loops over all values, the first knob's innermost.
    pub(crate) fn nth(&self, mut number: usize) -> Vec<usize> {
        let digit = |k: &Knob| {
            let v = number % (k.values.len() + 1);
            number /= k.values.len() + 1;
            v
        };
        self.knobs.iter().map(digit).collect()
    }

    pub(crate) fn size(&self) -> usize {
        self.knobs.iter().map(|k| k.values.len() + 1).product()
    }
}

impl Space for Landscape {
    fn knobs(&self) -> &[Knob] {
        &self.knobs
    }
    fn admits(&self, c: &Candidate) -> bool {
        self.allowed(&self.set(c))
    }
}
