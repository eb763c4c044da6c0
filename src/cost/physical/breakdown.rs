//! The time of one step by component.

/// Device time of one step by component, nanoseconds; for explanations and the binding resource.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Breakdown {
    pub overhead: f64,
    pub rows: f64,
    pub weight_stream: f64,
    pub dense_compute: f64,
    pub expert_stream: f64,
    pub expert_compute: f64,
    pub prefill_attention: f64,
    pub kv_read: f64,
    pub activations: f64,
    pub communication: f64,
    /// Proposing the tokens that the next step verifies.
    pub drafting: f64,
    /// Launch time above the device's own when the step has no graph.
    pub eager_launch: f64,
    pub host: f64,
}

impl Breakdown {
    /// Adds `n` times another breakdown, component by component.
    pub fn add(&mut self, other: &Breakdown, n: f64) {
        self.overhead += n * other.overhead;
        self.rows += n * other.rows;
        self.weight_stream += n * other.weight_stream;
        self.dense_compute += n * other.dense_compute;
        self.expert_stream += n * other.expert_stream;
        self.expert_compute += n * other.expert_compute;
        self.prefill_attention += n * other.prefill_attention;
        self.kv_read += n * other.kv_read;
        self.activations += n * other.activations;
        self.communication += n * other.communication;
        self.drafting += n * other.drafting;
        self.eager_launch += n * other.eager_launch;
        self.host += n * other.host;
    }

    /// Every component so many times as long.
    pub(super) fn times(&self, factor: f64) -> Breakdown {
        let mut all = Breakdown::default();
        all.add(self, factor);
        all
    }

    /// Device time: streams and products overlap within a component, components follow one another.
    pub fn device(&self) -> f64 {
        self.overhead
            + self.rows
            + self.weight_stream.hypot(self.dense_compute)
            + if self.expert_stream > 0.0 { self.expert_stream.hypot(self.expert_compute) } else { 0.0 }
            + self.prefill_attention
            + self.kv_read
            + self.activations
            + self.communication
            + self.drafting
            + self.eager_launch
    }
}
