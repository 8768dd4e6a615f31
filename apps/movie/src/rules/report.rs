//! Counting what a rule examined and what it found.

use triptych_api::{Finding, Guarantee, RuleReport};

/// A rule at work.
pub(super) struct Rule {
    report: RuleReport,
}

impl Rule {
    pub(super) fn new(rule: &str, guarantee: Guarantee) -> Self {
        Rule {
            report: RuleReport {
                rule: rule.to_owned(),
                guarantee,
                examined: 0,
                violations: 0,
                witness: None,
            },
        }
    }

    /// Examines one fact. A violation is told only if it becomes the witness: that of the lowest
    /// request, and one that belongs to no request only if there is no other.
    pub(super) fn expect(
        &mut self,
        holds: bool,
        request: Option<u64>,
        told: impl FnOnce() -> String,
    ) {
        self.report.examined += 1;
        if holds {
            return;
        }
        self.report.violations += 1;
        let place = |request: Option<u64>| request.unwrap_or(u64::MAX);
        let smaller = match &self.report.witness {
            Some(witness) => place(request) < place(witness.request),
            None => true,
        };
        if smaller {
            let rule = self.report.rule.clone();
            self.report.witness = Some(Finding {
                rule,
                request,
                told: told(),
            });
        }
    }

    pub(super) fn done(self) -> RuleReport {
        self.report
    }
}
