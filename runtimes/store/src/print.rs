//! Prints conditions, updates and projections as DynamoDB expressions.
//!
//! Every name becomes a placeholder (`#n0`), because almost every word is reserved in DynamoDB, and
//! every constant too (`:v0`). The same name gets the same placeholder throughout a request. What
//! DynamoDB has no expression for is printed as something equal: an empty `All` and an empty `Any`
//! inside another condition as a test that always or never holds.

use crate::{KeyAttribute, Projection};
use std::collections::BTreeMap;
use std::fmt::Write;
use triptych_model::{Action, Comparison, Condition, Name, Operand, Path, Segment, Value};

/// The expressions of one request, with their placeholders.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Expressions {
    /// `ConditionExpression`.
    pub condition: Option<String>,
    /// `UpdateExpression`.
    pub update: Option<String>,
    /// `ProjectionExpression`.
    pub projection: Option<String>,
    /// `FilterExpression`.
    pub filter: Option<String>,
    /// `KeyConditionExpression`.
    pub key_condition: Option<String>,
    /// `ExpressionAttributeNames`.
    pub names: BTreeMap<String, String>,
    /// `ExpressionAttributeValues`.
    pub values: BTreeMap<String, Value>,
    placeholders: BTreeMap<Name, String>,
}

impl Expressions {
    /// No expressions.
    pub fn new() -> Self {
        Expressions::default()
    }

    /// With the condition of a write. One that always holds is left out.
    #[must_use]
    pub fn with_condition(mut self, condition: Option<&Condition>) -> Self {
        self.condition = condition.and_then(|condition| self.top_condition(condition));
        self
    }

    /// With the condition of a transaction's check, which must be there even if it always holds.
    #[must_use]
    pub fn with_check(mut self, condition: &Condition) -> Self {
        self.condition = Some(self.condition(condition));
        self
    }

    /// With the filter of a query or scan. One that always holds is left out.
    #[must_use]
    pub fn with_filter(mut self, filter: Option<&Condition>) -> Self {
        self.filter = filter.and_then(|filter| self.top_condition(filter));
        self
    }

    /// With a projection.
    #[must_use]
    pub fn with_projection(mut self, projection: &Projection) -> Self {
        self.projection = projection.as_ref().map(|paths| {
            let paths: Vec<String> = paths.iter().map(|path| self.path(path)).collect();
            paths.join(", ")
        });
        self
    }

    /// With an update. One without clauses is left out.
    #[must_use]
    pub fn with_update(mut self, update: &[Action]) -> Self {
        let mut sets = Vec::new();
        let mut removes = Vec::new();
        for action in update {
            match action {
                Action::Set(path, operand) => {
                    let path = self.path(path);
                    sets.push(format!("{path} = {}", self.operand(operand)));
                }
                Action::Remove(path) => removes.push(self.path(path)),
            }
        }
        let mut clauses = Vec::new();
        if !sets.is_empty() {
            clauses.push(format!("SET {}", sets.join(", ")));
        }
        if !removes.is_empty() {
            clauses.push(format!("REMOVE {}", removes.join(", ")));
        }
        self.update = (!clauses.is_empty()).then(|| clauses.join(" "));
        self
    }

    /// With the key condition of a query.
    #[must_use]
    pub fn with_key(
        mut self,
        hash: (&KeyAttribute, &Value),
        below: Option<(&KeyAttribute, &Value)>,
    ) -> Self {
        let mut text = format!("{} = {}", self.name(&hash.0.name), self.value(hash.1));
        if let Some((attribute, value)) = below {
            let (name, value) = (self.name(&attribute.name), self.value(value));
            text = format!("{text} AND {name} < {value}");
        }
        self.key_condition = Some(text);
        self
    }

    fn name(&mut self, name: &Name) -> String {
        if let Some(placeholder) = self.placeholders.get(name) {
            return placeholder.clone();
        }
        let placeholder = format!("#n{}", self.names.len());
        self.names.insert(placeholder.clone(), name.to_string());
        self.placeholders.insert(name.clone(), placeholder.clone());
        placeholder
    }

    fn value(&mut self, value: &Value) -> String {
        let placeholder = format!(":v{}", self.values.len());
        self.values.insert(placeholder.clone(), value.clone());
        placeholder
    }

    fn path(&mut self, path: &Path) -> String {
        let mut text = String::new();
        for segment in path.segments() {
            match segment {
                Segment::Field(name) => {
                    if !text.is_empty() {
                        text.push('.');
                    }
                    text.push_str(&self.name(name));
                }
                // Writing to a string cannot fail.
                Segment::Index(at) => write!(text, "[{at}]").unwrap_or_default(),
            }
        }
        text
    }

