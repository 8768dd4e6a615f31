//! Updates: planned on the item as it is, then made in place.
//!
//! Planning reads the old item only: it evaluates every right-hand side, finds out whether every
//! target can be reached, and how the item's size changes. Nothing after that can fail, so an item
//! is never left half changed and never copied to be safe.

use crate::StoreError;
use crate::check::{self, MAX_DEPTH, invalid};
use crate::eval::{resolve, step};
use std::sync::Arc;
use triptych_model::{Action, Item, Name, Operand, Path, Segment, Value};

/// The changes of one update, ready to be made.
#[derive(Debug, Default)]
pub(crate) struct Edits<'r> {
    /// In the order of their paths, so that elements beyond a list's end are appended in the order
    /// of their positions.
    sets: Vec<(&'r Path, Value)>,
    /// In the reverse order of their paths, so that removing an element moves none that is still to
    /// be removed.
    removes: Vec<&'r Path>,
    /// The item's size afterwards.
    pub(crate) size: usize,
    /// Whether anything will differ.
    pub(crate) changes: bool,
}

const UNREACHABLE_PATH: &str = "the document path in the update is not in the item";

impl<'r> Edits<'r> {
    /// Evaluates an update on an item. `size` is the item's.
    pub(crate) fn plan(
        actions: &'r [Action],
        item: &Item,
        size: usize,
    ) -> Result<Self, StoreError> {
        let mut edits = Edits::default();
        let mut size = size;
        for action in actions {
            match action {
                Action::Set(path, operand) => {
                    let value = evaluate(operand, item)?;
                    let (old, cost) = reach(item, path)?;
                    if let Value::List(_) | Value::Map(_) = value
                        && path.segments().len() - 1 + check::depth(&value) >= MAX_DEPTH
                    {
                        return invalid("nesting levels have exceeded the supported limit");
                    }
                    // The new part is added before the old is taken away, or it could go below 0.
                    size += value.size() + if old.is_none() { cost } else { 0 };
                    size -= old.map_or(0, Value::size);
                    edits.changes |= old != Some(&value);
                    edits.sets.push((path, value));
                }
                Action::Remove(path) => {
                    if let (Some(old), cost) = reach(item, path)? {
                        size -= old.size() + cost;
                        edits.changes = true;
                        edits.removes.push(path);
                    }
                }
            }
        }
        edits.sets.sort_by(|a, b| a.0.cmp(b.0));
        edits.removes.sort_by(|a, b| b.cmp(a));
        edits.size = size;
        Ok(edits)
    }

    /// What a top-level attribute will be.
    pub(crate) fn after<'v>(&'v self, item: &'v Item, name: &Name) -> Option<&'v Value> {
        let whole = |path: &Path| path.segments().len() == 1 && path.root() == name;
        if let Some((_, value)) = self.sets.iter().find(|(path, _)| whole(path)) {
            return Some(value);
        }
        if self.removes.iter().any(|path| whole(path)) {
            return None;
        }
        item.get(name)
    }

    /// The bytes of the values that the update carries or computes.
    pub(crate) fn value_bytes(&self) -> usize {
        self.sets.iter().map(|(_, value)| value.size()).sum()
    }

    /// Makes the changes.
    pub(crate) fn make(self, item: &mut Item) {
        for (path, value) in self.sets {
            set(item, path, value);
        }
        for path in self.removes {
            remove(item, path);
        }
    }
}

/// The value at a target, and what its name or position costs beside its own size. The parent of
/// a target must be there and be a map or a list, as the path says.
fn reach<'i>(item: &'i Item, path: &Path) -> Result<(Option<&'i Value>, usize), StoreError> {
    let segments = path.segments();
    if segments.len() == 1 {
        return Ok((item.get(path.root()), path.root().len()));
    }
    let (last, above) = (
        &segments[segments.len() - 1],
        &segments[1..segments.len() - 1],
    );
    let mut parent = item.get(path.root());
    for segment in above {
        parent = parent.and_then(|value| step(value, segment));
    }
    match (parent, last) {
        (Some(Value::Map(map)), Segment::Field(name)) => Ok((map.get(name), 1 + name.len())),
        (Some(Value::List(list)), Segment::Index(at)) => Ok((list.get(*at), 1)),
        _ => invalid(UNREACHABLE_PATH),
    }
}

fn evaluate(operand: &Operand, item: &Item) -> Result<Value, StoreError> {
    match operand {
        Operand::Value(value) => Ok(value.clone()),
        Operand::Path(path) => match resolve(item, path) {
            Some(value) => Ok(value.clone()),
            None => invalid("the update refers to an attribute that is not in the item"),
        },
        Operand::PathOr(path, default) => Ok(resolve(item, path).unwrap_or(default).clone()),
        Operand::Plus(term, more) => match evaluate(term, item)? {
            Value::Int(number) => match number.checked_add(*more) {
                Some(sum) => Ok(Value::Int(sum)),
                None => invalid("number overflow"),
            },
            Value::Float(number) => {
                let sum = number + *more as f64;
                check::float(sum)?;
                Ok(Value::Float(sum))
            }
            _ => invalid("the operand of an addition is no number"),
        },
        Operand::Append(first, second) => {
            let first = evaluate(first, item)?;
            match (first, evaluate(second, item)?) {
                (Value::List(mut list), Value::List(more)) => {
                    Arc::make_mut(&mut list).extend(more.iter().cloned());
                    Ok(Value::List(list))
                }
                _ => invalid("the operand of list_append is no list"),
            }
        }
    }
}

