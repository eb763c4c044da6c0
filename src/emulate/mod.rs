//! The embedded engine: an OpenAI-compatible server whose clock is the simulator's.
