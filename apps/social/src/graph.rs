//! `SocialGraph`: who follows whom.
//!
//! Two tables, `Followers` and `Followees`, with a document per user each. A document has the edges
//! of the data set in `loaded`, which never changes, and one field `u<user>` per edge that changed
//! since: the time of the follow in milliseconds, or null if the edge is gone. So a change of one
//! side is **one** conditional update that needs no read, and what was loaded can be told from what
//! happened, also after an edge came and went.
//!
//! A follow changes both sides in one transaction. With `compat = dsb` it is two independent updates
//! (D14); with `causal` two one after another, of which the second follows from the first.

use crate::join::join_all;
use crate::{Compat, Config, Defect, Formulation, op};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use triptych_api::{
    Call, Change, Condition, Ctx, Error, Function, Op, Path, ReadSet, Result, Value,
};

op!(
    /// Loads a user with all edges.
    InsertUser {
        /// The user.
        user_id: String,
        /// Who follows the user.
        followers: Vec<String>,
        /// Whom the user follows.
        followees: Vec<String>,
    }
    "SocialGraph"."InsertUser" -> ()
);
op!(
    /// Who follows a user, in the order of the ids.
    GetFollowers {
        /// The user.
        user_id: String,
    }
    "SocialGraph"."GetFollowers" -> Vec<String>
);
op!(
    /// Whom a user follows, in the order of the ids.
    GetFollowees {
        /// The user.
        user_id: String,
    }
    "SocialGraph"."GetFollowees" -> Vec<String>
);
op!(
    /// A user follows another one.
    Follow {
        /// The one who follows.
        user_id: String,
        /// The one who is followed.
        followee: String,
    }
    "SocialGraph"."Follow" -> Changed
);
op!(
    /// A user follows another one no longer.
    Unfollow {
        /// The one who followed.
        user_id: String,
        /// The one who was followed.
        followee: String,
    }
    "SocialGraph"."Unfollow" -> Changed
);

/// What became of a follow or unfollow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changed {
    /// False if it was so already.
    pub changed: bool,
}

/// The table of who follows a user.
pub(crate) const FOLLOWERS: &str = "Followers";
/// The table of whom a user follows.
pub(crate) const FOLLOWEES: &str = "Followees";
/// The field of the edges of the data set.
pub(crate) const LOADED: &str = "loaded";

/// The users on the other side of a document's edges, and whether each edge is there now.
pub(crate) fn edges(row: &Value) -> BTreeMap<&str, bool> {
    let Some(row) = row.as_map() else {
        return BTreeMap::new();
    };
    let loaded = row.get(LOADED).and_then(Value::as_map);
    let loaded = loaded
        .into_iter()
        .flatten()
        .map(|(user, _)| (&**user, true));
    let changed = row
        .iter()
        .filter_map(|(field, time)| Some((field.strip_prefix('u')?, *time != Value::Null)));
    // Later ones replace earlier ones.
    loaded.chain(changed).collect()
}

/// What a request wants to be true of an edge.
#[derive(Clone, Copy)]
enum Wish {
    /// There, since this time.
    Since(i64),
    /// Gone.
    Gone,
}

impl Wish {
    /// The change of the side that has the edge to `user`, and on which condition.
    fn update(self, user: &str) -> (Condition, Change) {
        let field = format!("u{user}");
        let path = || Path::attr(&field);
        let loaded = Path::attr(LOADED).field(user);
        let known = Condition::Exists(Path::attr(LOADED));
        let gone = Condition::equals(path(), Value::Null);
        let unchanged = Condition::Absent(path());
        match self {
            Wish::Since(time) => {
                let never = unchanged.and(Condition::Absent(loaded));
                let absent = Condition::Any(vec![gone, never]);
                (known.and(absent), Change::set(&field, time))
            }
            Wish::Gone => {
                let there = Condition::Not(Box::new(gone));
                let ever =
                    Condition::Any(vec![Condition::Exists(path()), Condition::Exists(loaded)]);
                (known.and(there).and(ever), Change::set(&field, Value::Null))
            }
        }
    }
}

pub(crate) fn function(config: Config) -> Function {
    Function::new("SocialGraph", &[FOLLOWERS, FOLLOWEES], move |ctx, call| {
        Box::pin(handle(config, ctx, call))
    })
    .reading(|call| match &*call.op {
        GetFollowers::OP => ReadSet::named(call, FOLLOWERS, "userId"),
        GetFollowees::OP => ReadSet::named(call, FOLLOWEES, "userId"),
        _ => None,
    })
}

