//! Values as DynamoDB knows them, cheap to clone: strings, lists and maps are shared and copied
//! only when a shared one is changed.

use std::cell::RefCell;
use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The name of an attribute, a table or a function.
pub type Name = Arc<str>;
/// A document: attribute names to values, ordered so that iteration never leaks a hash order.
pub type Map = BTreeMap<Name, Value>;
/// One row of a table.
pub type Item = Map;

/// One value of the store's data model.
#[derive(Clone, Debug, Default)]
pub enum Value {
    /// DynamoDB's NULL.
    #[default]
    Null,
    /// A boolean.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A number with a fraction. Never NaN.
    Float(f64),
    /// A UTF-8 string.
    Str(Arc<str>),
    /// Binary data.
    Bytes(Arc<[u8]>),
    /// A list of any values.
    List(Arc<Vec<Value>>),
    /// A nested document.
    Map(Arc<Map>),
}

thread_local! {
    static NAMES: RefCell<BTreeSet<Name>> = const { RefCell::new(BTreeSet::new()) };
}

/// How many names are shared; an app has a few hundred.
const SHARED_NAMES: usize = 4_096;

/// The name of an attribute or field. Names are few and stand in every item, so equal ones share
/// their memory (up to a bound, should somebody make names out of data).
pub fn name(text: &str) -> Name {
    NAMES.with_borrow_mut(|names| match names.get(text) {
        Some(name) => name.clone(),
        None => {
            let name = Name::from(text);
            if names.len() < SHARED_NAMES {
                names.insert(name.clone());
            }
            name
        }
    })
}

impl Value {
    /// A string value.
    pub fn str(text: impl AsRef<str>) -> Self {
        Value::Str(Arc::from(text.as_ref()))
    }

    /// A list value.
    pub fn list(items: impl IntoIterator<Item = Value>) -> Self {
        Value::List(Arc::new(items.into_iter().collect()))
    }

    /// A map value from pairs of name and value.
    pub fn map<N: AsRef<str>>(pairs: impl IntoIterator<Item = (N, Value)>) -> Self {
        Value::Map(Arc::new(
            pairs
                .into_iter()
                .map(|(name, value)| (self::name(name.as_ref()), value))
                .collect(),
        ))
    }

    /// The text of a string value.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Value::Str(text) => Some(text),
            _ => None,
        }
    }

    /// The number of a whole-number value.
    pub fn as_int(&self) -> Option<i64> {
        match self {
            Value::Int(number) => Some(*number),
            _ => None,
        }
    }

    /// The boolean of a boolean value.
    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Value::Bool(flag) => Some(*flag),
            _ => None,
        }
    }

    /// The elements of a list value.
    pub fn as_list(&self) -> Option<&[Value]> {
        match self {
            Value::List(items) => Some(items),
            _ => None,
        }
    }

    /// The document of a map value.
    pub fn as_map(&self) -> Option<&Map> {
        match self {
            Value::Map(map) => Some(map),
            _ => None,
        }
    }

    /// The member `name` of a map value.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.as_map().and_then(|map| map.get(name))
    }

    /// The bytes that DynamoDB counts for this value (developer guide, "item sizes"): strings by
    /// their UTF-8 length, numbers one byte per two significant digits plus one (and one for a
    /// minus sign), lists and
    /// maps three bytes plus one per element.
    pub fn size(&self) -> usize {
        match self {
            Value::Null | Value::Bool(_) => 1,
            Value::Int(number) => {
                let digits = significant_digits(number.unsigned_abs());
                1 + digits.div_ceil(2) + usize::from(*number < 0)
            }
            Value::Float(number) => float_size(*number),
            Value::Str(text) => text.len(),
            Value::Bytes(bytes) => bytes.len(),
            Value::List(items) => 3 + items.iter().map(|item| 1 + item.size()).sum::<usize>(),
            Value::Map(map) => {
                3 + map
                    .iter()
                    .map(|(name, value)| 1 + name.len() + value.size())
                    .sum::<usize>()
            }
        }
    }

    /// A rank per type, so that values of different types have an order too.
    fn rank(&self) -> u8 {
        match self {
            Value::Null => 0,
            Value::Bool(_) => 1,
            Value::Int(_) | Value::Float(_) => 2,
            Value::Str(_) => 3,
            Value::Bytes(_) => 4,
            Value::List(_) => 5,
            Value::Map(_) => 6,
        }
    }

    /// The number, whole or not.
    pub fn as_f64(&self) -> Option<f64> {
        match self {
            Value::Int(number) => Some(*number as f64),
            Value::Float(number) => Some(*number),
            _ => None,
        }
    }
}

