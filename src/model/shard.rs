//! What one rank of a launch holds: weights, KV and state under tensor, pipeline and expert parallelism.

use super::layer::{Attention, Layer, Span};
use super::sizes::KvPerToken;
use super::{Model, Scheme};

/// How a launch divides one copy of the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Division {
    /// Ranks that split each layer.
    pub tensor: u32,
    /// Stages that split the stack.
    pub pipeline: u32,
    /// Ranks that the routed experts are spread over, data-parallel ranks included; `tensor` where experts are
    /// merely split like the rest.
    pub experts: u32,
    /// Experts lie whole on their ranks (expert parallelism), not split in width.
    pub experts_whole: bool,
    /// Ranks that split attention and recurrent mixers: `tensor`, or that over the ranks of data-parallel attention, each of
    /// which holds them for its own requests.
    pub attention: u32,
}

impl Division {
    /// Tensor parallelism alone.
    pub fn tensor(n: u32) -> Division {
        Division {
            tensor: n.max(1),
            pipeline: 1,
            experts: n.max(1),
            experts_whole: false,
            attention: n.max(1),
        }
    }
}

/// One rank's part; the fullest stage where stages differ.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct RankShare {
    pub weight_bytes: f64,
    /// Of that, routed experts.
    pub expert_bytes: f64,
    /// KV bytes that a token of context costs on the rank.
    pub kv: KvPerToken,
    /// State bytes a sequence on the rank.
    pub state_bytes: f64,
}

/// Share of `n` heads that the busiest of `ranks` ranks holds: heads are divided while there are enough, then
/// replicated.
fn share(n: u32, ranks: u32) -> f64 {
    f64::from(n.div_ceil(ranks.max(1)).max(1)) / f64::from(n.max(1))
}

impl Attention {
    /// Share of this layer's cache that one of `tensor` ranks holds.
    pub fn kv_share(&self, tensor: u32) -> f64 {
        if self.latent.is_some() { 1.0 } else { share(self.kv_heads, tensor) }
    }

    fn params_on_rank(&self, tensor: u32) -> f64 {
        self.params.by_head as f64 / f64::from(tensor.max(1))
            + self.params.by_kv_head as f64 * share(self.kv_heads, tensor)
            + self.params.replicated as f64
    }
}

impl Model {
    /// What one rank holds. `kv_elem` and `state_elem`: bytes an element of cache and state.
    pub fn rank_share(&self, d: &Division, kv_elem: f64, state_elem: f64) -> RankShare {
        let tensor = d.tensor.max(1);
        let stages = f64::from(d.pipeline.max(1));
        let attention = d.attention.max(1);
        let mut out = RankShare::default();
        for (n, layer) in self.runs() {
            // Stages are equal within a layer; the sums below are divided once.
            let n = f64::from(n) / stages;
            let (weights, experts) = self.layer_bytes(layer, d, attention);
            out.weight_bytes += n * (weights + experts);
            out.expert_bytes += n * experts;
            if let Some(a) = &layer.attention {
                let bytes = n * a.kv_bytes(kv_elem) * a.kv_share(attention);
                match a.span {
                    Span::Full => out.kv.full += bytes,
                    Span::Window(w) if bytes > 0.0 => {
                        out.kv.sliding += bytes;
                        out.kv.window = out.kv.window.max(Some(w));
                    }
                    Span::Window(_) => {}
                }
            }
            out.state_bytes += n * layer.state.map_or(0.0, |s| s.bytes(state_elem) / f64::from(attention));
        }
        let (r, each) = (&self.rest, self.part_bytes());
        // The first stage holds the embedding, the last the head: the fuller of them counts.
        // Ranks of data-parallel attention each embed their own tokens.
        let embedding = r.embedding as f64 * each.embedding / f64::from(attention);
        let head = r.lm_head as f64 * each.lm_head / f64::from(tensor);
        out.weight_bytes += if d.pipeline > 1 { embedding.max(head) } else { embedding + head };
        out.weight_bytes += r.per_layer_embedding as f64 * each.embedding / f64::from(tensor);
        out.weight_bytes += r.other as f64 * each.other + r.towers as f64 * each.towers / f64::from(tensor);
        out.scaled_to(self.weights_gb.map(|gb| gb * 1e9 / self.weight_parts().with_towers().max(1) as f64))
    }

