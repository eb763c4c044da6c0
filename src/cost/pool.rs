//! How an engine cuts its KV memory into pages, and how many tokens that holds.
//!
//! vLLM puts layers into groups of equal size whose pages are of equal bytes, so that all draw from one pool: layers with
//! smaller entries get more tokens a page, and next to recurrent layers the page grows until it holds a state. The
//! figure that it logs as "GPU KV cache size" follows from what a request of full length takes of each group.

mod compressed;

use crate::engine::EngineConfig;
use crate::launch::EngineKind;
use crate::model::{Model, Span};

/// The pool of one launch, on one device.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct KvPool {
    /// Layers of a group on one device (a pipeline stage holds its part).
    pub group_layers: f64,
    /// Groups of layers that attend to the whole context, of local layers, of layers with a state.
    pub full_groups: f64,
    pub local_groups: f64,
    pub state_groups: f64,
    /// Bytes that one token takes in one group.
    pub token_bytes: f64,
    /// Tokens of a page in full layers; above the configured block size next to recurrent layers.
    pub page_tokens: f64,
    /// Tokens of a page in local layers.
    pub local_page_tokens: f64,
    /// Widest window of the local layers.
    pub window: f64,
    /// Share of the room that a pool of recurrent states takes from the cache (SGLang), and the bytes of one state.
    pub state_share: f64,
    pub state_bytes: f64,
}

/// Layers of one kind: how many, and the mean bytes a token (or a sequence) takes in one of them on a device.
#[derive(Debug, Clone, Copy, Default)]
struct Kind {
    layers: f64,
    bytes: f64,
}

impl Kind {
    fn add(&mut self, layers: u32, bytes: f64) {
        let n = f64::from(layers);
        self.bytes = (self.bytes * self.layers + bytes * n) / (self.layers + n);
        self.layers += n;
    }
}

/// Models for which SGLang has a second pool for the local layers; elsewhere these hold the whole context too.
fn smaller_local_pool(model: &Model) -> bool {
    const ARCHITECTURES: [&str; 7] =
        ["GptOss", "Llama4", "MiMoV2", "Step3p5", "Step3p7", "Gemma4", "Exaone4"];
    ARCHITECTURES.iter().any(|a| model.architecture.starts_with(a)) || model.attention_sinks
}

impl KvPool {
    pub fn new(model: &Model, config: &EngineConfig) -> KvPool {
        let tensor = config.attention_tensor();
        let (mut full, mut local, mut state) = (Kind::default(), Kind::default(), Kind::default());
        let mut window = 0;
        for (n, layer) in model.runs() {
            if let Some(a) = layer.attention.as_ref().filter(|a| !a.shares_kv) {
                let bytes = a.kv_bytes(config.kv_elem_bytes) * a.kv_share(tensor);
                match a.span {
                    Span::Full => full.add(n, bytes),
                    Span::Window(w) => {
                        local.add(n, bytes);
                        window = window.max(w);
                    }
                }
            }
            if let Some(s) = &layer.state {
                // SGLang keeps recurrent states in four bytes.
                let elem = if config.engine == EngineKind::Sglang { 4.0 } else { 2.0 };
                state.add(n, s.cache_bytes(elem) / f64::from(tensor));
            }
        }
        let stages = f64::from(config.pipeline_parallel.max(1));
        if config.engine == EngineKind::Sglang && full.layers + local.layers > 0.0 {
            return KvPool::of_layers(model, config, [full, local, state], stages);
        }
        let block = f64::from(config.block_size.max(1));
        let counts: Vec<f64> = [full, local, state].iter().map(|k| k.layers).filter(|n| *n > 0.0).collect();
        let (few, many) = counts.iter().fold((f64::MAX, 0.0_f64), |(a, b), n| (a.min(*n), b.max(*n)));
        // Recurrent layers alone: a page is a state.
        let token_bytes = full.bytes.max(local.bytes);
        if counts.is_empty() || token_bytes <= 0.0 {
            return KvPool::of_states(state, stages);
        }
        let size = if many < 1.5 * few { many } else { few };
        let groups = |k: Kind| (k.layers / size).ceil();
        let page_tokens = if state.layers > 0.0 {
            ((state.bytes / token_bytes / 16.0).ceil() * 16.0).max(block)
        } else {
            block
        };
        let per_local = if local.bytes > 0.0 { page_tokens * token_bytes / local.bytes } else { page_tokens };
        KvPool {
            group_layers: size / stages,
            full_groups: groups(full),
            local_groups: groups(local),
            state_groups: groups(state),
            token_bytes: token_bytes * size / stages,
            page_tokens,
            local_page_tokens: per_local,
            window: f64::from(window),
            state_share: 0.0,
            state_bytes: 0.0,
        }
    }

