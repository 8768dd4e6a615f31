//! The shadow of a transaction at a function: what it has locked, what it would write, whom it
//! called, and what it would send (specification §§8.1, 8.4).
//!
//! It is one document per transaction and function, kept as a linked list of its own in the table
//! `<function>-local`, and every change of it is a logged effect like any other. All instances of the
//! function in the transaction share it. Fields whose names hold a key begin with the length of the
//! table's name, so no character of table or key is a separator.
//!
//! | field | content |
//! |---|---|
//! | `L<n>:<table><key>` | true: the key is or will be locked |
//! | `W<n>:<table><key>` | the value to write at the commit, and by whom it was written |
//! | `callees` | lists of the functions that instances of this one called in the transaction, in order |
//! | `sends` | calls to hand over after the commit: id, function, entry point, input |
//! | `finished` | true once the transaction has ended here; then the rows may be collected |
//!
//! A shadow is small, so nearly all have one row, and one row needs no search: a row that is not full
//! is the tail, so if the first row is not, no other one can have the log key. Only when it refuses
//! the change, all rows are looked at.

use crate::Bug;
use crate::log::Run;
use crate::names::{HEAD, KEY, LOG_SIZE, LOGS, NEXT, VALUE, local_table};
use crate::rows::{Place, row_key, text};
use crate::tx::TxContext;
use std::collections::{BTreeMap, BTreeSet};
use triptych_api::{Change, Error, Result, Step, apply, lower};
use triptych_model::{Action, Condition, Item, Map, Name, Operand, Path, Value, name};

const CALLEES: &str = "callees";
const SENDS: &str = "sends";
const FINISHED: &str = "finished";
/// The value of a write.
const WRITTEN: &str = "value";
/// The log key of the change that made it what it is.
const BY: &str = "by";

/// How often a change is tried before the execution gives up and is repeated later.
const ATTEMPTS: u32 = 400;

/// A call to hand over after the commit.
#[derive(Clone, Debug)]
pub(crate) struct Send {
    pub(crate) id: Name,
    pub(crate) function: Name,
    pub(crate) op: Name,
    pub(crate) input: Value,
}

/// A shadow as it is read.
#[derive(Debug, Default)]
pub(crate) struct Shadow {
    /// Locked keys, with the value to write if there is one.
    pub(crate) keys: BTreeMap<(Name, Name), Option<Value>>,
    /// Functions, each once, in the order of their first call.
    pub(crate) callees: Vec<Name>,
    pub(crate) sends: Vec<Send>,
    pub(crate) finished: bool,
}

fn field(kind: char, table: &str, key: &str) -> Name {
    Name::from(format!("{kind}{}:{table}{key}", table.len()))
}

/// The kind, table and key of a field's name; none for the other fields.
fn parse(field: &str) -> Option<(char, Name, Name)> {
    let kind = field.chars().next().filter(|kind| "LW".contains(*kind))?;
    let (length, rest) = field[1..].split_once(':')?;
    let length: usize = length.parse().ok()?;
    let (table, key) = (rest.get(..length)?, rest.get(length..)?);
    Some((kind, Name::from(table), Name::from(key)))
}

impl Shadow {
    pub(crate) fn parse(document: &Value) -> Self {
        let mut shadow = Shadow::default();
        for (field, value) in document.as_map().into_iter().flatten() {
            if let Some((kind, table, key)) = parse(field) {
                let slot = shadow.keys.entry((table, key)).or_default();
                if kind == 'W' {
                    *slot = value.get(WRITTEN).cloned();
                }
            }
        }
        let mut seen = BTreeSet::new();
        let list = |name| document.get(name).and_then(Value::as_list);
        let noted = list(CALLEES).into_iter().flatten();
        for callee in noted.filter_map(Value::as_list).flatten() {
            if let Some(callee) = callee.as_str().map(Name::from)
                && seen.insert(callee.clone())
            {
                shadow.callees.push(callee);
            }
        }
        for send in list(SENDS).unwrap_or_default() {
            if let Some([Value::Str(id), Value::Str(function), Value::Str(op), input]) =
                send.as_list()
            {
                shadow.sends.push(Send {
                    id: id.clone(),
                    function: function.clone(),
                    op: op.clone(),
                    input: input.clone(),
                });
            }
        }
        shadow.finished = document.get(FINISHED) == Some(&Value::Bool(true));
        shadow
    }
}

/// What a transaction has written at a key.
#[derive(Clone, Debug)]
pub(crate) struct Written {
    pub(crate) value: Value,
    /// The log key of the write.
    by: Name,
}

/// What became of a change of the shadow.
pub(crate) enum Changed {
    /// It was made.
    Now,
    /// It had been made, with this outcome.
    Before(Value),
    /// The shadow is not as expected.
    Stale,
}

/// The key is as it was last seen: written by this one, or not at all.
fn unchanged(table: &str, key: &str, seen: Option<&Written>) -> Condition {
    let field = Path::attr(field('W', table, key));
    match seen {
        Some(written) => Condition::equals(field.field(BY), written.by.clone()),
        None => Condition::Absent(field),
    }
}