    fn operand(&mut self, operand: &Operand) -> String {
        match operand {
            Operand::Value(value) => self.value(value),
            Operand::Path(path) => self.path(path),
            Operand::PathOr(path, value) => {
                let path = self.path(path);
                format!("if_not_exists({path}, {})", self.value(value))
            }
            Operand::Plus(term, more) => {
                let term = self.operand(term);
                format!("{term} + {}", self.value(&Value::Int(*more)))
            }
            Operand::Append(first, second) => {
                let first = self.operand(first);
                format!("list_append({first}, {})", self.operand(second))
            }
        }
    }

    fn top_condition(&mut self, condition: &Condition) -> Option<String> {
        match condition {
            Condition::All(all) if all.is_empty() => None,
            Condition::All(all) if all.len() == 1 => self.top_condition(&all[0]),
            condition => Some(self.condition(condition)),
        }
    }

    /// A condition without parentheses around it.
    fn condition(&mut self, condition: &Condition) -> String {
        match condition {
            Condition::Exists(path) => format!("attribute_exists({})", self.path(path)),
            Condition::Absent(path) => format!("attribute_not_exists({})", self.path(path)),
            Condition::Compare(path, comparison, value) => {
                let path = self.path(path);
                format!("{path} {} {}", sign(*comparison), self.value(value))
            }
            Condition::All(all) => self.joined(all, " AND "),
            Condition::Any(any) => self.joined(any, " OR "),
            Condition::Not(inner) => format!("NOT {}", self.inner(inner)),
        }
    }

    /// DynamoDB refuses parentheses that are not needed, so a list of one is that one.
    fn joined(&mut self, conditions: &[Condition], by: &str) -> String {
        match conditions {
            [] => self.constant(by == " AND "),
            [one] => self.condition(one),
            many => {
                let parts: Vec<String> = many.iter().map(|part| self.inner(part)).collect();
                parts.join(by)
            }
        }
    }

    /// A condition as a part of another: in parentheses, unless it is a single test.
    fn inner(&mut self, condition: &Condition) -> String {
        match condition {
            Condition::Exists(_) | Condition::Absent(_) | Condition::Compare(..) => {
                self.condition(condition)
            }
            Condition::All(list) | Condition::Any(list) if list.len() == 1 => self.inner(&list[0]),
            _ => format!("({})", self.condition(condition)),
        }
    }

    fn constant(&mut self, truth: bool) -> String {
        let name = self.name(&Name::from("-"));
        let by = if truth { "OR" } else { "AND" };
        format!("attribute_exists({name}) {by} attribute_not_exists({name})")
    }
}

fn sign(comparison: Comparison) -> &'static str {
    match comparison {
        Comparison::Equal => "=",
        Comparison::NotEqual => "<>",
        Comparison::Less => "<",
        Comparison::LessOrEqual => "<=",
        Comparison::Greater => ">",
        Comparison::GreaterOrEqual => ">=",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn condition(condition: &Condition) -> Option<String> {
        Expressions::new().with_condition(Some(condition)).condition
    }

    #[test]
    fn names_are_shared_and_values_are_not() {
        let a = || Path::attr("a");
        let one = Condition::equals(a().field("b").index(3), 1);
        let both = one.and(Condition::Absent(a()));
        let printed = Expressions::new()
            .with_condition(Some(&both))
            .with_update(&[
                Action::Set(
                    a(),
                    Operand::Plus(Box::new(Operand::PathOr(a(), Value::Int(0))), -2),
                ),
                Action::Remove(Path::attr("c")),
            ]);
        let condition = "#n0.#n1[3] = :v0 AND attribute_not_exists(#n0)";
        assert_eq!(printed.condition.as_deref(), Some(condition));
        let update = "SET #n0 = if_not_exists(#n0, :v1) + :v2 REMOVE #n2";
        assert_eq!(printed.update.as_deref(), Some(update));
        assert_eq!(printed.names["#n2"], "c");
        assert_eq!(printed.values[":v2"], Value::Int(-2));
    }

    #[test]
    fn parentheses_stand_where_they_are_needed_and_nowhere_else() {
        let test = || Condition::Exists(Path::attr("a"));
        let any = || Condition::Any(vec![test(), test()]);
        assert_eq!(condition(&Condition::All(vec![])), None);
        let single = Condition::All(vec![Condition::Any(vec![test()])]);
        assert_eq!(condition(&single).unwrap(), "attribute_exists(#n0)");
        let nested = Condition::All(vec![any(), Condition::Not(Box::new(any()))]);
        let or = "attribute_exists(#n0) OR attribute_exists(#n0)";
        assert_eq!(
            condition(&nested).unwrap(),
            format!("({or}) AND (NOT ({or}))")
        );
        let never = "attribute_exists(#n0) AND attribute_not_exists(#n0)";
        assert_eq!(condition(&Condition::Any(vec![])).unwrap(), never);
        let not = Condition::Not(Box::new(Condition::Any(vec![])));
        assert_eq!(condition(&not).unwrap(), format!("NOT ({never})"));
    }
}
