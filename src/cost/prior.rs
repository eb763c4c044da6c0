//! The prior of the coefficients by device, model and engine: what is believed before any measurement.

use super::coefficients::Coefficients;
use super::kernels::{self, ExpertKernel, Format, Generation, LayerFloors, ProductKernel};
use super::pooling::{self, Relations};
use super::profile::{GroupFit, Profile};
use super::setup::Setup;
use super::solve::Matrix;
use crate::hardware::Vendor;
use crate::launch::EngineKind;
use crate::model::Precision;

/// Large products in an engine reach less than the same kernel alone in a table: under a lasting load of matrix arithmetic the
/// clocks fall to what the power allows, and between the products lie norms and copies. The ratio is that of the closed loops and
/// bursts of gpt-oss and Qwen3-32B on A100 and H100 (published-runs, silicon-concurrency: seen by this constant). That it holds
/// for experts too was left out at first; with the open runs in view it stands again.
const IN_AN_ENGINE: f64 = 0.71;
///
/// Where quantising is fused, and in four bits, the tables' own share is reached: closed loops of Llama-3.1-70B in FP8 and NVFP4 under
/// vLLM and TensorRT-LLM (silicon-open: seen by this rule).
fn in_an_engine(format: Format) -> f64 {
    if matches!(format, Format::EightByTensor | Format::Four) { 1.0 } else { IN_AN_ENGINE }
}
/// The same for what is bound by bytes, and for attention. It was 0.92 by the older sets; silicon-open has nearly all groups at the
/// tables' own figures and above.
const STREAMED_IN_AN_ENGINE: f64 = 0.98;
/// Experts routed as unevenly as a power law of exponent 1.01 take 1.03 to 1.09 of the time of even routing (AIConfigurator's
/// tables from 2,048 tokens on), and the form is 3 to 5 % fast there.
const ROUTED: f64 = 0.90;

/// Prior medians for a launch.
pub fn coefficients(setup: &Setup) -> Coefficients {
    let mut c = Coefficients::default();
    let (hw, model) = (&setup.hardware, &setup.model);
    c.row *= f64::from(model.vocab) / 200e3;
    of_kernels(&mut c, setup);
    let ampere = Generation::of(hw) == Generation::Ampere;
    if model.attention_sinks && ampere {
        // Sinks rule out FlashAttention there; the Triton kernels that remain reach about a quarter.
        c.attention_compute *= 0.30;
        c.kv_bandwidth *= 0.4;
    }
    if setup.config.shared_frontend {
        // One Python process tokenizes, and sends every token: closed loops of trtllm-serve 1.0 stop growing
        // at about 9,000 tokens/s and 36 requests/s, whatever the number of devices.
        c.frontend_request = 5000.0;
        c.frontend_token = 3.3;
        c.emit_token = 95.0;
        // Each rank is one Python process that schedules, launches, and handles every row's answer: closed
        // loops on one to eight devices agree on 2 ms and 60 us a row, and on 13 to 20 ms for a step with a
        // prompt, which runs without a graph, however short the prompt (32 layers).
        c.eager_launch = 210.0;
        c.host_step = 2000.0;
        c.host_row = 58.0;
        if Generation::of(hw) == Generation::Blackwell {
            // Hosts of these parts, and releases from 1.1 on, are faster (gpt-oss-120b and DeepSeek-R1: seen).
            c.eager_launch *= 0.65;
            c.host_row *= 0.65;
        }
        if Format::of_weights(model, setup.precision()) != Format::EightByTensor {
            c.dense_compute *= 1.3;
        }
    }
    prompts(&mut c, setup);
    if setup.precision() == Precision::Mxfp4 {
        // Shuffled copies and workspaces of the grouped kernels.
        c.reserved_memory = 2.6;
    }
    match hw.vendor {
        Vendor::Cpu => on_a_cpu(&mut c),
        Vendor::Amd => on_amd(&mut c),
        Vendor::Nvidia => (),
    }
    c
}

/// What a step with a prompt and a request cost beside what grows with tokens, where closed loops (silicon-open: seen) have much more
/// of it than elsewhere: vLLM's attention between the pieces of a graph on Blackwell, the expanded form of latent attention with its
/// workspace, SGLang's sparse attention, and its processor of images, which a model with a vision tower has for text too. Why each takes so
/// long is not known, and the prior is as wide there as before.
fn prompts(c: &mut Coefficients, setup: &Setup) {
    let (model, vllm) = (&setup.model, setup.config.engine == EngineKind::Vllm);
    if vllm && model.moe_layers() == 0 {
        // A compiler fuses norms, residuals and the activation function: less goes through memory.
        c.activation_passes = 11.0;
    }
    if vllm && setup.is_latent() {
        c.prompt_step = 20_000.0;
    } else if vllm && Generation::of(&setup.hardware) == Generation::Blackwell {
        c.prompt_step = 10_000.0;
    }
    // DeepSeek-R1 under SGLang and TensorRT-LLM on B200 and H200 has a prompt's first token no sooner than after 0.13 s, however short it is
    // (a public reading of InferenceX's runs); what launches and front end explain of it is 0.08 s.
    match setup.config.engine {
        EngineKind::Sglang if setup.is_latent() => c.prompt_step = 50_000.0,
        EngineKind::Trtllm if setup.is_latent() => c.prompt_step = 15_000.0,
        _ => (),
    }
    if setup.config.engine == EngineKind::Sglang {
        if model.rest.inputs.image {
            c.emit_delay = 110_000.0;
        }
        if model.runs().any(|(_, l)| l.attention.as_ref().is_some_and(|a| a.indexer.is_some())) {
            c.prompt_step = 100_000.0;
        }
    }
}