/// The value that holds a target, open for change. Planning saw it, so it is there.
fn parent<'i>(item: &'i mut Item, path: &Path) -> Option<&'i mut Value> {
    let segments = path.segments();
    let mut value = item.get_mut(path.root())?;
    for segment in &segments[1..segments.len() - 1] {
        value = match (value, segment) {
            (Value::Map(map), Segment::Field(name)) => Arc::make_mut(map).get_mut(name)?,
            (Value::List(list), Segment::Index(at)) => Arc::make_mut(list).get_mut(*at)?,
            _ => return None,
        };
    }
    Some(value)
}

fn set(item: &mut Item, path: &Path, value: Value) {
    let segments = path.segments();
    if segments.len() == 1 {
        item.insert(path.root().clone(), value);
        return;
    }
    match (parent(item, path), &segments[segments.len() - 1]) {
        (Some(Value::Map(map)), Segment::Field(name)) => {
            Arc::make_mut(map).insert(name.clone(), value);
        }
        (Some(Value::List(list)), Segment::Index(at)) => {
            let list = Arc::make_mut(list);
            match list.get_mut(*at) {
                Some(element) => *element = value,
                None => list.push(value),
            }
        }
        _ => debug_assert!(false, "planning reached {path:?}"),
    }
}

fn remove(item: &mut Item, path: &Path) {
    let segments = path.segments();
    if segments.len() == 1 {
        item.remove(path.root());
        return;
    }
    match (parent(item, path), &segments[segments.len() - 1]) {
        (Some(Value::Map(map)), Segment::Field(name)) => {
            Arc::make_mut(map).remove(name);
        }
        (Some(Value::List(list)), Segment::Index(at)) if *at < list.len() => {
            Arc::make_mut(list).remove(*at);
        }
        _ => debug_assert!(false, "planning reached {path:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use triptych_model::item_size;

    fn run(item: &Item, update: Vec<Action>) -> Result<Item, StoreError> {
        check::update(&update)?;
        let edits = Edits::plan(&update, item, item_size(item))?;
        let size = edits.size;
        let mut after = item.clone();
        edits.make(&mut after);
        assert_eq!(size, item_size(&after), "{update:?}");
        Ok(after)
    }

    fn set(path: Path, value: impl Into<Value>) -> Action {
        Action::Set(path, Operand::Value(value.into()))
    }

    fn item() -> Item {
        let list = Value::list([Value::Int(10), Value::Int(11), Value::Int(12)]);
        [
            ("l", list),
            ("n", Value::Int(1)),
            ("m", Value::map([("x", Value::Int(1))])),
        ]
        .into_iter()
        .map(|(name, value)| (Name::from(name), value))
        .collect()
    }

    fn ints(item: &Item) -> Vec<i64> {
        item["l"]
            .as_list()
            .unwrap()
            .iter()
            .map(|value| value.as_int().unwrap())
            .collect()
    }

    #[test]
    fn operands_read_the_item_as_it_was() {
        let n = Path::attr("n");
        let update = vec![
            Action::Set(
                n.clone(),
                Operand::Plus(Box::new(Operand::Path(n.clone())), 4),
            ),
            Action::Set(Path::attr("old"), Operand::Path(n)),
        ];
        let after = run(&item(), update).unwrap();
        assert_eq!(
            (after["n"].as_int(), after["old"].as_int()),
            (Some(5), Some(1))
        );
    }

    #[test]
    fn positions_are_those_of_the_list_as_it_was() {
        let l = || Path::attr("l");
        let update = vec![
            set(l().index(9), 99),
            Action::Remove(l().index(0)),
            set(l().index(5), 55),
            set(l().index(1), 1),
            Action::Remove(l().index(2)),
        ];
        assert_eq!(ints(&run(&item(), update).unwrap()), [1, 55, 99]);
        // Beyond the end there is nothing to remove, even if something was appended.
        let update = vec![set(l().index(7), 77), Action::Remove(l().index(3))];
        assert_eq!(ints(&run(&item(), update).unwrap()), [10, 11, 12, 77]);
    }

    #[test]
    fn what_cannot_be_done_is_refused() {
        let m = || Path::attr("m");
        let plus = |path, more| Operand::Plus(Box::new(Operand::Path(path)), more);
        let refused = [
            set(Path::attr("none").field("x"), 1),
            set(m().index(0), 1),
            set(Path::attr("l").field("x"), 1),
            Action::Remove(Path::attr("none").field("x")),
            Action::Set(Path::attr("y"), Operand::Path(Path::attr("none"))),
            Action::Set(Path::attr("y"), plus(m(), 1)),
            Action::Set(Path::attr("n"), plus(Path::attr("n"), i64::MAX)),
            Action::Set(
                Path::attr("l"),
                Operand::Append(
                    Box::new(Operand::Path(Path::attr("l"))),
                    Box::new(Operand::Path(Path::attr("n"))),
                ),
            ),
        ];
        for action in refused {
            let result = run(&item(), vec![action.clone()]);
            assert!(
                matches!(result, Err(StoreError::Validation(_))),
                "{action:?}"
            );
        }
        let overlap = vec![set(m(), 1), set(m().field("x"), 2)];
        assert!(run(&item(), overlap).is_err());
        let conflict = vec![set(m().index(1), 1), Action::Remove(m().field("x"))];
        assert!(run(&item(), conflict).is_err());
    }
}
