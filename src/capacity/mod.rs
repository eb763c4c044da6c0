//! Load ramps, breakpoints and zones, measured or simulated.

pub mod zones;

pub use zones::{Breakpoint, Interval, LoadPoint, Ramp, Zone, ZoneSpan};
