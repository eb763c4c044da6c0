//! Decode rows under speculation, one by one.
//!
//! A row computes its newest token and the tokens proposed after it, and its computed tokens are set back by those that
//! are rejected when the step ends, as vLLM's scheduler does (`num_computed_tokens` less the rejected ones in
//! `update_from_output`). How many hold is drawn by position. Rows advance unevenly, so they are not kept as sums: a step
//! costs work by row, and no stretch of steps is certain. Slots of rejected tokens stay with the row and are filled
//! again. What is under way when a row is preempted is lost and computed again.

use super::requests::{NONE, Phase, Req};
use super::{Batch, Chunking, InFlight};
use crate::engine::Speculation;
use crate::sim::scheduler::{Slot, TokenEvent};
use crate::sim::step::StepShape;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::collections::VecDeque;

/// A decode row in a step.
#[derive(Debug, Clone, Copy)]
struct Row {
    slot: Slot,
    epoch: u32,
    /// Tokens computed: its newest one and proposals.
    tokens: u32,
}

/// What a batch needs to know of speculation.
#[derive(Debug, Clone)]
pub(in crate::sim::policy) struct Verification {
    /// Tokens verified beside the newest one.
    verified: u32,
    lookahead: u32,
    /// Chance that the token at each position holds, given those before it.
    holds: Vec<f64>,
    /// Share of the rows for which something is proposed.
    proposed: f64,
    rng: ChaCha8Rng,
    /// Of the step under composition.
    rows: Vec<Row>,
    speculative_tokens: u32,
    ctx: u64,
    ctx_window: u64,
    in_flight: VecDeque<Vec<Row>>,
}

/// Equal launches draw equal numbers.
const SEED: u64 = 0x5bec;

impl Verification {
    fn new(s: &Speculation) -> Verification {
        let shares = &s.acceptance.by_position;
        let before = |i: usize| if i == 0 { 1.0 } else { shares[i - 1] };
        let holds = (0..shares.len())
            .map(|i| if before(i) > 0.0 { (shares[i] / before(i)).clamp(0.0, 1.0) } else { 0.0 })
            .collect();
        Verification {
            verified: s.verified,
            lookahead: s.lookahead(),
            holds,
            proposed: s.acceptance.proposed,
            rng: ChaCha8Rng::seed_from_u64(SEED),
            rows: Vec::new(),
            speculative_tokens: 0,
            ctx: 0,
            ctx_window: 0,
            in_flight: VecDeque::new(),
        }
    }

    /// Tokens that a row computes next.
    fn draw_num_tokens(&mut self) -> u32 {
        let proposes = self.proposed >= 1.0 || self.rng.random::<f64>() < self.proposed;
        1 + if proposes { self.verified } else { 0 }
    }

    /// How many of the proposed tokens are accepted.
    fn draw_accepted(&mut self, proposals: u32) -> u32 {
        let mut n = 0;
        while n < proposals && self.holds.get(n as usize).is_some_and(|p| self.rng.random::<f64>() < *p) {
            n += 1;
        }
        n
    }

    /// The tokens that a row brings after its forward pass; rejected tokens do not count as computed.
    fn emit(&mut self, r: &mut Req, computed: u32) -> TokenEvent {
        let accepted = self.draw_accepted(computed - 1);
        r.num_computed_tokens -= computed - 1 - accepted;
        r.steps_in_flight -= 1;
        let tokens = (accepted + 1).min(r.output - r.emitted);
        r.emitted += tokens;
        TokenEvent { id: r.id, index: r.emitted, tokens, finished: r.emitted == r.output }
    }

    /// Puts the decode rows into the shape.
    pub(super) fn note(&self, shape: &mut StepShape) {
        shape.decode_rows = self.rows.len() as u32;
        shape.speculative_tokens = self.speculative_tokens;
        shape.decode_ctx = self.ctx;
        shape.decode_ctx_window = self.ctx_window;
    }

    /// The step under composition is under way.
    pub(super) fn commit(&mut self) {
        self.in_flight.push_back(std::mem::take(&mut self.rows));
        (self.speculative_tokens, self.ctx, self.ctx_window) = (0, 0, 0);
    }
}

impl Batch {
    /// Decode rows verify proposals from now on, where there are any.
    pub(in crate::sim::policy) fn verify_proposals(&mut self, speculation: Option<&Speculation>) {
        self.verification = speculation.map(|s| Box::new(Verification::new(s)));
    }

    pub(in crate::sim::policy) fn is_verifying(&self) -> bool {
        self.verification.is_some()
    }

    /// The most KV slots that a row holds beyond its known tokens.
    pub(in crate::sim::policy) fn slack(&self) -> u32 {
        // With a step under way the next one starts from all of its proposals.
        self.verification.as_ref().map_or(0, |v| 2 * v.verified + v.lookahead)
    }

    /// Whether the row's last token may still be unscheduled.
    fn has_unscheduled_tokens(&self, slot: Slot) -> bool {
        let r = &self.requests[slot];
        r.phase == Phase::Decode && !(self.ends_by_length(slot) && r.emitted + r.steps_in_flight >= r.output)
    }