impl Run {
    /// Makes changes and logs their outcome, once, if the shadow is as expected.
    async fn change_shadow(
        &self,
        step: &Step,
        tx: &TxContext,
        changes: &[Change],
        outcome: Value,
        expected: Option<Condition>,
    ) -> Result<Changed> {
        let cid = self.cid(step.as_str());
        let table = local_table(&self.function);
        let known = self.shadows.borrow().get(&tx.id).copied();
        let none = Item::new();
        let fits = |expected: &Condition| triptych_store::holds(expected, &none);
        if known.is_none() && expected.as_ref().is_none_or(fits) {
            let made = self.create_shadow(&cid, tx, changes, &outcome).await?;
            self.shadows.borrow_mut().insert(tx.id.clone(), true);
            if made {
                return Ok(Changed::Now);
            }
        }
        let change = async |row: &str| {
            let Some((mut update, _)) = lower(changes, VALUE) else {
                return Err(Error::Bug("a shadow has no bounded lists".to_owned()));
            };
            update.extend(Self::log_clauses(&cid, Operand::Value(outcome.clone())));
            let mut all = self.open(&cid);
            all.push(Condition::Exists(Path::attr(VALUE)));
            all.extend(expected.as_ref().map(|expected| expected.under(VALUE)));
            let place = (&table, row_key(&tx.id, row));
            self.update_if("beldi.shadow.row", place, update, Condition::All(all))
                .await
        };
        let mut missed = None;
        if known != Some(false) {
            if change(HEAD).await? {
                return Ok(Changed::Now);
            }
            missed = Some(Name::from(HEAD));
        }
        let list = (&table, &tx.id);
        let mut place = self.find(list, Some(&cid), &[LOG_SIZE]).await?;
        for _ in 0..ATTEMPTS {
            let row = match place {
                Some(Place::Done(outcome)) => return Ok(Changed::Before(outcome)),
                Some(Place::Open(row, _)) => row,
                None if expected.is_some() => return Ok(Changed::Stale),
                None => break,
            };
            // An open row without the log key has refused: it is the shadow that differs.
            if missed.as_ref() == Some(&row) && expected.is_some() {
                return Ok(Changed::Stale);
            }
            let one = &*row == HEAD;
            self.shadows.borrow_mut().insert(tx.id.clone(), one);
            if change(&row).await? {
                return Ok(Changed::Now);
            }
            let here = (&table, &tx.id, &*row);
            place = Some(self.find_from(here, Some(&cid), &[]).await?);
            missed = Some(row);
        }
        let what = format!("no room for step {step} in the shadow of {}", tx.id);
        Err(Error::Interrupted(what))
    }

    /// Begins the shadow with its first change.
    async fn create_shadow(
        &self,
        cid: &str,
        tx: &TxContext,
        changes: &[Change],
        outcome: &Value,
    ) -> Result<bool> {
        let mut document = Map::new();
        apply(&mut document, changes);
        let logs = Map::from([(Name::from(cid), outcome.clone())]);
        let set = |name, value| Action::Set(Path::attr(name), Operand::Value(value));
        let create = vec![
            set(LOGS, Value::from(logs)),
            set(LOG_SIZE, Value::Int(1)),
            set(VALUE, Value::from(document)),
        ];
        let table = local_table(&self.function);
        let place = (&table, row_key(&tx.id, HEAD));
        let absent = Condition::Absent(Path::attr(KEY));
        self.update_if("beldi.shadow.create", place, create, absent)
            .await
    }

    /// A change that expects nothing.
    async fn note(&self, step: &Step, tx: &TxContext, changes: &[Change]) -> Result<()> {
        let done = Value::Bool(true);
        self.change_shadow(step, tx, changes, done, None)
            .await
            .map(drop)
    }

