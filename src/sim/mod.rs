//! Discrete-event simulation of the engines' schedulers on a [`StepTime`](crate::cost::StepTime) model.
//! No I/O, no clock: simulated time is integer nanoseconds.

pub mod scheduler;
