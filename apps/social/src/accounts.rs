//! `User`: registration, login, and the author of a post.

use crate::text::LearnName;
use crate::{Compat, Config, op};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fmt::Write;
use triptych_api::{
    Call, Change, Condition, Ctx, Error, Function, Op, Path, ReadSet, Result, Value,
};

/// A user, as posts name one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Person {
    /// The id.
    pub user_id: String,
    /// The name.
    pub username: String,
}

op!(
    /// Registers a user, who gets a new id.
    RegisterUser {
        /// The name to log in with; unique.
        username: String,
        /// The user's first name.
        first_name: String,
        /// The user's last name.
        last_name: String,
        /// The password in clear.
        password: String,
    }
    "User"."RegisterUser" -> String
);
op!(
    /// Registers a user with an id that the caller chose.
    RegisterUserWithId {
        /// The id.
        user_id: String,
        /// The rest.
        #[serde(flatten)]
        user: RegisterUser,
    }
    "User"."RegisterUserWithId" -> String
);
op!(
    /// Checks a password; answers a token of this login.
    Login {
        /// Who logs in.
        username: String,
        /// The password in clear.
        password: String,
    }
    "User"."Login" -> String
);
op!(
    /// Finds the author of a post.
    ComposeCreator {
        /// Who the author claims to be.
        #[serde(flatten)]
        author: Person,
    }
    "User"."ComposeCreatorWithUserId" -> Person
);

/// A row of the table `User`, which is keyed by the user name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UserRow {
    /// The user's id.
    pub user_id: String,
    /// The user's first name.
    pub first_name: String,
    /// The user's last name.
    pub last_name: String,
    /// The key again.
    pub username: String,
    /// SHA-256 of password and salt, in hexadecimal.
    pub password_hash: String,
    /// The salt.
    pub salt: String,
}

pub(crate) const USER: &str = "User";

pub(crate) fn function(config: Config) -> Function {
    Function::new("User", &[USER], move |ctx, call| {
        Box::pin(handle(config, ctx, call))
    })
    .reading(|call| match &*call.op {
        Login::OP | ComposeCreator::OP => ReadSet::named(call, USER, "username"),
        _ => None,
    })
}

async fn handle(config: Config, ctx: &mut Ctx, call: Call) -> Result<Value> {
    match &*call.op {
        RegisterUser::OP => {
            let user = call.input()?;
            let user_id = ctx.unique_id().await?;
            let user = RegisterUserWithId { user_id, user };
            Call::output::<RegisterUser>(&register(ctx, user).await?)
        }
        RegisterUserWithId::OP => {
            Call::output::<RegisterUserWithId>(&register(ctx, call.input()?).await?)
        }
        Login::OP => Call::output::<Login>(&login(ctx, call.input()?).await?),
        ComposeCreator::OP => {
            let ComposeCreator { author } = call.input()?;
            // The published versions take the request's word for it.
            if config.compat == Compat::None {
                let row = find(ctx, &author.username).await?;
                if row.user_id != author.user_id {
                    let Person { user_id, username } = author;
                    return Err(Error::rejected(format!("{username} is not user {user_id}")));
                }
            }
            Call::output::<ComposeCreator>(&author)
        }
        _ => Err(call.unknown("User")),
    }
}

async fn register(ctx: &mut Ctx, input: RegisterUserWithId) -> Result<String> {
    let RegisterUserWithId { user_id, user } = input;
    let username = user.username;
    let salt = format!("{:016x}", ctx.random().await?);
    let password_hash = digest(&[&user.password, &salt]);
    // One conditional update, so that of two registrations of one name exactly one wins. The same
    // one may come again: loading a data set can be retried.
    let free = Condition::Any(vec![
        Condition::Absent(Path::attr("username")),
        Condition::equals(Path::attr("userId"), user_id.as_str()),
    ]);
    let changes = vec![
        Change::set("userId", user_id.as_str()),
        Change::set("firstName", user.first_name),
        Change::set("lastName", user.last_name),
        Change::set("username", username.as_str()),
        Change::set("passwordHash", password_hash),
        Change::set("salt", salt),
    ];
    let updated = ctx.update(USER, &username, Some(free), changes).await?;
    if !updated.applied {
        return Err(Error::rejected(format!("user name taken: {username}")));
    }
    let person = Person {
        user_id: user_id.clone(),
        username,
    };
    ctx.call(LearnName { person }).await?;
    Ok(user_id)
}

async fn login(ctx: &mut Ctx, input: Login) -> Result<String> {
    let user = find(ctx, &input.username).await?;
    if digest(&[&input.password, &user.salt]) != user.password_hash {
        return Err(Error::rejected("wrong password"));
    }
    let now = ctx.now().await?.to_string();
    Ok(digest(&[&user.user_id, &user.salt, &now]))
}

async fn find(ctx: &mut Ctx, username: &str) -> Result<UserRow> {
    let user = ctx.read(USER, username).await?;
    user.ok_or_else(|| Error::rejected(format!("unknown user: {username}")))
}

fn digest(parts: &[&str]) -> String {
    let hash = parts
        .iter()
        .fold(Sha256::new(), |hash, part| hash.chain_update(part));
    hash.finalize()
        .iter()
        .fold(String::with_capacity(64), |mut text, byte| {
            // Writing to a string cannot fail.
            let _ = write!(text, "{byte:02x}");
            text
        })
}