    /// Notes keys before they are locked.
    pub(crate) async fn shadow_locks<'a>(
        &self,
        step: &Step,
        tx: &TxContext,
        table: &Name,
        keys: impl Iterator<Item = &'a Name>,
    ) -> Result<()> {
        if self.has(Bug::LockNotNoted) {
            return Ok(());
        }
        let held = |key: &Name| Change::Set(field('L', table, key), Value::Bool(true));
        let changes: Vec<Change> = keys.map(held).collect();
        self.note(step, tx, &changes).await
    }

    fn writes(&self, step: &Step, (table, key): (&Name, &Name), value: Value) -> (Change, Written) {
        let by = Name::from(self.cid(step.as_str()));
        let content = [(WRITTEN, value.clone()), (BY, by.clone().into())];
        let change = Change::Set(field('W', table, key), Value::map(content));
        (change, Written { value, by })
    }

    /// Writes a key, whatever the transaction has written there before. Returns what it has written
    /// now, unless it had been done.
    pub(crate) async fn shadow_write(
        &self,
        step: &Step,
        tx: &TxContext,
        place: (&Name, &Name),
        value: Value,
    ) -> Result<Option<Written>> {
        let (change, written) = self.writes(step, place, value);
        let done = Value::Bool(true);
        let changed = self.change_shadow(step, tx, &[change], done, None).await?;
        Ok(matches!(changed, Changed::Now).then_some(written))
    }

    /// Writes a key, or nothing, and logs the outcome, if the transaction has written there what
    /// was seen. Returns what it has written now.
    pub(crate) async fn shadow_update(
        &self,
        step: &Step,
        tx: &TxContext,
        (table, key): (&Name, &Name),
        seen: Option<&Written>,
        value: Option<Value>,
        outcome: Value,
    ) -> Result<(Changed, Option<Written>)> {
        let write = value.map(|value| self.writes(step, (table, key), value));
        let (changes, written) = match write {
            Some((change, written)) => (vec![change], Some(written)),
            None => (Vec::new(), seen.cloned()),
        };
        let blind = self.has(Bug::NoReadYourWrites);
        let expected = (!blind).then(|| unchanged(table, key, seen));
        let changed = self.change_shadow(step, tx, &changes, outcome, expected);
        Ok((changed.await?, written))
    }

    /// Notes callees before they are called, so that one that crashes is told how the transaction
    /// ended.
    pub(crate) async fn shadow_callees(
        &self,
        step: &Step,
        tx: &TxContext,
        callees: &[Name],
    ) -> Result<()> {
        let place = |callee: &Name| (tx.id.clone(), callee.clone());
        let unknown = |callee: &&Name| !self.called.borrow().contains(&place(callee));
        let new: Vec<&Name> = callees.iter().filter(unknown).collect();
        if new.is_empty() {
            return Ok(());
        }
        let names = Value::list(new.iter().map(|name| Value::from((*name).clone())));
        let change = if self.has(Bug::ForgetEarlierCallees) {
            Change::Set(name(CALLEES), Value::list([names]))
        } else {
            Change::append(CALLEES, names)
        };
        self.note(&step.sub("callee"), tx, &[change]).await?;
        self.called.borrow_mut().extend(new.into_iter().map(place));
        Ok(())
    }

    /// Keeps a call for after the commit. Its id is fixed here: if the transaction ends here twice,
    /// the call is still made once.
    pub(crate) async fn shadow_send(&self, step: &Step, tx: &TxContext, send: Send) -> Result<()> {
        let Send {
            id,
            function,
            op,
            input,
        } = send;
        let entry = Value::list([id.into(), function.into(), op.into(), input]);
        self.note(step, tx, &[Change::append(SENDS, entry)]).await
    }

    pub(crate) async fn shadow_finished(&self, step: &Step, tx: &TxContext) -> Result<()> {
        let change = Change::Set(name(FINISHED), Value::Bool(true));
        self.note(step, tx, &[change]).await
    }

    async fn shadow_document(&self, tx: &TxContext) -> Result<Option<Value>> {
        let table = local_table(&self.function);
        let seen = Some([VALUE, NEXT].map(Path::attr).to_vec());
        let head = (&table, row_key(&tx.id, HEAD));
        let Some(mut head) = self.get("beldi.shadow.get", head, seen).await? else {
            return Ok(None);
        };
        let one = text(&head, NEXT).is_none();
        self.shadows.borrow_mut().insert(tx.id.clone(), one);
        if !one {
            return self.current(&table, &tx.id).await;
        }
        Ok(head.remove(VALUE))
    }

    /// The whole shadow as it is now, if the transaction has one here. Not logged.
    pub(crate) async fn shadow(&self, tx: &TxContext) -> Result<Option<Shadow>> {
        let document = self.shadow_document(tx).await?;
        Ok(document.as_ref().map(Shadow::parse))
    }

    /// What the transaction has written at some keys. Not logged.
    pub(crate) async fn shadow_values(
        &self,
        tx: &TxContext,
        table: &Name,
        keys: &[&Name],
    ) -> Result<Vec<Option<Written>>> {
        let document = self.shadow_document(tx).await?.unwrap_or_default();
        let written = |key: &&Name| {
            let written = document.get(&field('W', table, key))?;
            Some(Written {
                value: written.get(WRITTEN)?.clone(),
                by: Name::from(written.get(BY)?.as_str()?),
            })
        };
        Ok(keys.iter().map(written).collect())
    }

    /// The keys of a table that the transaction has written. Not logged.
    pub(crate) async fn shadow_keys(&self, tx: &TxContext, table: &Name) -> Result<Vec<Name>> {
        let shadow = self.shadow(tx).await?.unwrap_or_default();
        let written = shadow.keys.into_iter().filter(|(_, value)| value.is_some());
        Ok(written
            .filter(|((of, _), _)| of == table)
            .map(|((_, key), _)| key)
            .collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_character_of_a_table_or_key_is_a_separator() {
        for (table, key) in [("a-b", "c:d-e"), ("3:x", ""), ("t", "2:L1:x"), ("ü", "ß")] {
            let parsed = parse(&field('W', table, key));
            assert_eq!(parsed, Some(('W', Name::from(table), Name::from(key))));
        }
        assert_eq!(parse("callees"), None);
        assert_eq!(parse("L9:t"), None);
    }
}
