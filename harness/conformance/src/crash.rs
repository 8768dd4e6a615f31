//! Crashes at every effect boundary of one request, in four kinds, once, twice, with a duplicate
//! beside it, and of whoever repeats executions. Whatever strikes, the state that is left and the
//! answer that is given are those of a run without faults.

use crate::book::{Book, Points};
use crate::case::{Case, Strike};
use crate::counter::{self, Seen, Tables};
use crate::requirement::Requirement;
use crate::stand::{Ask, Setup, difference, simulate, unclean};
use crate::{Depth, bank};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use triptych_api::App;
use triptych_api::model::{Name, Outcome, State, Value};
use triptych_faas::Answer;
use triptych_site::RuntimeEntry;
use triptych_world::fault::CrashKind;
use triptych_world::{Options, Trace};

/// A request to crash, and how to look at what it leaves.
struct Script {
    app: fn(&Seen) -> App,
    /// Sent before, without faults.
    before: fn() -> Option<Ask>,
    ask: fn() -> Ask,
    normal: fn(&State) -> Tables,
    /// What it leaves when nothing goes wrong.
    left: fn() -> Tables,
    /// The table of what is sent. With it, findings belong to requirements of their own; without
    /// it, all of them to the one that is being checked.
    sent: Option<&'static str>,
}

const COUNTER: Script = Script {
    app: counter::app,
    before: || None,
    ask: || counter::ask("Work"),
    normal: counter::normal,
    left: counter::left,
    sent: Some("late"),
};

const TRANSFER: Script = Script {
    app: bank::app_seen,
    before: || Some(bank::open()),
    ask: bank::move_over,
    normal: bank::tables,
    left: bank::moved,
    sent: None,
};

/// The request's number; the one before it has another.
const REQUEST: u64 = 0;
const BEFORE: u64 = 1;

/// What a run left behind.
struct End {
    answer: Answer,
    /// Why it never became quiet, if so.
    stuck: Option<String>,
    /// The answer to the same request sent again once it was quiet.
    again: Answer,
    start: Tables,
    /// The state before that.
    alone: Tables,
    tables: Tables,
    unclean: Option<String>,
    effects: u32,
    background: u32,
    points: Points,
    seen: Vec<(Name, &'static str, Value)>,
}

fn run(entry: &RuntimeEntry, script: &Script, case: &Case) -> Result<End, String> {
    let (seen, ask, before) = (Seen::default(), (script.ask)(), (script.before)());
    let (normal, log) = (script.normal, Rc::clone(&seen));
    let strikes = case.0.len();
    let options = Options {
        faults: case.faults(REQUEST),
        ..Options::default()
    };
    let setup = Setup {
        seed: 1,
        options,
        ..Setup::default()
    };
    simulate(entry, setup, (script.app)(&seen), |stand| async move {
        if let Some(before) = before {
            stand.must(BEFORE, &before).await?;
        }
        let start = normal(&stand.dump().await?);
        let answer = stand.ask(REQUEST, &ask, &Value::Null).await;
        let effects = stand.effects(REQUEST);
        let stuck = stand.settle().await.err();
        let background = stand.effects(Trace::BACKGROUND);
        let alone = normal(&stand.dump().await?);
        // A client that does not know what became of its request sends it again, with the same id.
        // What is left of the faults may strike this one.
        let mut again = stand.ask(REQUEST, &ask, &Value::Null).await;
        for _ in 0..strikes {
            if !matches!(again.outcome, Outcome::Ok) {
                again = stand.ask(REQUEST, &ask, &Value::Null).await;
            }
        }
        let stuck = stuck.or(stand.settle().await.err());
        stand.pool.stop_timers();
        let state = stand.dump().await?;
        Ok(End {
            answer,
            stuck,
            again,
            start,
            alone,
            tables: normal(&state),
            unclean: unclean(&state),
            effects,
            background,
            points: stand.world.struck(),
            seen: log.borrow().clone(),
        })
    })
}

/// A series of cases of one script, compared with a run without faults.
struct Sweep<'a> {
    entry: &'a RuntimeEntry,
    script: &'a Script,
    reference: End,
    book: &'a mut Book,
}

