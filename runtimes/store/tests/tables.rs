//! What the emulator cannot tell or is not asked: units by index and transaction, failed
//! conditions, storage, pages of 1 MB, and that a refusal leaves no trace.

use triptych_model::{Action, Condition, Item, Name, Operand, Path, Value, item_size};
use triptych_store::{
    Cancellation, Consumed, IndexSchema, Key, KeyAttribute, Request, Response, Return, StoreError,
    TableSchema, Tables, Write,
};

fn table() -> Name {
    Name::from("table")
}

fn item(key: &str, pairs: &[(&str, Value)]) -> Item {
    let pairs = pairs
        .iter()
        .map(|(name, value)| (Name::from(*name), value.clone()));
    pairs.chain([(Name::from("k"), Value::str(key))]).collect()
}

fn put(item: Item) -> Request {
    Request::Put {
        table: table(),
        item,
        condition: None,
    }
}

fn set(key: &str, path: Path, value: Value, condition: Option<Condition>) -> Request {
    Request::Update {
        table: table(),
        key: Key::hash(key),
        update: vec![Action::Set(path, Operand::Value(value))],
        condition,
        returns: Return::None,
    }
}

fn text(bytes: usize) -> Value {
    Value::str("x".repeat(bytes))
}

fn tables(indexes: Vec<IndexSchema>) -> Tables {
    let mut tables = Tables::new();
    let schema = TableSchema {
        indexes,
        ..TableSchema::new("table", "k")
    };
    tables.create_table(schema).unwrap();
    tables
}

fn index(name: &str, hash: &str, keys_only: bool) -> IndexSchema {
    IndexSchema {
        name: Name::from(name),
        hash: KeyAttribute::str(hash),
        range: None,
        keys_only,
    }
}

fn ok(tables: &mut Tables, request: &Request) -> (Response, Consumed) {
    let (result, consumed) = tables.apply(request);
    (
        result.unwrap_or_else(|error| panic!("{request:?}: {error}")),
        consumed,
    )
}

fn writes(tables: &mut Tables, request: &Request) -> u64 {
    ok(tables, request).1.write_units
}

#[test]
fn a_write_costs_the_larger_of_its_images() {
    let mut tables = tables(vec![]);
    assert_eq!(
        writes(&mut tables, &put(item("a", &[("v", text(3000))]))),
        3
    );
    assert_eq!(writes(&mut tables, &put(item("a", &[]))), 3);
    assert_eq!(writes(&mut tables, &put(item("a", &[]))), 1);
    assert_eq!(
        writes(&mut tables, &set("a", Path::attr("v"), text(2000), None)),
        2
    );
    let delete = Request::Delete {
        table: table(),
        key: Key::hash("a"),
        condition: None,
    };
    assert_eq!(writes(&mut tables, &delete), 2);
    assert_eq!(writes(&mut tables, &delete), 1);
}

#[test]
fn a_failed_condition_costs_the_item_that_is_there() {
    let mut tables = tables(vec![]);
    ok(&mut tables, &put(item("a", &[("v", text(3000))])));
    let never = Some(Condition::Any(vec![]));
    for (key, units) in [("a", 3), ("b", 1)] {
        let (result, consumed) =
            tables.apply(&set(key, Path::attr("v"), Value::Null, never.clone()));
        assert_eq!(result, Err(StoreError::ConditionFailed));
        assert_eq!(consumed.write_units, units);
    }
    assert_eq!(tables.stored_items(), 1);
}

