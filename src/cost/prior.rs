//! The prior of the coefficients by device, model and engine: what is believed before any measurement.

use super::coefficients::Coefficients;
use super::profile::{GroupFit, GroupKey, Profile};
use super::setup::Setup;
use super::solve::Matrix;
use crate::hardware::Vendor;
use crate::model::Precision;

/// Prior medians for a launch.
pub fn coefficients(setup: &Setup) -> Coefficients {
    let mut c = Coefficients::default();
    let (hw, model) = (&setup.hardware, &setup.model);
    c.row *= f64::from(model.vocab) / 200e3;
    let ampere = hw.sm.is_some_and(|sm| sm < 89);
    if model.attention_sinks && ampere {
        // Sinks rule out FlashAttention there; the Triton kernels that remain reach about a quarter.
        c.attention_compute *= 0.30;
        c.kv_bandwidth *= 0.4;
    }
    // Grouped kernels gain less from faster matrix units than dense ones: as the square root of the peak.
    c.expert_compute *= (989.0 / hw.bf16_tflops.max(1.0)).sqrt().clamp(0.5, 2.5);
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
        c.dense_compute *= 1.3;
        c.kv_bandwidth *= 1.25;
    }
    if setup.config.weights.unwrap_or(model.precision) == Precision::Mxfp4 {
        // Shuffled copies and workspaces of the grouped kernels.
        c.reserved_memory = 2.6;
    }
    if setup.config.weights.unwrap_or(model.precision).compute_bits() == 8 {
        // Eight-bit products pay for scales and quantising activations.
        c.dense_compute *= 0.7;
        c.expert_compute *= 0.7;
    }
    if hw.sm.is_some_and(|sm| sm == 89 || sm >= 120) {
        // Consumer parts: the quoted rate is the sustained one, and GDDR streams close to its peak.
        c.dense_compute *= 1.4;
        c.weight_bandwidth *= 1.2;
    }
    if hw.vendor == Vendor::Cpu {
        on_a_cpu(&mut c);
    }
    c
}

/// Engine core, front end and device are processes on the same cores there: a decode step of a tiny model takes
/// 1.3 ms and the engine's loop around it 0.4 ms (two AVX-512 cores, 2026), and each token that the front end sends
/// takes about 28 us from the loop.
fn on_a_cpu(c: &mut Coefficients) {
    c.layer_overhead = 150.0;
    c.host_step = 400.0;
    c.host_row = 28.0;
    c.row = 10.0;
    c.frontend_request = 800.0;
    c.frontend_token = 0.2;
    c.burst_request = 1500.0;
    c.burst_token = 1.0;
    c.emit_delay = 1000.0;
}

/// Prior standard deviations of the logarithms.
pub fn log_sd(setup: &Setup) -> Vec<f64> {
    // The figures of the hardware `cpu` are orders of magnitude.
    let least = if setup.hardware.vendor == Vendor::Cpu { 0.8 } else { 0.0 };
    Coefficients::LOG_SD.iter().map(|sd| sd.max(least)).collect()
}

/// What is believed of one launch: coefficients and the covariance of their logarithms.
#[derive(Debug, Clone)]
pub struct Belief {
    pub coefficients: Coefficients,
    pub covariance: Matrix,
    /// Where it comes from, in words.
    pub from: String,
    /// The fit on exactly this model, hardware and engine, when there is one.
    pub exact: bool,
}

/// The belief about a launch: its own fit when the profile has one; else the prior moved by the fits of
/// other groups, each counted by how much it shares with this launch.
pub fn belief(setup: &Setup, profile: Option<&Profile>) -> Belief {
    let prior = coefficients(setup);
    let key = GroupKey::of(setup);
    if let Some(g) = profile.and_then(|p| p.exact(&key)) {
        return Belief {
            coefficients: prior.shifted(&g.log_shift),
            covariance: g.covariance.clone(),
            from: format!(
                "a fit on {} observations of {} on {} with {}",
                g.observations, g.model, g.hardware, g.engine
            ),
            exact: true,
        };
    }
    let sd = log_sd(setup);
    let mut shift = vec![0.0; sd.len()];
    let mut variance: Vec<f64> = sd.iter().map(|s| s * s).collect();
    let others: &[GroupFit] = profile.map_or(&[], |p| &p.groups);
    for g in others {
        let between = between_groups(&key, g);
        for i in 0..sd.len() {
            // What another group tells about this one is blurred by how far they are apart.
            let own = g.covariance[i][i];
            let told = (1.0 - own / (sd[i] * sd[i])).clamp(0.0, 1.0);
            if told < 0.1 {
                continue;
            }
            let blurred = own + (between * sd[i]).powi(2);
            let gain = variance[i] / (variance[i] + blurred);
            shift[i] += gain * (g.log_shift[i] - shift[i]);
            variance[i] *= 1.0 - gain;
        }
    }
    let covariance = (0..sd.len())
        .map(|i| (0..sd.len()).map(|j| if i == j { variance[i] } else { 0.0 }).collect())
        .collect();
    let from = if others.is_empty() {
        "the physical prior alone: nothing of this launch was measured".to_owned()
    } else {
        format!("the physical prior, moved by {} other fitted group(s)", others.len())
    };
    Belief { coefficients: prior.shifted(&shift), covariance, from, exact: false }
}

/// How far two groups' coefficients lie apart, in prior standard deviations.
fn between_groups(key: &GroupKey, g: &GroupFit) -> f64 {
    let apart = |same: bool, d: f64| if same { 0.0 } else { d * d };
    (0.15_f64.powi(2)
        + apart(key.hardware == g.hardware, 0.8)
        + apart(key.model == g.model, 0.5)
        + apart(key.engine == g.engine, 0.6))
    .sqrt()
}