impl<'a> Sweep<'a> {
    /// The run without faults; none if that fails already, which `requirements` then have to tell.
    fn new(
        entry: &'a RuntimeEntry,
        script: &'a Script,
        requirements: &[&'static str],
        book: &'a mut Book,
    ) -> Option<Self> {
        let reference = run(entry, script, &Case::default());
        let fine = reference.and_then(|end| match (&end.answer.outcome, &end.stuck) {
            (Outcome::Ok, None) => match difference(&(script.left)(), &end.tables) {
                None => Ok(end),
                Some(told) => Err(told),
            },
            (outcome, stuck) => Err(format!("it ended {outcome:?}, {stuck:?}")),
        });
        match fine {
            Ok(reference) => Some(Sweep {
                entry,
                script,
                reference,
                book,
            }),
            Err(told) => {
                for requirement in requirements {
                    let told = format!("without any fault, {told}");
                    book.note(requirement, "no fault", Some(told));
                }
                None
            }
        }
    }

    /// Runs a case and judges it. Returns the points that it struck, and how many effects the
    /// background had.
    fn case(&mut self, requirement: &'static str, strikes: Vec<Strike>) -> (Points, u32) {
        let case = Case(strikes);
        let text = format!(
            "triptych conform --runtime {} --only {{}} --case '{case}'",
            self.entry.name
        );
        let text = |of: &str| text.replace("{}", of);
        let end = match run(self.entry, self.script, &case) {
            Ok(end) => end,
            Err(told) => {
                self.book.note(requirement, &text(requirement), Some(told));
                return (Points::new(), 0);
            }
        };
        self.book.struck(&end.points);
        let Some(sent) = self.script.sent else {
            let told = self.effects(&end, None);
            let told = told
                .or_else(|| self.left(&end))
                .or_else(|| self.again(&end));
            self.book.note(requirement, &text(requirement), told);
            return (end.points, end.background);
        };
        let found = [
            (requirement, self.effects(&end, Some(sent))),
            ("sends", self.sends(&end, sent)),
            ("clean", self.left(&end)),
            ("same-id", self.again(&end)),
            ("replay-values", replayed(&end.seen)),
        ];
        for (requirement, told) in found {
            self.book.note(requirement, &text(requirement), told);
        }
        (end.points, end.background)
    }

    /// Whether state and answer are as without faults, what was sent aside.
    fn effects(&self, end: &End, sent: Option<&str>) -> Option<String> {
        let without = |tables: &Tables| {
            let mut tables = tables.clone();
            sent.map(|sent| tables.remove(sent));
            tables
        };
        let wanted = without(&self.reference.tables);
        if end.answer.outcome == Outcome::Ok {
            if end.answer.output != self.reference.answer.output {
                let (wanted, found) = (&self.reference.answer.output, &end.answer.output);
                return Some(format!("the answer should be {wanted:?}, not {found:?}"));
            }
            let alone = difference(&wanted, &without(&end.alone));
            return alone.or_else(|| difference(&wanted, &without(&end.tables)));
        }
        if !matches!(
            end.answer.outcome,
            Outcome::Indeterminate(_) | Outcome::Failed(_)
        ) {
            return Some(format!("a crash made it end {:?}", end.answer.outcome));
        }
        // All or nothing: an instance that was never recorded left no trace.
        let untouched = end.alone == end.start;
        let failed = matches!(end.answer.outcome, Outcome::Failed(_));
        if failed && !untouched {
            return Some("it ended Failed, and there is an effect".to_owned());
        }
        let in_part = difference(&wanted, &without(&end.alone)).filter(|_| !untouched);
        in_part
            .map(|told| format!("done in part: {told}"))
            .or_else(|| {
                difference(&wanted, &without(&end.tables)).map(|told| format!("sent again: {told}"))
            })
    }

    fn sends(&self, end: &End, sent: &str) -> Option<String> {
        let only = |tables: &Tables| -> Tables {
            let rows = tables.get(sent).cloned().unwrap_or_default();
            [(Name::from(sent), rows)].into()
        };
        let wanted = only(&self.reference.tables);
        // The request may never have begun; then the one that was sent again did it all.
        let alone = (end.alone != end.start).then(|| difference(&wanted, &only(&end.alone)));
        alone
            .flatten()
            .or_else(|| difference(&wanted, &only(&end.tables)))
    }

    fn left(&self, end: &End) -> Option<String> {
        end.stuck.clone().or_else(|| end.unclean.clone())
    }

    fn again(&self, end: &End) -> Option<String> {
        let wanted = (&Outcome::Ok, &self.reference.answer.output);
        let found = (&end.again.outcome, &end.again.output);
        if found != wanted {
            return Some(format!(
                "sent again it should answer {wanted:?}, not {found:?}"
            ));
        }
        let again = difference(&end.alone, &end.tables).filter(|_| end.alone != end.start);
        again.map(|told| format!("sent again it had effects: {told}"))
    }
}

/// Whether all executions of an instance saw the same, and no two steps got the same id or number.
fn replayed(seen: &[(Name, &'static str, Value)]) -> Option<String> {
    let mut known: BTreeMap<(&Name, &str), &Value> = BTreeMap::new();
    for (instance, what, value) in seen {
        let first = known.entry((instance, what)).or_insert(value);
        if *first != value {
            return Some(format!(
                "{instance} saw the {what} {first:?}, and on a replay {value:?}"
            ));
        }
    }
    let mut taken: BTreeMap<&Value, (&Name, &str)> = BTreeMap::new();
    for (place, value) in known.into_iter().filter(|((_, what), _)| *what != "now") {
        if let Some(other) = taken.insert(value, place) {
            return Some(format!("{other:?} and {place:?} both got {value:?}"));
        }
    }
    None
}

/// The requirements that a class of crashes belongs to.
const CLASSES: [&str; 4] = ["crash-once", "crash-twice", "duplicate", "background"];
/// Those that every case is examined for as well.
const PARTS: [&str; 4] = ["sends", "same-id", "clean", "replay-values"];
/// The one of transactions.
const TRANSACTION: &str = "tx-crash";

pub(crate) fn check(entry: &RuntimeEntry, depth: Depth, book: &mut Book) {
    let Some(mut sweep) = Sweep::new(entry, &COUNTER, &[CLASSES, PARTS].concat(), book) else {
        return;
    };
    // A repeated execution has effects of its own.
    let effects = sweep.reference.effects + 20;
    // Crashes after which somebody had to execute an instance again.
    let mut repeated = Vec::new();
    for nth in 0..effects {
        for kind in CrashKind::ALL {
            if !sweep.book.enough("crash-once") {
                let strike = Strike::crash(nth, kind);
                let (_, background) = sweep.case("crash-once", vec![strike]);
                let other_kind = kind != CrashKind::Before;
                repeated.extend((other_kind && background > 0).then_some((strike, background)));
            }
        }
    }
    let stride = depth.of(2, 1);
    for nth in (0..effects).step_by(stride) {
        for (at, kind) in CrashKind::ALL.into_iter().enumerate() {
            let turn = (at + nth as usize / stride) % 4;
            if depth == Depth::Quick && turn > 1 {
                continue;
            }
            // The repeated execution crashes as well: soon, or about where the first one did.
            for gap in [2, nth + 2] {
                let other = Strike::crash(nth + gap, CrashKind::ALL[(turn + 1) % 4]);
                if !sweep.book.enough("crash-twice") {
                    sweep.case("crash-twice", vec![Strike::crash(nth, kind), other]);
                }
            }
            let beside = vec![Strike::duplicate(nth), Strike::crash(nth + 3, kind)];
            if !sweep.book.enough("duplicate") {
                sweep.case("duplicate", beside);
            }
        }
        if !sweep.book.enough("duplicate") {
            sweep.case("duplicate", vec![Strike::duplicate(nth)]);
        }
    }
    background(&mut sweep, depth, &repeated);
}

/// Crashes the request, and then whoever executes it again.
fn background(sweep: &mut Sweep<'_>, depth: Depth, repeated: &[(Strike, u32)]) {
    const NAME: &str = "background";
    let parts = depth.of(1, 4);
    for part in 0..parts {
        let Some((first, count)) = repeated.get(repeated.len() * (2 * part + 1) / (2 * parts))
        else {
            // Nobody repeats anything here, so there is nobody to crash.
            return sweep.book.note(NAME, "no fault", None);
        };
        // Most effects of a collector are looks at nothing. Which point stands where is learned on
        // the way, so that the other kinds strike the first and the last effect of each point.
        let mut places: BTreeMap<&'static str, (u32, u32)> = BTreeMap::new();
        for nth in 0..(*count).min(400) {
            let mut strikes = vec![*first];
            strikes.push(Strike::crash(nth, CrashKind::Before).in_background());
            let (points, _) = sweep.case(NAME, strikes);
            // The first crash is of another kind.
            let before = |(_, kind): &&(&str, Option<CrashKind>)| *kind == Some(CrashKind::Before);
            for (point, _) in points.keys().filter(before) {
                places.entry(point).or_insert((nth, nth)).1 = nth;
            }
            if sweep.book.enough(NAME) {
                return;
            }
        }
        let last = |(first, last): &(u32, u32)| [*first, *last];
        let struck: BTreeSet<u32> = places.values().flat_map(last).collect();
        for nth in struck {
            let others = CrashKind::ALL.into_iter().skip(1);
            let others = others.map(|kind| Strike::crash(nth, kind));
            for strike in others.chain([Strike::duplicate(nth)]) {
                if !sweep.book.enough(NAME) {
                    sweep.case(NAME, vec![*first, strike.in_background()]);
                }
            }
        }
    }
}

/// A transfer by transaction across two functions, crashed everywhere.
pub(crate) fn check_transactions(entry: &RuntimeEntry, depth: Depth, book: &mut Book) {
    let Some(mut sweep) = Sweep::new(entry, &TRANSFER, &[TRANSACTION], book) else {
        return;
    };
    let effects = sweep.reference.effects + 20;
    for nth in 0..effects {
        for (at, kind) in CrashKind::ALL.into_iter().enumerate() {
            let other = CrashKind::ALL[(at + nth as usize) % 4];
            let mut cases = vec![vec![Strike::crash(nth, kind)]];
            if depth == Depth::Full || (nth as usize + at).is_multiple_of(4) {
                cases.push(vec![
                    Strike::crash(nth, kind),
                    Strike::crash(2 * nth + 2, other),
                ]);
                cases.push(vec![Strike::duplicate(nth), Strike::crash(nth + 3, kind)]);
            }
            for case in cases {
                if !sweep.book.enough(TRANSACTION) {
                    sweep.case(TRANSACTION, case);
                }
            }
        }
    }
}

/// Runs one case again, for the requirement that it is a witness of.
pub(crate) fn replay(
    entry: &RuntimeEntry,
    requirement: &Requirement,
    case: &Case,
    book: &mut Book,
) -> Result<(), String> {
    let name = requirement.name;
    let (script, class) = match name {
        TRANSACTION => (&TRANSFER, TRANSACTION),
        _ if CLASSES.contains(&name) => (&COUNTER, name),
        _ if PARTS.contains(&name) => (&COUNTER, CLASSES[0]),
        _ => {
            return Err(format!(
                "no crashes are tried for {name:?}; leave --case out"
            ));
        }
    };
    if let Some(mut sweep) = Sweep::new(entry, script, &[name], book) {
        sweep.case(class, case.0.clone());
    }
    Ok(())
}