#[test]
fn indexes_are_charged_for_what_changes_in_them() {
    let mut tables = tables(vec![index("all", "g", false), index("keys", "g", true)]);
    let with = |g: &str, v: i64| put(item("a", &[("g", Value::str(g)), ("v", Value::Int(v))]));
    assert_eq!(writes(&mut tables, &put(item("a", &[]))), 1, "in no index");
    assert_eq!(writes(&mut tables, &with("x", 1)), 3, "into both");
    assert_eq!(writes(&mut tables, &with("x", 1)), 1, "nothing changes");
    assert_eq!(writes(&mut tables, &with("x", 2)), 2, "the keys stay");
    assert_eq!(writes(&mut tables, &with("y", 2)), 5, "both entries move");
    let transaction = |request| match request {
        Request::Put {
            table,
            item,
            condition,
        } => Request::TransactWrite {
            writes: vec![Write::Put {
                table,
                item,
                condition,
            }],
        },
        other => other,
    };
    assert_eq!(
        writes(&mut tables, &transaction(with("z", 2))),
        6,
        "the table's part twice"
    );
    let parts = ok(&mut tables, &with("x", 2)).1.per_partition;
    assert_eq!(parts.iter().map(|part| part.write_units).sum::<u64>(), 5);
    assert_eq!(parts.iter().filter(|part| part.index.is_none()).count(), 1);
    assert_eq!(writes(&mut tables, &put(item("a", &[]))), 3, "out of both");
}

#[test]
fn reads_are_rounded_together_in_a_page_and_each_in_a_batch() {
    let mut tables = tables(vec![]);
    for key in ["a", "b", "c"] {
        ok(&mut tables, &put(item(key, &[("v", text(1500))])));
    }
    let scan = Request::Scan {
        table: table(),
        filter: Some(Condition::Any(vec![])),
        projection: None,
        consistent: true,
        limit: None,
        start: None,
    };
    let (answer, consumed) = ok(&mut tables, &scan);
    assert_eq!(
        answer,
        Response::Page {
            items: vec![],
            next: None
        }
    );
    assert_eq!((consumed.read_half_units, consumed.bytes_out), (4, 0));
    let keys: Vec<_> = ["a", "b", "c", "d"]
        .map(|key| (table(), Key::hash(key)))
        .into();
    let batch = Request::BatchGet {
        keys: keys.clone(),
        consistent: false,
    };
    assert_eq!(ok(&mut tables, &batch).1.read_half_units, 4);
    assert_eq!(
        ok(&mut tables, &Request::TransactGet { keys })
            .1
            .read_half_units,
        16
    );
}

#[test]
fn a_page_ends_before_the_megabyte() {
    let mut tables = Tables::new();
    tables
        .create_table(TableSchema::new("table", "k").with_range("r"))
        .unwrap();
    for at in 0..7 {
        let mut item = item("a", &[("v", text(300_000))]);
        item.insert(Name::from("r"), Value::str(at.to_string()));
        ok(&mut tables, &put(item));
    }
    let mut start = None;
    let mut pages = Vec::new();
    loop {
        let query = Request::Query {
            table: table(),
            index: None,
            hash: Value::str("a"),
            range_below: None,
            filter: None,
            projection: Some(vec![Path::attr("r")]),
            consistent: false,
            limit: None,
            start,
        };
        match ok(&mut tables, &query).0 {
            Response::Page { items, next } => {
                pages.push(items.len());
                start = next;
            }
            other => panic!("{other:?}"),
        }
        if start.is_none() {
            break;
        }
    }
    assert_eq!(pages, [3, 3, 1]);
}

#[test]
fn a_refused_update_leaves_no_trace() {
    let mut tables = tables(vec![index("all", "g", false)]);
    let list = Value::list([Value::Int(1)]);
    ok(
        &mut tables,
        &put(item("a", &[("l", list), ("g", Value::str("x"))])),
    );
    let before: Vec<_> = tables
        .items("table")
        .map(|(k, i)| (k.clone(), i.clone()))
        .collect();
    let stored = tables.stored_bytes();
    let mut refuse = |update: Vec<Action>| {
        let request = Request::Update {
            table: table(),
            key: Key::hash("a"),
            update,
            condition: None,
            returns: Return::None,
        };
        let (result, consumed) = tables.apply(&request);
        assert!(
            matches!(result, Err(StoreError::Validation(_))),
            "{request:?}"
        );
        assert_eq!((consumed.write_units, consumed.read_half_units), (0, 0));
    };
    let good = || Action::Set(Path::attr("l").index(0), Operand::Value(Value::Int(2)));
    let constant = |name, value| Action::Set(Path::attr(name), Operand::Value(value));
    refuse(vec![
        good(),
        Action::Set(Path::attr("x"), Operand::Path(Path::attr("none"))),
    ]);
    refuse(vec![good(), constant("v", text(410 * 1024))]);
    refuse(vec![good(), constant("g", Value::Int(1))]);
    refuse(vec![good(), constant("k", Value::str("b"))]);
    let after: Vec<_> = tables
        .items("table")
        .map(|(k, i)| (k.clone(), i.clone()))
        .collect();
    assert_eq!((before, stored), (after, tables.stored_bytes()));
}

