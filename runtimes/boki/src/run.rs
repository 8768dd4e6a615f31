//! One execution of one instance, and what it knows of the instance's steps.
//!
//! **The first record of a step counts.** All that an instance does stands in its stream. Whoever
//! executes it reads the stream first, and then knows what it has done already. What it finds missing
//! it appends, reads back, and goes by whatever came first: its own record, or that of another
//! execution of the same instance. So all executions agree on every step, and on the number of its
//! record. Steps are paths, and branches go on side by side, so each step has its own race; there is
//! no order among steps to keep.

use crate::item::Seen;
use crate::journal::Journal;
use crate::record::{Entry, Start, Tx, What, steps};
use crate::tx::{Open, TxView};
use crate::{Bug, Shared};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use triptych_api::{Error, Name, Result, Value};
use triptych_log::{Book, Progress, SeqNum, Tag};
use triptych_site::Effects;

/// What an execution has read of its instance's stream.
#[derive(Default)]
pub(crate) struct View {
    /// Where to read on.
    from: SeqNum,
    /// How much of the log whoever has read this had seen.
    seen: Progress,
    pub(crate) start: Option<Start>,
    pub(crate) result: Option<Value>,
    /// The record of each step.
    first: BTreeMap<Name, (SeqNum, What)>,
    /// What came of steps that have an end of their own: changes and calls.
    ends: BTreeMap<Name, What>,
}

impl View {
    fn apply(&mut self, instance: &Name, seq: SeqNum, entry: Entry, last_wins: bool) {
        let Entry {
            instance: whose,
            step,
            what,
        } = entry;
        let own = whose == *instance;
        match what {
            What::Start(start) if own => drop(self.start.get_or_insert(start)),
            What::Start(ref start) => match &start.sender {
                Some(sender) if sender.instance == *instance => {
                    let step = sender.step.clone();
                    self.first.entry(step).or_insert((seq, what));
                }
                _ => {}
            },
            What::Finish { result, .. } if own => drop(self.result.get_or_insert(result)),
            What::Finish { ref caller, .. } => match caller {
                Some(caller) if caller.instance == *instance => {
                    let step = caller.step.clone();
                    self.ends.entry(step).or_insert(what);
                }
                _ => {}
            },
            _ if !own => {}
            What::Changed(_) => drop(self.ends.entry(step).or_insert(what)),
            _ if last_wins => drop(self.first.insert(step, (seq, what))),
            _ => drop(self.first.entry(step).or_insert((seq, what))),
        }
    }
}

/// See the module documentation.
pub(crate) struct Run {
    pub(crate) shared: Rc<Shared>,
    pub(crate) effects: Effects,
    pub(crate) log: Journal,
    pub(crate) function: Name,
    pub(crate) instance: Name,
    /// The transaction that this instance was called in.
    pub(crate) joined: Option<Tx>,
    /// When the instance was recorded, milliseconds since 1970: the birth of its transactions.
    pub(crate) born: Cell<i64>,
    pub(crate) view: RefCell<View>,
    /// Transactions that are open here.
    pub(crate) open: RefCell<Vec<Open>>,
    /// What was read of transactions' streams.
    pub(crate) txs: RefCell<BTreeMap<Name, TxView>>,
    /// Keys that this execution knows to be locked for a transaction, with what is committed there.
    pub(crate) held: RefCell<BTreeMap<(Name, Name, Name), Option<Value>>>,
    /// Items as this execution has seen them last: it may be that they are still like that.
    pub(crate) seen: RefCell<BTreeMap<(Name, Name), Seen>>,
}

impl Run {
    pub(crate) fn new(
        shared: Rc<Shared>,
        effects: Effects,
        function: Name,
        instance: Name,
        progress: Progress,
    ) -> Self {
        let book = Book::new(shared.log.at(effects.scope.path()), crate::BOOK);
        book.observe(progress);
        let log = Journal {
            book,
            effects: effects.clone(),
        };
        Run {
            shared,
            effects,
            log,
            function,
            instance,
            joined: None,
            born: Cell::default(),
            view: RefCell::default(),
            open: RefCell::default(),
            txs: RefCell::default(),
            held: RefCell::default(),
            seen: RefCell::default(),
        }
    }

