//! Search spaces as a campaign uses them: narrowed to the model, the hardware, the load and the fixed flags.

use super::fixed_args::fixed_args;
use crate::engine::adapter;
use crate::engine::resolve::role;
use crate::error::Result;
use crate::hardware::{self, Hardware};
use crate::launch::{
    Candidate, EngineKind, FlagValue, REPLICAS, VARIANT, Version, fixed_candidate, is_variable,
};
use crate::model::{self, Model};
use crate::search::{self, Knob};
use crate::space::{Context, Load, OutputChange, Role, Space};
use crate::store::Plan;
use crate::trial;
use crate::workload::{self, WorkloadSpec};
use std::collections::BTreeSet;
use std::path::Path;

/// Search spaces by engine.
pub trait Spaces {
    /// The space of one engine in the version that the baseline reported.
    fn space(&self, engine: EngineKind, version: Option<&str>) -> Result<Box<dyn search::Space>>;
    /// How a flag works, in one line.
    fn mechanism(&self, engine: EngineKind, flag: &str) -> String;
}

/// The spaces of `search-spaces/*.toml` for one plan.
#[derive(Debug)]
pub struct PlannedSpaces {
    plan: Plan,
    hardware: Hardware,
    model: Model,
    tables: Vec<Space>,
    load: Load,
}

impl PlannedSpaces {
    pub fn new(plan: &Plan) -> Result<PlannedSpaces> {
        let dir = plan.data_dir.as_deref().map(Path::new);
        Ok(PlannedSpaces {
            hardware: hardware::Catalog::load(dir)?.find(&plan.hardware)?.clone(),
            model: model::Catalog::load(dir)?.find(&plan.model)?,
            tables: plan.spaces()?,
            load: load_of(&plan.primary().spec)?,
            plan: plan.clone(),
        })
    }

    pub fn hardware(&self) -> &Hardware {
        &self.hardware
    }

    pub fn model(&self) -> &Model {
        &self.model
    }

    fn table(&self, engine: EngineKind) -> Option<&Space> {
        self.tables.iter().find(|s| s.engine == engine)
    }
}

impl Spaces for PlannedSpaces {
    fn space(&self, engine: EngineKind, version: Option<&str>) -> Result<Box<dyn search::Space>> {
        let table = self.plan.space(engine)?;
        let mut space = EngineSpace {
            table,
            hardware: self.hardware.clone(),
            model: self.model.clone(),
            num_gpus: self.plan.num_gpus,
            version: version.and_then(|v| v.parse().ok()),
            load: self.load,
            allowed: self.plan.allow_output_change,
            fixed: fixed_candidate(engine, &fixed_args(&self.plan, engine)),
            installed: installed_flags(engine, &self.plan),
            draft_model: self.plan.draft_model.clone(),
            knobs: Vec::new(),
        };
        let axes = space.table.tunable(&space.context());
        // A variable that the user has set for this process is as fixed as a flag after `--`.
        let set = |flag: &str| is_variable(flag) && std::env::var_os(flag).is_some();
        let named =
            |flag: &str| self.plan.only_flags.is_empty() || self.plan.only_flags.iter().any(|f| f == flag);
        let wanted = |flag: &str| named(flag) && !set(flag);
        space.knobs = axes
            .into_iter()
            .filter(|a| wanted(&a.flag))
            .map(|a| Knob {
                modelled: role(engine, &a.flag.replace('_', "-")) == Role::Modelled,
                flag: a.flag,
                values: a.values,
            })
            .collect();
        // Axes that the user has given by an option of their own need no naming among the flags.
        if !self.plan.variants.is_empty() {
            // What other weights cost and bring, the cost model knows from their configuration.
            let values = self.plan.variants.iter().map(|v| FlagValue::Text(v.model.clone())).collect();
            space.knobs.push(Knob { flag: VARIANT.to_owned(), values, modelled: true });
        }
        if !self.plan.replicas.is_empty() {
            space.replicas(&self.plan.replicas);
        }
        for candidate in super::tries::candidates(&self.plan, engine) {
            space.hold(&candidate);
        }
        Ok(Box::new(space))
    }

    fn mechanism(&self, engine: EngineKind, flag: &str) -> String {
        if flag == VARIANT {
            return "Other weights of the same model, offered by --variant. Changes outputs.".to_owned();
        }
        if flag == REPLICAS {
            return "Whole copies of the engine, each on its share of the GPUs, with the requests dealt out among them: no \
                    all-reduce between copies and a scheduler for each, at the price of the weights once a copy."
                .to_owned();
        }
        let row = self.table(engine).and_then(|t| t.flag(flag));
        row.map(|f| if f.mechanism.is_empty() { f.doc.clone() } else { f.mechanism.clone() })
            .unwrap_or_default()
    }
}

/// Whether the prompts are text: the length tables and random workloads are sent as random token ids, on which the
/// acceptance of speculated tokens means nothing.
pub(super) fn is_text(spec: &WorkloadSpec) -> bool {
    spec.is_text()
}

