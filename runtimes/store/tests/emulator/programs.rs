//! Random programs: few keys and attributes, so that requests meet each other's items.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use std::sync::Arc;
use triptych_model::{Action, Comparison, Condition, Item, Name, Operand, Path, Update, Value};
use triptych_store::{IndexSchema, Key, KeyAttribute, Request, Return, TableSchema, Write};

pub(crate) fn schemas() -> Vec<TableSchema> {
    let mut ranged = TableSchema::new("ranged", "k");
    ranged.range = Some(KeyAttribute::number("r"));
    ranged.indexes = vec![
        IndexSchema {
            name: Name::from("by_g"),
            hash: KeyAttribute::str("g"),
            range: Some(KeyAttribute::number("n")),
            keys_only: false,
        },
        IndexSchema {
            name: Name::from("by_h"),
            hash: KeyAttribute::str("h"),
            range: None,
            keys_only: true,
        },
    ];
    vec![TableSchema::new("plain", "k"), ranged]
}

fn name(options: &'static [&'static str]) -> impl Strategy<Value = Name> {
    proptest::sample::select(options).prop_map(Name::from)
}

fn table() -> impl Strategy<Value = Name> {
    prop_oneof![8 => Just("plain"), 12 => Just("ranged"), 1 => Just("missing")].prop_map(Name::from)
}

fn scalar() -> impl Strategy<Value = Value> {
    prop_oneof![
        6 => (-2..4_i64).prop_map(Value::Int),
        5 => proptest::sample::select(&["a", "b", "", "häus"][..]).prop_map(Value::str),
        1 => proptest::sample::select(&[0.5, -1.25, 2.0, 1000.5][..]).prop_map(Value::Float),
        1 => any::<bool>().prop_map(Value::Bool),
        1 => Just(Value::Null),
        1 => vec(0..3_u8, 0..3).prop_map(|bytes| Value::Bytes(Arc::from(bytes))),
        1 => proptest::sample::select(&[900, 1100, 2000][..]).prop_map(|n| Value::str("x".repeat(n))),
    ]
}

fn value() -> impl Strategy<Value = Value> {
    prop_oneof![3 => scalar().boxed(), 2 => document().boxed()]
}

/// Lists and maps whose members have the names that paths use.
fn document() -> impl Strategy<Value = Value> {
    scalar().prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::list),
            vec((name(&["x", "y"]), inner), 0..3).prop_map(Value::map),
        ]
    })
}

fn hash_value() -> impl Strategy<Value = Value> {
    prop_oneof![
        20 => proptest::sample::select(&["p", "q", "s"][..]).prop_map(Value::str),
        1 => scalar(),
    ]
}

fn range_value() -> impl Strategy<Value = Value> {
    prop_oneof![20 => (-1..3_i64).prop_map(Value::Int), 1 => scalar()]
}

fn key(table: &Name) -> BoxedStrategy<Key> {
    let has_range = &**table == "ranged";
    let right = if has_range {
        range_value().prop_map(Some).boxed()
    } else {
        Just(None).boxed()
    };
    let range = prop_oneof![25 => right, 1 => option::of(range_value())];
    let too_long = Just(Value::str("z".repeat(2_049)));
    let hash = prop_oneof![60 => hash_value(), 1 => too_long];
    (hash, range)
        .prop_map(|(hash, range)| Key { hash, range })
        .boxed()
}

fn table_and_key() -> impl Strategy<Value = (Name, Key)> {
    table().prop_flat_map(|table| {
        let key = key(&table);
        (Just(table), key)
    })
}

fn attributes() -> impl Strategy<Value = Vec<(Name, Value)>> {
    let free = (name(&["a", "b", "m", "l", "c"]), value());
    let indexed = prop_oneof![
        (Just(Name::from("g")), hash_value()),
        (Just(Name::from("n")), range_value()),
        (Just(Name::from("h")), hash_value()),
    ];
    (vec(free, 0..5), vec(indexed, 0..3)).prop_map(|(mut free, indexed)| {
        free.extend(indexed);
        free
    })
}

