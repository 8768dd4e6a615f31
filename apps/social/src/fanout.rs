//! `FanOut`: brings a new post to the home timelines of everybody who should see it.
//!
//! That is whoever follows the author, whoever is mentioned, and the author of the post that it
//! answers; each once. It asks [`crate::graph`] for the followers at that time, splits the readers
//! into chunks of `chunk`, and has `HomeTimeline` insert a chunk per instance: handed over in
//! `async`, awaited otherwise. It keeps nothing itself.

use crate::graph::GetFollowers;
use crate::join::join_all;
use crate::timelines::{Entry, InsertChunk};
use crate::{Config, Defect, Formulation, op};
use std::collections::BTreeSet;
use triptych_api::{Call, Ctx, Function, Op, Result, Value};

op!(
    /// Brings a post to all who should see it.
    FanOut {
        /// What to add to their home timelines.
        #[serde(flatten)]
        entry: Entry,
        /// Whose followers should see it.
        author: String,
        /// Who else should see it.
        others: Vec<String>,
    }
    "FanOut"."FanOut" -> ()
);

pub(crate) fn function(config: Config) -> Function {
    Function::new("FanOut", &[], move |ctx, call| {
        Box::pin(handle(config, ctx, call))
    })
}

async fn handle(config: Config, ctx: &mut Ctx, call: Call) -> Result<Value> {
    let FanOut {
        entry,
        author,
        others,
    } = match &*call.op {
        FanOut::OP => call.input()?,
        _ => return Err(call.unknown("FanOut")),
    };
    let user_id = author.clone();
    let followers = ctx.call(GetFollowers { user_id }).await?;
    let mut readers = readers(followers, others);
    if config.has(Defect::SkipFollower) {
        readers.pop();
    }
    if config.has(Defect::TellStranger) {
        readers = self::readers(readers, vec![author]);
    }
    let chunks = readers.chunks(config.chunk).map(|readers| InsertChunk {
        entry: entry.clone(),
        readers: readers.to_vec(),
    });
    let branches = ctx.fork_many(chunks.len()).into_iter().zip(chunks);
    match config.formulation {
        Formulation::Async => {
            let sends = branches.map(|(mut branch, chunk)| async move { branch.send(chunk).await });
            join_all(sends).await?;
        }
        Formulation::Sync | Formulation::Txn | Formulation::Causal => {
            let calls = branches.map(|(mut branch, chunk)| async move { branch.call(chunk).await });
            join_all(calls).await?;
        }
    }
    Call::output::<FanOut>(&())
}

/// All of them, each once.
pub(crate) fn readers(followers: Vec<String>, others: Vec<String>) -> Vec<String> {
    let all: BTreeSet<String> = followers.into_iter().chain(others).collect();
    all.into_iter().collect()
}
