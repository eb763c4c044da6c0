//! Load ramps, breakpoints and zones, measured or simulated.