fn table_and_item() -> impl Strategy<Value = (Name, Item)> {
    (table_and_key(), attributes(), 0..40_u8).prop_map(|((table, key), attributes, drop)| {
        let mut item: Item = attributes.into_iter().collect();
        item.insert(Name::from("k"), key.hash);
        if let Some(range) = key.range {
            item.insert(Name::from("r"), range);
        }
        match drop {
            0 => drop_of(&mut item, "k"),
            1 => drop_of(&mut item, "r"),
            // Over the limit of an item.
            2 => drop_in(&mut item, Value::str("y".repeat(410_000))),
            3 => drop_in(&mut item, Value::str("y".repeat(300_000))),
            _ => {}
        }
        (table, item)
    })
}

fn drop_of(item: &mut Item, name: &str) {
    item.remove(name);
}

fn drop_in(item: &mut Item, value: Value) {
    item.insert(Name::from("big"), value);
}

fn path() -> impl Strategy<Value = Path> {
    let step = prop_oneof![name(&["x", "y"]).prop_map(Err), (0..4_usize).prop_map(Ok),];
    let root = prop_oneof![
        12 => name(&["a", "b", "m", "l", "c"]),
        2 => name(&["g", "n", "h"]),
        1 => name(&["k", "r"]),
    ];
    let depth = prop_oneof![3 => Just(0..1_usize), 2 => Just(1..2), 1 => Just(2..3)];
    let steps = depth.prop_flat_map(move |depth| vec(step.clone(), depth));
    (root, steps).prop_map(|(root, steps)| {
        steps
            .into_iter()
            .fold(Path::attr(root), |path, step| match step {
                Ok(at) => path.index(at),
                Err(field) => path.field(field),
            })
    })
}

fn comparison() -> impl Strategy<Value = Comparison> {
    use Comparison::{Equal, Greater, GreaterOrEqual, Less, LessOrEqual, NotEqual};
    proptest::sample::select(&[Equal, NotEqual, Less, LessOrEqual, Greater, GreaterOrEqual][..])
}

pub(crate) fn condition() -> impl Strategy<Value = Condition> {
    let test = prop_oneof![
        path().prop_map(Condition::Exists),
        path().prop_map(Condition::Absent),
        (path(), comparison(), scalar()).prop_map(|(p, c, v)| Condition::Compare(p, c, v)),
        (path(), value()).prop_map(|(p, v)| Condition::Compare(p, Comparison::Equal, v)),
    ];
    test.prop_recursive(3, 8, 3, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..3).prop_map(Condition::All),
            vec(inner.clone(), 0..3).prop_map(Condition::Any),
            inner.prop_map(|inner| Condition::Not(Box::new(inner))),
        ]
    })
}

fn operand() -> impl Strategy<Value = Operand> {
    let source = prop_oneof![
        path().prop_map(Operand::Path),
        (path(), scalar()).prop_map(|(path, value)| Operand::PathOr(path, value)),
    ];
    let list = prop_oneof![
        2 => (path(), vec(scalar(), 0..2)).prop_map(|(p, v)| Operand::PathOr(p, Value::list(v))),
        2 => vec(scalar(), 0..3).prop_map(|list| Operand::Value(Value::list(list))),
        1 => path().prop_map(Operand::Path),
        1 => scalar().prop_map(Operand::Value),
    ];
    let number = (path(), -2..3_i64).prop_map(|(p, n)| Operand::PathOr(p, Value::Int(n)));
    prop_oneof![
        5 => value().prop_map(Operand::Value),
        2 => source.clone(),
        2 => (number, -5..5_i64).prop_map(|(term, n)| Operand::Plus(Box::new(term), n)),
        1 => (source, -5..5_i64).prop_map(|(term, n)| Operand::Plus(Box::new(term), n)),
        2 => (list.clone(), list).prop_map(|(a, b)| Operand::Append(Box::new(a), Box::new(b))),
    ]
}

pub(crate) fn update() -> impl Strategy<Value = Update> {
    let action = prop_oneof![
        3 => (path(), operand()).prop_map(|(path, operand)| Action::Set(path, operand)),
        1 => path().prop_map(Action::Remove),
    ];
    vec(action, 0..4)
}

fn projection() -> impl Strategy<Value = Option<Vec<Path>>> {
    option::weighted(0.3, vec(path(), 0..4))
}

