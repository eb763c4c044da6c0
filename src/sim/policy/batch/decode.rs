//! The running rows that decode, as sums: a step costs no work per row.
//!
//! Every active row advances by one token a scheduled step, so a row is known by the step at which it
//! joined; contexts, block needs and ends of rows follow from the step number.

use crate::sim::kv::KvLayout;

/// Sums over the active decode rows, as of the next step to be scheduled.
#[derive(Debug, Clone)]
pub(in crate::sim::policy) struct DecodeSums {
    pub(in crate::sim::policy) rows: u32,
    /// Σ of contexts attended to (tokens in the cache + the new one).
    pub(in crate::sim::policy) ctx: u64,
    pub(in crate::sim::policy) ctx_window: u64,
    /// Rows whose clipped context still grows.
    pub(in crate::sim::policy) growing: u32,
    layout: KvLayout,
    clip: u32,
    /// How many tokens the giving back of blocks lags behind the cache.
    lag: u32,
    /// Rows by (tokens in the cache - step) modulo the block size.
    phase: Vec<u32>,
    /// The same of rows whose cache is longer than the window: they give blocks back.
    beyond_window: Vec<u32>,
    step: u64,
}

impl DecodeSums {
    pub(in crate::sim::policy) fn new(layout: KvLayout, clip: u32, lag: u32) -> DecodeSums {
        let block = layout.block_size as usize;
        let beyond_window = if layout.sliding_groups > 0 { block } else { 0 };
        DecodeSums {
            rows: 0,
            ctx: 0,
            ctx_window: 0,
            growing: 0,
            layout,
            clip,
            lag,
            phase: vec![0; block],
            beyond_window: vec![0; beyond_window],
            step: 0,
        }
    }

    fn residue(&self, cached: u32) -> usize {
        let b = u64::from(self.layout.block_size);
        ((u64::from(cached) % b + b - self.step % b) % b) as usize
    }

    /// Adds a row that will have `cached` tokens in the cache when the next step is scheduled.
    pub(in crate::sim::policy) fn join(&mut self, cached: u32) {
        let context = cached + 1;
        self.rows += 1;
        self.ctx += u64::from(context);
        self.ctx_window += u64::from(context.min(self.clip));
        self.growing += u32::from(context < self.clip);
        let r = self.residue(cached);
        self.phase[r] += 1;
    }

    /// Takes out a row that has `cached` tokens in the cache as of the next step; `beyond_window` as it was told before.
    pub(in crate::sim::policy) fn leave(&mut self, cached: u32, beyond_window: bool) {
        let context = cached + 1;
        self.rows -= 1;
        self.ctx -= u64::from(context);
        self.ctx_window -= u64::from(context.min(self.clip));
        self.growing -= u32::from(context < self.clip);
        let r = self.residue(cached);
        self.phase[r] -= 1;
        if beyond_window {
            self.beyond_window[r] -= 1;
        }
    }

    /// A row's context has come to the clip: it stops growing.
    pub(in crate::sim::policy) fn window_full(&mut self) {
        self.growing -= 1;
    }

    /// A row gives blocks back from the next step on: its cache is longer than the window.
    pub(in crate::sim::policy) fn beyond_window(&mut self, cached: u32) {
        let r = self.residue(cached);
        self.beyond_window[r] += 1;
    }

    fn at(&self, hist: &[u32], cached: u64, ahead: u64) -> u64 {
        let b = u64::from(self.layout.block_size);
        u64::from(hist[((cached % b + b - (self.step + ahead) % b) % b) as usize])
    }

    /// Blocks that the rows need `ahead` steps after the next one.
    pub(in crate::sim::policy) fn wanted(&self, ahead: u64) -> u64 {
        self.at(&self.phase, 0, ahead) * u64::from(self.layout.full_groups + self.layout.sliding_groups)
    }

    /// Blocks that fall out of the rows' windows in the same step.
    pub(in crate::sim::policy) fn dropped(&self, ahead: u64) -> u64 {
        if self.beyond_window.is_empty() {
            return 0;
        }
        let b = u64::from(self.layout.block_size);
        let start = u64::from(self.layout.window + self.lag) + b - 1;
        self.at(&self.beyond_window, start, ahead) * u64::from(self.layout.sliding_groups)
    }

    /// The same rows, `steps` steps later.
    pub(in crate::sim::policy) fn advance(&mut self, steps: u64) {
        self.ctx += u64::from(self.rows) * steps;
        self.ctx_window += u64::from(self.growing) * steps;
        self.step += steps;
    }
}
