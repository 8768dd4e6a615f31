//! A case: which crashes are injected where, as text, so that a witness can be seen again.

use std::fmt;
use std::str::FromStr;
use triptych_world::fault::{Action, CrashKind, Faults, Injection};
use triptych_world::{Nanos, SECOND, Trace};

/// The name of a duplicate in a case.
pub(crate) const DUPLICATE: &str = "duplicate";
const BACKGROUND: &str = "background:";

/// Late enough for an effect in flight to meet the repeated execution, or its end.
const LATE: Nanos = 200 * SECOND;

/// One fault: of the request, or of the work that no request caused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Strike {
    /// Whether it strikes collectors and the like, not the request.
    pub background: bool,
    /// At which effect, counted from 0.
    pub nth: u32,
    /// What happens there.
    pub action: Action,
}

impl Strike {
    /// A crash of the request.
    pub fn crash(nth: u32, kind: CrashKind) -> Strike {
        let action = Action::Crash(kind);
        Strike {
            background: false,
            nth,
            action,
        }
    }

    /// A duplicate of one of its executions.
    pub fn duplicate(nth: u32) -> Strike {
        let action = Action::Duplicate;
        Strike {
            background: false,
            nth,
            action,
        }
    }

    /// The same fault for the background.
    #[must_use]
    pub fn in_background(self) -> Strike {
        Strike {
            background: true,
            ..self
        }
    }
}

/// All faults of one run. As text: `before@3 background:reply-lost@17`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Case(pub Vec<Strike>);

impl Case {
    /// As the world's plan for the request of this number.
    pub(crate) fn faults(&self, request: u64) -> Faults {
        let exact = self.0.iter().map(|strike| {
            let of = if strike.background {
                Trace::BACKGROUND
            } else {
                request
            };
            let Strike { nth, action, .. } = *strike;
            (
                of,
                Injection {
                    nth,
                    action,
                    late: LATE,
                },
            )
        });
        Faults {
            exact: exact.collect(),
            ..Faults::default()
        }
    }
}

pub(crate) fn kind_name(kind: CrashKind) -> &'static str {
    match kind {
        CrashKind::Before => "before",
        CrashKind::InFlight => "in-flight",
        CrashKind::ReplyLost => "reply-lost",
        CrashKind::After => "after",
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, strike) in self.0.iter().enumerate() {
            let gap = if at > 0 { " " } else { "" };
            let whose = if strike.background { BACKGROUND } else { "" };
            let what = match strike.action {
                Action::Crash(kind) => kind_name(kind),
                Action::Duplicate => DUPLICATE,
            };
            write!(f, "{gap}{whose}{what}@{}", strike.nth)?;
        }
        Ok(())
    }
}

/// A text that is no case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadCase(String);

impl fmt::Display for BadCase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:?} is no fault; write KIND@EFFECT or background:KIND@EFFECT, where KIND is before, \
             in-flight, reply-lost, after or duplicate and EFFECT a number from 0",
            self.0
        )
    }
}

impl std::error::Error for BadCase {}

impl FromStr for Case {
    type Err = BadCase;

    fn from_str(text: &str) -> Result<Case, BadCase> {
        let strike = |word: &str| {
            let bad = || BadCase(word.to_owned());
            let (background, rest) = match word.strip_prefix(BACKGROUND) {
                Some(rest) => (true, rest),
                None => (false, word),
            };
            let (what, nth) = rest.split_once('@').ok_or_else(bad)?;
            let nth = nth.parse().map_err(|_| bad())?;
            let kind = CrashKind::ALL
                .into_iter()
                .find(|kind| kind_name(*kind) == what);
            let action = match kind {
                Some(kind) => Action::Crash(kind),
                None if what == DUPLICATE => Action::Duplicate,
                None => return Err(bad()),
            };
            Ok(Strike {
                background,
                nth,
                action,
            })
        };
        let strikes: Result<Vec<Strike>, BadCase> = text.split_whitespace().map(strike).collect();
        let strikes = strikes?;
        if strikes.is_empty() {
            return Err(BadCase(text.to_owned()));
        }
        Ok(Case(strikes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_case_survives_the_way_through_text() {
        let case = Case(vec![
            Strike::crash(3, CrashKind::ReplyLost),
            Strike::duplicate(7),
            Strike::crash(12, CrashKind::InFlight).in_background(),
        ]);
        let text = "reply-lost@3 duplicate@7 background:in-flight@12";
        assert_eq!(case.to_string(), text);
        assert_eq!(text.parse(), Ok(case));
    }

    #[test]
    fn what_is_no_case_is_answered_with_what_would_be_one() {
        for wrong in ["", "before", "before@x", "sideways@3", "background:@1"] {
            let error = wrong.parse::<Case>().unwrap_err().to_string();
            assert!(error.contains("KIND@EFFECT"), "{error}");
        }
    }
}
