//! What each parallel branch of an execution has seen and done.
//!
//! Branches are known from the steps of their operations: `4.1.0` is the first operation of branch 1
//! of the fork at step 4. A branch begins with a copy of what the one around it has, and does not see
//! what its siblings do. When the one around it goes on, or the execution ends, what its branches have
//! is joined into it. The body of a transaction is a branch of its own: `2.0.tx.0` is the first
//! operation of the first attempt at the transaction of step 2.

use std::collections::BTreeMap;
use triptych_api::Step;

/// What the steps of a branch begin with, up to the last dot; nothing at the root.
fn branch_of(step: &str) -> &str {
    step.rfind('.').map_or("", |dot| &step[..=dot])
}

/// The branch around one.
fn around(branch: &str) -> &str {
    let parts = match branch.ends_with(".tx.") {
        true => 3,
        false => 2,
    };
    let mut rest = branch.trim_end_matches('.');
    for _ in 0..parts {
        rest = rest.rfind('.').map_or("", |dot| &rest[..dot]);
    }
    &branch[..(rest.len() + 1) * usize::from(!rest.is_empty())]
}

/// See the module documentation. Of what is joined: a join may come twice.
pub(crate) struct Branches<T> {
    /// By what their steps begin with. The root's is always there.
    all: BTreeMap<String, T>,
}

impl<T: Clone> Branches<T> {
    /// The root alone, with this.
    pub(crate) fn new(root: T) -> Self {
        let all = BTreeMap::from([(String::new(), root)]);
        Branches { all }
    }

    /// What an operation begins with: all that its branch has, and those inside it that have ended.
    pub(crate) fn enter(&mut self, step: &Step, join: impl FnMut(&mut T, T)) -> T {
        let branch = branch_of(step.as_str());
        if !self.all.contains_key(branch) {
            let copy = self.nearest(branch).clone();
            self.all.insert(branch.to_owned(), copy);
        }
        self.gather(branch, join);
        self.all[branch].clone()
    }

    /// What the branch has after the operation.
    pub(crate) fn leave(&mut self, step: &Step, state: T) {
        self.all.insert(branch_of(step.as_str()).to_owned(), state);
    }

    /// Takes away what the body of a transaction has, and what branches inside it have.
    pub(crate) fn take(&mut self, body: &Step) -> Vec<T> {
        let inside = format!("{body}.");
        let taken = self.inside(&inside);
        taken
            .filter_map(|branch| self.all.remove(&branch))
            .collect()
    }

    /// All that the execution has, once it has ended.
    pub(crate) fn end(&mut self, join: impl FnMut(&mut T, T)) -> T {
        self.gather("", join);
        self.nearest("").clone()
    }

    /// The branch around this one that has begun.
    fn nearest(&self, branch: &str) -> &T {
        let mut at = around(branch);
        loop {
            match self.all.get(at) {
                Some(state) => return state,
                None => at = around(at),
            }
        }
    }

    /// The branches whose steps begin like this.
    fn inside(&self, start: &str) -> impl Iterator<Item = String> + use<T> {
        let after = self.all.range(start.to_owned()..);
        let inside = after.take_while(|(branch, _)| branch.starts_with(start));
        let inside: Vec<String> = inside.map(|(branch, _)| branch.clone()).collect();
        inside.into_iter()
    }

    fn gather(&mut self, branch: &str, mut join: impl FnMut(&mut T, T)) {
        // The root comes first, and those that begin like a branch come after it.
        for inner in self.inside(branch).skip(1) {
            let Some(state) = self.all.remove(&inner) else {
                continue;
            };
            if let Some(mine) = self.all.get_mut(branch) {
                join(mine, state);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    type Set = BTreeSet<&'static str>;

    fn join(mine: &mut Set, other: Set) {
        mine.extend(other);
    }

    fn step(text: &str) -> Step {
        Step::new(text)
    }

    fn does(branches: &mut Branches<Set>, at: &str, what: &'static str) -> Set {
        let mut state = branches.enter(&step(at), join);
        let before = state.clone();
        state.insert(what);
        branches.leave(&step(at), state);
        before
    }

    #[test]
    fn the_branch_around_is_that_of_the_fork_or_of_the_transaction() {
        for (branch, outer) in [
            ("4.1.", ""),
            ("4.1.0.2.", "4.1."),
            ("2.0.tx.", ""),
            ("4.1.2.0.tx.", "4.1."),
            ("2.0.tx.3.1.", "2.0.tx."),
            ("", ""),
        ] {
            assert_eq!(around(branch), outer, "{branch}");
        }
        assert_eq!(branch_of("4.10.3"), "4.10.");
        assert_eq!(branch_of("4"), "");
    }

    #[test]
    fn a_branch_has_what_was_before_it_and_not_what_its_siblings_do() {
        let mut branches = Branches::new(Set::new());
        does(&mut branches, "0", "before");
        assert_eq!(does(&mut branches, "1.0.0", "left"), Set::from(["before"]));
        assert_eq!(does(&mut branches, "1.1.0", "right"), Set::from(["before"]));
        // Ten begins like one, and is another branch.
        assert_eq!(does(&mut branches, "1.10.0", "ten"), Set::from(["before"]));
        assert_eq!(
            does(&mut branches, "1.1.1.0.0", "inner"),
            Set::from(["before", "right"])
        );
        assert_eq!(
            does(&mut branches, "1.1.2", "on"),
            Set::from(["before", "inner", "right"])
        );
        let all = Set::from(["before", "inner", "left", "on", "right", "ten"]);
        assert_eq!(does(&mut branches, "2", "after"), all);
        assert_eq!(branches.all.len(), 1);
        does(&mut branches, "3.0.0", "last");
        assert!(branches.end(join).contains("last"));
    }

    #[test]
    fn a_branch_whose_fork_is_in_one_that_did_nothing_begins_with_what_is_around_both() {
        let mut branches = Branches::new(Set::from(["root"]));
        assert_eq!(
            does(&mut branches, "1.0.0.1.0", "deep"),
            Set::from(["root"])
        );
        assert_eq!(branches.end(join), Set::from(["deep", "root"]));
    }

    #[test]
    fn the_body_of_a_transaction_can_be_taken_away_whole() {
        let mut branches = Branches::new(Set::from(["root"]));
        let body = step("2").body(0);
        does(&mut branches, &format!("{body}.0"), "body");
        does(&mut branches, &format!("{body}.1.0.0"), "fork in it");
        does(&mut branches, "3.0.0", "another");
        let taken = branches.take(&body);
        assert_eq!(taken.len(), 2);
        assert_eq!(branches.end(join), Set::from(["another", "root"]));
    }
}
