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
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").ok().map(|t| t.trim().to_owned());
    add("Kernel", kernel);
    let now = std::time::SystemTime::now();
    let date = humantime::format_rfc3339_seconds(now).to_string();
    add("Started", Some(date));
    out
}
