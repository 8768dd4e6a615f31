//! How a transaction ends: a wave along the calls that it made (specification §8.4).
//!
//! Whoever began the transaction is its coordinator. Once its body has ended, no participant is at
//! work any more, and all hold their locks: that is the prepared state. The coordinator applies (or
//! drops) its own shadow, key by key, and at the same time tells every function it called, which does
//! the same and passes it on. Nothing changes the shadow any more, and a key is released once, so a
//! crash anywhere is repaired by executing again; a second message finds nothing to do.
//!
//! **A limit.** Calls that were kept for the commit are handed over by the instance that ends the
//! transaction at their function, and its invoke log says which ones are. If a function is told on
//! two ways, there are two such instances. Both hand over the same ids, so the callee records one
//! intent, as long as it keeps that: were one of the two to stop half-way, and the other one to come
//! to a callee's turn when that is done for longer than `T`, the callee would be executed a second
//! time. So a wave, crashes included, must be over within `T` of its first call handed over, which it
//! is where the intent collector restarts what it finds several times within `T`. (To log it under
//! a name of the transaction would not do without more: entries of the log table are collected with
//! their instance, and a note in the shadow is not one with the registration.)

use crate::Bug;
use crate::daal::Effect;
use crate::envelope;
use crate::log::Run;
use crate::shadow::Shadow;
use crate::tx::TxContext;
use futures_util::future::{join, join_all};
use triptych_api::{Error, Result, Step, TxEnd, decode_reply};
use triptych_model::{Name, Value};

/// The entry point that every function has for this.
pub(crate) const FINISH: &str = "beldi.finish";

/// What a participant is told.
#[derive(Clone, Debug)]
pub(crate) struct Finish {
    pub(crate) tx: TxContext,
    pub(crate) end: TxEnd,
    /// Functions that know already: those on the way from the coordinator.
    visited: Vec<Name>,
}

impl Finish {
    pub(crate) fn to_value(&self) -> Value {
        let visited = self.visited.iter().map(|function| function.clone().into());
        Value::map([
            ("tx", self.tx.to_word()),
            ("commit", Value::Bool(self.end == TxEnd::Commit)),
            ("visited", Value::list(visited)),
        ])
    }

    /// # Errors
    /// [`Error::Bug`] if the message says something else.
    pub(crate) fn from_value(value: &Value) -> Result<Self> {
        let parsed = || {
            let names = value.get("visited")?.as_list()?.iter();
            let end = match value.get("commit")?.as_bool()? {
                true => TxEnd::Commit,
                false => TxEnd::Abort,
            };
            Some(Finish {
                tx: TxContext::from_word(value.get("tx")?)?,
                end,
                visited: names
                    .map(|name| name.as_str().map(Name::from))
                    .collect::<Option<_>>()?,
            })
        };
        parsed().ok_or_else(|| Error::Bug(format!("not the end of a transaction: {value:?}")))
    }

    pub(crate) fn new(tx: TxContext, end: TxEnd) -> Self {
        Finish {
            tx,
            end,
            visited: Vec::new(),
        }
    }
}

impl Run {
    /// Ends the transaction here and at everybody that was called from here.
    pub(crate) async fn finish_tx(&self, step: &Step, finish: &Finish) -> Result<()> {
        let mut finish = finish.clone();
        if self.has(Bug::IgnoreAbort) {
            finish.end = TxEnd::Commit;
        }
        let tx = &finish.tx;
        let Some(shadow) = self.shadow(tx).await? else {
            // The transaction has done nothing here.
            return Ok(());
        };
        if shadow.finished {
            return Ok(());
        }
        let commit = finish.end == TxEnd::Commit;
        let releases = async {
            if commit || !self.has(Bug::AbortKeepsLocks) {
                self.release(step, &finish, &shadow).await?;
            }
            Ok(())
        };
        let (released, told) = join(releases, self.pass_on(step, &finish, &shadow)).await;
        released.and(told)?;
        if commit {
            for (at, send) in shadow.sends.into_iter().enumerate() {
                let own = step.sub(&format!("send{at}"));
                self.hand_over(own, send).await?;
            }
        }
        self.shadow_finished(&step.sub("done"), tx).await
    }

    async fn release(&self, step: &Step, finish: &Finish, shadow: &Shadow) -> Result<()> {
        let commit = finish.end == TxEnd::Commit;
        if self.has(Bug::ReleaseBeforeApply) {
            // All locks first, and the values behind them.
            for (table, key) in shadow.keys.keys() {
                self.release_lock(&finish.tx.id, (table, key), None).await?;
            }
            for (at, ((table, key), value)) in shadow.keys.iter().enumerate() {
                if let (true, Some(value)) = (commit, value) {
                    let own = step.sub(&format!("key{at}"));
                    self.effect(own.as_str(), table, key, Effect::Write(value.clone()))
                        .await?;
                }
            }
            return Ok(());
        }
        let releases = shadow.keys.iter().map(|((table, key), value)| {
            let value = value.as_ref().filter(|_| commit);
            self.release_lock(&finish.tx.id, (table, key), value)
        });
        join_all(releases).await.into_iter().collect()
    }

    async fn pass_on(&self, step: &Step, finish: &Finish, shadow: &Shadow) -> Result<()> {
        let mut visited = finish.visited.clone();
        visited.push(self.function.clone());
        let mut callees: Vec<&Name> = shadow.callees.iter().collect();
        callees.retain(|callee| !visited.contains(callee));
        if self.has(Bug::CommitSkipsFunction) && finish.end == TxEnd::Commit && callees.len() > 1 {
            callees.pop();
        }
        let message = Finish {
            visited,
            ..finish.clone()
        };
        let calls = callees.into_iter().enumerate().map(|(at, callee)| {
            // The id derives from the step, so whoever tells again tells the same instance; and once
            // that is collected, there is nothing left that it could find to do. So neither its id
            // nor its result need be in the invoke log.
            let id = self.cid(step.sub(&format!("tell{at}")).as_str());
            let body = envelope::call(&id, FINISH, message.to_value(), None, None);
            self.invoke("beldi.tell", callee, body)
        });
        for told in join_all(calls).await {
            // No reply at all is that of a call that was done long ago, and is collected perhaps.
            match told? {
                Value::Null => {}
                reply => drop(decode_reply(&reply)?),
            }
        }
        Ok(())
    }
}
