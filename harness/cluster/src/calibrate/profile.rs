//! What nodes have measured, and what each kind of message costs by that.

use super::fit::Sums;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use triptych_nodes::sim::ServiceTimes;

/// What one node has measured of one kind of message in one load.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Measured {
    /// Messages.
    pub count: u64,
    /// Their units of work.
    pub units: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Nanoseconds that the node has worked on them.
    pub nanos: u64,
}

/// The samples of one node in one load, by kind of message.
pub type Samples = BTreeMap<String, Measured>;

/// The cost of a kind of message by itself: what the fit of this kind alone says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct KindCost {
    /// How many messages it was fitted on.
    pub messages: u64,
    /// How long one took on average, in nanoseconds, all included.
    pub mean_ns: f64,
    /// Nanoseconds for a message.
    pub message_ns: f64,
    /// Picoseconds for each unit beyond the first.
    pub unit_ps: f64,
    /// Picoseconds for each byte.
    pub byte_ps: f64,
    /// The error of the fit, relative to what was measured: 0 is none, 1 is as much.
    pub error: f64,
}

/// What calibration comes to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Profile {
    /// All kinds together, with the same cost of units and of bytes for all.
    pub service: ServiceTimes,
    /// The error of that fit, relative to what was measured.
    pub error: f64,
    /// Each kind by itself.
    pub kinds: BTreeMap<String, KindCost>,
}

/// Samples of calls to the system rather than of messages.
const PACKET_IN: &str = "(packet in)";
const PACKET_OUT: &str = "(packet out)";

/// Fits the costs. An observation is what one node has measured of one kind in one load; the variance
/// of a sum grows with the number of messages in it, so each counts by its inverse.
pub fn profile(measured: &[Samples]) -> Profile {
    let mut by_kind: BTreeMap<&str, Vec<Measured>> = BTreeMap::new();
    for (kind, one) in measured.iter().flatten() {
        if one.count > 0 {
            by_kind.entry(kind).or_default().push(*one);
        }
    }
    let packets = |kind: &str| -> (u64, u64) {
        let all = by_kind.get(kind).into_iter().flatten();
        all.fold((0, 0), |(count, nanos), one| {
            (count + one.count, nanos + one.nanos)
        })
    };
    let ((received, reading), (_, writing)) = (packets(PACKET_IN), packets(PACKET_OUT));
    let per_packet_ns = (reading + writing).checked_div(received).unwrap_or(0);
    by_kind.remove(PACKET_IN);
    by_kind.remove(PACKET_OUT);

    // The first things are messages of each kind, then come further units of each, and the last one is
    // bytes of all.
    let kinds: Vec<&str> = by_kind.keys().copied().collect();
    let mut sums = Sums::new(2 * kinds.len() + 1);
    for (n, all) in by_kind.values().enumerate() {
        for one in all {
            let mut counts = vec![0.0; 2 * kinds.len() + 1];
            let [units, bytes] = content(one);
            counts[n] = one.count as f64;
            counts[kinds.len() + n] = units;
            counts[2 * kinds.len()] = bytes;
            sums.add(&counts, one.nanos as f64, 1.0 / one.count as f64);
        }
    }
    let fit = sums.fit();
    let whole = |cost: f64| cost.round() as u64;
    let costs = kinds.iter().zip(&fit.factors);
    let per_message_ns: BTreeMap<String, u64> = costs
        .map(|(kind, cost)| ((*kind).to_owned(), whole(*cost)))
        .collect();
    let units = kinds.iter().zip(&fit.factors[kinds.len()..]);
    let per_unit = units
        .map(|(kind, cost)| ((*kind).to_owned(), whole(cost * 1e3)))
        .filter(|(_, cost)| *cost > 0);
    let named = per_message_ns
        .iter()
        .filter(|(kind, _)| !kind.starts_with('('));
    let named: Vec<u64> = named.map(|(_, cost)| *cost).collect();
    let service = ServiceTimes {
        other_ns: named.iter().sum::<u64>() / named.len().max(1) as u64,
        per_unit_ps: 0,
        // Nanoseconds to picoseconds.
        per_byte_ps: whole(fit.factors[2 * kinds.len()] * 1e3),
        per_packet_ns,
        per_turn_ns: 0,
        per_message_ns,
        per_unit_of_ps: per_unit.collect(),
    };
    let alone = by_kind
        .iter()
        .map(|(kind, all)| ((*kind).to_owned(), alone(all)));
    Profile {
        service,
        error: fit.relative,
        kinds: alone.collect(),
    }
}