/// Shares of the peaks by part, format and kernel family.
fn of_kernels(c: &mut Coefficients, setup: &Setup) {
    let (hw, config) = (&setup.hardware, &setup.config);
    let format = Format::of_weights(&setup.model, setup.precision());
    let of_dense = dense_format(format);
    c.dense_compute = in_an_engine(of_dense) * kernels::dense(hw, of_dense, config.engine).share;
    if hw.id.starts_with("rtx-") && Generation::of(hw) == Generation::Ada {
        // The quoted rate of GeForce parts is half of what their matrix units sustain with 16-bit sums (unverified; from
        // the one RTX 4090 run, seen by this constant).
        c.dense_compute *= 1.9;
    }
    let columns = kernels::expert_columns(&setup.model, config);
    let experts = ExpertKernel::of(hw, format, config.engine);
    c.expert_compute = IN_AN_ENGINE * ROUTED * experts.share(columns);
    if kernels::may_be_untuned(hw, &setup.model, format, config.engine) {
        c.expert_compute *= UNTUNED;
    }
    c.expert_bandwidth = 0.96 * experts.stream;
    c.attention_compute = 0.9 * kernels::prefill_attention(hw, config.engine).share;
    c.kv_bandwidth = STREAMED_IN_AN_ENGINE * decode_attention(setup).share;
    let product = ProductKernel::of(hw, format, config.engine);
    c.weight_bandwidth =
        STREAMED_IN_AN_ENGINE * product.map_or_else(|| kernels::weight_stream(hw).share, |p| p.stream);
    let quantised = product.is_some() && matches!(format, Format::Eight | Format::Four);
    if quantised {
        // Two bytes read and one written for each element that goes into a product.
        c.activation_passes += 1.5 * kernels::Shapes::of(&setup.model, config, product).inputs;
    }
    if let Some(floors) = LayerFloors::of(hw, &setup.model, format, config.engine) {
        c.layer_overhead = floors.layer * overlapped(setup);
        c.moe_overhead = floors.experts;
    }
    if let Some(us) = kernels::all_reduce_us(hw, config.engine) {
        c.comm_latency = us;
    }
    if let Some(share) = kernels::all_reduce_bandwidth(hw, config.tensor_parallel) {
        c.comm_bandwidth = share;
    }
}

/// What is left of a layer's floor in an engine: the tables time kernel after kernel, while a compiler's fusions and launches that depend on
/// each other hide part of it. From closed loops of dense models and of experts under vLLM and TensorRT-LLM (silicon-open: seen);
/// SGLang's floors come out as the tables add them up.
fn overlapped(setup: &Setup) -> f64 {
    let latent_on_blackwell = setup.is_latent() && Generation::of(&setup.hardware) == Generation::Blackwell;
    match (setup.config.engine, setup.model.moe_layers() > 0) {
        (EngineKind::Sglang, _) => 1.0,
        (EngineKind::Vllm, true) if latent_on_blackwell => 0.7,
        (_, true) => 0.9,
        (_, false) => 0.7,
    }
}

/// Four-bit weights are computed with in 16 bits.
fn dense_format(format: Format) -> Format {
    match format {
        Format::FourWeights | Format::IntegerWeights => Format::Sixteen,
        own => own,
    }
}

fn decode_attention(setup: &Setup) -> kernels::Reached {
    let (hw, config) = (&setup.hardware, &setup.config);
    if setup.is_latent() {
        return kernels::latent_decode_attention(hw, config.engine, config.kv_elem_bytes);
    }
    kernels::decode_attention(hw, config.kv_elem_bytes)
}

/// A default configuration of the grouped kernels reaches less than a tuned one. Unverified.
const UNTUNED: f64 = 0.6;

/// Step floors on AMD's parts. Unverified: one public account of DeepSeek-R1 under SGLang on MI300X has a floor of 15 ms a
/// decode step over 61 layers, with two all-reduces each.
fn on_amd(c: &mut Coefficients) {
    c.layer_overhead = 60.0;
    c.moe_overhead = 110.0;
    c.comm_latency = 25.0;
    // Prompts of DeepSeek, MiniMax-M2 and Qwen3-Coder under SGLang wait much longer than bytes and FLOPs explain (seen).
    c.prompt_step = 40_000.0;
}

