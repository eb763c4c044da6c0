//! Which modules a quantised checkpoint covers, and in which of several formats: `config_groups` of compressed-tensors,
//! `quantized_layers` of modelopt, and the lists of modules that stay as they are.
//!
//! Modules are asked for by names as checkpoints spell them, layer by layer, of the layers alone that have the part.

use super::facts::Facts;
use super::formats::{modelopt, of_group};
use crate::model::layer::{Layer, LayerRun};
use crate::model::quantisation::{Format, Part, Parts, Quantisation};
use serde_json::Value;

/// A matrix of a layer: the names that checkpoints give it (`#` is the layer's number), and its number of parameters.
type Matrix = (&'static [&'static str], f64);

/// A part of a layer, and its matrices; none where the layer lacks the part.
struct Place {
    part: Part,
    matrices: fn(&Layer, f64) -> Vec<Matrix>,
}

/// In the order in which the model's own format is theirs: what holds most comes first.
const PLACES: [Place; 5] = [
    Place { part: Part::Experts, matrices: experts },
    Place { part: Part::DenseFfn, matrices: dense },
    Place { part: Part::Attention, matrices: attention },
    Place { part: Part::State, matrices: state },
    Place { part: Part::SharedExperts, matrices: shared },
];

/// Both upper matrices of a feed-forward part count as one.
fn experts(l: &Layer, _: f64) -> Vec<Matrix> {
    let upper: &[&str] = &[
        "model.layers.#.mlp.experts.0.gate_proj",
        "backbone.layers.#.mixer.experts.0.up_proj",
        "model.layers.#.block_sparse_moe.experts.0.w1",
        "model.layers.#.mlp.experts.gate_up_proj",
    ];
    let lower: &[&str] = &[
        "model.layers.#.mlp.experts.0.down_proj",
        "backbone.layers.#.mixer.experts.0.down_proj",
        "model.layers.#.block_sparse_moe.experts.0.w2",
        "model.layers.#.mlp.experts.down_proj",
    ];
    if l.experts.is_some() { vec![(upper, 2.0), (lower, 1.0)] } else { Vec::new() }
}

fn dense(l: &Layer, _: f64) -> Vec<Matrix> {
    let upper: &[&str] = &[
        "model.layers.#.mlp.gate_proj",
        "model.layers.#.mlp.gate_up_proj",
        "backbone.layers.#.mixer.up_proj",
    ];
    let lower: &[&str] = &["model.layers.#.mlp.down_proj", "backbone.layers.#.mixer.down_proj"];
    if l.dense.is_some() { vec![(upper, 2.0), (lower, 1.0)] } else { Vec::new() }
}

fn shared(l: &Layer, _: f64) -> Vec<Matrix> {
    let upper: &[&str] = &[
        "model.layers.#.mlp.shared_experts.gate_proj",
        "model.layers.#.mlp.shared_expert.gate_proj",
        "backbone.layers.#.mixer.shared_experts.up_proj",
    ];
    let lower: &[&str] = &[
        "model.layers.#.mlp.shared_experts.down_proj",
        "model.layers.#.mlp.shared_expert.down_proj",
        "backbone.layers.#.mixer.shared_experts.down_proj",
    ];
    let has = l.experts.as_ref().is_some_and(|e| e.shared_params > 0);
    if has { vec![(upper, 2.0), (lower, 1.0)] } else { Vec::new() }
}

fn state(l: &Layer, _: f64) -> Vec<Matrix> {
    let into: &[&str] = &["model.layers.#.linear_attn.in_proj_qkvz", "backbone.layers.#.mixer.in_proj"];
    let out: &[&str] = &["model.layers.#.linear_attn.out_proj", "backbone.layers.#.mixer.out_proj"];
    if l.state.is_some() { vec![(into, 2.0), (out, 1.0)] } else { Vec::new() }
}

