//! The invariants T1–T11, applied to what a run left behind and answered.
//!
//! | rule | about | guarantee |
//! |---|---|---|
//! | `T1` | of a hotel or flight as many places are gone as orders name it | whole |
//! | `T2` | what is left is never below zero nor above what there was, in answers and at the end | whole |
//! | `T3` | no order lacks a leg, and hotels, flights and orders add up alike | whole |
//! | `T4` | an acknowledged reservation has exactly one order, and it is the one that was asked for | effects |
//! | `T4-durable` | an acknowledged reservation has an order | durability |
//! | `T5` | the customers of a hotel, flight or night are the orders that name it | whole |
//! | `T5-once` | nobody is a customer twice | effects |
//! | `T6` | no place is held by what is neither ordered nor given back | whole |
//! | `T7` | what remained, as answered, is different for every two reservations of one thing | whole |
//! | `T8` | a refusal says sold out only of what was | whole |
//! | `T9` | no night is overbooked, and a stay has all of its nights and no other | whole |
//! | `T10` | a search answers the nearest hotels that have a plan, dearest first | order |
//! | `T11` | recommendations and logins are answered as the data say | order |
//!
//! *Whole* is isolation where a reservation is a transaction. A saga asks for no isolation, only that
//! each of its steps happens once, so there it is effects; and there these rules hold at rest only.
//! Locks and intents that are left over (the rest of T6) are judged for every app, by the oracle.
//!
//! A reservation without an answer may have all of its effects, or none. The published port never
//! takes a place (D1), so of it only T2, T4, T10 and T11 speak.

mod answers;
mod facts;
mod nights;
mod orders;
mod places;

use crate::{Compat, Formulation, Mode};
use facts::Facts;
use triptych_api::{Coverage, Evidence, Guarantee, RuleReport};

/// Judges what a run left behind and answered.
pub fn check(evidence: &Evidence<'_>) -> (Vec<RuleReport>, Coverage) {
    let facts = Facts::of(evidence);
    let whole = match facts.config.formulation {
        Formulation::Saga => Guarantee::Effects,
        Formulation::Txn | Formulation::Steps => Guarantee::Isolation,
    };
    let mut book = Book {
        t1: RuleReport::new("T1", whole),
        t2: RuleReport::new("T2", whole),
        t3: RuleReport::new("T3", whole),
        t5: RuleReport::new("T5", whole),
        once: RuleReport::new("T5-once", Guarantee::Effects),
        t6: RuleReport::new("T6", whole),
        t7: RuleReport::new("T7", whole),
        t8: RuleReport::new("T8", whole),
        t9: RuleReport::new("T9", whole),
    };
    places::bounds(&facts, &mut book);
    if facts.config.compat == Compat::None {
        places::check(&facts, &mut book);
        if facts.config.mode == Mode::Dates {
            nights::check(&facts, &mut book);
        }
    }
    let Book {
        t1,
        t2,
        t3,
        t5,
        once,
        t6,
        t7,
        t8,
        t9,
    } = book;
    let [t4, durable] = orders::check(&facts);
    let (t10, t11, session_pairs) = answers::check(&facts);
    let mut coverage = facts.coverage();
    coverage.session_pairs = session_pairs;
    let reports = vec![t1, t2, t3, t4, durable, t5, once, t6, t7, t8, t9, t10, t11];
    (reports, coverage)
}

/// The rules about places, filled in by several.
struct Book {
    t1: RuleReport,
    t2: RuleReport,
    t3: RuleReport,
    t5: RuleReport,
    once: RuleReport,
    t6: RuleReport,
    t7: RuleReport,
    t8: RuleReport,
    t9: RuleReport,
}