/// Engine core, front end and device are processes on the same cores there: a decode step of a tiny model takes
/// 1.3 ms and the engine's loop around it 0.4 ms (two AVX-512 cores, 2026), and each token that the front end sends
/// takes about 28 us from the loop.
fn on_a_cpu(c: &mut Coefficients) {
    c.layer_overhead = 150.0;
    c.host_step = 400.0;
    c.host_row = 28.0;
    c.row = 10.0;
    c.prompt_step = 30.0;
    c.frontend_request = 800.0;
    c.frontend_token = 0.2;
    c.burst_request = 1500.0;
    c.burst_token = 1.0;
    c.emit_delay = 1000.0;
}

/// Spread of a share of a peak that no table stands behind, and of a floor of a part that no one has measured.
const UNVERIFIED_SD: f64 = 0.6;

/// Prior standard deviations of the logarithms.
pub fn log_sd(setup: &Setup) -> Vec<f64> {
    let (hw, config) = (&setup.hardware, &setup.config);
    // The figures of the hardware `cpu` are orders of magnitude.
    let least = if hw.vendor == Vendor::Cpu { 0.8 } else { 0.0 };
    let format = Format::of_weights(&setup.model, setup.precision());
    let wide = |known: bool| if known { 0.0 } else { UNVERIFIED_SD };
    let experts = ExpertKernel::of(hw, format, config.engine).measured
        && !kernels::may_be_untuned(hw, &setup.model, format, config.engine);
    // Kernels are counted, not profiled, where many more are launched than in the layers that the figure is of.
    let by_kernel = matches!(config.engine, EngineKind::Sglang | EngineKind::Trtllm)
        && kernels::launches(&setup.model, format) > 1.5;
    let floor = |name: &str| match name {
        "dense_compute" => wide(kernels::dense(hw, format, config.engine).measured),
        "expert_compute" | "expert_bandwidth" => wide(experts),
        "weight_bandwidth" => wide(ProductKernel::of(hw, format, config.engine).is_some_and(|p| p.measured)),
        "attention_compute" => wide(kernels::prefill_attention(hw, config.engine).measured),
        "kv_bandwidth" => wide(decode_attention(setup).measured),
        "eager_launch" => wide(!by_kernel),
        "layer_overhead" | "moe_overhead" | "comm_latency" | "comm_bandwidth" => {
            wide(hw.vendor != Vendor::Amd)
        }
        _ => 0.0,
    };
    let sds = Coefficients::LOG_SD.iter().zip(Coefficients::NAMES);
    sds.map(|(sd, name)| sd.max(least).max(floor(name))).collect()
}

/// What is believed of one launch: coefficients and the covariance of their logarithms.
#[derive(Debug, Clone)]
pub struct Belief {
    pub coefficients: Coefficients,
    /// Logarithm of the coefficients over the physical prior.
    pub shift: Vec<f64>,
    pub covariance: Matrix,
    /// Where it comes from, in words.
    pub from: String,
    /// The fit on exactly this model, hardware and engine, when there is one.
    pub exact: bool,
}

/// The belief about a launch: its own fit when the profile has one; else the prior moved by the fits of
/// other groups, the profile's and those of `base`, each counted by how much it shares with this launch.
pub fn belief(setup: &Setup, profile: Option<&Profile>, base: &Profile) -> Belief {
    let prior = coefficients(setup);
    let to = Relations::of(setup);
    if let Some(g) = profile.and_then(|p| p.exact(&to.key)) {
        return Belief {
            coefficients: prior.shifted(&g.log_shift),
            shift: g.log_shift.clone(),
            covariance: g.covariance.clone(),
            from: format!(
                "a fit on {} observations of {} on {} with {}",
                g.observations, g.model, g.hardware, g.engine
            ),
            exact: true,
        };
    }
    let own: &[GroupFit] = profile.map_or(&[], |p| &p.groups);
    let public: &[GroupFit] = if pooling::public_speaks_for(setup) { &base.groups } else { &[] };
    let measured = |g: &&GroupFit| own.iter().any(|o| o.key() == g.key());
    let groups: Vec<&GroupFit> = own.iter().chain(public.iter().filter(|g| !measured(g))).collect();
    let (shift, covariance) = pooling::pooled(&to, &log_sd(setup), &groups);
    let spoken = |groups: &[GroupFit]| groups.iter().filter(|g| to.speaks(g)).count();
    let from = match (spoken(own), spoken(public)) {
        (0, 0) if !own.is_empty() => format!(
            "the physical prior alone: the {} fitted group(s) are of other models, and what a fit finds belongs to its model",
            own.len()
        ),
        (0, 0) => "the physical prior alone: nothing of this launch was measured".to_owned(),
        (0, n) => format!("the physical prior, moved by {n} public groups of runs as far as they are alike"),
        (m, _) => format!("the physical prior, moved by {m} other fitted group(s)"),
    };
    Belief { coefficients: prior.shifted(&shift), shift, covariance, from, exact: false }
}
