//! Which GPUs this machine has, by whichever of the makers' ways is here.

use super::nvml::{self, Detected};
use super::rocm;
use crate::error::{Error, Result};
use nvml_wrapper::error::NvmlError;
use std::path::Path;

/// The GPUs that a server started from here would see, by NVML, else by AMD's kernel driver.
///
/// Errors: neither is here (both are named), no device, a driver that does not answer; each with the hint to name the
/// hardware.
pub fn detect() -> Result<Detected> {
    nvml::detect().unwrap_or_else(|e| {
        let list = |name: &str| std::env::var(name).ok();
        let visible = list("HIP_VISIBLE_DEVICES").or_else(|| list("ROCR_VISIBLE_DEVICES"));
        rocm::detect(Path::new("/sys"), visible.as_deref()).map_err(|why| unavailable(&e, &why))
    })
}

fn unavailable(e: &NvmlError, rocm: &str) -> Error {
    let what = match e {
        NvmlError::LibloadingError(_) | NvmlError::LibraryNotFound => {
            "no GPU detected: NVIDIA's management library (libnvidia-ml.so.1) is not on this machine"
                .to_owned()
        }
        NvmlError::DriverNotLoaded => "no GPU detected: NVIDIA's driver is not loaded".to_owned(),
        other => format!("no GPU detected: {other}"),
    };
    Error::usage(format!("{what}; {rocm}"))
        .hint("name it with --hardware ID (`dyno list hardware`); --hardware cpu for a machine without a GPU")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_driver_the_hint_is_to_name_the_hardware() {
        let e = unavailable(&NvmlError::DriverNotLoaded, "ROCm: not here");
        assert_eq!(e.kind.exit_code(), 2);
        assert!(e.to_string().contains("--hardware"), "{e}");
        // On a machine with a GPU this succeeds; without one it must fail with the hint, never panic.
        match detect() {
            Ok(d) => assert!(!d.driver.is_empty()),
            Err(e) => assert!(e.to_string().contains("--hardware"), "{e}"),
        }
    }
}
