//! `User`: registration, login, and the author of a review.

use crate::compose::JoinUserId;
use crate::{Config, Formulation};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fmt::Write;
use triptych_api::{
    Call, Change, Condition, Ctx, Error, Function, Op, Path, ReadSet, Result, Value,
};

/// Registers a user, who gets a new id.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RegisterUser {
    /// The user's first name.
    pub first_name: String,
    /// The user's last name.
    pub last_name: String,
    /// The name to log in with; unique.
    pub username: String,
    /// The password in clear.
    pub password: String,
}

impl Op for RegisterUser {
    const FUNCTION: &'static str = "User";
    const OP: &'static str = "RegisterUser";
    type Output = String;
}

/// Registers a user with an id that the caller chose.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RegisterUserWithId {
    /// The id.
    pub user_id: String,
    /// The rest.
    #[serde(flatten)]
    pub user: RegisterUser,
}

impl Op for RegisterUserWithId {
    const FUNCTION: &'static str = "User";
    const OP: &'static str = "RegisterUserWithId";
    type Output = String;
}

/// Checks a password.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Login {
    /// Who logs in.
    pub username: String,
    /// The password in clear.
    pub password: String,
}

/// What a login answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LoggedIn {
    /// The user.
    pub user_id: String,
    /// A token of this login.
    pub token: String,
}

impl Op for Login {
    const FUNCTION: &'static str = "User";
    const OP: &'static str = "Login";
    type Output = LoggedIn;
}

/// Finds the author of a review; answers the user's id.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UploadUser {
    /// The compose request.
    pub req_id: String,
    /// The author.
    pub username: String,
}

impl Op for UploadUser {
    const FUNCTION: &'static str = "User";
    const OP: &'static str = "UploadUser";
    type Output = String;
}

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

const TABLE: &str = "User";

pub(crate) fn function(config: Config) -> Function {
    Function::new("User", &[TABLE], move |ctx, call| {
        Box::pin(handle(config, ctx, call))
    })
    .reading(|call| match &*call.op {
        Login::OP | UploadUser::OP => ReadSet::named(call, TABLE, "username"),
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
        UploadUser::OP => Call::output::<UploadUser>(&upload(config, ctx, call.input()?).await?),
        _ => Err(call.unknown("User")),
    }
}

async fn register(ctx: &mut Ctx, input: RegisterUserWithId) -> Result<String> {
    let RegisterUserWithId { user_id, user } = input;
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
        Change::set("username", user.username.as_str()),
        Change::set("passwordHash", password_hash),
        Change::set("salt", salt),
    ];
    if ctx
        .update(TABLE, &user.username, Some(free), changes)
        .await?
        .applied
    {
        Ok(user_id)
    } else {
        Err(Error::rejected(format!(
            "user name taken: {}",
            user.username
        )))
    }
}

async fn login(ctx: &mut Ctx, input: Login) -> Result<LoggedIn> {
    let user = find(ctx, &input.username).await?;
    if digest(&[&input.password, &user.salt]) != user.password_hash {
        return Err(Error::rejected("wrong password"));
    }
    let now = ctx.now().await?.to_string();
    let token = digest(&[&user.user_id, &user.salt, &now]);
    Ok(LoggedIn {
        user_id: user.user_id,
        token,
    })
}

async fn upload(config: Config, ctx: &mut Ctx, input: UploadUser) -> Result<String> {
    let user_id = find(ctx, &input.username).await?.user_id;
    if config.formulation == Formulation::Choreo {
        ctx.send(JoinUserId {
            req_id: input.req_id,
            user_id: user_id.clone(),
        })
        .await?;
    }
    Ok(user_id)
}

async fn find(ctx: &mut Ctx, username: &str) -> Result<UserRow> {
    let user = ctx.read(TABLE, username).await?;
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
