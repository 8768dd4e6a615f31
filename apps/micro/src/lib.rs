//! One operation of the context per request, on one hot key: what a single primitive costs.
//!
//! A newcomer can start with [`app`]: the function `Primitives` has an entry point per primitive, and
//! `Nothing` is called by one of them. The key holds a document with one field, the id of whoever
//! wrote it last. `Empty` does nothing, so that what surrounds every request can be subtracted.
//! [`rules`] judge the key as what it is, a register.
//!
//! Two other mixes, which profiles choose, ask what caches cost that are beside the functions and keep
//! causal order: [`workflow`] has chains of functions that read and write many keys, and [`notice`]
//! how long a write takes until others see it. They have functions, kinds and rules of their own.
//!
//! | kind | operation |
//! |---|---|
//! | `read` | reads the key |
//! | `write` | replaces its document |
//! | `cond-true` | changes it under a condition that holds |
//! | `cond-false` | would change it under one that does not |
//! | `invoke` | calls a function that does nothing |
//! | `empty` | nothing |

pub mod notice;
pub mod rules;
pub mod workflow;

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use triptych_api::settings::choose;
use triptych_api::{
    App, Call, Change, Condition, Ctx, Function, KindSpec, Name, Op, Path, Result, Shows, Value,
};

/// The application's name, as profiles give it.
pub const NAME: &str = "micro";
/// The function with the primitives.
pub const PRIMITIVES: &str = "Primitives";
/// Its table.
pub const TABLE: &str = "cells";
/// The key.
pub const KEY: &str = "K";
/// The field of its document.
pub const FIELD: &str = "id";

/// Reads the key: the id in it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Read {}

impl Op for Read {
    const FUNCTION: &'static str = PRIMITIVES;
    const OP: &'static str = "Read";
    type Output = Option<String>;
}

/// Replaces the document.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Write {
    /// Who writes.
    pub id: String,
}

impl Op for Write {
    const FUNCTION: &'static str = PRIMITIVES;
    const OP: &'static str = "Write";
    type Output = ();
}

/// Changes the document under a condition that holds: whether it was changed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Swap {
    /// Who writes.
    pub id: String,
}

impl Op for Swap {
    const FUNCTION: &'static str = PRIMITIVES;
    const OP: &'static str = "Swap";
    type Output = bool;
}

/// Would change the document under a condition that does not hold: whether it was changed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Refuse {
    /// Who would write.
    pub id: String,
}

impl Op for Refuse {
    const FUNCTION: &'static str = PRIMITIVES;
    const OP: &'static str = "Refuse";
    type Output = bool;
}

/// Calls the function that does nothing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Invoke {}

impl Op for Invoke {
    const FUNCTION: &'static str = PRIMITIVES;
    const OP: &'static str = "Invoke";
    type Output = ();
}

/// Does nothing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Empty {}

impl Op for Empty {
    const FUNCTION: &'static str = PRIMITIVES;
    const OP: &'static str = "Empty";
    type Output = ();
}

/// Writes so many times, so that what grows with writes has grown.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Fill {
    /// What is written.
    pub id: String,
    /// How often.
    pub writes: u32,
}

impl Op for Fill {
    const FUNCTION: &'static str = PRIMITIVES;
    const OP: &'static str = "Fill";
    type Output = ();
}

/// Does nothing, in another function.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Nothing {}

impl Op for Nothing {
    const FUNCTION: &'static str = "Nothing";
    const OP: &'static str = "Nothing";
    type Output = ();
}

fn document(id: &str) -> Value {
    Value::map([(FIELD, Value::str(id))])
}

async fn conditional(ctx: &mut Ctx, condition: Condition, id: &str) -> Result<bool> {
    let change = vec![Change::set(FIELD, id)];
    let updated = ctx.update(TABLE, KEY, Some(condition), change).await?;
    Ok(updated.applied)
}

async fn primitive(ctx: &mut Ctx, call: Call) -> Result<Value> {
    let field = Path::attr(FIELD);
    match &*call.op {
        Read::OP => {
            let row: Option<Value> = ctx.read(TABLE, KEY).await?;
            let id = row.and_then(|row| row.get(FIELD)?.as_str().map(str::to_owned));
            Call::output::<Read>(&id)
        }
        Write::OP => {
            let id = call.input::<Write>()?.id;
            ctx.write(TABLE, KEY, &document(&id)).await?;
            Call::output::<Write>(&())
        }
        Swap::OP => {
            let id = call.input::<Swap>()?.id;
            let swapped = conditional(ctx, Condition::Exists(field), &id).await?;
            Call::output::<Swap>(&swapped)
        }
        Refuse::OP => {
            let id = call.input::<Refuse>()?.id;
            // Not the field's absence: of that, a document that is not there would be true, and
            // runtimes would have to look.
            let nobody = Condition::equals(field, "");
            let swapped = conditional(ctx, nobody, &id).await?;
            Call::output::<Refuse>(&swapped)
        }
        Invoke::OP => {
            ctx.call(Nothing {}).await?;
            Call::output::<Invoke>(&())
        }
        Empty::OP => Call::output::<Empty>(&()),
        Fill::OP => {
            let Fill { id, writes } = call.input::<Fill>()?;
            for _ in 0..writes {
                ctx.write(TABLE, KEY, &document(&id)).await?;
            }
            Call::output::<Fill>(&())
        }
        _ => Err(call.unknown(PRIMITIVES)),
    }
}

/// The key is a register: its document names who wrote it last.
fn elements(table: &str, row: &Value) -> Option<Shows> {
    let id = row.get(FIELD).and_then(Value::as_str);
    let id = id.filter(|_| table == TABLE);
    id.map(|id| Shows::Version(Name::from(id)))
}

/// Which functions and requests there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mix {
    Register,
    Workflow,
    Notice,
}

/// Builds the application with the functions of the setting `mix`.
///
/// # Errors
/// A mix that the app does not know; the text lists the allowed ones.
pub fn app(settings: &BTreeMap<String, String>) -> std::result::Result<App, String> {
    let mixes = [
        ("primitives", Mix::Register),
        ("writes", Mix::Register),
        ("workflow", Mix::Workflow),
        ("visibility", Mix::Notice),
    ];
    match choose(settings, "mix", &mixes)?.unwrap_or(Mix::Register) {
        Mix::Register => Ok(register()),
        Mix::Workflow => Ok(workflow::app()),
        Mix::Notice => Ok(notice::app()),
    }
}

fn register() -> App {
    let primitives = Function::new(PRIMITIVES, &[TABLE], |ctx, call| {
        Box::pin(primitive(ctx, call))
    });
    let nothing = Function::new(Nothing::FUNCTION, &[], |_, _| {
        Box::pin(async { Call::output::<Nothing>(&()) })
    });
    let kind = |name, op, effects| KindSpec {
        name,
        function: PRIMITIVES,
        op,
        effects,
    };
    App {
        name: NAME,
        functions: vec![primitives, nothing],
        workflows: Vec::new(),
        kinds: vec![
            kind("read", Read::OP, false),
            kind("write", Write::OP, true),
            kind("cond-true", Swap::OP, true),
            kind("cond-false", Refuse::OP, true),
            kind("invoke", Invoke::OP, false),
            kind("empty", Empty::OP, false),
        ],
        elements,
        // Of a read the id that it found, of a conditional change whether it was made.
        observe: |_, _, output| output.clone(),
        rules: rules::check,
    }
}
