//! A client thread ahead of the engine's busy loops.
//!
//! An engine whose device is this machine's CPU spins on the cores that the client needs. A spinning process that
//! only yields is never pushed aside for long: streams were seen to be read 110 ms late, a whole answer at once, on two
//! cores (a time to first token of 115 ms for one of 7 ms). With the lowest real-time priority the client
//! is woken when bytes arrive, as on a machine of its own; it takes the same CPU time.

use thread_priority::{
    RealtimeThreadSchedulePolicy, ThreadPriority, ThreadSchedulePolicy, set_thread_priority_and_policy,
    thread_native_id,
};

/// Gives the calling thread the lowest real-time priority; false where the system does not permit it
/// (`CAP_SYS_NICE` on Linux). It ends with the thread, and processes started before are untouched.
pub(super) fn raise() -> bool {
    let policy = ThreadSchedulePolicy::Realtime(RealtimeThreadSchedulePolicy::Fifo);
    set_thread_priority_and_policy(thread_native_id(), ThreadPriority::Min, policy).is_ok()
}

#[cfg(test)]
mod tests {
    #[test]
    fn what_it_says_is_what_the_system_shows() {
        let (raised, stat) = std::thread::spawn(|| {
            let raised = super::raise();
            (raised, std::fs::read_to_string("/proc/thread-self/stat").unwrap())
        })
        .join()
        .unwrap();
        // Fields 40 and 41 (from 1) behind the name, which may hold spaces: real-time priority and policy.
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
        let (priority, policy) = (fields[37], fields[38]);
        assert_eq!((priority, policy), if raised { ("1", "1") } else { ("0", "0") });
    }
}
