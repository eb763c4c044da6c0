//! The reader of `config.json`: any architecture whose parts are known, and a plain answer for the rest.
//!
//! Sizes come from the file, then from the defaults that the released class of that `model_type` has
//! ([`classes`]). Layers are put together one by one: mixer by [`plan`], attention, state and feed-forward by their own
//! files. Nothing is guessed: an architecture that is not known is said to be unknown, and read only when it names no
//! part that dyno cannot read.

mod attention;
mod classes;
mod facts;
mod ffn;
mod formats;
mod groups;
mod hub;
pub(crate) mod json;
mod plan;
mod quant;
mod standing;
mod state;
mod towers;

use super::layer::{Layer, LayerRun, Rest, Span, runs};
use super::{Mla, Model, Moe, Sliding};
use crate::error::Problem;
use attention::Sizes;
use facts::Facts;
pub(super) use hub::{hub_model, hub_models, hub_names};
use plan::{Follow, Mix};
use serde_json::Value;

/// The model that a config.json describes, with a `hf_quant_config.json` beside it where there is one.
///
/// Errors: every problem at once: not JSON, keys missing or of the wrong type, kinds of layers or whole
/// architectures that dyno does not know, models that do not generate.
pub(super) fn parse(file: &str, text: &str, quant: Option<&str>, id: &str) -> Result<Model, Vec<Problem>> {
    let root = json::parse(text).map_err(|e| vec![Problem::new(file, "", format!("not JSON: {e}"))])?;
    let quant = quant.and_then(|t| json::parse(t).ok());
    read(file, &root, quant.as_ref(), id)
}

/// As [`parse`], of JSON that is already a value.
pub(super) fn read(file: &str, root: &Value, quant: Option<&Value>, id: &str) -> Result<Model, Vec<Problem>> {
    if !root.is_object() {
        return Err(vec![Problem::new(file, "", "must be a JSON object")]);
    }
    let f = Facts::new(file, root);
    if let Some(p) = standing::refusal(&f) {
        return Err(vec![p]);
    }
    let mut model = build(&f, quant, id);
    model.caveats = standing::caveats(&f);
    let problems = f.problems.take();
    if problems.is_empty() { Ok(model) } else { Err(problems) }
}

fn build(f: &Facts<'_>, quant: Option<&Value>, id: &str) -> Model {
    // Absent it may follow from the layers' pattern; written it is above 0.
    let layers = match f.count("num_hidden_layers") {
        None => plan::pattern_length(f).unwrap_or_else(|| f.need("num_hidden_layers")),
        Some(_) => f.need("num_hidden_layers"),
    };
    let s = Sizes { layers, hidden: f.need("hidden_size") };
    let plan = plan::plan(f, layers);
    let attends = plan.iter().any(|(m, _)| !matches!(m, Mix::State(_) | Mix::None));
    if attends {
        f.need("num_attention_heads");
    }
    let vocab = f.need("vocab_size");
    let names_experts =
        f.count("num_experts_per_tok").is_some_and(|n| n > 0) && f.get("moe_intermediate_size").is_some();
    if ffn::expert_count(f).is_none() && f.find("num_experts").is_none() && names_experts {
        f.need("num_experts");
    }
    if ffn::expert_count(f).is_some() {
        // So that its problems are told beside the others, whatever stops the layers from being built.
        ffn::experts(f, s, 0);
    }
    // Sums over layers of absurd sizes would overflow; their keys are reported already.
    let stack = if f.problems.borrow().is_empty() { stack(f, s, &plan) } else { Vec::new() };
    let max_position = max_position(f, attends);
    let tied = f.tied();
    let mut m = headline(f, s, &stack, id);
    m.rest = if f.problems.borrow().is_empty() { rest(f, s, &stack, vocab, tied) } else { Rest::default() };
    m.vocab = vocab;
    m.tied_embeddings = tied;
    m.max_position = max_position;
    m.quantisation = quant::quantisation(f, quant, &stack);
    m.precision = quant::headline(&m.quantisation);
    m.stack = stack;
    m
}

