//! The shadow of a transaction at a function: one document in the function's own shadow table, with
//! everything that the end of the transaction has to know (specification §§8.1, 8.4).
//!
//! The document of (transaction, function) has
//!
//! * `KEYS`: every key that was or is to be locked. A member is named by a code that is never taken
//!   apart again; table, key, the log key of the lock, the new value if there is one and the row in
//!   which the lock was taken are its members;
//! * `CALLEES`: the functions that were called, in the order of their first recording;
//! * `SENDS`: calls to be handed over after the commit;
//! * `LOGS`: the log keys of the notes above that must not be taken twice, with their outcomes;
//! * `STATE` and `CLOSER`, once the transaction is ending here: how, and who has begun to end it;
//! * `TS`, once the end is complete. A document without it is residue; with it, a collector may
//!   delete all parts of the transaction some time later.
//!
//! A note is one conditional update, which returns the document. The first one makes it. A value
//! that is large stands beside the document in a part of its own, so that the item's size limit is a
//! limit on the number of keys alone.

use crate::Bug;
use crate::log::Run;
use crate::names::{DOCUMENT, FINISHED, LOGS, PART, TX, VALUE, shadow_table};
use crate::tx::{Mode, Tx};
use std::rc::Rc;
use triptych_api::{Error, Result};
use triptych_model::{Action, Condition, Item, Map, Name, Operand, Path, Value};
use triptych_store::Key;

const KEYS: &str = "KEYS";
const CALLEES: &str = "CALLEES";
const SENDS: &str = "SENDS";
const STATE: &str = "STATE";
const CLOSER: &str = "CLOSER";
/// Members of a key: where it is, the log key of its lock, its new value, and the row of its lock.
const TABLE: &str = "T";
const KEY: &str = "K";
const CID: &str = "CID";
const NEW: &str = "NEW";
const ROW: &str = "ROW";
/// In place of a value: the part that has it.
const BESIDE: &str = "AT";

/// Values above this size stand beside the document.
const INLINE_BYTES: usize = 4 * 1024;

/// The document, as it was at some moment.
pub(crate) struct Shadow(Item);

/// A key of the document.
pub(crate) struct Place {
    pub(crate) table: Name,
    pub(crate) key: Name,
    /// The log key of the lock.
    pub(crate) cid: Name,
    /// The row that had the lock when it was taken, if the key was written.
    pub(crate) row: Option<Name>,
    /// The new value, as [`Run::fetch`] takes it.
    pub(crate) new: Option<Value>,
}

/// What is written into the document.
pub(crate) enum Note<'a> {
    /// A key, before its lock is asked for under a log key.
    Key(&'a Name, &'a Name, &'a str),
    /// The outcome of a write or update, and the new value with the row of the lock.
    Put(&'a Value, Option<(&'a str, Value, Option<Name>)>),
    /// A function that is about to be called.
    Callee(&'a Name),
    /// A call to hand over after the commit.
    Send(Value),
}

/// What stands for a key. A length before the table makes it unambiguous, whatever is in the names.
pub(crate) fn code(table: &str, key: &str) -> String {
    format!("{}:{table}{key}", table.len())
}

fn set(name: &str, value: Value) -> Action {
    Action::Set(Path::attr(name), Operand::Value(value))
}

fn name_in(value: &Value, member: &str) -> Option<Name> {
    match value.get(member) {
        Some(Value::Str(text)) => Some(text.clone()),
        _ => None,
    }
}

fn place(value: &Value) -> Option<Place> {
    Some(Place {
        table: name_in(value, TABLE)?,
        key: name_in(value, KEY)?,
        cid: name_in(value, CID)?,
        row: name_in(value, ROW),
        new: value.get(NEW).cloned(),
    })
}

impl Shadow {
    /// What is known of a key.
    pub(crate) fn place(&self, code: &str) -> Option<Place> {
        place(self.0.get(KEYS)?.get(code)?)
    }

    /// All keys, in the order of their codes.
    pub(crate) fn places(&self) -> Vec<Place> {
        let keys = self.0.get(KEYS).and_then(Value::as_map);
        keys.into_iter()
            .flat_map(|keys| keys.values().filter_map(place))
            .collect()
    }

    /// The outcome of a note that is taken once.
    pub(crate) fn logged(&self, cid: &str) -> Option<&Value> {
        self.0.get(LOGS)?.get(cid)
    }

    /// The functions that were called, each once.
    pub(crate) fn callees(&self) -> Vec<Name> {
        let mut callees = Vec::new();
        for callee in self.list(CALLEES) {
            match callee {
                Value::Str(callee) if !callees.contains(callee) => callees.push(callee.clone()),
                _ => {}
            }
        }
        callees
    }

    /// The calls that wait for the commit.
    pub(crate) fn sends(&self) -> &[Value] {
        self.list(SENDS)
    }