fn write() -> impl Strategy<Value = Write> {
    prop_oneof![
        (table_and_item(), option::of(condition())).prop_map(|((table, item), condition)| {
            Write::Put {
                table,
                item,
                condition,
            }
        }),
        (table_and_key(), update(), option::of(condition())).prop_map(
            |((table, key), update, condition)| Write::Update {
                table,
                key,
                update,
                condition
            }
        ),
        (table_and_key(), option::of(condition())).prop_map(|((table, key), condition)| {
            Write::Delete {
                table,
                key,
                condition,
            }
        }),
        (table_and_key(), condition()).prop_map(|((table, key), condition)| Write::Check {
            table,
            key,
            condition
        }),
    ]
}

fn plain_write() -> impl Strategy<Value = Write> {
    prop_oneof![
        table_and_item().prop_map(|(table, item)| Write::Put {
            table,
            item,
            condition: None
        }),
        table_and_key().prop_map(|(table, key)| Write::Delete {
            table,
            key,
            condition: None
        }),
    ]
}

fn start() -> impl Strategy<Value = Option<Item>> {
    let item = (table_and_key(), attributes()).prop_map(|((_, key), attributes)| {
        let mut item: Item = attributes
            .into_iter()
            .filter(|(name, _)| ["g", "n", "h"].contains(&&**name))
            .collect();
        item.insert(Name::from("k"), key.hash);
        if let Some(range) = key.range {
            item.insert(Name::from("r"), range);
        }
        item
    });
    option::weighted(0.1, item)
}

fn query() -> impl Strategy<Value = Request> {
    let index = prop_oneof![
        6 => Just(None), 3 => Just(Some("by_g")), 2 => Just(Some("by_h")), 1 => Just(Some("by_x")),
    ];
    (
        (table(), index.prop_map(|name| name.map(Name::from))),
        hash_value(),
        option::weighted(0.3, range_value()),
        option::weighted(0.4, condition()),
        projection(),
        prop_oneof![3 => Just(false), 1 => Just(true)],
        option::weighted(0.5, prop_oneof![1 => Just(0_usize), 20 => 1..4_usize]),
        start(),
    )
        .prop_map(
            |((table, index), hash, range_below, filter, projection, consistent, limit, start)| {
                Request::Query {
                    table,
                    index,
                    hash,
                    range_below,
                    filter,
                    projection,
                    consistent,
                    limit,
                    start,
                }
            },
        )
}

fn scan() -> impl Strategy<Value = Request> {
    (
        table(),
        option::weighted(0.5, condition()),
        projection(),
        any::<bool>(),
        option::weighted(0.5, 1..4_usize),
    )
        .prop_map(
            |(table, filter, projection, consistent, limit)| Request::Scan {
                table,
                filter,
                projection,
                consistent,
                limit,
                start: None,
            },
        )
}

pub(crate) fn request() -> impl Strategy<Value = Request> {
    let returns = prop_oneof![
        Just(Return::None),
        Just(Return::AllNew),
        Just(Return::AllOld)
    ];
    prop_oneof![
        3 => (table_and_key(), projection(), any::<bool>()).prop_map(
            |((table, key), projection, consistent)| {
                Request::Get { table, key, projection, consistent }
            }
        ),
        6 => (table_and_item(), option::weighted(0.3, condition()))
            .prop_map(|((table, item), condition)| Request::Put { table, item, condition }),
        8 => (table_and_key(), update(), option::weighted(0.4, condition()), returns).prop_map(
            |((table, key), update, condition, returns)| {
                Request::Update { table, key, update, condition, returns }
            }
        ),
        1 => (table_and_key(), option::weighted(0.4, condition()))
            .prop_map(|((table, key), condition)| Request::Delete { table, key, condition }),
        5 => query(),
        2 => scan(),
        2 => (vec(table_and_key(), 0..5), any::<bool>())
            .prop_map(|(keys, consistent)| Request::BatchGet { keys, consistent }),
        2 => vec(plain_write(), 0..5).prop_map(|writes| Request::BatchWrite { writes }),
        1 => vec(table_and_key(), 0..4).prop_map(|keys| Request::TransactGet { keys }),
        3 => vec(write(), 0..4).prop_map(|writes| Request::TransactWrite { writes }),
    ]
}