    /// Whether a defect was seeded.
    pub(crate) fn has(&self, bug: Bug) -> bool {
        self.shared.bug == Some(bug)
    }

    pub(crate) fn stream(&self) -> Tag {
        steps(&self.instance)
    }

    pub(crate) fn entry(&self, step: &str, what: What) -> Entry {
        Entry {
            instance: self.instance.clone(),
            step: Name::from(step),
            what,
        }
    }

    /// How much of the log this execution has seen, for whoever goes by what it says.
    pub(crate) fn progress(&self) -> u64 {
        match self.has(Bug::NoProgressHandover) {
            true => 0,
            false => self.log.book.progress().to_bits(),
        }
    }

    /// Reads what has come to the instance's stream.
    pub(crate) async fn catch_up(&self) -> Result<()> {
        let seen = self.log.book.progress();
        let from = self.view.borrow().from;
        let news = self.log.all(self.stream(), from).await?;
        let mut view = self.view.borrow_mut();
        let last_wins = self.has(Bug::LastRecordWins);
        for (seq, entry) in news {
            // Another branch may have read the same.
            if seq >= view.from {
                view.from = seq.next();
                view.apply(&self.instance, seq, entry, last_wins);
            }
        }
        view.seen = view.seen.max(seen);
        Ok(())
    }

    /// Reads on if somebody else's progress could mean that there is something to read.
    pub(crate) async fn catch_up_to(&self, progress: Progress) -> Result<()> {
        match progress > self.view.borrow().seen {
            true => {}
            false => return Ok(()),
        }
        self.catch_up().await
    }

    /// The record of a step, if this execution knows one.
    pub(crate) fn known(&self, step: &str) -> Option<(SeqNum, What)> {
        self.view.borrow().first.get(step).cloned()
    }

    /// What came of a step that has an end of its own, if this execution knows.
    pub(crate) fn end_of(&self, step: &str) -> Option<What> {
        self.view.borrow().ends.get(step).cloned()
    }

    /// Proposes the record of a step, and returns the one that counts, with its number.
    pub(crate) async fn propose(
        &self,
        point: &'static str,
        step: &str,
        what: What,
        also: &[Tag],
    ) -> Result<(SeqNum, What)> {
        if let Some(known) = self.known(step) {
            return Ok(known);
        }
        let tags: Vec<Tag> = also.iter().copied().chain([self.stream()]).collect();
        self.log
            .append(point, &tags, &self.entry(step, what))
            .await?;
        self.catch_up().await?;
        let known = self.known(step);
        known.ok_or_else(|| Error::Interrupted(format!("the records of step {step} are gone")))
    }

    /// Logs what a step has learned, and returns what the first one that took it has.
    pub(crate) async fn learn(&self, step: &str, value: Value) -> Result<Value> {
        if self.has(Bug::SkipReadLog) {
            return Ok(value);
        }
        let learned = What::Learned(value);
        let (_, first) = self.propose("boki.learn", step, learned, &[]).await?;
        learned_of(step, first)
    }

    /// What a step has learned in an earlier execution.
    pub(crate) fn learned(&self, step: &str) -> Result<Option<Value>> {
        let known = self.known(step);
        known.map(|(_, what)| learned_of(step, what)).transpose()
    }

    /// An id that nobody else has: as good as random, yet the same in every run of a simulation.
    pub(crate) fn fresh_id(&self) -> String {
        let world = &self.effects.site.world;
        let mut random = world.keyed(self.effects.scope.next_key());
        format!("{:016x}{:016x}", random.bits(), random.bits())
    }
}

pub(crate) fn learned_of(step: &str, what: What) -> Result<Value> {
    match what {
        What::Learned(value) => Ok(value),
        other => Err(diverged(step, &other)),
    }
}

/// The function is not the one that it was, or it is not deterministic.
pub(crate) fn diverged(step: &str, found: &What) -> Error {
    Error::Bug(format!("step {step} does something else than {found:?}"))
}
