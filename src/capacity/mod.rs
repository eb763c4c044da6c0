//! Load ramps, breakpoints and zones, measured or simulated.

pub mod ladder;
pub mod measured;
pub mod simulated;
pub mod zones;

pub use ladder::{ClimbEnd, Ladder};
pub use measured::{Axis, MeasuredRamp, RampPlan, Step, measure};
pub use zones::{Breakpoint, Interval, LoadPoint, Ramp, Zone, ZoneSpan};