async fn handle(config: Config, ctx: &mut Ctx, call: Call) -> Result<Value> {
    match &*call.op {
        InsertUser::OP => {
            let input = call.input()?;
            insert(ctx, input).await?;
            Call::output::<InsertUser>(&())
        }
        GetFollowers::OP => {
            let GetFollowers { user_id } = call.input()?;
            let row: Option<Value> = ctx.read(FOLLOWERS, &user_id).await?;
            let mut row = row.unwrap_or_default();
            if config.has(Defect::StaleFollowers) {
                let loaded = row.get(LOADED).cloned().unwrap_or_default();
                row = Value::map([(LOADED, loaded)]);
            }
            Call::output::<GetFollowers>(&there(&row))
        }
        GetFollowees::OP => {
            let GetFollowees { user_id } = call.input()?;
            let row: Option<Value> = ctx.read(FOLLOWEES, &user_id).await?;
            Call::output::<GetFollowees>(&there(&row.unwrap_or_default()))
        }
        Follow::OP => {
            let Follow { user_id, followee } = call.input()?;
            let wish = Wish::Since(ctx.now().await?);
            Call::output::<Follow>(&change(config, ctx, &user_id, &followee, wish).await?)
        }
        Unfollow::OP => {
            let Unfollow { user_id, followee } = call.input()?;
            let changed = change(config, ctx, &user_id, &followee, Wish::Gone).await?;
            Call::output::<Unfollow>(&changed)
        }
        _ => Err(call.unknown("SocialGraph")),
    }
}

fn there(row: &Value) -> Vec<String> {
    let there = edges(row).into_iter().filter(|(_, there)| *there);
    there.map(|(user, _)| user.to_owned()).collect()
}

async fn insert(ctx: &mut Ctx, input: InsertUser) -> Result<()> {
    let InsertUser {
        user_id,
        followers,
        followees,
    } = input;
    let user_id = user_id.as_str();
    let [a, b] = ctx.fork();
    let sides = [(a, FOLLOWERS, followers), (b, FOLLOWEES, followees)];
    let writes = sides.map(|(mut branch, table, users)| async move {
        // Time 0: before everything that happens.
        let loaded = Value::map(users.into_iter().map(|user| (user, Value::Int(0))));
        let row = Value::map([(LOADED, loaded)]);
        branch.write(table, user_id, &row).await
    });
    join_all(writes).await?;
    Ok(())
}

async fn change(
    config: Config,
    ctx: &mut Ctx,
    user_id: &str,
    followee: &str,
    wish: Wish,
) -> Result<Changed> {
    if user_id == followee {
        return Err(Error::rejected("nobody follows oneself"));
    }
    let sides = [
        (FOLLOWERS, followee, user_id),
        (FOLLOWEES, user_id, followee),
    ];
    let sides = match config.has(Defect::OneSidedFollow) {
        true => &sides[1..],
        false => &sides[..],
    };
    if config.compat == Compat::Dsb {
        // D14, inherited: nothing holds the two sides together.
        let branches = ctx.fork_many(sides.len()).into_iter().zip(sides);
        let updates = branches.map(|(mut branch, (table, key, user))| async move {
            side(&mut branch, table, key, user, wish).await
        });
        let changed = join_all(updates).await?;
        let changed = changed.contains(&true);
        return Ok(Changed { changed });
    }
    if config.formulation == Formulation::Causal {
        // Without a transaction a refusal must come before the first change; the followee's side is
        // the first one, and refuses who is unknown.
        let own: Option<Value> = ctx.read(FOLLOWEES, user_id).await?;
        if own.is_none() {
            return Err(Error::rejected(format!("unknown user: {user_id}")));
        }
        let mut changed = false;
        for (table, key, user) in sides {
            changed |= side(ctx, table, key, user, wish).await?;
        }
        return Ok(Changed { changed });
    }
    ctx.transaction(async |tx| {
        let mut changed = false;
        for (table, key, user) in sides {
            changed |= side(tx, table, key, user, wish).await?;
        }
        Ok(Changed { changed })
    })
    .await
}

/// Changes one side, and says whether there was anything to change.
async fn side(ctx: &mut Ctx, table: &str, key: &str, user: &str, wish: Wish) -> Result<bool> {
    let (condition, change) = wish.update(user);
    let updated = ctx
        .update(table, key, Some(condition), vec![change])
        .await?;
    if updated.applied {
        return Ok(true);
    }
    // It was so already, or there is nobody.
    let row: Option<Value> = ctx.read(table, key).await?;
    match row.and_then(|row| row.get(LOADED).map(|_| ())) {
        Some(()) => Ok(false),
        None => Err(Error::rejected(format!("unknown user: {key}"))),
    }
}
