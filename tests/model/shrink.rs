//! A shorter sequence that fails as well.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use super::sequence;
use super::steps::Step;

/// How long a shorter one is looked for.
const LIMIT: Duration = Duration::from_secs(45);

/// The number of the step that failed, and why.
pub type Failure = (usize, String);

/// Runs a sequence on a thread of its own, because that has namespaces of its own.
///
/// # Errors
/// What differs from the model.
pub fn on_thread(steps: &[Step], faketime: &Path) -> Result<(), Failure> {
    thread::scope(|scope| {
        let thread = scope.spawn(|| sequence::run(steps, faketime));
        thread.join().unwrap_or_else(|panic| {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
            Err((steps.len().saturating_sub(1), format!("the test: {}", text.unwrap_or_default())))
        })
    })
}

/// Leaves out steps as long as the rest fails, and writes what is left.
pub fn report(seed: u64, steps: &[Step], failure: Failure, faketime: &Path) -> String {
    let (mut failed_at, mut why) = failure;
    let mut left = steps[..=failed_at].to_vec();
    let (begin, whole) = (Instant::now(), left.len());
    let mut size = left.len() / 2;
    while size > 0 && begin.elapsed() < LIMIT {
        let mut at = 0;
        let before = left.len();
        while at < left.len() && begin.elapsed() < LIMIT {
            let mut fewer = left.clone();
            fewer.drain(at..(at + size).min(left.len()));
            match on_thread(&fewer, faketime) {
                Err((step, problem)) => {
                    (failed_at, why) = (step, problem);
                    left = fewer;
                    left.truncate(failed_at + 1);
                }
                Ok(()) => at += size,
            }
        }
        if size > 1 || left.len() == before {
            size /= 2;
        }
    }
    let lines: Vec<String> = left.iter().map(|step| format!("  {step:?}")).collect();
    format!(
        "EDGEWARD_MODEL_SEED={seed} EDGEWARD_MODEL_STEPS={whole} fails; of its steps these are left:\n{}\nafter the last \
         one:\n{why}\n",
        lines.join("\n")
    )
}