    /// New blocks that a decode row needs for its tokens and the drafter's own.
    fn blocks_for_row(&self, slot: Slot, tokens: u32) -> u64 {
        let r = &self.requests[slot];
        let lookahead = self.verification.as_ref().map_or(0, |v| v.lookahead);
        let groups = u64::from(self.layout.full_groups + self.layout.sliding_groups);
        let b = self.layout.block_size;
        let after = r.allocated.max(r.num_computed_tokens + tokens + lookahead);
        groups * u64::from(after.div_ceil(b) - r.allocated.div_ceil(b))
    }

    /// Blocks that the next decode step needs.
    pub(in crate::sim::policy) fn decode_wanted(&self) -> u64 {
        let Some(v) = &self.verification else { return self.decode.wanted(0) };
        let rows = self.requests.in_order().filter(|&slot| self.has_unscheduled_tokens(slot));
        rows.map(|slot| self.blocks_for_row(slot, 1 + v.verified)).sum()
    }

    /// Tokens that the decode rows ask for if all of them have proposals.
    fn max_decode_tokens(&self) -> u32 {
        let rows = self.requests.in_order().filter(|&slot| self.has_unscheduled_tokens(slot)).count() as u32;
        rows * (1 + self.verification.as_ref().map_or(0, |v| v.verified))
    }

    /// Puts a row into the step under composition; its blocks are free.
    fn verify(&mut self, slot: Slot, tokens: u32) {
        let (wanted, dropped) = (self.blocks_for_row(slot, tokens), self.dropped_by(slot));
        self.pool.take(wanted);
        self.pool.give(dropped);
        let target = self.skip_target(slot);
        let clip = u64::from(self.clip);
        let Some(v) = &mut self.verification else { return };
        let r = &mut self.requests[slot];
        r.skipped_to = r.skipped_to.max(target);
        r.allocated = r.allocated.max(r.num_computed_tokens + tokens + v.lookahead);
        r.before = r.num_computed_tokens;
        r.num_computed_tokens += tokens;
        r.steps_in_flight += 1;
        let context = u64::from(r.num_computed_tokens);
        v.rows.push(Row { slot, epoch: r.epoch, tokens });
        v.speculative_tokens += tokens - 1;
        v.ctx += context;
        v.ctx_window += context.min(clip.saturating_add(u64::from(tokens) - 1));
    }

    /// All decode rows verify. The caller has checked that there are enough blocks.
    pub(super) fn verify_all(&mut self) {
        let mut slot = self.requests.head;
        while slot != NONE {
            if self.has_unscheduled_tokens(slot) {
                let tokens = self.verification.as_mut().map_or(1, |v| v.draw_num_tokens());
                self.verify(slot, tokens);
            }
            slot = self.requests[slot].next;
        }
    }

    /// As `run_running` for rows that verify: in running order, each within what the budget has left; true when a
    /// request was preempted.
    pub(super) fn run_verified(&mut self, chunking: &Chunking, record: &mut InFlight) -> bool {
        let before = self.preemptions;
        let mut left = chunking.budget;
        // Where chunks are cut to blocks (TensorRT-LLM) decode rows come before prompts.
        let mut prompts =
            if chunking.unit == 1 { left } else { left.saturating_sub(self.max_decode_tokens()) };
        let mut slot = self.requests.head;
        while slot != NONE {
            match self.requests[slot].phase {
                Phase::Decode if left > 0 && self.has_unscheduled_tokens(slot) => {
                    let tokens = self.verification.as_mut().map_or(1, |v| v.draw_num_tokens()).min(left);
                    if !self.make_room(slot, self.blocks_for_row(slot, tokens), record) {
                        break;
                    }
                    self.verify(slot, tokens);
                    left -= tokens;
                }
                Phase::Prefill => {
                    let chunk = chunking.chunk(self.requests[slot].rest(), left.min(prompts));
                    let wanted = self.blocks_for(slot, chunk).saturating_sub(self.dropped_by(slot));
                    if chunk > 0 && !self.make_room(slot, wanted, record) {
                        break;
                    }
                    self.allocate_chunk(slot, chunk);
                    left -= chunk;
                    prompts -= chunk;
                }
                Phase::Decode | Phase::Ending | Phase::Waiting => {}
            }
            slot = self.requests[slot].next;
        }
        self.preemptions > before
    }

    /// The tokens of a step in batch order; requests that end are noted as the record's last.
    pub(super) fn complete_verified(&mut self, record: &mut InFlight, out: &mut Vec<TokenEvent>) {
        let Some(v) = &mut self.verification else { return };
        let rows = v.in_flight.pop_front().unwrap_or_default();
        let all = &mut self.requests;
        for row in rows {
            let r = &mut all[row.slot];
            if r.epoch == row.epoch && r.phase == Phase::Decode {
                out.push(v.emit(r, row.tokens));
                record.last.extend((r.emitted == r.output).then_some(row.slot));
            }
        }
        for &slot in &record.first {
            let r = &mut all[slot];
            if r.first_step == record.number && r.phase == Phase::Decode {
                out.push(v.emit(r, 1));
                record.last.extend((r.emitted == r.output).then_some(slot));
            }
        }
    }
}
