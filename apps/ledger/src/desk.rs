//! `Desk`: where clients come. Every request but a look is one transaction over both branches.

use crate::Config;
use crate::branch::{Branch, Done, Task, at};
use serde::{Deserialize, Serialize};
use triptych_api::{Call, Ctx, Error, Function, Op, Result, Value};

/// A step of a [`Mix`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct At {
    /// Where.
    pub branch: Branch,
    /// What.
    pub task: Task,
}

/// Reads and appends in one transaction, and then has it refused if it is asked to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Mix {
    /// The client's name for the request.
    pub req_id: String,
    /// In this order.
    pub steps: Vec<At>,
    /// Whether to refuse after all that, so that everything must be undone.
    pub reject: bool,
}

impl Op for Mix {
    const FUNCTION: &'static str = "Desk";
    const OP: &'static str = "Mix";
    type Output = Vec<Vec<String>>;
}

/// Moves money from an account to another one, in one transaction.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Transfer {
    /// From where, branch and account.
    pub from: (Branch, String),
    /// To where.
    pub to: (Branch, String),
    /// How much.
    pub amount: i64,
}

impl Op for Transfer {
    const FUNCTION: &'static str = "Desk";
    const OP: &'static str = "Transfer";
    type Output = ();
}

/// Adds up all accounts, in one transaction.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Total {}

impl Op for Total {
    const FUNCTION: &'static str = "Desk";
    const OP: &'static str = "Total";
    type Output = i64;
}

/// Reads a list, without a transaction.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Look {
    /// Where.
    pub branch: Branch,
    /// The list.
    pub key: String,
}

impl Op for Look {
    const FUNCTION: &'static str = "Desk";
    const OP: &'static str = "Look";
    type Output = Done;
}

/// Of every acknowledged [`Mix`] there is a receipt.
pub(crate) const RECEIPTS: &str = "Receipt";

#[derive(Serialize)]
struct Receipt {
    steps: u64,
}

pub(crate) fn function(config: Config) -> Function {
    Function::new(Mix::FUNCTION, &[RECEIPTS], move |ctx, call| {
        Box::pin(handle(config, ctx, call))
    })
}

async fn handle(config: Config, ctx: &mut Ctx, call: Call) -> Result<Value> {
    match &*call.op {
        Mix::OP => Call::output::<Mix>(&mix(ctx, call.input()?).await?),
        Transfer::OP => Call::output::<Transfer>(&transfer(ctx, call.input()?).await?),
        Total::OP => Call::output::<Total>(&total(config, ctx).await?),
        Look::OP => {
            let Look { branch, key } = call.input()?;
            Call::output::<Look>(&at(ctx, branch, Task::Read { key }).await?)
        }
        _ => Err(call.unknown("Desk")),
    }
}

async fn mix(ctx: &mut Ctx, input: Mix) -> Result<Vec<Vec<String>>> {
    let Mix {
        req_id,
        steps,
        reject,
    } = input;
    let read = ctx
        .transaction(async |tx| {
            let mut read = Vec::new();
            for step in &steps {
                let done = at(tx, step.branch, step.task.clone()).await?;
                if matches!(step.task, Task::Read { .. }) {
                    read.push(done.entries);
                }
            }
            match reject {
                true => Err(Error::rejected("refused on second thoughts")),
                false => Ok(read),
            }
        })
        .await?;
    let steps = steps.len() as u64;
    ctx.write(RECEIPTS, &req_id, &Receipt { steps }).await?;
    Ok(read)
}

async fn transfer(ctx: &mut Ctx, input: Transfer) -> Result<()> {
    let Transfer { from, to, amount } = input;
    ctx.transaction(async |tx| {
        for ((branch, key), amount) in [(&from, -amount), (&to, amount)] {
            let key = key.clone();
            at(tx, *branch, Task::Move { key, amount }).await?;
        }
        Ok(())
    })
    .await
}

async fn total(config: Config, ctx: &mut Ctx) -> Result<i64> {
    let accounts = config.accounts;
    ctx.transaction(async |tx| {
        let mut sum = 0_i64;
        for branch in Branch::BOTH {
            let part = at(tx, branch, Task::Sum { accounts }).await?;
            sum = sum.saturating_add(part.number);
        }
        Ok(sum)
    })
    .await
}
