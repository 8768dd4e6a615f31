//! What must be seen: sets of writes that happened before, shared and pruned.
//!
//! Only writes that still matter are in them ([`super::misses`]), so they stay small where data are
//! fresh. With each stands how it is known, for the witness.

use std::rc::Rc;

/// A write that happened before, and how that is known: a number of [`super::walk`]'s list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Known {
    pub(super) write: u32,
    pub(super) how: u32,
}

/// By the numbers of the writes.
pub(super) type Past = Rc<Vec<Known>>;

/// How a write is known, if it is.
pub(super) fn get(past: &[Known], write: u32) -> Option<u32> {
    let at = past.binary_search_by_key(&write, |known| known.write);
    at.ok().map(|at| past[at].how)
}

/// Adds what another past has. What is new comes with `how`, if it is given.
pub(super) fn join(
    past: &Past,
    other: &Past,
    how: Option<u32>,
    alive: impl Fn(u32) -> bool,
) -> Past {
    if Rc::ptr_eq(past, other) || other.is_empty() {
        return Rc::clone(past);
    }
    let is_new = |known: &&Known| alive(known.write) && get(past, known.write).is_none();
    if other.len() <= past.len() / 8 && !other.iter().any(|known| is_new(&known)) {
        return Rc::clone(past);
    }
    let mut merged = Vec::with_capacity(past.len() + other.len());
    let mut added = false;
    let (mut mine, mut theirs) = (past.iter().peekable(), other.iter().peekable());
    loop {
        let own = match (mine.peek(), theirs.peek()) {
            (Some(a), Some(b)) => {
                if a.write == b.write {
                    theirs.next();
                    continue;
                }
                a.write < b.write
            }
            (Some(_), None) => true,
            (None, Some(_)) => false,
            (None, None) => break,
        };
        let next = if own { mine.next() } else { theirs.next() };
        let Some(known) = next.filter(|known| alive(known.write)) else {
            continue;
        };
        added |= !own;
        merged.push(match how.filter(|_| !own) {
            Some(how) => Known { how, ..*known },
            None => *known,
        });
    }
    match added {
        true => Rc::new(merged),
        false => Rc::clone(past),
    }
}

/// Adds one write.
pub(super) fn with(past: &Past, write: u32, how: u32) -> Past {
    match past.binary_search_by_key(&write, |known| known.write) {
        Ok(_) => Rc::clone(past),
        Err(at) => {
            let mut all = Vec::with_capacity(past.len() + 1);
            all.extend_from_slice(&past[..at]);
            all.push(Known { write, how });
            all.extend_from_slice(&past[at..]);
            Rc::new(all)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn past(writes: &[u32], how: u32) -> Past {
        let known = writes.iter().map(|&write| Known { write, how });
        Rc::new(known.collect())
    }

    fn writes(past: &Past) -> Vec<(u32, u32)> {
        past.iter().map(|known| (known.write, known.how)).collect()
    }

    #[test]
    fn a_join_keeps_what_is_known_and_says_how_the_rest_came() {
        let (a, b) = (past(&[1, 4, 9], 0), past(&[2, 4, 11], 5));
        let both = join(&a, &b, Some(7), |write| write != 9 && write != 11);
        assert_eq!(writes(&both), [(1, 0), (2, 7), (4, 0)]);
        let both = join(&a, &b, None, |_| true);
        assert_eq!(writes(&both), [(1, 0), (2, 5), (4, 0), (9, 0), (11, 5)]);
        assert_eq!(get(&both, 11), Some(5));
        assert_eq!(get(&both, 3), None);
    }

    #[test]
    fn nothing_new_is_no_new_set() {
        let (a, b) = (past(&[1, 4, 9], 0), past(&[4], 5));
        assert!(Rc::ptr_eq(&a, &join(&a, &b, Some(1), |_| true)));
        assert!(Rc::ptr_eq(&a, &join(&a, &a, None, |_| true)));
        let dead = past(&[5], 5);
        assert!(Rc::ptr_eq(&a, &join(&a, &dead, None, |write| write != 5)));
        assert_eq!(writes(&with(&a, 5, 3)), [(1, 0), (4, 0), (5, 3), (9, 0)]);
        assert!(Rc::ptr_eq(&a, &with(&a, 4, 3)));
    }
}
