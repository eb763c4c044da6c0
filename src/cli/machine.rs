//! Facts of this machine for the set-up part of a report.

use procfs::Current as _;

/// Name and value, what can be read without asking anybody.
pub(super) fn facts() -> Vec<(String, String)> {
    let mut out = Vec::new();
    let mut add = |k: &str, v: Option<String>| {
        if let Some(v) = v.filter(|v| !v.is_empty()) {
            out.push((k.to_owned(), v));
        }
    };
    let cpus = std::thread::available_parallelism().ok().map(usize::from);
    let model = procfs::CpuInfo::current().ok().and_then(|c| c.model_name(0).map(str::to_owned));
    add("CPU", cpus.map(|n| format!("{n} x {}", model.unwrap_or_else(|| "unknown".to_owned()))));
    let memory = procfs::Meminfo::current().ok();
    let memory = memory.map(|m| format!("{:.0} GiB", m.mem_total as f64 / f64::from(1 << 30)));
    add("Host memory", memory);
    for (name, value) in gpus() {
        add(name, Some(value));
    }
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").ok().map(|t| t.trim().to_owned());
    add("Kernel", kernel);
    let now = std::time::SystemTime::now();
    let date = humantime::format_rfc3339_seconds(now).to_string();
    add("Started", Some(date));
    out
}

/// GPUs by name, driver and highest clocks, where there are any: what has to be equal where launches are compared.
fn gpus() -> Vec<(&'static str, String)> {
    let Ok(found) = crate::telemetry::detect() else { return Vec::new() };
    let mut names: Vec<(String, usize)> = Vec::new();
    for gpu in &found.gpus {
        match names.iter_mut().find(|(name, _)| *name == gpu.name) {
            Some((_, n)) => *n += 1,
            None => names.push((gpu.name.clone(), 1)),
        }
    }
    let said: Vec<String> = names.into_iter().map(|(name, n)| format!("{n} x {name}")).collect();
    let mut out = vec![("GPU", said.join(", ")), ("GPU driver", found.driver)];
    if let Some(clock) = found.gpus.first().and_then(|g| g.max_sm_clock_mhz) {
        out.push(("GPU clock, at most", format!("{clock} MHz")));
    }
    out
}