/// The longest context. A model without positions has none; a known class that names none (ALiBi) gets the 2,048
/// that vLLM assumes.
fn max_position(f: &Facts<'_>, attends: bool) -> u32 {
    match f.count("max_position_embeddings") {
        Some(n) => n,
        None if !attends => 1 << 20,
        None if f.known() => 2_048,
        None => f.need("max_position_embeddings"),
    }
}

fn stack(f: &Facts<'_>, s: Sizes, plan: &[(Mix, Follow)]) -> Vec<LayerRun> {
    if f.is(&["longcat_flash"]) {
        return runs(plan.iter().zip(0..).flat_map(|((mix, _), i)| longcat(f, s, i, *mix)));
    }
    if let Some(blocks) = f.list("block_configs") {
        return runs(blocks.iter().map(|b| searched_block(f, s, b)));
    }
    let mut shared_blocks = f.count("num_mem_blocks").unwrap_or(1);
    runs(plan.iter().zip(0..).map(|((mix, follow), i)| {
        let mut l = layer(f, s, i, *mix, *follow);
        if f.is(&["zamba2"]) && l.attention.is_some() {
            zamba(f, s, &mut l, &mut shared_blocks);
        }
        // HRM: two stacks are run through again and again; each pass keeps its own cache.
        if f.count("num_layers_per_stack").is_some_and(|n| i >= 2 * n) {
            without_weights(&mut l);
        }
        l
    }))
}

fn layer(f: &Facts<'_>, s: Sizes, i: u32, mix: Mix, follow: Follow) -> Layer {
    let (dense, experts) = ffn::feed_forward(f, s, i, follow);
    Layer {
        attention: (!matches!(mix, Mix::State(_) | Mix::None)).then(|| attention::attention(f, s, i, mix)),
        state: match mix {
            Mix::State(k) | Mix::Both(k) => Some(state::state(f, s, k)),
            _ => None,
        },
        dense,
        experts,
        other_params: norms(f, s, follow) + by_layer_inputs(f, s),
    }
}

fn norms(f: &Facts<'_>, s: Sizes, follow: Follow) -> u64 {
    let hidden = u64::from(s.hidden);
    match follow {
        Follow::Rule if f.starts(&["gemma2", "gemma3", "gemma4", "afmoe", "glm4"]) => 4 * hidden,
        Follow::Rule => 2 * hidden,
        _ => hidden,
    }
}

/// Gemma-3n and Gemma-4: each layer mixes its own embedding in; Gemma-3n also has low-rank residuals.
fn by_layer_inputs(f: &Facts<'_>, s: Sizes) -> u64 {
    let hidden = u64::from(s.hidden);
    let own = f.count("hidden_size_per_layer_input").map_or(0, u64::from);
    let laurel = f.count("laurel_rank").map_or(0, u64::from);
    2 * hidden * (own + laurel)
}

/// Nemotron-NAS: each block names its query heads a KV head and its FFN's width, or leaves either out.
fn searched_block(f: &Facts<'_>, s: Sizes, block: &Value) -> Layer {
    let off = |part: &str| {
        block[part]["no_op"].as_bool() == Some(true)
            || block[part]["replace_with_linear"].as_bool() == Some(true)
    };
    let mut l = layer(f, s, 0, Mix::Full, Follow::Nothing);
    let heads = u64::from(f.need("num_attention_heads"));
    let group = block["attention"]["n_heads_in_group"].as_u64().filter(|g| *g > 0 && *g <= heads);
    match (group, &mut l.attention) {
        (Some(g), Some(a)) if !off("attention") => {
            a.params.by_kv_head = a.params.by_kv_head / u64::from(a.kv_heads.max(1)) * (heads / g);
            a.kv_heads = (heads / g) as u32;
        }
        _ => l.attention = None,
    }
    let mult = block["ffn"]["ffn_mult"].as_f64().filter(|m| *m > 0.0 && *m < 100.0);
    l.dense = mult.filter(|_| !off("ffn")).map(|m| {
        let width = ((2.0 * m * f64::from(s.hidden) / 3.0) as u32).next_multiple_of(256);
        crate::model::DenseFfn { width, params: 3 * u64::from(s.hidden) * u64::from(width) }
    });
    l
}

