//! Facts of this machine for the set-up part of a report.

/// Name and value, what can be read without asking anybody.
pub(super) fn facts() -> Vec<(String, String)> {
    let mut out = Vec::new();
    let mut add = |k: &str, v: Option<String>| {
        if let Some(v) = v.filter(|v| !v.is_empty()) {
            out.push((k.to_owned(), v));
        }
    };
    let cpus = std::thread::available_parallelism().ok().map(usize::from);
    let model = std::fs::read_to_string("/proc/cpuinfo").ok().and_then(|t| {
        let line = t.lines().find(|l| l.starts_with("model name"))?;
        line.split_once(": ").map(|(_, v)| v.trim().to_owned())
    });
    add("CPU", cpus.map(|n| format!("{n} x {}", model.unwrap_or_else(|| "unknown".to_owned()))));
    let memory = std::fs::read_to_string("/proc/meminfo").ok().and_then(|t| {
        let kib: f64 = t.lines().next()?.split_whitespace().nth(1)?.parse().ok()?;
        Some(format!("{:.0} GiB", kib / f64::from(1 << 20)))
    });
    add("Host memory", memory);
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").ok().map(|t| t.trim().to_owned());
    add("Kernel", kernel);
    let now = std::time::SystemTime::now();
    let date = humantime::format_rfc3339_seconds(now).to_string();
    add("Started", Some(date));
    out
}
