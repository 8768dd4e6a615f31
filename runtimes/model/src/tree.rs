//! Conditions and updates as typed trees.
//!
//! One tree has two readers: the in-memory store evaluates it, the DynamoDB adapter prints it as
//! expressions. So only what DynamoDB can do in one request can be written down here.

use crate::{Name, Value};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// One step into a document.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Segment {
    /// A member of a map (the first segment is an attribute of the item).
    Field(Name),
    /// An element of a list.
    Index(usize),
}

/// A document path such as `V.reviews[0]`. Never empty, and it begins with a field.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "Vec<Segment>")]
pub struct Path(Vec<Segment>);

impl TryFrom<Vec<Segment>> for Path {
    type Error = &'static str;

    fn try_from(segments: Vec<Segment>) -> Result<Self, Self::Error> {
        match segments.first() {
            Some(Segment::Field(_)) => Ok(Path(segments)),
            _ => Err("a path begins with a field"),
        }
    }
}

impl Path {
    /// The path of a top-level attribute. The name is taken as it is: a dot in it is no separator.
    pub fn attr(name: impl AsRef<str>) -> Self {
        Path(vec![Segment::Field(crate::name(name.as_ref()))])
    }

    /// This path, one field deeper.
    #[must_use]
    pub fn field(mut self, name: impl AsRef<str>) -> Self {
        self.0.push(Segment::Field(Arc::from(name.as_ref())));
        self
    }

    /// This path, at an element of the list.
    #[must_use]
    pub fn index(mut self, at: usize) -> Self {
        self.0.push(Segment::Index(at));
        self
    }

    /// The steps of the path.
    pub fn segments(&self) -> &[Segment] {
        &self.0
    }

    /// The top-level attribute that the path is in.
    pub fn root(&self) -> &Name {
        match &self.0[0] {
            Segment::Field(name) => name,
            Segment::Index(_) => unreachable!("a path begins with a field"),
        }
    }
}

/// How two values are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Comparison {
    /// `=`
    Equal,
    /// `<>`
    NotEqual,
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterOrEqual,
}

/// A condition on one item. A path that is absent makes every comparison false, except
/// [`Comparison::NotEqual`], which it makes true, as in DynamoDB.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Condition {
    /// `attribute_exists(path)`
    Exists(Path),
    /// `attribute_not_exists(path)`
    Absent(Path),
    /// `path <comparison> value`
    Compare(Path, Comparison, Value),
    /// All of them. An empty list is true.
    All(#[serde(deserialize_with = "crate::nested::deserialize")] Vec<Condition>),
    /// At least one of them. An empty list is false.
    Any(#[serde(deserialize_with = "crate::nested::deserialize")] Vec<Condition>),
    /// The opposite.
    Not(#[serde(deserialize_with = "crate::nested::deserialize")] Box<Condition>),
}

impl Condition {
    /// `path = value`
    pub fn equals(path: Path, value: impl Into<Value>) -> Self {
        Condition::Compare(path, Comparison::Equal, value.into())
    }

    /// Both conditions; flattens so that the printed expression stays short.
    #[must_use]
    pub fn and(self, other: Condition) -> Self {
        match self {
            Condition::All(mut all) => {
                all.push(other);
                Condition::All(all)
            }
            first => Condition::All(vec![first, other]),
        }
    }
}

/// The right-hand side of a `SET`. Paths are read from the item as it was before the update.
#[derive(Clone, Debug, PartialEq)]
pub enum Operand {
    /// A constant.
    Value(Value),
    /// The value at a path; an absent path fails validation.
    Path(Path),
    /// `if_not_exists(path, value)`
    PathOr(Path, Value),
    /// `operand + n`; the operand must be a [`Operand::Path`] or [`Operand::PathOr`] of a number.
    Plus(Box<Operand>, i64),
    /// `list_append(operand, operand)`
    Append(Box<Operand>, Box<Operand>),
}

/// One clause of an update.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// `SET path = operand`
    Set(Path, Operand),
    /// `REMOVE path`
    Remove(Path),
}

/// All clauses of one update. No two clauses may touch overlapping paths.
pub type Update = Vec<Action>;

impl Path {
    /// This path, as seen from an item that keeps the document under the attribute `root`.
    #[must_use]
    pub fn under(&self, root: &str) -> Self {
        let mut segments = vec![Segment::Field(crate::name(root))];
        segments.extend(self.0.iter().cloned());
        Path(segments)
    }
}

impl Condition {
    /// This condition, as seen from an item that keeps the document under the attribute `root`.
    #[must_use]
    pub fn under(&self, root: &str) -> Self {
        let all = |conditions: &[Condition]| conditions.iter().map(|c| c.under(root)).collect();
        match self {
            Condition::Exists(path) => Condition::Exists(path.under(root)),
            Condition::Absent(path) => Condition::Absent(path.under(root)),
            Condition::Compare(path, comparison, value) => {
                Condition::Compare(path.under(root), *comparison, value.clone())
            }
            Condition::All(conditions) => Condition::All(all(conditions)),
            Condition::Any(conditions) => Condition::Any(all(conditions)),
            Condition::Not(condition) => Condition::Not(Box::new(condition.under(root))),
        }
    }
}
