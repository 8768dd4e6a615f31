//! What an app is: functions, request kinds, and the invariants that its data must keep.

use crate::{Ctx, Error, Isolation, Order, Result, Workflow};
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

impl ReadSet {
    /// The keys of a table that a field of the input names: one as text, or a list of them. Nothing if
    /// the field names none.
    pub fn named(call: &Call, table: &str, field: &str) -> Option<ReadSet> {
        let named = call.input.get(field)?;
        let key = |value: &Value| {
            value
                .as_str()
                .map(|key| (Name::from(table), Name::from(key)))
        };
        let here = match named.as_list() {
            Some(list) => list.iter().map(key).collect::<Option<_>>()?,
            None => vec![key(named)?],
        };
        let below = Vec::new();
        Some(ReadSet { here, below })
    }

    /// The same keys and those of another set, by the function itself and by those that it calls.
    #[must_use]
    pub fn and(mut self, other: ReadSet) -> ReadSet {
        self.here.extend(other.here);
        self.below.extend(other.below);
        self
    }

    /// The same keys, by those that the function calls.
    #[must_use]
    pub fn below(mut self) -> ReadSet {
        self.below.append(&mut self.here);
        self
    }
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
    /// What was promised of transactions. A rule that takes a stronger isolation for granted is not
    /// asked ([`Evidence::asks_serializable`]).
    pub isolation: Isolation,
    /// Which order was promised. A rule that takes it that what was acknowledged to one client is
    /// seen by another is not asked of causal order ([`Evidence::asks_real_time`]).
    pub order: Order,
}

impl<'a> Evidence<'a> {
    /// Whether a rule may be asked that holds if transactions are serializable, and need not hold if
    /// they are causally consistent. Of who promises nothing everything is asked: it is data.
    pub fn asks_serializable(&self) -> bool {
        self.isolation != Isolation::Tcc
    }

    /// Whether a rule may be asked that holds if operations are ordered by time, and need not hold if
    /// they are ordered by causality alone.
    pub fn asks_real_time(&self) -> bool {
        self.order != Order::Causal
    }

    /// The name of a request's kind; empty if the run has no such kind.
    pub fn kind(&self, op: &OpRecord) -> &'a str {
        let kinds = self.kinds.get(usize::from(op.kind));
        kinds.map_or("", String::as_str)
    }
}

/// What a row tells of who wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shows {
    /// A list of elements that are never appended twice, which transactions append to: the isolation
    /// of transactions is judged by it, and causal order.
    List(Vec<Name>),
    /// A list of elements that are never appended twice, in any order, as readers sort it: causal
    /// order is judged by it, and the isolation of transactions only as far as it needs no order.
    Set(Vec<Name>),
    /// A document that is replaced as a whole, by its name that no other replacement has: causal
    /// order is judged by it.
    Version(Name),
}

impl Shows {
    /// The elements, or the one version.
    pub fn names(&self) -> &[Name] {
        match self {
            Shows::List(names) | Shows::Set(names) => names,
            Shows::Version(name) => std::slice::from_ref(name),
        }
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
    /// Of which rows a look tells who wrote what is there, and what it tells: what isolation and
    /// causal order are judged by. None for every other row. It is also asked about parts of rows,
    /// with one field that was changed or appended to.
    pub elements: fn(table: &str, row: &Value) -> Option<Shows>,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_read_set_is_what_the_input_names() {
        let ids = Value::list(["a", "b"].map(Value::str));
        let fields = [("id", Value::str("x")), ("ids", ids), ("n", Value::Int(1))];
        let call = Call {
            op: Name::from("op"),
            input: Value::map(fields),
        };
        let named = |field| ReadSet::named(&call, "t", field);
        let key = |key: &str| (Name::from("t"), Name::from(key));
        let (one, two) = (named("id").unwrap(), named("ids").unwrap());
        assert_eq!((named("n"), named("none")), (None, None));
        assert_eq!(two.here, [key("a"), key("b")]);
        let both = one.and(two.below());
        assert_eq!(both.here, [key("x")]);
        assert_eq!(both.below, [key("a"), key("b")]);
    }
}