/// LongCat-Flash: a layer is two attentions with two dense parts, and experts beside the second.
fn longcat(f: &Facts<'_>, s: Sizes, i: u32, mix: Mix) -> [Layer; 2] {
    let half = |experts| Layer {
        attention: Some(attention::attention(f, s, i, mix)),
        state: None,
        dense: Some(ffn::dense(f, s, i)),
        experts,
        other_params: 2 * u64::from(s.hidden),
    };
    [half(None), half(Some(ffn::experts(f, s, i)))]
}

/// Zamba-2: hybrid layers share the weights of a few blocks; each has its own adapters and one projection.
fn zamba(f: &Facts<'_>, s: Sizes, l: &mut Layer, blocks: &mut u32) {
    let hidden = u64::from(s.hidden);
    let rank = f.count("adapter_rank").map_or(0, u64::from);
    let width = l.dense.map_or(0, |d| u64::from(d.width));
    l.other_params += hidden * hidden + rank * (hidden + 2 * width);
    if *blocks > 0 {
        *blocks -= 1;
        return;
    }
    without_weights(l);
}

/// A layer that runs with the weights of an earlier one.
fn without_weights(l: &mut Layer) {
    if let Some(a) = &mut l.attention {
        a.params = super::AttentionParams::default();
    }
    if let Some(d) = &mut l.dense {
        d.params = 0;
    }
}

/// What stands outside the layers.
fn rest(f: &Facts<'_>, s: Sizes, stack: &[LayerRun], vocab: u32, tied: bool) -> Rest {
    let hidden = u64::from(s.hidden);
    // OPT-350m: a narrower embedding, with a projection at either end.
    let narrow = f.count("word_embed_proj_dim").map(u64::from).filter(|n| *n > 0 && *n != hidden);
    let embedding = u64::from(vocab) * narrow.unwrap_or(hidden);
    let projections = narrow.map_or(0, |n| 2 * n * hidden);
    let learned = ["gpt2", "gpt_bigcode", "opt", "gpt_neo", "biogpt", "ctrl", "xglm", "gpt-sw3"];
    let positions = if f.is(&learned) { f.count("max_position_embeddings").unwrap_or(0) } else { 0 };
    let own = f.count("hidden_size_per_layer_input").map_or(0, u64::from);
    let own_vocab = f.count("vocab_size_per_layer_input").map_or(0, u64::from);
    let width = own * u64::from(s.layers);
    let altup = if f.starts(&["gemma3n"]) { f.count("altup_num_inputs").unwrap_or(1) } else { 1 };
    let altup = 2 * hidden * hidden * u64::from(altup.saturating_sub(1));
    let last = stack.last().map(|r| &r.layer);
    let attention = stack.iter().find_map(|r| r.layer.attention.as_ref());
    let turned = f.get("partial_rotary_factor").and_then(Value::as_f64);
    let turned = turned.or_else(|| f.inner("rope_parameters", "partial_rotary_factor")?.as_f64());
    let rotary = attention
        .map(|a| a.latent.map_or(f64::from(a.head_dim) * turned.unwrap_or(1.0), |l| f64::from(l.rope_dim)));
    let mtp = f.count("num_nextn_predict_layers").or_else(|| f.count("mtp_num_hidden_layers"));
    Rest {
        embedding: embedding + u64::from(positions) * hidden,
        lm_head: if tied { 0 } else { embedding },
        per_layer_embedding: own_vocab * width,
        other: hidden + width * hidden + altup + projections,
        towers: towers::params(f, s.hidden),
        vision: towers::vision(f),
        inputs: towers::inputs(f),
        rotary_dim: rotary.map_or(0, |n| n as u32),
        mtp: mtp.map_or(0, |n| u64::from(n) * last.map_or(0, |l| layer_params(l) + 2 * hidden * hidden)),
    }
}

