//! The live line of a run in progress.

use crate::load::{Cancel, Progress};
use std::io::IsTerminal;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// A live line on a terminal; ends when the returned guard is dropped.
pub(super) fn show_progress(progress: &Arc<Progress>, cancel: &Cancel) -> Option<Ticker> {
    std::io::stderr().is_terminal().then(|| {
        let (progress, cancel) = (progress.clone(), cancel.clone());
        let over = Arc::new(AtomicBool::new(false));
        let flag = over.clone();
        let thread = std::thread::spawn(move || {
            let bar = indicatif::ProgressBar::new(0);
            bar.set_style(
                indicatif::ProgressStyle::with_template("[{elapsed_precise}] {wide_bar} {pos}/{len} {msg}")
                    .unwrap_or_else(|_| indicatif::ProgressStyle::default_bar()),
            );
            while !flag.load(Ordering::SeqCst) {
                let get = |c: &AtomicU64| c.load(Ordering::Relaxed);
                let (done, failed) = (get(&progress.completed), get(&progress.failed));
                bar.set_length(get(&progress.planned));
                bar.set_position(done + failed);
                let stopping = if cancel.is_cancelled() { ", stopping" } else { "" };
                let flying = get(&progress.sent).saturating_sub(done + failed);
                bar.set_message(format!("{flying} in flight, {failed} lost{stopping}"));
                std::thread::sleep(Duration::from_millis(200));
            }
            bar.finish_and_clear();
        });
        Ticker { over, thread: Some(thread) }
    })
}

pub(super) struct Ticker {
    over: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