    fn list(&self, name: &str) -> &[Value] {
        self.0
            .get(name)
            .and_then(Value::as_list)
            .unwrap_or_default()
    }

    fn is_closed(&self) -> bool {
        self.0.contains_key(STATE)
    }

    fn has(&self, note: &Note<'_>, cid: &str) -> bool {
        match note {
            Note::Key(table, key, _) => self.place(&code(table, key)).is_some(),
            _ => self.logged(cid).is_some(),
        }
    }
}

impl Note<'_> {
    /// The clauses that make the document with this note as its first. Nothing is put before its
    /// key is there.
    fn first(&self, cid: &str) -> Option<Vec<Action>> {
        let (mut keys, mut callees, mut sends, mut logs) =
            (Map::new(), Vec::new(), Vec::new(), Map::new());
        match self {
            Note::Key(table, key, lock) => {
                keys.insert(Name::from(code(table, key)), entry(table, key, lock));
            }
            Note::Put(..) => return None,
            Note::Callee(function) => callees.push(Value::from(Name::clone(function))),
            Note::Send(call) => sends.push(call.clone()),
        }
        if !matches!(self, Note::Key(..)) {
            logs.insert(Name::from(cid), Value::Null);
        }
        Some(vec![
            set(KEYS, keys.into()),
            set(CALLEES, Value::list(callees)),
            set(SENDS, Value::list(sends)),
            set(LOGS, logs.into()),
        ])
    }

    /// The clauses that add this note to a document.
    fn further(&self, cid: &str, forget: bool) -> Vec<Action> {
        let append = |list: &str, value: Value| {
            let old = Box::new(Operand::Path(Path::attr(list)));
            let new = Box::new(Operand::Value(Value::list([value])));
            Action::Set(Path::attr(list), Operand::Append(old, new))
        };
        let log = |outcome| Action::Set(Path::attr(LOGS).field(cid), Operand::Value(outcome));
        match self {
            Note::Key(table, key, lock) => {
                let path = Path::attr(KEYS).field(code(table, key));
                let entry = Operand::PathOr(path.clone(), entry(table, key, lock));
                vec![Action::Set(path, entry)]
            }
            Note::Put(outcome, new) => {
                let mut clauses = vec![log(Value::clone(outcome))];
                if let Some((code, value, row)) = new {
                    let path = |member| Path::attr(KEYS).field(code).field(member);
                    clauses.push(Action::Set(path(NEW), Operand::Value(value.clone())));
                    if let Some(row) = row {
                        let row = Operand::Value(row.clone().into());
                        clauses.push(Action::Set(path(ROW), row));
                    }
                }
                clauses
            }
            Note::Callee(function) => {
                let function = Value::from(Name::clone(function));
                let add = match forget {
                    true => set(CALLEES, Value::list([function])),
                    false => append(CALLEES, function),
                };
                vec![add, log(Value::Null)]
            }
            Note::Send(call) => vec![append(SENDS, call.clone()), log(Value::Null)],
        }
    }
}

fn entry(table: &Name, key: &Name, lock: &str) -> Value {
    Value::map([
        (TABLE, table.clone().into()),
        (KEY, key.clone().into()),
        (CID, Value::str(lock)),
    ])
}

impl Run {
    fn shadow_at(&self, tx: &Name) -> (Name, Key) {
        let key = Key::range(tx.clone(), Value::str(DOCUMENT));
        (shadow_table(&self.function), key)
    }

    /// Takes a note once, under this log key, and returns the document.
    pub(crate) async fn note(&self, tx: &Tx, cid: &str, note: &Note<'_>) -> Result<Rc<Shadow>> {
        tx.memo.touched.set(true);
        let closed = tx.memo.closed.borrow().clone();
        if let Some(shadow) = closed {
            return known(shadow, note, cid);
        }
        let (table, key) = self.shadow_at(&tx.id);
        if !tx.memo.made.get()
            && let Some(clauses) = note.first(cid)
        {
            let at = (&table, key.clone());
            let absent = Condition::Absent(Path::attr(TX));
            let made = self
                .update_to("beldi.shadow.make", at, clauses, absent)
                .await?;
            tx.memo.made.set(true);
            if let Some(item) = made {
                return Ok(Rc::new(Shadow(item)));
            }
        }
        let forget = self.shared.config.bug == Some(Bug::ForgetEarlierCallees);
        let mut all = vec![
            Condition::Exists(Path::attr(TX)),
            Condition::Absent(Path::attr(STATE)),
        ];
        if !matches!(note, Note::Key(..)) {
            all.push(Condition::Absent(Path::attr(LOGS).field(cid)));
        }
        let at = (&table, key);
        let clauses = note.further(cid, forget);
        if let Some(item) = self
            .update_to("beldi.shadow.note", at, clauses, Condition::All(all))
            .await?
        {
            return Ok(Rc::new(Shadow(item)));
        }
        // Taken before, or the transaction is ending: then this is an execution that is repeated
        // after the fact, and finds whatever it does next done.
        let shadow = self.look_at_shadow(&tx.id).await?;
        let shadow = Rc::new(shadow.ok_or_else(|| over(tx))?);
        if shadow.is_closed() {
            *tx.memo.closed.borrow_mut() = Some(Rc::clone(&shadow));
        }
        known(shadow, note, cid)
    }

