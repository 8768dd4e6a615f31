//! Many worlds on all cores: one thread per core takes the next piece of work until none is left.
//!
//! A virtual world is one thread, so runs are parallel and nothing inside them is. Results come back
//! in the order of the work, whatever the number of threads, so that they cannot depend on it.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;

/// A flag that asks work under way to stop soon.
#[derive(Debug, Default)]
pub struct Cancel(AtomicBool);

impl Cancel {
    /// A flag that is not raised.
    pub const fn new() -> Self {
        Cancel(AtomicBool::new(false))
    }

    /// Raises it.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether it was raised.
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Threads that this machine runs at a time.
pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Does `work` on every item, on up to `jobs` threads, and calls `done` here as each ends, in the
/// order in which they end. Items that were not begun before a cancellation are `None`; a panic in
/// one item is its message, and the others go on.
pub fn each<I: Sync, O: Send>(
    jobs: usize,
    items: &[I],
    cancel: &Cancel,
    work: impl Fn(usize, &I) -> O + Sync,
    mut done: impl FnMut(usize, &Result<O, String>),
) -> Vec<Option<Result<O, String>>> {
    let next = AtomicUsize::new(0);
    let (sender, receiver) = mpsc::channel();
    let mut results: Vec<Option<Result<O, String>>> = items.iter().map(|_| None).collect();
    std::thread::scope(|scope| {
        for _ in 0..jobs.clamp(1, items.len().max(1)) {
            let (sender, next, work) = (sender.clone(), &next, &work);
            scope.spawn(move || {
                while !cancel.is_cancelled() {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(item) = items.get(index) else { break };
                    let result = catch_unwind(AssertUnwindSafe(|| work(index, item)));
                    let result = result.map_err(|panic| message(&*panic));
                    if sender.send((index, result)).is_err() {
                        break;
                    }
                }
            });
        }
        drop(sender);
        for (index, result) in receiver {
            done(index, &result);
            results[index] = Some(result);
        }
    });
    results
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    text.unwrap_or_else(|| "a panic without a message".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_do_not_depend_on_the_number_of_threads() {
        let items: Vec<u64> = (0..50).collect();
        let square = |_: usize, n: &u64| n * n;
        let on = |jobs| each(jobs, &items, &Cancel::new(), square, |_, _| {});
        assert_eq!(on(1), on(2));
        assert_eq!(on(1), on(9));
    }

    #[test]
    fn a_panic_is_one_item_s_and_a_cancellation_leaves_the_rest() {
        let items: Vec<u64> = (0..10).collect();
        let cancel = Cancel::new();
        let work = |_: usize, n: &u64| {
            assert!(*n != 3, "three is too much");
            if *n == 5 {
                cancel.cancel();
            }
            *n
        };
        let results = each(1, &items, &cancel, work, |_, _| {});
        assert_eq!(results[3], Some(Err("three is too much".to_owned())));
        assert_eq!(results[4], Some(Ok(4)));
        assert_eq!(results[9], None);
    }
}
