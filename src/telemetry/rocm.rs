//! AMD's GPUs as the kernel's own files show them: `/sys/class/kfd` (which devices compute can use, and who holds their memory)
//! and `/sys/class/drm` (name, memory, temperature, clocks and power limit of each). AMD's management library reads the same files,
//! so it is not needed.

use super::nvml::{Detected, Gpu, GpuProcess};
use crate::units::Bytes;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

const AMD: u64 = 0x1002;

/// Marketing names by PCI device id, for drivers without a `product_name`. Source: AMD's list of ids in libdrm
/// (`amdgpu.ids`), of which these are the parts that LLMs are served on.
const NAMES: &[(u64, &str)] = &[
    (0x740c, "AMD Instinct MI250X"),
    (0x740f, "AMD Instinct MI210"),
    (0x74a0, "AMD Instinct MI300A"),
    (0x74a1, "AMD Instinct MI300X"),
    (0x74a2, "AMD Instinct MI308X"),
    (0x74a5, "AMD Instinct MI325X"),
    (0x74b5, "AMD Instinct MI300X"),
    (0x74b9, "AMD Instinct MI325X"),
    (0x75a0, "AMD Instinct MI350X"),
    (0x75a3, "AMD Instinct MI355X"),
];

/// The GPUs that a server started from here would see; `root` is `/sys`, `visible` the list in `HIP_VISIBLE_DEVICES` or
/// `ROCR_VISIBLE_DEVICES`.
///
/// Errors: what was looked for and is not there, as a part of a sentence.
pub(super) fn detect(root: &Path, visible: Option<&str>) -> Result<Detected, String> {
    let nodes = root.join("class/kfd/kfd/topology/nodes");
    let entries = fs::read_dir(&nodes)
        .map_err(|_| format!("ROCm: {} is not here (no amdgpu driver)", nodes.display()))?;
    let mut numbered: Vec<(u32, std::path::PathBuf)> =
        entries.flatten().filter_map(|e| Some((e.file_name().to_str()?.parse().ok()?, e.path()))).collect();
    numbered.sort();
    let gpus: Vec<Gpu> =
        numbered.iter().filter_map(|(_, node)| gpu(root, node, &properties(node)?)).collect();
    if gpus.is_empty() {
        return Err(format!("ROCm: {} shows no GPU", nodes.display()));
    }
    let numbered = gpus.into_iter().zip(0..).map(|(g, index)| Gpu { index, ..g }).collect();
    let driver = fs::read_to_string(root.join("module/amdgpu/version")).unwrap_or_default();
    let driver =
        if driver.trim().is_empty() { "amdgpu".to_owned() } else { format!("amdgpu {}", driver.trim()) };
    Ok(Detected { driver, cuda: None, gpus: super::nvml::seen(numbered, visible) })
}

/// The `key value` lines of a node that is a GPU of AMD's; host processors have no compute units.
fn properties(node: &Path) -> Option<BTreeMap<String, u64>> {
    let text = fs::read_to_string(node.join("properties")).ok()?;
    let pair = |l: &str| l.split_once(' ').and_then(|(k, v)| Some((k.to_owned(), v.trim().parse().ok()?)));
    let all: BTreeMap<String, u64> = text.lines().filter_map(pair).collect();
    let is = |key: &str, wanted: u64| all.get(key) == Some(&wanted);
    (is("vendor_id", AMD) && all.get("simd_count").is_some_and(|n| *n > 0)).then_some(all)
}

/// Processes that hold memory of the device with this id.
fn holders(root: &Path, id: &str) -> Vec<GpuProcess> {
    let Ok(entries) = fs::read_dir(root.join("class/kfd/kfd/proc")) else { return Vec::new() };
    let mut all: Vec<GpuProcess> = entries
        .flatten()
        .filter_map(|e| {
            let used: u64 =
                fs::read_to_string(e.path().join(format!("vram_{id}"))).ok()?.trim().parse().ok()?;
            let pid = e.file_name().to_str()?.parse().ok()?;
            (used > 0).then_some(GpuProcess { pid, used: Some(Bytes(used)) })
        })
        .collect();
    all.sort_by_key(|p| p.pid);
    all
}

/// A reading of the device's sensors, in the kernel's units: thousandths of a degree, Hz, millionths of a watt.
fn sensor(device: &Path, name: &str) -> Option<u64> {
    let chips = fs::read_dir(device.join("hwmon")).ok()?;
    chips.flatten().find_map(|c| fs::read_to_string(c.path().join(name)).ok()?.trim().parse().ok())
}

