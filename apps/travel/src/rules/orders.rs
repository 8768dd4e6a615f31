//! T4: every reservation has the orders that its answer promises.

use super::facts::{Facts, OrderRow, Reserve};
use crate::Compat;
use crate::seats::Leg;
use std::collections::BTreeMap;
use triptych_api::{Guarantee, RuleReport};

pub(super) fn check(facts: &Facts<'_>) -> [RuleReport; 2] {
    let mut exact = RuleReport::new("T4", Guarantee::Effects);
    let mut durable = RuleReport::new("T4-durable", Guarantee::Durability);
    let mut of: BTreeMap<usize, Vec<&OrderRow<'_>>> = BTreeMap::new();
    for order in &facts.orders {
        match order.reserve {
            Some(reserve) => of.entry(reserve).or_default().push(order),
            None => exact.expect(false, None, || {
                format!(
                    "{} is kept, but nobody sent its reservation {:?}",
                    order.key, order.req_id
                )
            }),
        }
    }
    // What was handed over may still be on its way.
    let arrived =
        facts.evidence.state.pending.is_empty() || facts.order_is_placed_before_the_answer();
    for (at, reserve) in facts.reserves.iter().enumerate() {
        let index = Some(reserve.op.index);
        let orders = of.get(&at).map_or(&[][..], Vec::as_slice);
        let placed = orders
            .iter()
            .fold(0_i64, |sum, order| sum.saturating_add(order.placed));
        let told = || {
            let ids: Vec<&str> = orders.iter().map(|order| order.key).collect();
            format!(
                "reservation {} ended as {}, and {placed} orders of it were placed: [{}]",
                reserve.req_id,
                reserve.class,
                ids.join(", ")
            )
        };
        let once = orders.len() == 1 && placed == 1;
        if !reserve.may_hold() {
            exact.expect(orders.is_empty(), index, told);
        } else if once || !orders.is_empty() {
            exact.expect(once, index, told);
        } else if arrived {
            // Without an answer there may be no order, but then there are no places either.
            let due = reserve.acknowledged()
                || facts.config.compat == Compat::None && facts.has_all(reserve);
            exact.expect(!due, index, told);
        }
        if reserve.acknowledged() && facts.order_is_placed_before_the_answer() {
            durable.expect(!orders.is_empty(), index, told);
        }
        for order in orders {
            let wrong = mixed_up(facts, reserve, order);
            exact.expect(wrong.is_none(), index, || {
                format!(
                    "{} of reservation {}: {}",
                    order.key,
                    reserve.req_id,
                    wrong.unwrap_or_default()
                )
            });
        }
    }
    [exact, durable]
}

/// What of an order is not as its reservation says.
fn mixed_up(facts: &Facts<'_>, reserve: &Reserve<'_>, order: &OrderRow<'_>) -> Option<String> {
    let answered = super::facts::text(&reserve.op.observed, "orderId");
    if order.user != reserve.user {
        return Some(format!("is of {}, not of {}", order.user, reserve.user));
    }
    for leg in Leg::BOTH {
        let (asked, kept) = (reserve.leg(leg), order.leg(leg));
        if asked != kept {
            return Some(format!("names {leg} {kept:?}, not {asked:?}"));
        }
    }
    if order.stay != reserve.stay {
        return Some(format!("is for {:?}, not {:?}", order.stay, reserve.stay));
    }
    if facts.config.compat == Compat::Beldi {
        // The published port makes its ids up.
        return None;
    }
    if order.key != reserve.order_id {
        return Some(format!("should be called {}", reserve.order_id));
    }
    (reserve.acknowledged() && answered != order.key)
        .then(|| format!("was answered as {answered:?}"))
}