/// Units beyond the first of each message, and bytes.
fn content(one: &Measured) -> [f64; 2] {
    [one.units.saturating_sub(one.count) as f64, one.bytes as f64]
}

fn alone(all: &[Measured]) -> KindCost {
    let mut sums = Sums::new(3);
    for one in all {
        let [units, bytes] = content(one);
        let counts = [one.count as f64, units, bytes];
        sums.add(&counts, one.nanos as f64, 1.0 / one.count as f64);
    }
    let fit = sums.fit();
    let messages: u64 = all.iter().map(|one| one.count).sum();
    let nanos: u64 = all.iter().map(|one| one.nanos).sum();
    let tenth = |value: f64| (value * 10.0).round() / 10.0;
    KindCost {
        messages,
        mean_ns: tenth(nanos as f64 / messages.max(1) as f64),
        message_ns: tenth(fit.factors[0]),
        unit_ps: tenth(fit.factors[1] * 1e3),
        byte_ps: tenth(fit.factors[2] * 1e3),
        error: (fit.relative * 1e3).round() / 1e3,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Samples that cost exactly this much: per message by kind, per further unit, per byte.
    fn samples() -> Vec<Samples> {
        let cost = |count: u64, units: u64, bytes: u64, each: u64| Measured {
            count,
            units,
            bytes,
            nanos: count * each + (units - count) * 50 + bytes / 2,
        };
        (1..8u64)
            .map(|n| {
                let kinds = [
                    ("append", cost(100 * n, 100 * n, 100 * n * n * 128, 900)),
                    ("replicate", cost(90, 90 * n * n, 90 * n * 4096, 1500)),
                    ("(timer)", cost(7 * n, 7 * n, 0, 300)),
                    (PACKET_IN, cost(10, 10, 0, 5000)),
                    (PACKET_OUT, cost(10, 10, 0, 7000)),
                ];
                kinds.map(|(kind, one)| (kind.to_owned(), one)).into()
            })
            .collect()
    }

    #[test]
    fn costs_that_add_up_are_found_again() {
        let profile = profile(&samples());
        let expected = [("(timer)", 300), ("append", 900), ("replicate", 1500)];
        let expected = expected.map(|(kind, cost)| (kind.to_owned(), cost));
        assert_eq!(profile.service.per_message_ns, expected.into());
        let unit = ("replicate".to_owned(), 50_000);
        assert_eq!(profile.service.per_unit_of_ps, [unit].into());
        assert_eq!(profile.service.per_byte_ps, 500);
        assert_eq!(profile.service.per_packet_ns, 12_000);
        assert_eq!(profile.service.other_ns, 1200);
        assert!(profile.error < 1e-3, "{}", profile.error);
        let service = profile.service.service();
        assert_eq!(
            (service.per_message["append"], service.per_packet),
            (900, 12_000)
        );
        let append = &profile.kinds["append"];
        assert!(
            (append.message_ns - 900.0).abs() < 1.0 && append.error < 1e-3,
            "{append:?}"
        );
        assert!((append.byte_ps - 500.0).abs() < 1.0, "{append:?}");
    }

    #[test]
    fn costs_that_do_not_add_up_say_so() {
        let mut samples = samples();
        for (n, sample) in samples.iter_mut().enumerate() {
            let append = sample.get_mut("append").unwrap();
            append.nanos *= [1, 9][n % 2];
        }
        let profile = profile(&samples);
        assert!(profile.error > 0.2 && profile.kinds["append"].error > 0.2);
        assert!(profile.kinds["(timer)"].error < 1e-3);
    }

    #[test]
    fn nothing_measured_costs_nothing() {
        let profile = profile(&[]);
        assert_eq!((profile.service.other_ns, profile.error), (0, 0.0));
    }
}
