//! Awaiting branches of a number that is only known at run time.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;
use triptych_api::{Error, Result};

/// How many branches run at a time, so that a post with many readers does not open a connection to
/// the store for each of them at once.
pub(crate) const ABREAST: usize = 32;

/// A branch, and its result once it has one.
type Branch<T, F> = (Pin<Box<F>>, Option<Result<T>>);

/// Awaits all of them, whatever becomes of some, and then passes on the error that counts.
pub(crate) async fn join_all<T, F: Future<Output = Result<T>>>(
    branches: impl IntoIterator<Item = F>,
) -> Result<Vec<T>> {
    let mut branches = branches.into_iter();
    let mut done = Vec::new();
    loop {
        let mut running: Vec<Branch<T, F>> = branches
            .by_ref()
            .take(ABREAST)
            .map(|branch| (Box::pin(branch), None))
            .collect();
        if running.is_empty() {
            break;
        }
        poll_fn(|cx| {
            let mut waiting = false;
            for (branch, result) in running.iter_mut().filter(|(_, result)| result.is_none()) {
                match branch.as_mut().poll(cx) {
                    Poll::Ready(ready) => *result = Some(ready),
                    Poll::Pending => waiting = true,
                }
            }
            match waiting {
                true => Poll::Pending,
                false => Poll::Ready(()),
            }
        })
        .await;
        done.extend(running.into_iter().filter_map(|(_, result)| result));
    }
    let errors = done.iter().filter_map(|result| result.as_ref().err());
    match most_urgent(errors) {
        Some(error) => Err(error),
        None => Ok(done.into_iter().filter_map(Result::ok).collect()),
    }
}

/// Of several errors of parallel branches, the one to pass on. An answer (a refusal) counts only if
/// every branch has one: an interrupted branch must be executed again first.
pub(crate) fn most_urgent<'a>(errors: impl IntoIterator<Item = &'a Error>) -> Option<Error> {
    let rank = |error: &&Error| match error {
        Error::Interrupted(_) => 0,
        Error::Bug(_) => 1,
        Error::Aborted(_) => 2,
        Error::Rejected(_) => 3,
    };
    // `min_by_key` takes the first of equals, so the result does not depend on timing.
    errors.into_iter().min_by_key(rank).cloned()
}
