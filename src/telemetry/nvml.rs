//! GPUs of this machine as NVIDIA's management library (NVML) sees them, else as AMD's kernel driver shows them. The
//! library is loaded at run time: where neither is there, that is said, and the hardware has to be named by the user.

use crate::error::{Error, Result};
use crate::hardware::{Catalog, Hardware};
use crate::units::Bytes;
use nvml_wrapper::enum_wrappers::device::{Clock, TemperatureSensor};
use nvml_wrapper::enums::device::UsedGpuMemory;
use nvml_wrapper::error::NvmlError;
use nvml_wrapper::{Device, Nvml};
use serde::Serialize;
use std::ffi::OsStr;

/// A process that holds memory of a device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct GpuProcess {
    pub pid: u32,
    /// `None` where the driver does not say (inside some containers).
    pub used: Option<Bytes>,
}

/// One GPU. What the driver does not tell is `None`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Gpu {
    pub index: u32,
    pub uuid: Option<String>,
    /// The driver's name, such as `NVIDIA A100-SXM4-80GB`.
    pub name: String,
    pub memory: Bytes,
    pub free: Bytes,
    /// Compute capability as major*10+minor.
    pub sm: Option<u32>,
    pub sm_clock_mhz: Option<u32>,
    pub max_sm_clock_mhz: Option<u32>,
    pub memory_clock_mhz: Option<u32>,
    pub temperature_c: Option<u32>,
    pub power_limit_w: Option<f64>,
    /// Multi-instance mode: the device is cut into slices.
    pub mig: bool,
    pub processes: Vec<GpuProcess>,
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Detected {
    pub driver: String,
    /// Newest CUDA that the driver supports, such as `12.8`.
    pub cuda: Option<String>,
    /// The devices that a server started from here would see (after `CUDA_VISIBLE_DEVICES`).
    pub gpus: Vec<Gpu>,
}

/// The GPUs that NVML shows, after `CUDA_VISIBLE_DEVICES`; the outer error is that NVML is not usable here.
///
/// Errors: a driver that does not answer.
pub(super) fn detect() -> Result<Result<Detected>, NvmlError> {
    let nvml = open()?;
    let visible = std::env::var("CUDA_VISIBLE_DEVICES").ok();
    Ok(read(&nvml, visible.as_deref()).map_err(|e| {
        Error::failed("NVIDIA's driver does not answer")
            .source(e)
            .hint("see `nvidia-smi`; or name it with --hardware")
    }))
}

/// Distributions ship the versioned name; only development packages add the plain one.
fn open() -> Result<Nvml, NvmlError> {
    Nvml::builder().lib_path(OsStr::new("libnvidia-ml.so.1")).init().or_else(|_| Nvml::init())
}

fn read(nvml: &Nvml, visible: Option<&str>) -> Result<Detected, NvmlError> {
    let count = nvml.device_count()?;
    let mut gpus = Vec::new();
    for index in 0..count {
        gpus.push(gpu(index, &nvml.device_by_index(index)?)?);
    }
    let cuda = nvml.sys_cuda_driver_version().ok();
    Ok(Detected {
        driver: nvml.sys_driver_version()?,
        cuda: cuda.map(|v| format!("{}.{}", v / 1000, v % 1000 / 10)),
        gpus: seen(gpus, visible),
    })
}

fn gpu(index: u32, device: &Device<'_>) -> Result<Gpu, NvmlError> {
    // A GPU that uses the host's memory (GB10) has none of its own to tell.
    let memory = match device.memory_info() {
        Ok(m) => (Bytes(m.total), Bytes(m.free)),
        Err(NvmlError::NotSupported) => host_memory().ok_or(NvmlError::NotSupported)?,
        Err(e) => return Err(e),
    };
    let processes = device.running_compute_processes().unwrap_or_default();
    Ok(Gpu {
        index,
        uuid: device.uuid().ok(),
        name: device.name()?,
        memory: memory.0,
        free: memory.1,
        sm: device.cuda_compute_capability().ok().map(|c| (c.major * 10 + c.minor) as u32),
        sm_clock_mhz: device.clock_info(Clock::SM).ok(),
        max_sm_clock_mhz: device.max_clock_info(Clock::SM).ok(),
        memory_clock_mhz: device.clock_info(Clock::Memory).ok(),
        temperature_c: device.temperature(TemperatureSensor::Gpu).ok(),
        power_limit_w: device.enforced_power_limit().ok().map(|mw| f64::from(mw) / 1000.0),
        mig: device.mig_mode().is_ok_and(|m| m.current != 0),
        processes: processes
            .into_iter()
            .map(|p| GpuProcess {
                pid: p.pid,
                used: match p.used_gpu_memory {
                    UsedGpuMemory::Used(n) => Some(Bytes(n)),
                    UsedGpuMemory::Unavailable => None,
                },
            })
            .collect(),
    })
}

/// Total and available memory of the host.
pub(super) fn host_memory() -> Option<(Bytes, Bytes)> {
    use procfs::Current as _;
    let memory = procfs::Meminfo::current().ok()?;
    Some((Bytes(memory.mem_total), Bytes(memory.mem_available?)))
}