fn attention(l: &Layer, hidden: f64) -> Vec<Matrix> {
    let Some(a) = &l.attention else { return Vec::new() };
    let (heads, values) = (f64::from(a.q_heads), f64::from(a.v_head_dim));
    let output: Matrix =
        (&["model.layers.#.self_attn.o_proj", "backbone.layers.#.mixer.o_proj"], heads * values * hidden);
    let Some(latent) = &a.latent else {
        let (keys, kv_heads) = (f64::from(a.head_dim), f64::from(a.kv_heads));
        return vec![
            (
                &[
                    "model.layers.#.self_attn.q_proj",
                    "model.layers.#.self_attn.qkv_proj",
                    "backbone.layers.#.mixer.q_proj",
                ],
                hidden * heads * keys,
            ),
            (
                &[
                    "model.layers.#.self_attn.k_proj",
                    "model.layers.#.self_attn.qkv_proj",
                    "backbone.layers.#.mixer.k_proj",
                ],
                hidden * kv_heads * (keys + values),
            ),
            output,
        ];
    };
    let (rank, rope) = (f64::from(latent.kv_rank), f64::from(latent.rope_dim));
    let (narrow, nope) = (f64::from(latent.q_rank), f64::from(latent.nope_dim));
    let queries = heads * (nope + rope);
    vec![
        (&["model.layers.#.self_attn.q_a_proj"], hidden * narrow),
        (
            &["model.layers.#.self_attn.q_b_proj", "model.layers.#.self_attn.q_proj"],
            queries * if narrow > 0.0 { narrow } else { hidden },
        ),
        (&["model.layers.#.self_attn.kv_a_proj_with_mqa"], hidden * (rank + rope)),
        (&["model.layers.#.self_attn.kv_b_proj"], rank * heads * (nope + values)),
        output,
    ]
}

impl Place {
    /// The layers that have the part, each with its number and matrices.
    fn layers(&self, f: &Facts<'_>, stack: &[LayerRun]) -> Vec<(u32, Vec<Matrix>)> {
        let hidden = f.count("hidden_size").map_or(1.0, f64::from);
        let each = stack.iter().flat_map(|r| std::iter::repeat_n(&r.layer, r.count as usize));
        let all = each.take(2_000).zip(0..).map(|(l, n)| (n, (self.matrices)(l, hidden)));
        all.filter(|(_, matrices)| !matrices.is_empty()).collect()
    }

    /// Share of the layer's part whose matrices are named.
    fn named(&self, f: &Facts<'_>, (layer, matrices): &(u32, Vec<Matrix>), patterns: &[Pattern]) -> f64 {
        let number = layer.to_string();
        let is = |name: &&str| {
            let module = name.replace('#', &number);
            patterns.iter().any(|p| p.matches(&module))
        };
        // Gemma-4's experts stand beside its dense part, not in it.
        let apart = self.part == Part::Experts && f.starts(&["gemma4"]);
        if apart {
            return f64::from(is(&"model.layers.#.experts.0.gate_proj"));
        }
        // Kimi's delta attention goes by the name of the attention that it stands for.
        if self.part == Part::State && f.starts(&["kimi"]) {
            return f64::from(is(&"model.layers.#.self_attn.q_proj"));
        }
        let all: f64 = matrices.iter().map(|(_, n)| n).sum();
        let named: f64 = matrices.iter().filter(|(names, _)| names.iter().any(is)).map(|(_, n)| n).sum();
        if all > 0.0 { named / all } else { 0.0 }
    }
}

/// Modules and the format of their weights.
pub(super) type Group = (Vec<Pattern>, Format);

/// The groups of a description; none where one format is for all.
pub(super) fn all(q: &Value) -> Vec<Group> {
    let patterns =
        |names: &[Value]| names.iter().filter_map(|n| Pattern::target(n.as_str()?)).collect::<Vec<_>>();
    if let Some(groups) = q.get("config_groups").and_then(Value::as_object) {
        let group = |g: &Value| {
            let targets = g.get("targets").and_then(Value::as_array);
            let targets = targets.map_or_else(|| vec![Pattern::Any], |names| patterns(names));
            Some((targets, of_group(g.get("weights")?)?.1))
        };
        return groups.values().filter_map(group).collect();
    }
    let mut out: Vec<Group> = Vec::new();
    for (module, said) in q.get("quantized_layers").and_then(Value::as_object).into_iter().flatten() {
        let algo = said.get("quant_algo").and_then(Value::as_str).unwrap_or_default();
        let size = said.get("group_size").and_then(Value::as_u64).and_then(|n| u32::try_from(n).ok());
        let Some((_, format)) = modelopt(algo, size.filter(|n| *n > 0 && *n < 100_000)) else { continue };
        let Some(pattern) = Pattern::new(module) else { continue };
        match out.iter_mut().find(|(_, f)| *f == format) {
            Some((all, _)) => all.push(pattern),
            None => out.push((vec![pattern], format)),
        }
    }
    out
}

