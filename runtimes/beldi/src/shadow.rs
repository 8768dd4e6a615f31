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
//! | `W<n>:<table><key>` | a list of one: the value to write at the commit |
//! | `callees` | the functions that instances of this one called in the transaction, in order |
//! | `sends` | calls to hand over after the commit: id, function, entry point, input |
//! | `finished` | true once the transaction has ended here; then the rows may be collected |

use crate::Bug;
use crate::daal::Effect;
use crate::log::Run;
use crate::names::local_table;
use crate::tx::TxContext;
use std::collections::{BTreeMap, BTreeSet};
use triptych_api::{Change, Result, Step};
use triptych_model::{Condition, Name, Value, name};

const CALLEES: &str = "callees";
const SENDS: &str = "sends";
const FINISHED: &str = "finished";

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
                    *slot = value.as_list().and_then(<[_]>::first).cloned();
                }
            }
        }
        let mut seen = BTreeSet::new();
        let list = |name| document.get(name).and_then(Value::as_list);
        for callee in list(CALLEES).unwrap_or_default() {
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

impl Run {
    async fn shadow_change(&self, step: &Step, tx: &TxContext, change: Change) -> Result<()> {
        let effect = Effect::Update(Condition::All(Vec::new()), vec![change]);
        let table = local_table(&self.function);
        self.effect(step.as_str(), &table, &tx.id, effect)
            .await
            .map(drop)
    }

    /// Notes a key before it is locked.
    pub(crate) async fn shadow_lock(
        &self,
        step: &Step,
        tx: &TxContext,
        table: &Name,
        key: &Name,
    ) -> Result<()> {
        if self.has(Bug::LockNotNoted) {
            return Ok(());
        }
        let change = Change::Set(field('L', table, key), Value::Bool(true));
        self.shadow_change(step, tx, change).await
    }

    pub(crate) async fn shadow_write(
        &self,
        step: &Step,
        tx: &TxContext,
        (table, key): (&Name, &Name),
        value: Value,
    ) -> Result<()> {
        if self.has(Bug::WriteThrough) {
            let effect = Effect::Release(tx.id.clone(), Some(value.clone()));
            let own = step.sub("through");
            self.effect(own.as_str(), table, key, effect).await?;
        }
        let change = Change::Set(field('W', table, key), Value::list([value]));
        self.shadow_change(step, tx, change).await
    }

    /// Notes a callee before it is called, so that one that crashes is told how the transaction
    /// ended.
    pub(crate) async fn shadow_callee(
        &self,
        step: &Step,
        tx: &TxContext,
        callee: &Name,
    ) -> Result<()> {
        let place = (tx.id.clone(), callee.clone());
        if self.called.borrow().contains(&place) {
            return Ok(());
        }
        let change = if self.has(Bug::ForgetEarlierCallees) {
            Change::Set(name(CALLEES), Value::list([callee.clone().into()]))
        } else {
            Change::append(CALLEES, callee.clone())
        };
        self.shadow_change(&step.sub("callee"), tx, change).await?;
        self.called.borrow_mut().insert(place);
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
        self.shadow_change(step, tx, Change::append(SENDS, entry))
            .await
    }

    pub(crate) async fn shadow_finished(&self, step: &Step, tx: &TxContext) -> Result<()> {
        let change = Change::Set(name(FINISHED), Value::Bool(true));
        self.shadow_change(step, tx, change).await
    }

    pub(crate) async fn shadow_document(&self, tx: &TxContext) -> Result<Option<Value>> {
        self.current(&local_table(&self.function), &tx.id).await
    }

    /// The whole shadow as it is now. Not logged.
    pub(crate) async fn shadow(&self, tx: &TxContext) -> Result<Shadow> {
        let document = self.shadow_document(tx).await?;
        Ok(document.as_ref().map(Shadow::parse).unwrap_or_default())
    }

    /// The transaction's own write of a key. Not logged.
    pub(crate) async fn shadow_value(
        &self,
        tx: &TxContext,
        table: &Name,
        key: &Name,
    ) -> Result<Option<Value>> {
        let document = self.shadow_document(tx).await?;
        let own = document
            .as_ref()
            .and_then(|document| document.get(&field('W', table, key))?.as_list()?.first());
        Ok(own.cloned())
    }

    /// The keys of a table that the transaction has written. Not logged.
    pub(crate) async fn shadow_keys(&self, tx: &TxContext, table: &Name) -> Result<Vec<Name>> {
        let shadow = self.shadow(tx).await?;
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
