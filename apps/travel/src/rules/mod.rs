//! The invariants T1–T11, applied to what a run left behind and answered.
//!
//! | rule | about | guarantee |
//! |---|---|---|
//! | `T1` | of a hotel or flight as many places are gone as reservations have one | whole |
//! | `T2` | what is left is never below zero nor above what there was, in answers and at the end | whole |
//! | `T3` | a reservation has all that it asked for, or nothing | whole |
//! | `T4` | an acknowledged reservation has exactly one order, and it is the one that was asked for | effects |
//! | `T4-durable` | the same order is there at all, where it was placed before the answer | durability |
//! | `T5` | an acknowledged reservation is a customer of what it reserved, and nobody is uncounted | whole |
//! | `T5-once` | nobody is a customer of one thing twice, nor stays twice in one night | effects |
//! | `T6` | nobody has a place whose reservation was refused, failed, or never sent | whole |
//! | `T7` | what remained, as answered, is different for every two reservations of one thing | whole |
//! | `T7-session` | what remains of one thing, as a session is told, only shrinks | isolation; of a saga, order |
//! | `T8` | a refusal says sold out only of what was, and has a reason that there is | whole |
//! | `T9` | no night is overbooked, and nobody has a night outside of the stay | whole |
//! | `T9-stays` | an acknowledged stay has all of its nights, and every night counts its rooms | effects |
//! | `T10` | a search answers the nearest hotels that have a plan, dearest first | order |
//! | `T11` | recommendations and logins are answered, and names and passwords refused, as the data say | order |
//! | `T-loaded` | what was loaded is still there | durability |
//!
//! *Whole* is isolation where a reservation is a transaction. A saga asks for no isolation, only that
//! each of its steps happens once, so there it is effects; and there these rules hold at rest only.
//! Places are counted by those who have them and not by orders: an order that is handed over and lost
//! is a lost effect (T4), however well the transaction was isolated. Locks and intents that are left
//! over (the rest of T6) are judged for every app, by the oracle.
//!
//! A reservation without an answer may have all of its effects, or none. The published port never
//! takes a place (D1), so of it only T2, T4, T10, T11 and T-loaded speak. All of this is said of
//! transactions that are serializable. Of causally consistent ones, *whole* is not asked: two of them
//! may sell the last room, and what comes of it is counted as data. What they do promise is judged by
//! the oracle, along causes and effects.

mod answers;
mod facts;
mod loaded;
mod nights;
mod orders;
mod places;
mod refusals;
mod sessions;

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
    // Isolation here is that of serial transactions, and of no weaker ones.
    let asked = whole != Guarantee::Isolation || evidence.asks_serializable();
    let serial = |rule| RuleReport::new(rule, whole).asked(asked);
    let mut book = Book {
        t1: serial("T1"),
        t2: serial("T2"),
        t3: serial("T3"),
        t5: serial("T5"),
        once: RuleReport::new("T5-once", Guarantee::Effects),
        t6: serial("T6"),
        t7: serial("T7"),
        t8: serial("T8"),
        t9: serial("T9"),
        stays: RuleReport::new("T9-stays", Guarantee::Effects),
        t11: RuleReport::new("T11", Guarantee::Order),
    };
    places::bounds(&facts, &mut book);
    // Where there is no isolation, an overwritten sale makes more remain, and no read was stale.
    let told = match facts.config.formulation {
        Formulation::Saga => Guarantee::Order,
        Formulation::Txn | Formulation::Steps => Guarantee::Isolation,
    };
    let mut session = RuleReport::new("T7-session", told).asked(asked);
    let mut session_pairs = 0;
    if facts.config.compat == Compat::None {
        places::check(&facts, &mut book);
        if facts.config.mode == Mode::Dates {
            nights::check(&facts, &mut book);
        }
        refusals::check(&facts, &mut book);
        session_pairs = sessions::check(&facts, &mut session);
    }
    let [t4, durable] = orders::check(&facts);
    let t10 = answers::check(&facts, &mut book.t11);
    let loaded = loaded::check(&facts);
    let mut coverage = facts.coverage();
    coverage.session_pairs = session_pairs;
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
        stays,
        t11,
    } = book;
    let reports = vec![
        t1, t2, t3, t4, durable, t5, once, t6, t7, session, t8, t9, stays, t10, t11, loaded,
    ];
    (reports, coverage)
}

/// The rules that several parts fill in.
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
    stays: RuleReport,
    t11: RuleReport,
}