/// The devices left, and in the order given, by `CUDA_VISIBLE_DEVICES`: indices or (starts of) UUIDs; as
/// CUDA does, the list ends at the first entry that names no device.
pub(super) fn seen(gpus: Vec<Gpu>, visible: Option<&str>) -> Vec<Gpu> {
    let Some(list) = visible else { return gpus };
    let find = |entry: &str| {
        gpus.iter().find(|g| match entry.parse::<u32>() {
            Ok(i) => g.index == i,
            Err(_) => !entry.is_empty() && g.uuid.as_deref().is_some_and(|u| u.starts_with(entry)),
        })
    };
    list.split(',').map_while(|e| find(e.trim())).cloned().collect()
}

impl Detected {
    /// The known part that the first `num_gpus` devices are.
    ///
    /// Errors: no device, different devices, a slice of a device, a device that no hardware file describes,
    /// or one that several do. Never a guess.
    pub fn hardware<'c>(&self, catalog: &'c Catalog, num_gpus: usize) -> Result<&'c Hardware> {
        let hint = "name the hardware with --hardware ID (`dyno list hardware`)";
        let used = &self.gpus[..self.gpus.len().min(num_gpus.max(1))];
        let Some(first) = used.first() else {
            return Err(Error::usage("the driver shows no GPU to this process")
                .hint(format!("see CUDA_VISIBLE_DEVICES, or {hint}")));
        };
        if used.len() < num_gpus {
            return Err(Error::usage(format!("{num_gpus} GPUs are asked for, {} are here", used.len())));
        }
        if let Some(other) = used.iter().find(|g| g.name != first.name) {
            return Err(Error::usage(format!("the GPUs differ: {} and {}", first.name, other.name))
                .hint("choose equal ones with CUDA_VISIBLE_DEVICES"));
        }
        if first.mig {
            return Err(Error::usage(format!(
                "{} is cut into slices (MIG); a slice is no known part",
                first.name
            ))
            .hint("give a hardware file for the slice with --data-dir, and --hardware"));
        }
        let found = catalog.matching(&first.name, first.memory);
        match found.as_slice() {
            [one] => Ok(one),
            [] => Err(Error::usage(format!(
                "no hardware file describes the GPU here: {} with {}",
                first.name, first.memory
            ))
            .hint(format!("{hint}, or add DIR/hardware/NAME.toml with its figures and give --data-dir DIR"))),
            several => {
                let ids: Vec<&str> = several.iter().map(|h| h.id.as_str()).collect();
                let what = format!("{} with {} may be {}", first.name, first.memory, ids.join(" or "));
                Err(Error::usage(what).hint(hint))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fake(index: u32, name: &str, gib: f64) -> Gpu {
        Gpu {
            index,
            uuid: Some(format!("GPU-{index}a")),
            name: name.into(),
            memory: Bytes::from_gib(gib),
            free: Bytes::from_gib(gib),
            sm: None,
            sm_clock_mhz: None,
            max_sm_clock_mhz: None,
            memory_clock_mhz: None,
            temperature_c: None,
            power_limit_w: None,
            mig: false,
            processes: Vec::new(),
        }
    }

    fn detected(gpus: Vec<Gpu>) -> Detected {
        Detected { driver: "550.54".into(), cuda: None, gpus }
    }

    #[test]
    fn a_known_part_is_recognised_and_nothing_else_is_guessed() {
        let c = Catalog::load(None).unwrap();
        let a100 = || fake(0, "NVIDIA A100-SXM4-80GB", 80.0);
        assert_eq!(detected(vec![a100()]).hardware(&c, 1).unwrap().id, "a100-sxm-80gb");
        let said = |gpus: Vec<Gpu>, n: usize| {
            let e = detected(gpus).hardware(&c, n).unwrap_err();
            assert_eq!(e.kind.exit_code(), 2);
            e.to_string()
        };
        assert!(said(vec![], 1).contains("CUDA_VISIBLE_DEVICES"));
        assert!(said(vec![a100()], 2).contains("2 GPUs are asked for, 1 are here"));
        assert!(said(vec![a100(), fake(1, "NVIDIA L4", 22.5)], 2).contains("differ"));
        assert!(said(vec![fake(0, "NVIDIA M60", 24.0)], 1).contains("NVIDIA M60 with 24.00 GiB"));
        assert!(said(vec![Gpu { mig: true, ..a100() }], 1).contains("MIG"));
        assert!(said(vec![fake(0, "NVIDIA A100-SXM4-80GB", 40.0)], 1).contains("no hardware file"));
    }

    #[test]
    fn two_files_that_fit_are_both_named() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("hardware")).unwrap();
        let text = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/hardware/l4-24gb.toml"));
        std::fs::write(dir.path().join("hardware/mine.toml"), text.replace("l4-24gb", "l4-mine")).unwrap();
        let c = Catalog::load(Some(dir.path())).unwrap();
        let e = detected(vec![fake(0, "NVIDIA L4", 22.5)]).hardware(&c, 1).unwrap_err();
        assert!(e.to_string().contains("l4-24gb or l4-mine"), "{e}");
    }

    #[test]
    fn visible_devices_choose_and_order() {
        let all = || vec![fake(0, "x", 1.0), fake(1, "x", 1.0), fake(2, "x", 1.0)];
        let order = |v: Option<&str>| seen(all(), v).iter().map(|g| g.index).collect::<Vec<_>>();
        assert_eq!(order(None), [0, 1, 2]);
        assert_eq!(order(Some("2,0")), [2, 0]);
        assert_eq!(order(Some("GPU-1")), [1]);
        assert_eq!(order(Some("0,9,1")), [0], "as CUDA does, the list ends at an unknown device");
        assert!(order(Some("")).is_empty());
    }
}
