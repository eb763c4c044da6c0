//! A launch before the closed-form screen: the same preparation as for the simulator, without its events.

use super::super::{Coefficients, Physical, Refusal};
use super::{Room, Setup};
use crate::engine::EngineConfig;
use crate::scenario::{Key, Metrics};
use crate::sim::{Demand, Load, Screen, SimOptions};

/// Coefficients, configuration and options as a run takes them.
pub(super) struct Prepared {
    pub(super) coefficients: Coefficients,
    pub(super) config: EngineConfig,
    pub(super) options: SimOptions,
}

impl Setup {
    /// This launch with another configuration, the load taken over; `None` when the context limit, which bounds the
    /// lengths, is another.
    pub fn with_config(&self, config: EngineConfig) -> Option<Setup> {
        if config.max_model_len != self.config.max_model_len {
            return None;
        }
        let Room { config, memory, kv_known, least_blocks } =
            Room::of(config, &self.hardware, &self.model, &self.requests);
        Some(Setup { config, memory, kv_known, least_blocks, ..self.clone() })
    }

    /// Why the launch will not start by the arithmetic of memory, when it will not.
    pub fn refused(&self) -> Option<&Refusal> {
        self.memory.refusals.iter().find(|r| r.fatal())
    }

    /// The load as the screen takes it; `None` for arrivals that are far from even, which no steady state shows.
    fn load(&self) -> Option<Load> {
        if let Some(n) = self.concurrency {
            return Some(Load::Closed(n));
        }
        let n = self.requests.len();
        let span = self.requests.last()?.arrival.secs();
        if span <= 0.0 {
            return Some(Load::AllAtOnce);
        }
        let half = self.requests[n / 2].arrival.secs() / span;
        (n >= 16 && (0.35..=0.65).contains(&half)).then(|| Load::Open(n as f64 / span))
    }

    /// What the closed-form screen says of this launch: mean values and throughputs, no percentiles; `None` when it
    /// does not cover the load. `demand` holds the moments of this launch's requests.
    pub fn screen(&self, c: &Coefficients, demand: &Demand) -> Option<Metrics> {
        if self.shares() {
            return None;
        }
        let load = self.load()?;
        let Prepared { coefficients, config, options } = self.prepared(c);
        let ranks = f64::from(config.data_parallel.max(1));
        let share = Demand { requests: (demand.requests / ranks).max(1.0), ..*demand };
        let load = match load {
            Load::AllAtOnce => Load::AllAtOnce,
            Load::Closed(n) => Load::Closed((f64::from(n) / ranks).ceil() as u32),
            Load::Open(rate) => Load::Open(rate / ranks),
        };
        let time = Physical::new(&self.hardware, &self.model, &config, &coefficients);
        let layout = self.layout(self.pool_blocks(&coefficients));
        let s = Screen::new(&config, &layout, &time, share).run(load);
        let delay = options.frontend_from.0 as f64;
        let duration = (s.duration + delay) / 1e9;
        let mut m = Metrics::default();
        let tokens = |each: f64| demand.requests * each / duration;
        m.set(Key::Duration, duration);
        m.set(Key::RequestThroughput, tokens(1.0));
        m.set(Key::OutputThroughput, tokens(demand.output));
        m.set(Key::TotalTokenThroughput, tokens(demand.input + demand.output));
        m.set(Key::MeanTtftMs, (s.ttft + delay) / 1e6);
        m.set(Key::MeanTpotMs, s.tpot / 1e6);
        m.set(Key::MeanE2elMs, (s.e2e + delay) / 1e6);
        Some(m)
    }
}
