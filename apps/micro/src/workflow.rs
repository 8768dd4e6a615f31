//! Chains of functions that read and write many keys.
//!
//! A request is a list of steps, each a list of accesses. The entry function does those of the first
//! step and calls itself with the rest; so a chain of length n is n instances, which a runtime may run
//! on n hosts, and the answer is everything that was read, in order. Every write of a run has a value
//! of its own, so that what was read tells who wrote it: that is what [`rules`] live on.
//!
//! An access is a text: `r<key>` reads, `w<key>=<value>` writes. Keys are numbers from 0. Whoever must
//! know before the start what a workflow will read finds it in the request.

pub mod rules;

use crate::NAME;
use serde::{Deserialize, Serialize};
use triptych_api::{App, Call, Ctx, Error, Function, KindSpec, Name, Op, Result, Shows, Value};

/// The function.
pub const WORKFLOW: &str = "Workflow";
/// Its table.
pub const TABLE: &str = "data";
/// The field of its documents.
pub const FIELD: &str = "v";

/// Runs a workflow: its first step here, the others in functions that are called.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// What each step accesses.
    pub steps: Vec<Vec<String>>,
}

impl Op for Run {
    const FUNCTION: &'static str = WORKFLOW;
    const OP: &'static str = "Run";
    /// What each read found, in order: `<key>=<value>`; the value is empty if there was none.
    type Output = Vec<String>;
}

/// Writes the keys `from` to `to` (not included) before the run: each has its number as value, eight
/// digits and then so many points that it has `bytes` bytes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Load {
    /// The first key.
    pub from: u32,
    /// The first key that is not written.
    pub to: u32,
    /// The length of a value.
    pub bytes: usize,
}

impl Op for Load {
    const FUNCTION: &'static str = WORKFLOW;
    const OP: &'static str = "Load";
    type Output = ();
}

/// What is there before the run.
pub fn loaded(key: u32, bytes: usize) -> String {
    format!("{:.<bytes$}", format!("{key:08}"))
}

/// Whether a value is one of those.
pub(crate) fn is_loaded(value: &str) -> bool {
    value.starts_with(|first: char| first.is_ascii_digit())
}

/// An access, taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access<'a> {
    Read(&'a str),
    Write(&'a str, &'a str),
}

impl<'a> Access<'a> {
    pub(crate) fn of(text: &'a str) -> Option<Self> {
        match text.split_at_checked(1)? {
            ("r", key) => Some(Access::Read(key)),
            ("w", rest) => {
                let (key, value) = rest.split_once('=')?;
                Some(Access::Write(key, value))
            }
            _ => None,
        }
    }
}

async fn handle(ctx: &mut Ctx, call: Call) -> Result<Value> {
    match &*call.op {
        Run::OP => Call::output::<Run>(&run(ctx, call.input()?).await?),
        Load::OP => {
            let Load { from, to, bytes } = call.input()?;
            for key in from..to {
                let value = Value::map([(FIELD, Value::from(loaded(key, bytes)))]);
                ctx.write(TABLE, &key.to_string(), &value).await?;
            }
            Call::output::<Load>(&())
        }
        _ => Err(call.unknown(WORKFLOW)),
    }
}

async fn run(ctx: &mut Ctx, Run { mut steps }: Run) -> Result<Vec<String>> {
    let mut seen = Vec::new();
    if steps.is_empty() {
        return Ok(seen);
    }
    for access in steps.remove(0) {
        match Access::of(&access) {
            Some(Access::Read(key)) => {
                let row: Option<Value> = ctx.read(TABLE, key).await?;
                let value = row.as_ref().and_then(|row| row.get(FIELD)?.as_str());
                seen.push(format!("{key}={}", value.unwrap_or_default()));
            }
            Some(Access::Write(key, value)) => {
                let row = Value::map([(FIELD, Value::from(value))]);
                ctx.write(TABLE, key, &row).await?;
            }
            None => return Err(Error::rejected(format!("no access: {access:?}"))),
        }
    }
    if !steps.is_empty() {
        seen.extend(ctx.call(Run { steps }).await?);
    }
    Ok(seen)
}

/// Every document names who wrote it: no value is ever written twice.
fn elements(table: &str, row: &Value) -> Option<Shows> {
    let version = row.get(FIELD).and_then(Value::as_str).map(Name::from);
    version.filter(|_| table == TABLE).map(Shows::Version)
}

pub(crate) fn app() -> App {
    App {
        name: NAME,
        functions: vec![Function::new(WORKFLOW, &[TABLE], |ctx, call| {
            Box::pin(handle(ctx, call))
        })],
        workflows: Vec::new(),
        kinds: vec![KindSpec {
            name: "workflow",
            function: WORKFLOW,
            op: Run::OP,
            effects: true,
        }],
        elements,
        // All that was read.
        observe: |_, _, output| output.clone(),
        rules: rules::check,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accesses_are_taken_apart() {
        assert_eq!(Access::of("r17"), Some(Access::Read("17")));
        assert_eq!(Access::of("w4=abc=d"), Some(Access::Write("4", "abc=d")));
        for text in ["", "r", "w4", "x4", "é"] {
            let access = Access::of(text);
            assert!(
                access.is_none_or(|access| access == Access::Read("")),
                "{text}"
            );
        }
        assert_eq!(loaded(17, 8), "00000017");
        assert_eq!(loaded(17, 11), "00000017...");
        assert!(is_loaded(&loaded(0, 8)) && !is_loaded("w0000000"));
    }
}