#[test]
fn a_transaction_happens_as_a_whole_or_not_at_all() {
    let mut tables = tables(vec![]);
    let part = |key: &str, condition| Write::Put {
        table: table(),
        item: item(key, &[]),
        condition,
    };
    let never = || Some(Condition::Any(vec![]));
    let writes = vec![part("a", None), part("b", never()), part("c", None)];
    let (result, consumed) = tables.apply(&Request::TransactWrite { writes });
    let reasons = vec![
        Cancellation::None,
        Cancellation::ConditionFailed,
        Cancellation::None,
    ];
    assert_eq!(result, Err(StoreError::Cancelled(reasons)));
    assert_eq!((tables.stored_items(), consumed.write_units), (0, 3));
    tables.txn_max_items = 2;
    let three = || Request::TransactWrite {
        writes: ["a", "b", "c"].map(|k| part(k, None)).into(),
    };
    assert!(matches!(
        tables.apply(&three()).0,
        Err(StoreError::Validation(_))
    ));
    tables.txn_max_items = 3;
    assert_eq!(ok(&mut tables, &three()).1.write_units, 6);
}

#[test]
fn storage_is_counted_with_overhead_and_indexes() {
    let mut tables = tables(vec![index("all", "g", false), index("keys", "g", true)]);
    let full = item("a", &[("g", Value::str("x")), ("v", text(50))]);
    let size = item_size(&full) as u64;
    ok(&mut tables, &put(full));
    assert_eq!(tables.stored_bytes(), 2 * size + 4 + 3 * 100);
    ok(&mut tables, &set("a", Path::attr("v"), text(60), None));
    assert_eq!(tables.stored_bytes(), 2 * (size + 10) + 4 + 3 * 100);
    let delete = Request::Delete {
        table: table(),
        key: Key::hash("a"),
        condition: None,
    };
    ok(&mut tables, &delete);
    assert_eq!((tables.stored_bytes(), tables.stored_items()), (0, 0));
}

#[test]
fn limits_of_nesting_numbers_and_batches() {
    let mut tables = tables(vec![]);
    let deep = |levels: usize| (0..levels).fold(Value::Null, |value, _| Value::list([value]));
    ok(&mut tables, &put(item("a", &[("v", deep(31))])));
    let invalid = |tables: &mut Tables, request: &Request| {
        assert!(
            matches!(tables.apply(request).0, Err(StoreError::Validation(_))),
            "{request:?}"
        );
    };
    invalid(&mut tables, &put(item("a", &[("v", deep(32))])));
    ok(&mut tables, &put(item("a", &[("v", deep(3))])));
    let below = Path::attr("v").index(0).index(0);
    ok(&mut tables, &set("a", below.clone(), deep(29), None));
    invalid(&mut tables, &set("a", below, deep(30), None));
    invalid(
        &mut tables,
        &put(item("a", &[("v", Value::Float(f64::INFINITY))])),
    );
    let overflow = Operand::Plus(Box::new(Operand::Value(Value::Int(i64::MAX))), 1);
    let update = Request::Update {
        table: table(),
        key: Key::hash("a"),
        update: vec![Action::Set(Path::attr("n"), overflow)],
        condition: None,
        returns: Return::None,
    };
    invalid(&mut tables, &update);
    let batch = |count: usize| Request::BatchWrite {
        writes: (0..count)
            .map(|n| Write::Delete {
                table: table(),
                key: Key::hash(format!("{n}")),
                condition: None,
            })
            .collect(),
    };
    ok(&mut tables, &batch(25));
    invalid(&mut tables, &batch(26));
    let keys = |count: usize| Request::BatchGet {
        keys: (0..count)
            .map(|n| (table(), Key::hash(format!("{n}"))))
            .collect(),
        consistent: true,
    };
    ok(&mut tables, &keys(100));
    invalid(&mut tables, &keys(101));
}
