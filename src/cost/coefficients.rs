//! The coefficients of the step-time model: names, units, prior.

use serde::{Deserialize, Serialize};

macro_rules! coefficients {
    ($($(#[$doc:meta])* $name:ident $unit:literal $median:literal $log_sd:literal,)*) => {
        /// Non-negative coefficients of [`Physical`](super::Physical); each a physical quantity.
        #[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub struct Coefficients { $($(#[$doc])* pub $name: f64,)* }

        impl Coefficients {
            /// Names, in the order of `get`.
            pub const NAMES: &[&str] = &[$(stringify!($name),)*];
            pub const UNITS: &[&str] = &[$($unit,)*];
            /// Prior standard deviations of the natural logarithm.
            pub const LOG_SD: &[f64] = &[$($log_sd,)*];

            pub fn to_vec(&self) -> Vec<f64> { vec![$(self.$name,)*] }
            pub fn from_slice(v: &[f64]) -> Coefficients {
                let mut it = v.iter().copied();
                Coefficients { $($name: it.next().unwrap_or($median),)* }
            }
        }
        impl Default for Coefficients {
            /// Prior medians that hold for a recent vLLM on a recent data-centre GPU.
            fn default() -> Coefficients { Coefficients { $($name: $median,)* } }
        }
    };
}

coefficients! {
    /// Share of peak memory bandwidth reached when streaming dense weights.
    weight_bandwidth "fraction of peak" 0.72 0.18,
    /// Share of peak memory bandwidth reached when streaming the experts that a batch touches.
    expert_bandwidth "fraction of peak" 0.75 0.22,
    /// Share of peak memory bandwidth reached when reading KV in decode attention.
    kv_bandwidth "fraction of peak" 0.7 0.3,
    /// Share of peak arithmetic reached by large dense products.
    dense_compute "fraction of peak" 0.55 0.28,
    /// Share of peak arithmetic reached by grouped expert products at many tokens an expert.
    expert_compute "fraction of peak" 0.31 0.35,
    /// Share of peak arithmetic reached by prefill attention.
    attention_compute "fraction of peak" 0.50 0.18,
    /// Device time of a layer that no byte or FLOP explains: launch gaps, small kernels, barriers.
    layer_overhead "us per layer" 14.0 0.35,
    /// As `layer_overhead`, of the router, sorting and grouped kernels of a mixture-of-experts layer.
    moe_overhead "us per MoE layer" 49.0 0.35,
    /// Device time of one row in one step: sampling over the vocabulary, metadata, cache writes. Not split
    /// by tensor parallelism; closed loops on one to eight devices agree on 20 us at 200,000 tokens.
    row "us per row" 20.0 0.6,
    /// Memory traffic of activations by token and layer, in hidden vectors of two bytes; not split by tensor
    /// parallelism. Routing copies each token to its experts and back: a quarter more for each expert a token.
    activation_passes "hidden vectors per token and layer" 16.0 0.40,
    /// Latency of one all-reduce between two devices inside a captured graph.
    comm_latency "us per all-reduce" 10.5 0.35,
    /// Share of link bandwidth reached by large all-reduces.
    comm_bandwidth "fraction of link" 0.60 0.40,
    /// Device time of a step that carries prompt tokens beside everything by token, layer or byte: metadata of ragged
    /// batches, scattering into the cache, kernels chosen anew. Unverified, hence wide; a floor of prefill that must not
    /// go into its slope.
    prompt_step "us per step with a prompt" 1000.0 1.5,
    /// Host time to launch one layer of compiled code without a CUDA graph; three times that in eager mode.
    /// The host does nothing else meanwhile.
    eager_launch "us per layer" 150.0 0.4,
    /// Host time of a step: schedule, prepare, update.
    host_step "us per step" 2300.0 0.35,
    /// Host time of a row in a step.
    host_row "us per row" 12.0 0.3,
    /// Front-end time of a request: HTTP, template, hand-over.
    frontend_request "us per request" 3000.0 0.5,
    /// Front-end time of a prompt token.
    frontend_token "us per token" 2.0 0.50,
    /// Time that each request of a burst adds before the first of them is handed on: requests that arrive
    /// together share the front end instead of passing it one by one.
    burst_request "us per request" 1200.0 0.60,
    /// As `burst_request`, by prompt token.
    burst_token "us per token" 2.0 0.60,
    /// Device memory that neither weights nor computed activations explain: context, workspace, fragments.
    reserved_memory "GiB" 1.0 0.7,
    /// Delay on the way through server and network that keeps nobody else waiting: connection, template,
    /// hand-over between processes, streaming.
    emit_delay "us" 9000.0 0.7,
    /// Front-end time of one streamed token: detokenize, serialise, send.
    emit_token "us per token" 20.0 0.50,
    /// How many times as long a step takes for each month by which the engine's release is older than the newest that a fit has
    /// seen; nothing else asks for it. Unverified: DeepSeek-R1 on B200 took 1.2 times as long under TensorRT-LLM 1.1 as under 1.2
    /// (InferenceX; 1.06 by month, seen by this prior), and no other public launch was measured under two releases.
    month_older "times by month" 1.02 0.04,
}

impl Coefficients {
    /// Each coefficient multiplied by `exp(shift)`.
    pub fn shifted(&self, log_shift: &[f64]) -> Coefficients {
        let v: Vec<f64> = self.to_vec().iter().zip(log_shift).map(|(c, s)| c * s.exp()).collect();
        Coefficients::from_slice(&v)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors_and_names_agree() {
        let c = Coefficients::default();
        let v = c.to_vec();
        assert_eq!(v.len(), Coefficients::NAMES.len());
        assert_eq!(Coefficients::UNITS.len(), v.len());
        assert_eq!(Coefficients::LOG_SD.len(), v.len());
        assert_eq!(Coefficients::from_slice(&v), c);
        assert_eq!(v[Coefficients::NAMES.iter().position(|n| *n == "host_row").unwrap()], c.host_row);
    }
}