/// What the constraints ask of the load: mean lengths, requests, how many in flight.
fn load_of(spec: &WorkloadSpec) -> Result<Load> {
    let shapes = workload::shapes(spec)?;
    let n = shapes.len() as f64;
    let mean = |f: fn(&workload::RequestShape) -> u32| {
        (n > 0.0).then(|| shapes.iter().map(|s| f64::from(f(s))).sum::<f64>() / n)
    };
    let in_flight = spec.max_concurrency.map(f64::from).or_else(|| {
        // All at once: everything is in flight. At a rate nobody knows before measuring.
        matches!(spec.request_rate, workload::RequestRate::Inf).then_some(n)
    });
    Ok(Load {
        input_tokens: mean(|s| s.input_tokens),
        output_tokens: mean(|s| s.output_tokens),
        in_flight,
        requests: Some(n),
        text: Some(is_text(spec)),
    })
}

/// The flags that the installed engine's own `--help` lists; `None` when it cannot be asked. The answer is
/// kept, so that a launch that checks its flags does not ask again.
fn installed_flags(engine: EngineKind, plan: &Plan) -> Option<BTreeSet<String>> {
    let adapter = adapter(engine);
    let mut found =
        trial::installed_in(adapter, plan.engine_command.as_deref(), plan.container.as_ref()).ok()?;
    found.ask(adapter);
    Some(found.help?.flags.into_keys().collect())
}

struct EngineSpace {
    table: Space,
    hardware: Hardware,
    model: Model,
    num_gpus: u32,
    version: Option<Version>,
    load: Load,
    allowed: OutputChange,
    fixed: Candidate,
    /// Flags that the installed release lists; it is the judge over the table.
    installed: Option<BTreeSet<String>>,
    draft_model: Option<String>,
    knobs: Vec<Knob>,
}

impl EngineSpace {
    /// Makes room among the knobs for what a candidate sets, so that the search can go on from it.
    fn hold(&mut self, candidate: &Candidate) {
        for (flag, value) in &candidate.flags {
            if search::Space::default_of(self, flag).as_ref() == Some(value) {
                continue;
            }
            match self.knobs.iter_mut().find(|k| k.flag == *flag) {
                Some(knob) if knob.values.contains(value) => {}
                Some(knob) => {
                    knob.values.push(value.clone());
                    knob.values.sort_by(|a, b| a.partial_cmp(b).unwrap_or(std::cmp::Ordering::Equal));
                }
                None => {
                    let modelled = role(self.table.engine, &flag.replace('_', "-")) == Role::Modelled;
                    self.knobs.push(Knob { flag: flag.clone(), values: vec![value.clone()], modelled });
                }
            }
        }
    }

    /// The axis of replicas. A layout that spends all GPUs on one engine leaves no room for copies.
    fn replicas(&mut self, numbers: &[u32]) {
        let values = numbers.iter().map(|n| FlagValue::Int(i64::from(*n))).collect();
        let modelled = self.table.engine != EngineKind::Trtllm;
        self.knobs.push(Knob { flag: REPLICAS.to_owned(), values, modelled });
    }

    fn context(&self) -> Context<'_> {
        Context {
            version: self.version,
            num_gpus: self.num_gpus,
            load: self.load,
            allowed_output_change: self.allowed,
            fixed: Some(&self.fixed),
            installed: self.installed.as_ref(),
            draft_model: self.draft_model.as_deref(),
            ..Context::new(&self.hardware, &self.model)
        }
    }
}

impl search::Space for EngineSpace {
    fn knobs(&self) -> &[Knob] {
        &self.knobs
    }
    fn admits(&self, candidate: &Candidate) -> bool {
        // A checkpoint that is quantised already is not quantised again.
        let twice = candidate.variant().is_some() && candidate.flags.contains_key("quantization");
        let crowded = candidate.flags.contains_key("layout") && candidate.flags.contains_key(REPLICAS);
        let candidate = &candidate.without(REPLICAS, &Candidate::baseline(candidate.engine));
        !twice && !crowded && self.table.admits(candidate, &self.context())
    }
    fn default_of(&self, flag: &str) -> Option<FlagValue> {
        let fixed = self.fixed.flags.get(flag).cloned();
        fixed.or_else(|| self.table.default_of(self.table.flag(flag)?, &self.context()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn planned(fixed: &[&str]) -> Box<dyn search::Space> {
        let mut plan = super::super::tests::plan();
        plan.fixed_args = fixed.iter().map(|s| (*s).to_owned()).collect();
        plan.workloads[0].spec = WorkloadSpec::random(500, 100, 200, 1);
        PlannedSpaces::new(&plan).unwrap().space(EngineKind::Emulated, Some("0.11.0")).unwrap()
    }

    #[test]
    fn the_embedded_engine_has_knobs_and_fixed_flags_are_none() {
        let space = planned(&[]);
        let flags: Vec<&str> = space.knobs().iter().map(|k| k.flag.as_str()).collect();
        assert!(flags.contains(&"async-scheduling"), "{flags:?}");
        let fixed = planned(&["--async-scheduling"]);
        assert!(!fixed.knobs().iter().any(|k| k.flag == "async-scheduling"));
    }
}
