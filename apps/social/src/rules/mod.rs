//! rules
use triptych_api::{Coverage, Evidence, RuleReport};
/// Judges.
pub fn check(_: &Evidence<'_>) -> (Vec<RuleReport>, Coverage) {
    (Vec::new(), Coverage::default())
}
