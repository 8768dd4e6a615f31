//! How much must have been seen before "no violation found" may be called valid.

/// The least coverage for a valid verdict. It is judged over a whole batch of runs.
///
/// The numbers are floors against vacuity, not confidence levels: below thirty facts a rule that
/// fails for one request in twenty is still missed one time in five, so nothing should be said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Floors {
    /// Acknowledged requests with effects, for effects and durability.
    pub ok_effects: u64,
    /// Requests with effects into which a fault was injected that took effect, for effects; 0 for a
    /// run that asked for no faults.
    pub faulted_effects: u64,
    /// Pairs of reads of one key by one session, for order.
    pub session_pairs: u64,
    /// Transactions that overlapped a conflicting one, for isolation.
    pub conflicts: u64,
}

impl Floors {
    /// The floors of this suite. A run that asked for faults must have met some: otherwise it would
    /// be praised for surviving what never happened.
    pub fn new(faults_requested: bool) -> Self {
        Floors {
            ok_effects: 30,
            faulted_effects: if faults_requested { 3 } else { 0 },
            session_pairs: 30,
            conflicts: 30,
        }
    }
}

impl Default for Floors {
    /// The floors of a run without faults.
    fn default() -> Self {
        Floors::new(false)
    }
}
