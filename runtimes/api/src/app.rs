//! What an app is: functions, request kinds, and the invariants that its data must keep.

use crate::{Ctx, Error, Result, Workflow};
use futures_util::future::LocalBoxFuture;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::rc::Rc;
use triptych_model::{Coverage, Name, OpRecord, RuleReport, State, Value, from_value, to_value};

/// One entry point of a function, typed: the struct is the input.
pub trait Op: Serialize + DeserializeOwned {
    /// The function that serves it.
    const FUNCTION: &'static str;
    /// Its name within the function.
    const OP: &'static str;
    /// What it answers.
    type Output: Serialize + DeserializeOwned;
}

/// A call as a handler receives it.
#[derive(Clone, Debug)]
pub struct Call {
    /// Which entry point.
    pub op: Name,
    /// Its input, still untyped.
    pub input: Value,
}

impl Call {
    /// The typed input.
    ///
    /// # Errors
    /// [`Error::Bug`] if the input has another shape.
    pub fn input<O: Op>(&self) -> Result<O> {
        from_value(&self.input)
            .map_err(|error| Error::Bug(format!("{}.{}: {error}", O::FUNCTION, O::OP)))
    }

    /// The typed output as a value.
    ///
    /// # Errors
    /// [`Error::Bug`] if it cannot be represented.
    pub fn output<O: Op>(output: &O::Output) -> Result<Value> {
        Ok(to_value(output)?)
    }

    /// The error of a handler that does not know the entry point.
    pub fn unknown(&self, function: &str) -> Error {
        Error::Bug(format!("{function} has no entry point {:?}", self.op))
    }
}

/// The code of a function.
pub type Handler = Rc<dyn for<'a> Fn(&'a mut Ctx, Call) -> LocalBoxFuture<'a, Result<Value>>>;

/// A key of a table.
pub type TableKey = (Name, Name);

/// What a call will read, as far as its input alone says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReadSet {
    /// By the function that is called.
    pub here: Vec<TableKey>,
    /// By those that it calls and awaits, and so on.
    pub below: Vec<TableKey>,
}

/// What a call of a function will read; nothing if its input does not say. A read that was not
/// announced is no mistake: a runtime that needs the announcement serves the others as it can.
pub type Reads = fn(&Call) -> Option<ReadSet>;

/// A stateful serverless function: a handler that owns private tables.
#[derive(Clone)]
pub struct Function {
    /// Its name, unique in the app.
    pub name: Name,
    /// Its tables; names are unique in the app.
    pub tables: Vec<Name>,
    /// Its code.
    pub handler: Handler,
    /// What its calls will read, for runtimes that have to know in advance.
    pub reads: Reads,
}

impl Function {
    /// A function from its parts, so that an app's modules read as tables.
    pub fn new<H>(name: &str, tables: &[&str], handler: H) -> Function
    where
        H: for<'a> Fn(&'a mut Ctx, Call) -> LocalBoxFuture<'a, Result<Value>> + 'static,
    {
        Function {
            name: Name::from(name),
            tables: tables.iter().map(|table| Name::from(*table)).collect(),
            handler: Rc::new(handler),
            reads: |_| None,
        }
    }

    /// The same function, which says what its calls will read.
    #[must_use]
    pub fn reading(self, reads: Reads) -> Function {
        Function { reads, ..self }
    }
}

/// A kind of request that clients send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KindSpec {
    /// Its name, such as `compose`.
    pub name: &'static str,
    /// The function that clients call, or the workflow that they start.
    pub function: &'static str,
    /// The entry point.
    pub op: &'static str,
    /// Whether it changes anything.
    pub effects: bool,
}

/// What an app's rules judge.
pub struct Evidence<'a> {
    /// The names of the request kinds, as [`OpRecord::kind`] counts them.
    pub kinds: &'a [String],
    /// Every request of the run, in the order of the schedule. Loading requests are not in it.
    pub ops: &'a [OpRecord],
    /// What the runtime left behind once it was quiet.
    pub state: &'a State,
    /// The profile's settings (`formulation`, list bounds and the like).
    pub settings: &'a BTreeMap<String, String>,
}

impl<'a> Evidence<'a> {
    /// The name of a request's kind; empty if the run has no such kind.
    pub fn kind(&self, op: &OpRecord) -> &'a str {
        let kinds = self.kinds.get(usize::from(op.kind));
        kinds.map_or("", String::as_str)
    }
}

/// An application.
#[derive(Clone)]
pub struct App {
    /// Its name.
    pub name: &'static str,
    /// Its functions.
    pub functions: Vec<Function>,
    /// Requests that the platform runs as a graph of calls.
    pub workflows: Vec<Workflow>,
    /// The kinds of requests that clients send.
    pub kinds: Vec<KindSpec>,
    /// Which rows are lists of elements that are never appended twice, and what those are: what the
    /// isolation of transactions is judged by. None for every other row.
    pub elements: fn(table: &str, row: &Value) -> Option<Vec<Name>>,
    /// What to remember of an answer for the invariants: kind, input, output.
    pub observe: fn(kind: &str, input: &Value, output: &Value) -> Value,
    /// The app's invariants, applied to what a run left behind and answered.
    pub rules: fn(&Evidence<'_>) -> (Vec<RuleReport>, Coverage),
}

impl App {
    /// A function by name.
    pub fn function(&self, name: &str) -> Option<&Function> {
        self.functions
            .iter()
            .find(|function| &*function.name == name)
    }
}
