//! The streaming client and its timing: with `telemetry`, the only HTTP client.
