//! Launches that wait for a place: a place that is free takes the next one, and waits for no other place.

use crate::error::{Error, Result};
use crate::trial::{TrialResult, TrialSpec};
use std::sync::mpsc;

/// Trials in the order in which they begin. A specification is written when its trial begins, so that it knows what those
/// before it have measured.
pub trait Queue {
    /// The trial that begins at this place now, with its number; nothing where no more shall begin.
    fn next(&mut self, place: usize) -> Option<(usize, TrialSpec)>;

    /// Takes what became of a trial, by its number.
    fn ended(&mut self, n: usize, result: Result<TrialResult>);
}

/// Runs the trials of a queue, each on a thread of its own, as many at a time as there are places.
pub(super) fn side_by_side(
    in_flight: usize,
    queue: &mut dyn Queue,
    trial: &(dyn Fn(&TrialSpec) -> Result<TrialResult> + Sync),
) {
    std::thread::scope(|scope| {
        let (sender, results) = mpsc::channel();
        let begin = |place: usize, (n, spec): (usize, TrialSpec)| {
            let sender = sender.clone();
            scope.spawn(move || {
                // A panic of the trial is told as an error, so that nobody waits for its place.
                let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| trial(&spec)))
                    .unwrap_or_else(|_| Err(Error::failed("the trial panicked")));
                // The receiver lives as long as this scope.
                let _ = sender.send((place, n, result));
            });
        };
        let mut open = 0;
        for place in 0..in_flight.max(1) {
            let Some(next) = queue.next(place) else { break };
            begin(place, next);
            open += 1;
        }
        while open > 0 {
            let Ok((place, n, result)) = results.recv() else { return };
            queue.ended(n, result);
            match queue.next(place) {
                Some(next) => begin(place, next),
                None => open -= 1,
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;
    use std::time::{Duration, Instant};

    struct Sleeps {
        seconds: Vec<f64>,
        begun: usize,
        places: Vec<usize>,
        order: Vec<usize>,
    }

    impl Queue for Sleeps {
        fn next(&mut self, place: usize) -> Option<(usize, TrialSpec)> {
            let n = self.begun;
            let s = *self.seconds.get(n)?;
            self.begun += 1;
            self.places.push(place);
            let text = format!(
                r#"{{"id":"{n}","candidate":{{"engine":"emulated"}},"model":"m","hardware":"cpu","workloads":[],
                     "ready_timeout_s":{s},"run_timeout_s":1,"dir":"d"}}"#
            );
            Some((n, serde_json::from_str(&text).unwrap()))
        }
        fn ended(&mut self, n: usize, result: Result<TrialResult>) {
            assert!(result.is_err());
            self.order.push(n);
        }
    }

    #[test]
    fn a_free_place_waits_for_no_other() {
        let mut queue =
            Sleeps { seconds: vec![0.6, 0.2, 0.2, 0.2], begun: 0, places: Vec::new(), order: Vec::new() };
        let most = Mutex::new((0, 0));
        let began = Instant::now();
        side_by_side(2, &mut queue, &|spec| {
            {
                let mut m = most.lock().unwrap();
                m.0 += 1;
                m.1 = m.1.max(m.0);
            }
            std::thread::sleep(Duration::from_secs_f64(spec.ready_timeout_s));
            most.lock().unwrap().0 -= 1;
            Err(Error::failed("told"))
        });
        assert!(began.elapsed() < Duration::from_millis(1100), "{:?}", began.elapsed());
        assert_eq!(most.into_inner().unwrap(), (0, 2));
        assert_eq!(queue.places, [0, 1, 1, 1]);
        assert_eq!(queue.order.len(), 4);
        assert_eq!(queue.order[0], 1);
    }

    #[test]
    fn a_trial_that_panics_is_an_error_and_the_next_one_begins() {
        let mut queue = Sleeps { seconds: vec![0.0, 0.1], begun: 0, places: Vec::new(), order: Vec::new() };
        side_by_side(1, &mut queue, &|spec| {
            assert!(spec.ready_timeout_s > 0.0, "as it should");
            Err(Error::failed("told"))
        });
        assert_eq!(queue.order, [0, 1]);
    }
}
