//! A plain description of a model: headline sizes from which uniform layers follow. The form of `models/*.toml`.

use super::{Inputs, Mla, Model, Moe, Precision, Quantisation, Rest, Sliding, Variant, catalog, uniform};
use serde::{Deserialize, Serialize};

/// As [`Model`], without what follows from it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Description {
    id: String,
    #[serde(default)]
    aliases: Vec<String>,
    #[serde(default)]
    architecture: String,
    layers: u32,
    hidden: u32,
    q_heads: u32,
    kv_heads: u32,
    head_dim: u32,
    ffn: u32,
    vocab: u32,
    #[serde(default)]
    tied_embeddings: bool,
    #[serde(default = "yes")]
    gated_ffn: bool,
    max_position: u32,
    #[serde(default)]
    moe: Option<Moe>,
    #[serde(default)]
    mla: Option<Mla>,
    #[serde(default)]
    sliding: Option<Sliding>,
    #[serde(default)]
    attention_sinks: bool,
    /// Parameters of vision and audio towers.
    #[serde(default)]
    towers: u64,
    precision: Precision,
    #[serde(default)]
    weights_gb: Option<f64>,
    #[serde(default)]
    note: String,
    source: String,
    #[serde(default)]
    variants: Vec<Variant>,
    #[serde(default)]
    unverified: Vec<String>,
}

fn yes() -> bool {
    true
}

impl From<Description> for Model {
    /// A description that makes no sense ([`catalog::meaning`]) gets no layers: its reader checks it.
    fn from(d: Description) -> Model {
        let mut m = Model {
            id: d.id,
            aliases: d.aliases,
            architecture: d.architecture,
            layers: d.layers,
            hidden: d.hidden,
            q_heads: d.q_heads,
            kv_heads: d.kv_heads,
            head_dim: d.head_dim,
            ffn: d.ffn,
            vocab: d.vocab,
            tied_embeddings: d.tied_embeddings,
            gated_ffn: d.gated_ffn,
            max_position: d.max_position,
            moe: d.moe,
            mla: d.mla,
            sliding: d.sliding,
            attention_sinks: d.attention_sinks,
            precision: d.precision,
            weights_gb: d.weights_gb,
            note: d.note,
            source: d.source,
            variants: d.variants,
            unverified: d.unverified,
            stack: Vec::new(),
            rest: Rest::default(),
            quantisation: Quantisation::of(d.precision),
            caveats: Vec::new(),
        };
        if catalog::meaning("", &m).is_empty() {
            m.stack = uniform::layers(&m);
            let inputs = Inputs { image: d.towers > 0, ..Inputs::default() };
            m.rest = Rest { towers: d.towers, inputs, ..uniform::rest(&m) };
        }
        m
    }
}
