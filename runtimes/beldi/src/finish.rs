//! The end of a transaction: a second wave of invocations along the calls that it made, to commit or
//! to abort (specification §§8.1, 8.4).
//!
//! It begins at the instance that began the transaction, and only when every call of the body has
//! returned. Nothing decides between the two ends but the body's outcome, and a repeated execution
//! has the same one; it is also written into each shadow, where a different one would be refused.
//! Every function closes its shadow, applies and releases its keys, tells the functions that it
//! called in the transaction, and hands over what it was to send. Telling is an ordinary logged
//! call, so that the wave goes on where it was after any crash. A function that several others
//! called ends it once: whoever closes the shadow does it, and everybody else finds it closed.

use crate::Bug;
use crate::log::Run;
use crate::shadow::{Place, Shadow};
use crate::tx::{Context, Mode};
use futures_util::future::join_all;
use triptych_api::{Error, Result, Step};
use triptych_model::{Name, Value};

impl Run {
    /// What the wrapper does instead of running the app's code, in an instance of the second wave.
    pub(crate) async fn take_part_in_end(&self, context: &Context) -> Result<()> {
        self.finish_transaction(context, &Step::new("end")).await
    }

    /// Ends the transaction at this function and at all that it called.
    pub(crate) async fn finish_transaction(&self, context: &Context, step: &Step) -> Result<()> {
        let closer = self.cid(step.as_str());
        let closed = self.close(&context.id, context.mode, &closer).await?;
        let Some(shadow) = closed else {
            return Ok(());
        };
        self.settle_keys(context, &shadow).await?;
        for (nth, callee) in shadow.callees().into_iter().enumerate() {
            let mut context = context.clone();
            if nth == 0 && self.shared.config.bug == Some(Bug::CommitSkipsFunction) {
                context.mode = Mode::Abort;
            }
            let op = Name::from(context.mode.name());
            let step = step.sub(&nth.to_string());
            self.call_as(step, callee, (op, Value::Null), Some(context))
                .await?;
        }
        if context.mode == Mode::Commit {
            for (nth, call) in shadow.sends().iter().enumerate() {
                let [Value::Str(function), Value::Str(op), kept] =
                    call.as_list().unwrap_or_default()
                else {
                    return Err(Error::Bug(format!("no call to hand over: {call:?}")));
                };
                let input = self.fetch(&context.id, kept).await?;
                let step = step.sub(&format!("send{nth}"));
                self.async_call(step, function.clone(), op.clone(), input)
                    .await?;
            }
        }
        self.mark_finished(&context.id).await
    }

    /// Applies and releases. The keys do not depend on each other, so they are settled side by side.
    async fn settle_keys(&self, context: &Context, shadow: &Shadow) -> Result<()> {
        let bug = self.shared.config.bug;
        if context.mode == Mode::Abort && bug == Some(Bug::AbortKeepsLocks) {
            return Ok(());
        }
        let places = shadow.places();
        let early = bug == Some(Bug::ReleaseBeforeApply);
        let releases = places
            .iter()
            .map(|place| self.settle_key(context, place, early));
        join_all(releases)
            .await
            .into_iter()
            .collect::<Result<()>>()?;
        if early && context.mode == Mode::Commit {
            for place in &places {
                if let Some(kept) = &place.new {
                    let value = self.fetch(&context.id, kept).await?;
                    self.apply_at_once((&place.table, &place.key), &value)
                        .await?;
                }
            }
        }
        Ok(())
    }

    async fn settle_key(&self, context: &Context, place: &Place, early: bool) -> Result<()> {
        let value = match &place.new {
            Some(kept) if context.mode == Mode::Commit && !early => {
                Some(self.fetch(&context.id, kept).await?)
            }
            _ => None,
        };
        let at = (&place.table, &place.key);
        let hint = place.row.clone();
        self.release(&context.id, &place.cid, at, hint, value.as_ref())
            .await
    }
}
