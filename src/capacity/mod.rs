//! Load ramps, breakpoints and zones, measured or simulated.

mod breakpoints;
pub mod correction;
pub mod forecast;
pub mod ladder;
pub mod measured;
pub mod picture;
pub mod plan;
pub mod point;
pub mod sample;
pub mod simulated;
mod watch;
pub mod zones;

pub use forecast::Forecast;
pub use ladder::{ClimbEnd, Ladder};
pub use measured::{Expected, MeasuredRamp, RampPlan, Saved, Step, measure};
pub use point::{Axis, LoadPoint};
pub use watch::EngineView;
pub use zones::{Breakpoint, Interval, Ramp, SLO_CROSSING, Zone, ZoneSpan};
