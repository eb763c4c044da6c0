//! GPUs of this machine, shared out among launches that run side by side.

use crate::error::{Error, Result};
use crate::store::Plan;

/// The GPUs of each launch; empty where launches have none of their own: one at a time, the embedded engine, a CPU, an executor that
/// gives its jobs their GPUs.
///
/// Errors: fewer GPUs than the launches need, or none that this machine can name.
pub(super) fn places(plan: &Plan) -> Result<Vec<Vec<u32>>> {
    if plan.in_flight <= 1 || plan.executor.is_some() || plan.emulated() || plan.hardware == "cpu" {
        return Ok(Vec::new());
    }
    let gpus: Vec<u32> = crate::telemetry::detect()?.gpus.iter().map(|g| g.index).collect();
    share(&gpus, plan.in_flight as usize, plan.num_gpus as usize)
}

fn share(gpus: &[u32], in_flight: usize, each: usize) -> Result<Vec<Vec<u32>>> {
    let sets: Vec<Vec<u32>> = gpus.chunks_exact(each.max(1)).take(in_flight).map(<[u32]>::to_vec).collect();
    if sets.len() == in_flight {
        return Ok(sets);
    }
    Err(Error::usage(format!(
        "--parallel {in_flight} with --num-gpus {each} needs {} GPUs, and this process sees {}",
        in_flight * each,
        gpus.len()
    ))
    .hint(format!("at most --parallel {}", sets.len().max(1))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_launch_has_gpus_of_its_own() {
        assert_eq!(share(&[0, 1, 2, 3, 6], 2, 2).unwrap(), [[0, 1], [2, 3]]);
        let e = share(&[4, 5, 6], 2, 2).unwrap_err().to_string();
        assert!(
            e.contains("needs 4 GPUs, and this process sees 3") && e.contains("at most --parallel 1"),
            "{e}"
        );
    }
}
