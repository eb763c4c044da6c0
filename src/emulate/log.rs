//! The log: vLLM's lines where a tool reads facts from them, each marked as emulated.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

/// Writes whole lines to where the caller wants them.
#[derive(Clone)]
pub struct Log {
    write: Arc<dyn Fn(&str) + Send + Sync>,
    pid: u32,
}

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Log").field("pid", &self.pid).finish_non_exhaustive()
    }
}

impl Log {
    pub fn new(write: impl Fn(&str) + Send + Sync + 'static) -> Log {
        Log { write: Arc::new(write), pid: std::process::id() }
    }

    /// Drops every line.
    pub fn silent() -> Log {
        Log::new(|_| {})
    }

    pub fn server(&self, text: &str) {
        self.line("APIServer", "INFO", text);
    }
    pub fn core(&self, text: &str) {
        self.line("EngineCore", "INFO", text);
    }
    pub fn warn(&self, text: &str) {
        self.line("EngineCore", "WARNING", text);
    }
    /// One line of level ERROR for each line of the text, as a traceback is logged.
    pub fn error(&self, text: &str) {
        text.lines().for_each(|l| self.line("EngineCore", "ERROR", l));
    }
    /// Uvicorn's lines have no time.
    pub fn uvicorn(&self, text: &str) {
        (self.write)(&format!("(emulated APIServer pid={}) INFO:     {text}", self.pid));
    }

    fn line(&self, who: &str, level: &str, text: &str) {
        let now = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
        let stamp = now.get(5..19).unwrap_or("").replace('T', " ");
        (self.write)(&format!("(emulated {who} pid={}) {level} {stamp} [emulate] {text}", self.pid));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    #[test]
    fn every_line_says_emulated() {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let to = lines.clone();
        let log = Log::new(move |l| to.lock().unwrap().push(l.to_owned()));
        log.core("GPU KV cache size: 1 tokens");
        log.uvicorn("Application startup complete.");
        log.error("a\nb");
        let lines = lines.lock().unwrap();
        assert_eq!(lines.len(), 4);
        assert!(lines.iter().all(|l| l.starts_with("(emulated ")), "{lines:?}");
        assert!(lines[1].ends_with("INFO:     Application startup complete."));
    }
}