    /// The document, if there is one.
    pub(crate) async fn look_at_shadow(&self, tx: &Name) -> Result<Option<Shadow>> {
        let (table, key) = self.shadow_at(tx);
        let item = self.get("beldi.shadow.get", (&table, key), None).await?;
        Ok(item.map(Shadow))
    }

    /// Begins to end the transaction here: no note is taken any more. None if there is nothing to
    /// do, because somebody else ends it (a function can be reached by several paths) or it is over.
    pub(crate) async fn close(
        &self,
        tx: &Name,
        mode: Mode,
        closer: &str,
    ) -> Result<Option<Shadow>> {
        let (table, key) = self.shadow_at(tx);
        let clauses = vec![
            set(STATE, Value::str(mode.name())),
            set(CLOSER, Value::str(closer)),
        ];
        let open = Condition::Absent(Path::attr(STATE));
        let closed = self
            .update_to("beldi.shadow.close", (&table, key), clauses, open)
            .await?;
        if let Some(item) = closed {
            return Ok(Some(Shadow(item)));
        }
        let Some(Shadow(item)) = self.look_at_shadow(tx).await? else {
            return Ok(None);
        };
        if item.contains_key(FINISHED) || item.get(CLOSER) != Some(&Value::str(closer)) {
            return Ok(None);
        }
        if item.get(STATE) != Some(&Value::str(mode.name())) {
            return Err(Error::Bug(format!(
                "the transaction {tx} was to end as {:?}, not as {}",
                item.get(STATE),
                mode.name()
            )));
        }
        Ok(Some(Shadow(item)))
    }

    /// The transaction has ended here. The time lets a collector delete what is kept of it.
    pub(crate) async fn mark_finished(&self, tx: &Name) -> Result<()> {
        let (table, key) = self.shadow_at(tx);
        let now = Value::Int(self.shared.world.unix_ms());
        let closed = Condition::All(vec![
            Condition::Exists(Path::attr(STATE)),
            Condition::Absent(Path::attr(FINISHED)),
        ]);
        let at = (&table, key);
        self.update_if("beldi.shadow.done", at, vec![set(FINISHED, now)], closed)
            .await
            .map(drop)
    }

    /// A value as it is kept: in the document, or beside it under its log key.
    pub(crate) async fn keep(&self, tx: &Tx, cid: &str, value: &Value) -> Result<Value> {
        if value.size() <= INLINE_BYTES {
            return Ok(Value::map([(VALUE, value.clone())]));
        }
        let key = Key::range(tx.id.clone(), Value::str(cid));
        let at = (&shadow_table(&self.function), key);
        let absent = Condition::Absent(Path::attr(PART));
        self.update_if(
            "beldi.shadow.part",
            at,
            vec![set(VALUE, value.clone())],
            absent,
        )
        .await?;
        Ok(Value::map([(BESIDE, Value::str(cid))]))
    }

    /// What [`Run::keep`] has kept.
    pub(crate) async fn fetch(&self, tx: &Name, kept: &Value) -> Result<Value> {
        if let Some(value) = kept.get(VALUE) {
            return Ok(value.clone());
        }
        let part = name_in(kept, BESIDE).unwrap_or_default();
        let at = (
            &shadow_table(&self.function),
            Key::range(tx.clone(), Value::from(part)),
        );
        let item = self.get("beldi.shadow.fetch", at, None).await?;
        let value = item.and_then(|mut item| item.remove(VALUE));
        value.ok_or_else(|| Error::Interrupted("a part of a transaction is gone".to_owned()))
    }
}

fn over(tx: &Tx) -> Error {
    Error::Interrupted(format!("the transaction {} is over", tx.id))
}

fn known(shadow: Rc<Shadow>, note: &Note<'_>, cid: &str) -> Result<Rc<Shadow>> {
    match shadow.has(note, cid) {
        true => Ok(shadow),
        false => Err(Error::Interrupted(
            "an execution came too late for its transaction".to_owned(),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_tell_all_places_apart_whatever_is_in_the_names() {
        let names = ["", "a", "-", "a-b", "1:a", "ab", ":", "2:ab", "é", "a.b"];
        let mut codes = std::collections::BTreeSet::new();
        for table in names {
            for key in names {
                assert!(codes.insert(code(table, key)), "{table:?} {key:?}");
            }
        }
    }
}
