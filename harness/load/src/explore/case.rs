//! A case: which faults strike where, as text, so that a finding can be seen again.

use std::fmt;
use std::str::FromStr;
use triptych_world::fault::{Action, Aim, CrashKind};
use triptych_world::{Nanos, SECOND, Trace};

/// Late enough for an effect in flight to meet the repeated execution, or its end.
const LATE: Nanos = 200 * SECOND;
const DUPLICATE: &str = "duplicate";
const BACKGROUND: &str = "background";

/// The name of a way to crash, as cases and tables have it.
pub fn crash_name(kind: CrashKind) -> &'static str {
    match kind {
        CrashKind::Before => "before",
        CrashKind::InFlight => "in-flight",
        CrashKind::ReplyLost => "reply-lost",
        CrashKind::After => "after",
    }
}

/// The name of what strikes.
pub(super) fn action_name(action: Action) -> &'static str {
    match action {
        Action::Crash(kind) => crash_name(kind),
        Action::Duplicate => DUPLICATE,
    }
}

/// One fault: at which effect of which request, what happens, and whether it happens once more at
/// the same effect of the repeated execution.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Strike {
    /// Whose effect; nothing if a search says that elsewhere. [`Trace::BACKGROUND`] is nobody's.
    pub request: Option<u64>,
    /// What happens.
    pub action: Action,
    /// Twice in a row.
    pub again: bool,
    /// The crash point.
    pub point: String,
    /// Which effect of that name.
    pub occurrence: u32,
}

impl Strike {
    /// As the world's plan. `request` is whose effect it is if the fault does not say.
    pub(super) fn aim(&self, request: u64) -> (u64, Aim) {
        let aim = Aim {
            point: self.point.clone(),
            occurrence: self.occurrence,
            action: self.action,
            late: LATE,
            again: self.again,
        };
        (self.request.unwrap_or(request), aim)
    }
}

/// All faults of one world, in the order in which they were thought of. As text:
/// `12:before@beldi.invoke#2 background:after@beldi.collect.bump#0`; `after+again` strikes twice.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Case(pub Vec<Strike>);

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, strike) in self.0.iter().enumerate() {
            let Strike {
                request,
                action,
                again,
                point,
                occurrence,
            } = strike;
            let gap = if at > 0 { " " } else { "" };
            f.write_str(gap)?;
            match request {
                None => {}
                Some(Trace::BACKGROUND) => write!(f, "{BACKGROUND}:")?,
                Some(request) => write!(f, "{request}:")?,
            }
            let again = if *again { "+again" } else { "" };
            let action = action_name(*action);
            write!(f, "{action}{again}@{point}#{occurrence}")?;
        }
        Ok(())
    }
}

/// A text that is no case.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no fault; write KIND@POINT#N, REQUEST:KIND@POINT#N or background:KIND@POINT#N, where \
     KIND is before, in-flight, reply-lost, after (or one of these with +again) or duplicate, POINT \
     a crash point and N which effect of that name, from 0"
)]
pub struct BadCase(String);

impl FromStr for Case {
    type Err = BadCase;

    fn from_str(text: &str) -> Result<Case, BadCase> {
        let strikes = text
            .split_whitespace()
            .map(|part| strike(part).ok_or_else(|| BadCase(part.to_owned())));
        strikes.collect::<Result<_, _>>().map(Case)
    }
}

fn strike(text: &str) -> Option<Strike> {
    let (request, rest) = match text.split_once(':') {
        None => (None, text),
        Some((BACKGROUND, rest)) => (Some(Trace::BACKGROUND), rest),
        Some((request, rest)) => (Some(request.parse().ok()?), rest),
    };
    let (kind, place) = rest.split_once('@')?;
    let (point, occurrence) = place.split_once('#')?;
    let (kind, again) = match kind.strip_suffix("+again") {
        Some(kind) => (kind, true),
        None => (kind, false),
    };
    let crash = CrashKind::ALL
        .into_iter()
        .find(|one| crash_name(*one) == kind);
    let action = match crash {
        Some(crash) => Action::Crash(crash),
        None if kind == DUPLICATE && !again => Action::Duplicate,
        None => return None,
    };
    if point.is_empty() {
        return None;
    }
    Some(Strike {
        request,
        action,
        again,
        point: point.to_owned(),
        occurrence: occurrence.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cases_read_back_as_they_are_shown() {
        for text in [
            "before@beldi.invoke#2",
            "12:in-flight@beldi.daal.write#0 12:after+again@beldi.intent.put#1",
            "background:reply-lost@beldi.collect.bump#3 4:duplicate@x#0",
            "",
        ] {
            let case: Case = text.parse().unwrap();
            assert_eq!(case.to_string(), text);
        }
        let case: Case = "7:after@p#1".parse().unwrap();
        assert_eq!(case.0[0].aim(3).0, 7);
        let case: Case = "after@p#1".parse().unwrap();
        assert_eq!(case.0[0].aim(3).0, 3);
    }

    #[test]
    fn mistakes_are_told() {
        for text in [
            "before@x",
            "before#1",
            "during@x#1",
            "x:before@y#1",
            "duplicate+again@x#1",
        ] {
            let error = text.parse::<Case>().unwrap_err().to_string();
            assert!(
                error.contains("reply-lost") && error.contains(text),
                "{error}"
            );
        }
    }
}
