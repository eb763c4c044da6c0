//! Whatever starts `dyno` and waits for it, in one program: most of these tests wait for engines in real time, and tests of one
//! program wait side by side, while Cargo runs one program after the other.

#![expect(clippy::disallowed_methods, reason = "tests start the program as a user does")]

mod bad_input;
mod contract;
mod contract_adapters;
mod contract_cycles;
mod contract_tune;
mod faults;
mod fuzz;
mod hostile;
mod killed;
mod left_running;
mod readme;
mod secrets;
mod trial;
mod tune;
mod tune_failures;
mod tune_options;