fn layer_params(l: &Layer) -> u64 {
    l.attention.as_ref().map_or(0, |a| a.params.total())
        + l.state.map_or(0, |s| s.params)
        + l.dense.map_or(0, |d| d.params)
        + l.experts.map_or(0, |e| u64::from(e.count) * e.params_each + e.shared_params + e.router_params)
        + l.other_params
}

/// A model's headline: what most of its layers are.
#[expect(clippy::too_many_lines, reason = "one value, field by field")]
fn headline(f: &Facts<'_>, s: Sizes, stack: &[LayerRun], id: &str) -> Model {
    let mut counted: Vec<(u32, &super::Attention)> = Vec::new();
    for r in stack {
        let Some(a) = &r.layer.attention else { continue };
        match counted
            .iter_mut()
            .find(|(_, b)| (b.q_heads, b.kv_heads, b.head_dim) == (a.q_heads, a.kv_heads, a.head_dim))
        {
            Some((n, _)) => *n += r.count,
            None => counted.push((r.count, a)),
        }
    }
    let most = counted.iter().max_by_key(|(n, _)| *n).map(|(_, a)| *a);
    let local = |a: &super::Attention| match a.span {
        Span::Window(w) => Some(w),
        Span::Full => None,
    };
    let windows = || stack.iter().filter_map(|r| Some((r.count, local(r.layer.attention.as_ref()?)?)));
    let experts = stack.iter().find_map(|r| r.layer.experts);
    let before_experts = stack.iter().take_while(|r| r.layer.experts.is_none()).map(|r| r.count).sum();
    let layers = stack.iter().map(|r| r.count).sum::<u32>().max(s.layers);
    Model {
        id: id.to_owned(),
        aliases: Vec::new(),
        architecture: f.architecture.clone(),
        layers,
        hidden: s.hidden,
        q_heads: most.map_or(0, |a| a.q_heads),
        kv_heads: most.map_or(0, |a| if a.latent.is_some() { a.q_heads } else { a.kv_heads }),
        head_dim: most.map_or(0, |a| a.head_dim),
        ffn: stack
            .iter()
            .find_map(|r| r.layer.dense)
            .map_or_else(|| f.count("intermediate_size").unwrap_or(0), |d| d.width),
        vocab: 0,
        tied_embeddings: false,
        gated_ffn: ffn::gated(f),
        max_position: 0,
        moe: experts.map(|e| Moe {
            experts: e.count,
            top_k: e.top_k,
            expert_ffn: e.width,
            shared_expert_ffn: e.shared_width,
            dense_layers: before_experts,
            every: 1,
        }),
        mla: most.and_then(|a| Some((a, a.latent?))).map(|(a, l)| Mla {
            kv_lora_rank: l.kv_rank,
            rope_head_dim: l.rope_dim,
            q_lora_rank: l.q_rank,
            nope_head_dim: l.nope_dim,
            v_head_dim: a.v_head_dim,
        }),
        sliding: windows()
            .map(|(_, w)| w)
            .max()
            .map(|window| Sliding { window, layers: windows().map(|(n, _)| n).sum() }),
        attention_sinks: f.is(&["gpt_oss"]),
        precision: super::Precision::Bf16,
        weights_gb: None,
        note: note(f),
        source: f.file.to_owned(),
        variants: Vec::new(),
        unverified: Vec::new(),
        stack: Vec::new(),
        rest: Rest::default(),
        quantisation: super::Quantisation::of(super::Precision::Bf16),
        caveats: Vec::new(),
    }
}

/// Sizes that the file leaves to its class.
fn note(f: &Facts<'_>) -> String {
    let sizes = [
        "hidden_size",
        "num_hidden_layers",
        "num_attention_heads",
        "num_key_value_heads",
        "intermediate_size",
        "head_dim",
    ];
    let mut assumed = f.assumed.borrow().clone();
    assumed.retain(|k| sizes.contains(&k.as_str()));
    assumed.sort();
    assumed.dedup();
    if assumed.is_empty() {
        return String::new();
    }
    format!("by default of the class {} ({}): {}", f.kind, classes::CLASSES.source, assumed.join(", "))
}

#[cfg(test)]
mod tests;