fn gpu(root: &Path, node: &Path, p: &BTreeMap<String, u64>) -> Option<Gpu> {
    let minor = p.get("drm_render_minor")?;
    let device = root.join(format!("class/drm/renderD{minor}/device"));
    let text = |name: &str| fs::read_to_string(device.join(name)).ok().map(|t| t.trim().to_owned());
    let number = |name: &str| text(name)?.parse::<u64>().ok();
    let memory = number("mem_info_vram_total")?;
    let id = fs::read_to_string(node.join("gpu_id")).ok();
    let listed = p.get("device_id").and_then(|id| NAMES.iter().find(|(n, _)| n == id)).map(|(_, name)| *name);
    let product = text("product_name").filter(|n| !n.is_empty());
    let uuid = p.get("unique_id").filter(|n| **n > 0).map(|n| format!("GPU-{n:016x}"));
    Some(Gpu {
        index: 0,
        uuid,
        name: listed.map(str::to_owned).or(product).unwrap_or_else(|| "AMD GPU".to_owned()),
        memory: Bytes(memory),
        free: Bytes(memory.saturating_sub(number("mem_info_vram_used").unwrap_or(0))),
        sm: None,
        sm_clock_mhz: sensor(&device, "freq1_input").map(|hz| (hz / 1_000_000) as u32),
        max_sm_clock_mhz: p.get("max_engine_clk_fcompute").map(|n| *n as u32),
        memory_clock_mhz: sensor(&device, "freq2_input").map(|hz| (hz / 1_000_000) as u32),
        temperature_c: sensor(&device, "temp1_input").map(|t| (t / 1000) as u32),
        power_limit_w: sensor(&device, "power1_cap").map(|uw| uw as f64 / 1e6),
        mig: false,
        processes: id.map_or_else(Vec::new, |id| holders(root, id.trim())),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hardware::Catalog;

    /// The files that an eight-GPU machine has, cut to the keys that are read.
    fn machine(gpus: u32) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let put = |path: String, text: String| {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        let nodes = "class/kfd/kfd/topology/nodes";
        put(format!("{nodes}/0/properties"), "cpu_cores_count 96\nsimd_count 0\nvendor_id 0\n".into());
        for i in 1..=gpus {
            let minor = 127 + i;
            put(
                format!("{nodes}/{i}/properties"),
                format!(
                    "cpu_cores_count 0\nsimd_count 1216\ngfx_target_version 90402\nvendor_id 4098\ndevice_id 29857\n\
                         drm_render_minor {minor}\nunique_id 12{i}\nmax_engine_clk_fcompute 2100\n"
                ),
            );
            put(format!("{nodes}/{i}/gpu_id"), format!("5000{i}\n"));
            let device = format!("class/drm/renderD{minor}/device");
            put(format!("{device}/hwmon/hwmon{i}/temp1_input"), "41000\n".into());
            put(format!("{device}/hwmon/hwmon{i}/freq1_input"), "132000000\n".into());
            put(format!("{device}/hwmon/hwmon{i}/power1_cap"), "750000000\n".into());
            put(format!("{device}/mem_info_vram_total"), "206141652992\n".into());
            put(format!("{device}/mem_info_vram_used"), "141652992\n".into());
        }
        put("module/amdgpu/version".into(), "6.12.12\n".into());
        put("class/kfd/kfd/proc/4321/vram_50002".into(), "1048576\n".into());
        put("class/kfd/kfd/proc/4321/vram_50001".into(), "0\n".into());
        dir
    }

    #[test]
    fn the_kernels_files_tell_the_gpus() {
        let dir = machine(8);
        let d = detect(dir.path(), None).unwrap();
        assert_eq!((d.driver.as_str(), d.gpus.len()), ("amdgpu 6.12.12", 8));
        assert_eq!(d.gpus[0].free, Bytes(206_000_000_000));
        let g = &d.gpus[1];
        assert_eq!((g.temperature_c, g.sm_clock_mhz, g.power_limit_w), (Some(41), Some(132), Some(750.0)));
        assert_eq!(g.processes, [GpuProcess { pid: 4321, used: Some(Bytes(1 << 20)) }]);
        assert!(d.gpus[0].processes.is_empty());
        let catalog = Catalog::load(None).unwrap();
        assert_eq!(d.hardware(&catalog, 8).unwrap().id, "mi300x-192gb");
        let two = detect(dir.path(), Some("3,1")).unwrap();
        assert_eq!(two.gpus.iter().map(|g| g.index).collect::<Vec<_>>(), [3, 1]);
    }

    #[test]
    fn what_is_not_there_is_said() {
        let empty = tempfile::tempdir().unwrap();
        assert!(detect(empty.path(), None).unwrap_err().contains("class/kfd"));
        assert!(detect(machine(0).path(), None).unwrap_err().contains("shows no GPU"));
    }
}