/// Gives each part the format of the group that names most of it, and the share that any group names. The model's own format is
/// that of the part that holds most.
pub(super) fn apply(f: &Facts<'_>, q: &mut Quantisation, groups: &[Group], stack: &[LayerRun]) {
    let mut own: Option<Format> = None;
    for place in PLACES.iter().filter(|_| !groups.is_empty()) {
        let layers = place.layers(f, stack);
        if layers.is_empty() {
            continue;
        }
        let share = |(patterns, _): &Group| {
            layers.iter().map(|l| place.named(f, l, patterns)).sum::<f64>() / layers.len() as f64
        };
        let shares: Vec<f64> = groups.iter().map(share).collect();
        *q.covered.of(place.part) = shares.iter().sum::<f64>().min(1.0);
        let most = shares.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1));
        let Some((most, _)) = most.filter(|(_, share)| **share > 0.0) else { continue };
        let format = groups[most].1;
        if format != *own.get_or_insert(format) {
            *q.own.of(place.part) = Some(format);
        }
    }
    q.format = own.unwrap_or(q.format);
}

/// Takes what the lists name out of the covered shares.
pub(super) fn leave_out(f: &Facts<'_>, covered: &mut Parts<f64>, names: &[String], stack: &[LayerRun]) {
    let patterns: Vec<Pattern> = names.iter().filter_map(|n| Pattern::new(n)).collect();
    if patterns.is_empty() {
        return;
    }
    for place in &PLACES {
        let layers = place.layers(f, stack);
        let named: f64 = layers.iter().map(|l| place.named(f, l, &patterns)).sum();
        *covered.of(place.part) *= 1.0 - named / layers.len().max(1) as f64;
    }
    if patterns.iter().any(|p| p.matches("lm_head")) {
        covered.lm_head = 0.0;
    }
}

/// A name of a list: a regular expression (`re:`), a glob, a module with all below it, or a class of modules.
pub(super) enum Pattern {
    Regex(regex::Regex),
    Module(String),
    /// Every matrix, as `Linear` means it.
    Any,
}

/// Prefixes that writers of lists put before the layers, or leave out.
fn bare(module: &str) -> &str {
    let mut m = module;
    while let Some(rest) = ["model.", "language_model.", "backbone."].iter().find_map(|p| m.strip_prefix(p)) {
        m = rest;
    }
    m
}

impl Pattern {
    /// A target of a group, which may be a class of modules.
    fn target(name: &str) -> Option<Pattern> {
        if name == "Linear" || name == "FusedMoE" { Some(Pattern::Any) } else { Pattern::new(name) }
    }

    fn new(name: &str) -> Option<Pattern> {
        if let Some(re) = name.strip_prefix("re:") {
            return regex::Regex::new(re).ok().map(Pattern::Regex);
        }
        if name.contains('*') {
            let text = format!("^{}$", regex::escape(bare(name)).replace("\\*", ".*"));
            return regex::Regex::new(&text).ok().map(Pattern::Regex);
        }
        (!name.is_empty()).then(|| Pattern::Module(bare(name).to_owned()))
    }

    fn matches(&self, module: &str) -> bool {
        let m = bare(module);
        match self {
            Pattern::Any => true,
            Pattern::Regex(r) => r.is_match(module) || r.is_match(m),
            Pattern::Module(p) => {
                m == p
                    || m.strip_prefix(p.as_str()).is_some_and(|rest| rest.starts_with('.'))
                    || m.strip_suffix(p.as_str()).is_some_and(|rest| rest.ends_with('.'))
                    || m.contains(&format!(".{p}."))
            }
        }
    }
}