/// The bytes that DynamoDB counts for an item: names and values of its attributes.
pub fn item_size(item: &Item) -> usize {
    item.iter()
        .map(|(name, value)| name.len() + value.size())
        .sum()
}

/// Significant digits before and after the point are rounded up to whole bytes apart.
fn float_size(number: f64) -> usize {
    let written = format!("{:e}", number.abs());
    let (mantissa, exponent) = written.split_once('e').unwrap_or((&written, "0"));
    let digits = mantissa.bytes().filter(u8::is_ascii_digit).count();
    let whole = exponent
        .parse::<isize>()
        .map_or(0, |exponent| (exponent + 1).max(0) as usize);
    let whole = whole.min(digits);
    1 + whole.div_ceil(2) + (digits - whole).div_ceil(2) + usize::from(number < 0.0)
}

fn significant_digits(mut number: u64) -> usize {
    while number != 0 && number.is_multiple_of(10) {
        number /= 10;
    }
    let mut digits = 1;
    while number >= 10 {
        number /= 10;
        digits += 1;
    }
    digits
}

impl Ord for Value {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Value::Bool(a), Value::Bool(b)) => a.cmp(b),
            (Value::Int(a), Value::Int(b)) => a.cmp(b),
            (Value::Str(a), Value::Str(b)) => a.cmp(b),
            (Value::Bytes(a), Value::Bytes(b)) => a.cmp(b),
            (Value::List(a), Value::List(b)) => a.cmp(b),
            (Value::Map(a), Value::Map(b)) => a.cmp(b),
            _ => match (self.as_f64(), other.as_f64()) {
                (Some(a), Some(b)) => a.total_cmp(&b),
                _ => self.rank().cmp(&other.rank()),
            },
        }
    }
}

impl PartialOrd for Value {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Value {}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Value::str(text)
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Value::Str(Arc::from(text))
    }
}

impl From<Name> for Value {
    fn from(text: Name) -> Self {
        Value::Str(text)
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Value::Int(number)
    }
}

impl From<bool> for Value {
    fn from(flag: bool) -> Self {
        Value::Bool(flag)
    }
}

impl From<Map> for Value {
    fn from(map: Map) -> Self {
        Value::Map(Arc::new(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_follow_the_developer_guide() {
        assert_eq!(Value::str("häus").size(), 5);
        assert_eq!(Value::Int(0).size(), 2);
        assert_eq!(Value::Int(1_000_000).size(), 2);
        assert_eq!(Value::Int(12_345).size(), 4);
        assert_eq!(Value::Int(-12_345).size(), 5);
        assert_eq!(Value::Float(1e20).size(), 2);
        assert_eq!(Value::Float(-12.5).size(), 4);
        assert_eq!(Value::Float(0.001).size(), 2);
        assert_eq!(
            Value::list([Value::Null, Value::str("ab")]).size(),
            3 + 2 + 3
        );
        assert_eq!(Value::map([("a", Value::Bool(true))]).size(), 3 + 3);
    }

    #[test]
    fn whole_and_fractional_numbers_compare_as_numbers() {
        assert_eq!(Value::Int(3), Value::Float(3.0));
        assert!(Value::Int(3) < Value::Float(3.5));
        assert!(Value::Int(i64::MAX - 1) < Value::Int(i64::MAX));
    }
}
