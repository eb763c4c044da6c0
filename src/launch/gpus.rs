//! How many GPUs a launch takes, and how they share the work.

use super::{EngineKind, Launch};

const TENSOR: &[&str] = &["tensor-parallel-size", "tp", "tp-size"];
const PIPELINE: &[&str] = &["pipeline-parallel-size", "pp", "pp-size"];
const DATA: &[&str] = &["data-parallel-size", "dp", "dp-size"];
/// Context parallelism of the prefill takes GPUs of its own; that of the decode (DCP) shares those of TP.
const CONTEXT: &[&str] = &["prefill-context-parallel-size", "pcp", "cp-size", "context-parallel-size"];

/// The GPUs of one launch, by what they are for. Expert parallelism and decode context parallelism take none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GpuLayout {
    pub tensor: u32,
    pub pipeline: u32,
    /// Whole replicas of the model, each on GPUs of its own.
    pub data: u32,
    /// Ranks of data-parallel attention, which share the GPUs of the tensor-parallel group; 1 is off.
    pub attention: u32,
    pub context: u32,
    /// Whether all of it was read; false where a size is no number (`$TP`) or stands in a file that was not read.
    pub known: bool,
    /// Whether the launch says any of it itself.
    pub said: bool,
}

impl GpuLayout {
    /// The layout that a launch's own flags and files give. A size that is not known is taken from `num_gpus`, so that all
    /// of them are used.
    pub fn of(launch: &Launch) -> GpuLayout {
        let given = |names: &[&str]| launch.text(names).is_some();
        let size = |names: &[&str]| launch.integer(names).filter(|n| *n >= 1);
        let readable = |names: &[&str]| !given(names) || size(names).is_some();
        let all = [TENSOR, PIPELINE, DATA, CONTEXT];
        let mut l = GpuLayout {
            tensor: size(TENSOR).unwrap_or(1),
            pipeline: size(PIPELINE).unwrap_or(1),
            data: size(DATA).unwrap_or(1),
            attention: 1,
            context: size(CONTEXT).unwrap_or(1),
            known: all.iter().all(|n| readable(n)) && !unread(launch, &all),
            said: all.iter().any(|n| given(n)),
        };
        match launch.engine {
            Some(EngineKind::Sglang) if launch.switch(&["enable-dp-attention"]) == Some(true) => {
                (l.attention, l.data) = (l.data, 1);
            }
            Some(EngineKind::Sglang) => l.attention = size(&["attn-dp-size"]).unwrap_or(1),
            Some(EngineKind::Trtllm) if launch.switch(&["enable-attention-dp"]) == Some(true) => {
                l.attention = l.tensor;
            }
            _ => {}
        }
        let others = l.pipeline * l.data * l.context;
        // Replicas are whole engines, as ranks of data parallelism are.
        let replicas = launch.replicas.unwrap_or(1).max(1);
        if let Some(n) = launch.num_gpus.filter(|n| !readable(TENSOR) && *n >= others * replicas) {
            l.tensor = n / (others * replicas);
        }
        l.data *= replicas;
        l.said |= replicas > 1;
        l
    }

    /// GPUs that the command's environment shows to the engine, where it names them and the launch stays on one node.
    pub fn visible(launch: &Launch) -> Option<u32> {
        const SEVERAL: [&str; 6] = [
            "nnodes",
            "node-rank",
            "headless",
            "data-parallel-size-local",
            "data-parallel-address",
            "dist-init-addr",
        ];
        if launch.flags.iter().any(|(n, _)| SEVERAL.contains(&n.as_str())) {
            return None;
        }
        let lists = ["CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES"];
        let list = lists.into_iter().find_map(|name| launch.env.get(name))?;
        let named = list.split(',').filter(|d| !d.trim().is_empty()).count();
        u32::try_from(named).ok().filter(|n| *n > 0 && !list.contains('$'))
    }

    pub fn gpus(&self) -> u32 {
        self.tensor.saturating_mul(self.pipeline).saturating_mul(self.data).saturating_mul(self.context)
    }

    /// `TP 8 x DP 8`.
    pub fn words(&self) -> String {
        let parts = [("TP", self.tensor), ("PP", self.pipeline), ("DP", self.data), ("CP", self.context)];
        let named: Vec<String> =
            parts.iter().filter(|(_, n)| *n > 1).map(|(name, n)| format!("{name} {n}")).collect();
        if named.is_empty() { "no parallelism".to_owned() } else { named.join(" x ") }
    }
}

/// A file of options that was not at hand may say more, where the command itself is silent.
fn unread(launch: &Launch, all: &[&[&str]]) -> bool {
    let silent = launch.text(all[0]).is_none();
    silent && launch.problems.iter().any(|p| p.contains("was not read") || p.contains(super::nim::UNTOLD))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_takes_gpus_and_what_shares_them() {
        let of = |line: &str| {
            let l = GpuLayout::of(&Launch::parse(line));
            (l.gpus(), l.attention)
        };
        let sglang = "python3 -m sglang.launch_server --model-path m";
        assert_eq!(of(&format!("{sglang} --tp 8 --dp 8 --enable-dp-attention --ep 8")), (8, 8));
        assert_eq!(of(&format!("{sglang} --tp 2 --dp-size 4")), (8, 1));
        assert_eq!(of("vllm serve m -tp 8 -dp 8 --enable-expert-parallel"), (64, 1));
        assert_eq!(of("vllm serve m -tp 4 -pp 2 -dcp 4"), (8, 1));
        assert_eq!(of("trtllm-serve m --tp_size 4 --pp_size 2 --ep_size 4"), (8, 1));
        assert_eq!(of("vllm serve m"), (1, 1));
        assert_eq!(of("sglang serve --model-path m --tp-size 8 --attn-dp-size 4"), (8, 4));
    }

    #[test]
    fn the_environment_names_the_gpus_of_one_node() {
        let visible = |line: &str| GpuLayout::visible(&Launch::parse(line));
        assert_eq!(visible("CUDA_VISIBLE_DEVICES=0,1 vllm serve m -tp 4"), Some(2));
        assert_eq!(visible("CUDA_VISIBLE_DEVICES=0,1 vllm serve m -tp 4 --nnodes 2"), None);
        assert_eq!(visible("CUDA_VISIBLE_DEVICES=$GPUS vllm serve m"), None);
        let l = Launch::parse("vllm serve m --max-model-len ${LEN:-8192} --port ${PORT}");
        assert_eq!(l.integer(&["max-model-len"]), Some(8192));
        assert!(l.problems[0].contains("$LEN is not known here"), "{:?}", l.problems);
    }

    #[test]
    fn an_unknown_size_is_not_one() {
        let mut launch = Launch::parse("vllm serve m --tensor-parallel-size $TP -dp 2");
        launch.num_gpus = Some(8);
        let l = GpuLayout::of(&launch);
        assert_eq!((l.tensor, l.gpus(), l.known), (4, 8, false));
        let l = GpuLayout::of(&Launch::parse("trtllm-serve m --config /x/y.yaml"));
        assert!(!l.known && !l.said);
    }
}
