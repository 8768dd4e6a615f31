//! A branch of the bank: lists of entries, and accounts with balances. Both branches have the same
//! code and tables of their own.

use serde::{Deserialize, Serialize};
use triptych_api::{Call, Change, Ctx, Error, Function, Op, Result, Value};

/// Which branch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Branch {
    /// One.
    North,
    /// The other.
    South,
}

impl Branch {
    /// Both.
    pub const BOTH: [Branch; 2] = [Branch::North, Branch::South];

    /// The table of its lists.
    pub fn lists(self) -> &'static str {
        LISTS[self as usize]
    }

    /// The table of its accounts.
    pub fn accounts(self) -> &'static str {
        match self {
            Branch::North => "NorthAccount",
            Branch::South => "SouthAccount",
        }
    }
}

/// The tables of lists.
pub(crate) const LISTS: [&str; 2] = ["NorthList", "SouthList"];

/// Something to do at a branch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Task {
    /// Answers the entries of a list.
    Read {
        /// The list.
        key: String,
    },
    /// Appends without looking.
    Append {
        /// The list.
        key: String,
        /// The entry; no other append has it.
        entry: String,
    },
    /// Reads the list and writes it back with one entry more: what a careless program does.
    Rewrite {
        /// The list.
        key: String,
        /// The entry; no other append has it.
        entry: String,
    },
    /// Opens an account. The same one may come again: loading can be retried.
    Open {
        /// The account.
        key: String,
        /// What is in it.
        balance: i64,
    },
    /// Adds to an account, or takes from it; refused if there is not enough.
    Move {
        /// The account.
        key: String,
        /// How much comes in; negative for out.
        amount: i64,
    },
    /// Answers what the accounts from 0 hold together.
    Sum {
        /// How many there are.
        accounts: i64,
    },
}

/// What came of it: entries of a list, or a number.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Done {
    /// The entries that were there.
    pub entries: Vec<String>,
    /// The balance or sum.
    pub number: i64,
}

/// A task for the northern branch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AtNorth {
    /// The task.
    pub task: Task,
}

/// A task for the southern branch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AtSouth {
    /// The task.
    pub task: Task,
}

impl Op for AtNorth {
    const FUNCTION: &'static str = "North";
    const OP: &'static str = "Do";
    type Output = Done;
}

impl Op for AtSouth {
    const FUNCTION: &'static str = "South";
    const OP: &'static str = "Do";
    type Output = Done;
}

/// Has a branch do something.
pub(crate) async fn at(ctx: &mut Ctx, branch: Branch, task: Task) -> Result<Done> {
    match branch {
        Branch::North => ctx.call(AtNorth { task }).await,
        Branch::South => ctx.call(AtSouth { task }).await,
    }
}

pub(crate) fn functions() -> [Function; 2] {
    Branch::BOTH.map(|branch| {
        let name = match branch {
            Branch::North => AtNorth::FUNCTION,
            Branch::South => AtSouth::FUNCTION,
        };
        let tables = [branch.lists(), branch.accounts()];
        Function::new(name, &tables, move |ctx, call| {
            Box::pin(handle(branch, ctx, call))
        })
    })
}

async fn handle(branch: Branch, ctx: &mut Ctx, call: Call) -> Result<Value> {
    match &*call.op {
        AtNorth::OP => {
            let AtNorth { task } = call.input()?;
            let done = perform(branch, ctx, task).await?;
            Call::output::<AtNorth>(&done)
        }
        _ => Err(call.unknown("a branch")),
    }
}

#[derive(Default, Serialize, Deserialize)]
struct List {
    #[serde(default)]
    entries: Vec<String>,
}

#[derive(Serialize, Deserialize)]
struct Account {
    balance: i64,
}

async fn perform(branch: Branch, ctx: &mut Ctx, task: Task) -> Result<Done> {
    let (lists, accounts) = (branch.lists(), branch.accounts());
    let mut done = Done::default();
    match task {
        Task::Read { key } => {
            let list: Option<List> = ctx.read(lists, &key).await?;
            done.entries = list.unwrap_or_default().entries;
        }
        Task::Append { key, entry } => {
            let change = Change::append("entries", entry);
            ctx.update(lists, &key, None, vec![change]).await?;
        }
        Task::Rewrite { key, entry } => {
            let list: Option<List> = ctx.read(lists, &key).await?;
            let mut list = list.unwrap_or_default();
            list.entries.push(entry);
            ctx.write(lists, &key, &list).await?;
        }
        Task::Open { key, balance } => {
            ctx.write(accounts, &key, &Account { balance }).await?;
        }
        Task::Move { key, amount } => {
            let account: Option<Account> = ctx.read(accounts, &key).await?;
            let Some(Account { balance }) = account else {
                return Err(Error::rejected(format!("no account {key}")));
            };
            let balance = balance.saturating_add(amount);
            if balance < 0 {
                return Err(Error::rejected(format!("not enough in account {key}")));
            }
            ctx.write(accounts, &key, &Account { balance }).await?;
            done.number = balance;
        }
        Task::Sum { accounts: count } => {
            let keys: Vec<String> = (0..count).map(|account| account.to_string()).collect();
            let rows: Vec<Option<Account>> = ctx.read_many(accounts, keys).await?;
            let balances = rows.iter().flatten().map(|account| account.balance);
            done.number = balances.fold(0, i64::saturating_add);
        }
    }
    Ok(done)
}
