//! Evaluates paths, conditions and projections on an item.

use std::cmp::Ordering;
use std::sync::Arc;
use triptych_model::{Comparison, Condition, Item, Map, Name, Path, Segment, Value};

/// The value at a path, if it is there.
pub(crate) fn resolve<'i>(item: &'i Item, path: &Path) -> Option<&'i Value> {
    let mut value = item.get(path.root())?;
    for segment in &path.segments()[1..] {
        value = step(value, segment)?;
    }
    Some(value)
}

pub(crate) fn step<'v>(value: &'v Value, segment: &Segment) -> Option<&'v Value> {
    match (value, segment) {
        (Value::Map(map), Segment::Field(name)) => map.get(name),
        (Value::List(list), Segment::Index(at)) => list.get(*at),
        _ => None,
    }
}

/// Whether a condition holds of an item; of a missing item, hand in an empty one.
pub fn holds(condition: &Condition, item: &Item) -> bool {
    match condition {
        Condition::Exists(path) => resolve(item, path).is_some(),
        Condition::Absent(path) => resolve(item, path).is_none(),
        Condition::Compare(path, comparison, value) => match resolve(item, path) {
            Some(found) => compare(found, *comparison, value),
            None => *comparison == Comparison::NotEqual,
        },
        Condition::All(all) => all.iter().all(|condition| holds(condition, item)),
        Condition::Any(any) => any.iter().any(|condition| holds(condition, item)),
        Condition::Not(condition) => !holds(condition, item),
    }
}

/// Values of different types are not equal and have no order.
fn compare(found: &Value, comparison: Comparison, value: &Value) -> bool {
    match comparison {
        Comparison::Equal => found == value,
        Comparison::NotEqual => found != value,
        Comparison::Less => order(found, value) == Some(Ordering::Less),
        Comparison::LessOrEqual => {
            matches!(order(found, value), Some(Ordering::Less | Ordering::Equal))
        }
        Comparison::Greater => order(found, value) == Some(Ordering::Greater),
        Comparison::GreaterOrEqual => {
            matches!(
                order(found, value),
                Some(Ordering::Greater | Ordering::Equal)
            )
        }
    }
}

fn order(a: &Value, b: &Value) -> Option<Ordering> {
    let comparable = matches!(
        (a, b),
        (Value::Str(_), Value::Str(_))
            | (Value::Bytes(_), Value::Bytes(_))
            | (
                Value::Int(_) | Value::Float(_),
                Value::Int(_) | Value::Float(_)
            )
    );
    comparable.then(|| a.cmp(b))
}

/// What of an item a projection returns. Elements of lists move together, in their order.
pub(crate) fn project(item: &Item, paths: &[Path]) -> Item {
    if let [path] = paths
        && path.segments().len() == 1
    {
        let found = item.get(path.root());
        return found
            .map(|value| (path.root().clone(), value.clone()))
            .into_iter()
            .collect();
    }
    let mut sorted: Vec<&Path> = paths.iter().collect();
    sorted.sort();
    let mut chosen = Chosen::default();
    for path in sorted {
        if resolve(item, path).is_some() {
            chosen.add(path.segments());
        }
    }
    chosen
        .fields
        .iter()
        .filter_map(|(name, below)| {
            item.get(*name)
                .map(|value| (Name::clone(name), below.cut(value)))
        })
        .collect()
}

/// A tree of the chosen paths, in the order of the paths.
#[derive(Default)]
struct Chosen<'p> {
    whole: bool,
    fields: Vec<(&'p Name, Chosen<'p>)>,
    elements: Vec<(usize, Chosen<'p>)>,
}

impl<'p> Chosen<'p> {
    fn add(&mut self, segments: &'p [Segment]) {
        let Some((first, rest)) = segments.split_first() else {
            self.whole = true;
            return;
        };
        // Paths come sorted, so an equal step was the last one.
        match first {
            Segment::Field(name) => {
                if self.fields.last().is_none_or(|(last, _)| *last != name) {
                    self.fields.push((name, Chosen::default()));
                }
                if let Some((_, below)) = self.fields.last_mut() {
                    below.add(rest);
                }
            }
            Segment::Index(at) => {
                if self.elements.last().is_none_or(|(last, _)| last != at) {
                    self.elements.push((*at, Chosen::default()));
                }
                if let Some((_, below)) = self.elements.last_mut() {
                    below.add(rest);
                }
            }
        }
    }

    fn cut(&self, value: &Value) -> Value {
        match value {
            _ if self.whole => value.clone(),
            Value::Map(map) => {
                let fields = self.fields.iter().filter_map(|(name, below)| {
                    map.get(*name)
                        .map(|value| (Name::clone(name), below.cut(value)))
                });
                Value::Map(Arc::new(fields.collect::<Map>()))
            }
            Value::List(list) => {
                let elements = self
                    .elements
                    .iter()
                    .filter_map(|(at, below)| list.get(*at).map(|value| below.cut(value)));
                Value::list(elements)
            }
            _ => value.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item() -> Item {
        let list = Value::list([Value::Int(0), Value::Int(1), Value::Int(2)]);
        let map = Value::map([("x", Value::Int(1)), ("y", Value::Int(2)), ("l", list)]);
        [
            (Name::from("m"), map),
            (Name::from("s"), Value::str("text")),
        ]
        .into_iter()
        .collect()
    }

    #[test]
    fn an_absent_path_is_unequal_and_nothing_else() {
        let path = Path::attr("none").field("x");
        let value = Value::Int(1);
        let holds = |comparison| {
            super::holds(
                &Condition::Compare(path.clone(), comparison, value.clone()),
                &item(),
            )
        };
        assert!(holds(Comparison::NotEqual));
        assert!(!holds(Comparison::Equal) && !holds(Comparison::Less));
    }

    #[test]
    fn other_types_have_no_order() {
        let path = Path::attr("s");
        for comparison in [
            Comparison::Less,
            Comparison::GreaterOrEqual,
            Comparison::Equal,
        ] {
            let condition = Condition::Compare(path.clone(), comparison, Value::Int(1));
            assert!(!holds(&condition, &item()));
        }
        assert!(holds(
            &Condition::Compare(path, Comparison::NotEqual, Value::Int(1)),
            &item()
        ));
        assert!(holds(&Condition::All(vec![]), &item()));
        assert!(!holds(&Condition::Any(vec![]), &item()));
    }

    #[test]
    fn a_projection_keeps_the_shape_and_closes_the_gaps() {
        let paths = [
            Path::attr("m").field("l").index(2),
            Path::attr("m").field("x"),
            Path::attr("m").field("l").index(0),
            Path::attr("gone"),
        ];
        let list = Value::list([Value::Int(0), Value::Int(2)]);
        let map = Value::map([("x", Value::Int(1)), ("l", list)]);
        let expected: Item = [(Name::from("m"), map)].into_iter().collect();
        assert_eq!(project(&item(), &paths), expected);
    }
}