    /// SGLang: every layer has a buffer of its own. Local layers of some models have a smaller pool, recurrent layers one
    /// of states, for which a fixed share of the room is set aside.
    fn of_layers(model: &Model, config: &EngineConfig, kinds: [Kind; 3], stages: f64) -> KvPool {
        let [full, local, state] = kinds;
        let ratio =
            if smaller_local_pool(model) && full.layers > 0.0 { config.local_pool_ratio } else { 1.0 };
        let share =
            if state.layers > 0.0 { config.state_pool_ratio / (1.0 + config.state_pool_ratio) } else { 0.0 };
        let layers = full.layers + local.layers;
        let plain = full.layers * full.bytes + ratio * local.layers * local.bytes;
        let bytes = compressed::token_bytes(model, config).unwrap_or(plain);
        let block = f64::from(config.block_size.max(1));
        KvPool {
            group_layers: layers / stages,
            full_groups: 1.0,
            local_groups: 0.0,
            state_groups: 0.0,
            token_bytes: (bytes / stages).max(1.0),
            page_tokens: block,
            local_page_tokens: block,
            window: 0.0,
            state_share: share,
            state_bytes: state.layers * state.bytes / stages,
        }
    }

    fn of_states(state: Kind, stages: f64) -> KvPool {
        KvPool {
            group_layers: (state.layers / stages).max(1.0),
            full_groups: 0.0,
            local_groups: 0.0,
            state_groups: 1.0,
            token_bytes: (state.layers * state.bytes / stages).max(1.0),
            page_tokens: 1.0,
            local_page_tokens: 1.0,
            window: 0.0,
            state_share: 0.0,
            state_bytes: 0.0,
        }
    }

    /// Pages that one request of `length` tokens holds, over all groups; `budget` tokens are computed a step.
    pub fn pages(&self, length: f64, budget: f64) -> f64 {
        let full = self.full_groups * (length / self.page_tokens).ceil();
        let kept = length.min(self.window - 1.0 + budget).max(0.0);
        let local = self.local_groups * ((kept / self.local_page_tokens).ceil() + 1.0);
        full + local + self.state_groups
    }

    /// Tokens that `pages` pages hold, in the engine's own words: vLLM since 0.21 says how many requests of full
    /// length fit times that length, before it divided the pages by the number of groups.
    pub fn tokens(&self, pages: f64, config: &EngineConfig) -> f64 {
        let length = f64::from(config.max_model_len.max(1));
        let hybrid = self.local_groups + self.state_groups > 0.0;
        let vllm = matches!(config.engine, EngineKind::Vllm | EngineKind::Emulated);
        if hybrid && (!vllm || config.version >= (0, 21, 0)) {
            let each = self.pages(length, f64::from(config.max_num_batched_tokens));
            return pages / each.max(1.0) * length;
        }
        let groups = self.full_groups + self.local_groups + self.state_groups;
        pages / groups.max(1.0) * self.page_tokens
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing;
    use super::*;

    #[test]
    fn hybrid_layers_share_pages_in_groups() {
        let p = KvPool::new(&testing::gpt_oss_20b(), &EngineConfig::default());
        assert_eq!((p.group_layers, p.full_groups, p.local_groups), (12.0, 1.0, 1.0));
        assert_eq!(p.token_bytes, 12.0 * 2048.0);
        let p = KvPool::new(
            &testing::llama_8b(),
            &EngineConfig { tensor_parallel: 16, ..EngineConfig::default() },
        );
        assert_eq!(p.token_bytes, 16384.0);
    }
}
