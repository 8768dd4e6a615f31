//! `User`: who may log in.

use crate::gateway::Checked;
use crate::{Compat, Defect, Setup};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fmt::Write;
use triptych_api::{Call, Ctx, Function, Op, ReadSet, Result, Value};

/// Makes a user known.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Register {
    /// The user's name.
    pub username: String,
    /// The user's password.
    pub password: String,
}

impl Op for Register {
    const FUNCTION: &'static str = "User";
    const OP: &'static str = "Register";
    type Output = ();
}

/// Checks a password. An unknown user's is wrong.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CheckUser {
    /// The user's name.
    pub username: String,
    /// The password.
    pub password: String,
}

impl Op for CheckUser {
    const FUNCTION: &'static str = "User";
    const OP: &'static str = "CheckUser";
    type Output = Checked;
}

/// A row of the table `User`, which is keyed by the user name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UserRow {
    /// The key again.
    pub username: String,
    /// What [`stored`] makes of the password.
    pub password: String,
}

pub(crate) fn function(setup: Setup) -> Function {
    Function::new("User", &["User"], move |ctx, call| {
        Box::pin(handle(setup, ctx, call))
    })
    .reading(|call| match &*call.op {
        CheckUser::OP => ReadSet::named(call, "User", "username"),
        _ => None,
    })
}

async fn handle(setup: Setup, ctx: &mut Ctx, call: Call) -> Result<Value> {
    let compat = setup.config.compat;
    match &*call.op {
        Register::OP => {
            let Register { username, password } = call.input()?;
            let password = stored(compat, &username, &password);
            let key = username.clone();
            ctx.write("User", &key, &UserRow { username, password })
                .await?;
            Call::output::<Register>(&())
        }
        CheckUser::OP => {
            let CheckUser { username, password } = call.input()?;
            let row: Option<UserRow> = ctx.read("User", &username).await?;
            let given = stored(compat, &username, &password);
            let anything = setup.has(Defect::AcceptsAnything);
            let correct = row.is_some_and(|row| anything || row.password == given);
            Call::output::<CheckUser>(&Checked { correct })
        }
        _ => Err(call.unknown("User")),
    }
}

/// A password as it is stored: SHA-256 of it and the user's name, in hexadecimal. The published port
/// stores it as it is.
pub fn stored(compat: Compat, username: &str, password: &str) -> String {
    if compat == Compat::Beldi {
        return password.to_owned();
    }
    let hash = Sha256::new()
        .chain_update(username)
        .chain_update([0])
        .chain_update(password);
    let mut text = String::with_capacity(64);
    for byte in hash.finalize() {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}
