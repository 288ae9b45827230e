//! Waiting for something that another process does: look, pause for a few milliseconds, look again.
//! A fixed sleep is never used in place of a condition.

use std::time::{Duration, Instant};

/// Pause between two looks. Short against everything awaited here, long enough to leave the CPU to the other side.
const PAUSE: Duration = Duration::from_millis(5);

/// Looks until `probe` has an answer and returns it.
///
/// # Panics
/// When there is none after `limit`; the message names `what`.
pub fn wait_until<T>(limit: Duration, what: &str, probe: impl FnMut() -> Option<T>) -> T {
    wait_for(limit, probe).unwrap_or_else(|| panic!("{what}: did not happen within {limit:?}"))
}

/// Looks until `probe` has an answer; `None` when there is none after `limit`.
pub fn wait_for<T>(limit: Duration, mut probe: impl FnMut() -> Option<T>) -> Option<T> {
    let end = Instant::now() + limit;
    loop {
        if let Some(answer) = probe() {
            return Some(answer);
        }
        if Instant::now() >= end {
            return None;
        }
        std::thread::sleep(PAUSE);
    }
}