    /// Bytes of one layer on a rank: (all but routed experts, routed experts).
    fn layer_bytes(&self, l: &Layer, d: &Division, attention: u32) -> (f64, f64) {
        let each = self.part_bytes();
        let tensor = f64::from(d.tensor.max(1));
        let mut out = l.other_params as f64 * each.other;
        out += l.attention.as_ref().map_or(0.0, |a| a.params_on_rank(attention) * each.attention);
        out += l.state.map_or(0.0, |s| s.params as f64 / f64::from(attention) * each.state);
        out += l.dense.map_or(0.0, |f| f.params as f64 / tensor * each.dense_ffn);
        let Some(e) = &l.experts else { return (out, 0.0) };
        out += e.router_params as f64 * each.router + e.shared_params as f64 / tensor * each.shared_experts;
        let ranks = d.experts.max(1);
        let held = if d.experts_whole {
            f64::from(e.count.div_ceil(ranks))
        } else {
            f64::from(e.count) / f64::from(ranks)
        };
        (out, held * e.params_each as f64 * each.experts)
    }

    /// Why this model cannot be divided so; empty when it can. Formats with blocks of scales need widths that
    /// are whole blocks on each rank (vLLM refuses the rest when it loads the weights).
    pub fn division_problems(&self, d: &Division) -> Vec<String> {
        let tensor = d.tensor.max(1);
        let mut out = Vec::new();
        let mut say = |text: String| {
            if !out.contains(&text) {
                out.push(text);
            }
        };
        let block = match self.quantisation.format.scheme {
            Scheme::Block(rows, _) if tensor > 1 => rows,
            _ => 0,
        };
        let covered = &self.quantisation.covered;
        let mut whole_blocks = |what: &str, width: u32, ranks: u32, share: f64| {
            if block > 0 && share > 0.0 && width > 0 && !width.is_multiple_of(ranks * block) {
                say(format!(
                    "{what} of width {width} over {ranks} ranks is {} a rank, no whole blocks of {block} as the FP8 \
                     scales need",
                    f64::from(width) / f64::from(ranks)
                ));
            }
        };
        for (_, l) in self.runs() {
            if let Some(f) = &l.dense {
                whole_blocks("dense FFN", f.width, tensor, covered.dense_ffn);
            }
            if let Some(e) = l.experts.as_ref().filter(|_| !d.experts_whole) {
                whole_blocks("experts", e.width, d.experts.max(1), covered.experts);
            }
        }
        let attention = d.attention.max(1);
        for (_, a) in self.attentions() {
            if !a.q_heads.is_multiple_of(attention) {
                say(format!(
                    "{} attention heads cannot be split over tensor parallelism of {attention}",
                    a.q_heads
                ));
            }
        }
        out
    }
}

impl RankShare {
    /// Weights scaled to a checkpoint of known size.
    fn scaled_to(mut self, factor: Option<f64>) -> RankShare {
        if let Some(f) = factor.filter(|f| f.is_finite()) {
            self.weight_bytes *= f;
            self.expert_bytes *= f;
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Catalog, Quantisation};

    fn model(name: &str) -> Model {
        Catalog::load(None).unwrap().with_hub_cache(None).find(name).unwrap()
    }

    #[test]
    fn kv_heads_are_divided_then_replicated_and_latents_are_never_divided() {
        let llama = model("meta-llama/Llama-3.1-8B-Instruct");
        let kv = |tp| llama.rank_share(&Division::tensor(tp), 2.0, 2.0).kv.full;
        assert_eq!((kv(1), kv(8), kv(16)), (131072.0, 16384.0, 16384.0));
        let r1 = model("deepseek-ai/DeepSeek-R1");
        let kv = |tp| r1.rank_share(&Division::tensor(tp), 2.0, 2.0).kv.full;
        assert_eq!((kv(1), kv(8)), (61.0 * 1152.0, 61.0 * 1152.0));
        let whole = r1.rank_share(&Division::tensor(1), 2.0, 2.0);
        assert!((whole.weight_bytes / r1.weight_bytes() as f64 - 1.0).abs() < 1e-6);
        let eighth = r1.rank_share(&Division::tensor(8), 2.0, 2.0);
        assert!(eighth.weight_bytes > whole.weight_bytes / 8.0);
    }

    #[test]
    fn fp8_blocks_need_widths_that_divide() {
        let mut m = model("Qwen/Qwen3-235B-A22B-FP8");
        m.quantisation = Quantisation {
            format: super::super::Format::quantised(super::super::Precision::Fp8, Scheme::Block(128, 128)),
            ..m.quantisation
        };
        let at = |d: Division| m.division_problems(&d);
        assert!(at(Division::tensor(4)).is_empty());
        assert!(at(Division::tensor(8))[0].contains("192 a rank"), "{:?}", at(Division::tensor(8)));
        assert!(at(Division { experts_whole: true, ..Division::tensor(8) }).is_empty());
    }
}
