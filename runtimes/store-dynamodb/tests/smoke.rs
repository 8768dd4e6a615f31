//! A short program of every operation, through the SDK and HTTP to an emulator on loopback, and on
//! the tables in memory: the answers must be the same.

use std::rc::Rc;
use triptych_model::{Action, Comparison, Condition, Item, Name, Operand, Path, Value};
use triptych_store::{
    IndexSchema, Key, KeyAttribute, Request, Response, Return, Store, StoreError, TableSchema,
    Tables, Write,
};
use triptych_store_dynamodb::{DynamoStore, connect};
use triptych_world::{Options, World};

fn schemas() -> Vec<TableSchema> {
    let mut posts = TableSchema::new("posts", "user");
    posts.range = Some(KeyAttribute::number("at"));
    posts.indexes = vec![IndexSchema {
        name: Name::from("by_topic"),
        hash: KeyAttribute::str("topic"),
        range: Some(KeyAttribute::number("at")),
        keys_only: true,
    }];
    vec![TableSchema::new("users", "id"), posts]
}

fn item(pairs: impl IntoIterator<Item = (&'static str, Value)>) -> Item {
    pairs
        .into_iter()
        .map(|(name, value)| (Name::from(name), value))
        .collect()
}

fn users() -> Name {
    Name::from("users")
}

fn posts() -> Name {
    Name::from("posts")
}

fn post(user: &str, at: i64) -> Item {
    item([
        ("user", Value::str(user)),
        ("at", Value::Int(at)),
        ("topic", Value::str("rust")),
        ("score", Value::Float(at as f64 / 4.0)),
    ])
}

fn user(id: &str) -> Item {
    let log = Value::map([("first", Value::Int(1))]);
    let tags = Value::list([Value::str("a"), Value::Null, Value::Bool(true)]);
    item([
        ("id", Value::str(id)),
        ("log", log),
        ("tags", tags),
        ("raw", Value::Bytes(std::sync::Arc::from([1_u8, 2]))),
    ])
}

fn update(id: &str, update: Vec<Action>, condition: Option<Condition>, returns: Return) -> Request {
    Request::Update {
        table: users(),
        key: Key::hash(id),
        update,
        condition,
        returns,
    }
}

fn set(path: Path, operand: Operand) -> Action {
    Action::Set(path, operand)
}

fn query(index: Option<&str>, hash: &str, limit: Option<usize>, start: Option<Item>) -> Request {
    Request::Query {
        table: posts(),
        index: index.map(Name::from),
        hash: Value::str(hash),
        range_below: Some(Value::Int(6)),
        filter: index
            .is_none()
            .then(|| Condition::Compare(Path::attr("score"), Comparison::Greater, Value::Int(0))),
        projection: Some(vec![Path::attr("at"), Path::attr("topic")]),
        consistent: index.is_none(),
        limit,
        start,
    }
}

fn program() -> Vec<Request> {
    let visits = || Path::attr("visits");
    let plus = Operand::Plus(Box::new(Operand::PathOr(visits(), Value::Int(0))), 2);
    let append = Operand::Append(
        Box::new(Operand::Path(Path::attr("tags"))),
        Box::new(Operand::Value(Value::list([Value::Int(9)]))),
    );
    let missing = Name::from("missing");
    let get = |table: Name, key: Key| Request::Get {
        table,
        key,
        projection: None,
        consistent: true,
    };
    let mut program = vec![
        Request::Put {
            table: users(),
            item: user("u1"),
            condition: None,
        },
        Request::Put {
            table: users(),
            item: user("u1"),
            condition: Some(Condition::Absent(Path::attr("id"))),
        },
        get(users(), Key::hash("u1")),
        get(users(), Key::hash("nobody")),
        get(users(), Key::range("u1", 1)),
        get(missing.clone(), Key::hash("x")),
        update(
            "u1",
            vec![
                set(visits(), plus),
                set(Path::attr("tags"), append),
                set(
                    Path::attr("log").field("second"),
                    Operand::Value(Value::Int(2)),
                ),
                Action::Remove(Path::attr("raw")),
            ],
            Some(Condition::All(vec![
                Condition::Exists(Path::attr("id")),
                Condition::Not(Box::new(Condition::Any(vec![]))),
            ])),
            Return::AllNew,
        ),
        update("u1", vec![Action::Remove(visits())], None, Return::AllOld),
        update(
            "u1",
            vec![set(visits(), Operand::Path(Path::attr("none")))],
            None,
            Return::None,
        ),
        update("u2", vec![], None, Return::AllNew),
        Request::BatchWrite {
            writes: (0..8)
                .map(|at| Write::Put {
                    table: posts(),
                    item: post("u1", at),
                    condition: None,
                })
                .chain([Write::Delete {
                    table: users(),
                    key: Key::hash("u2"),
                    condition: None,
                }])
                .collect(),
        },
        Request::BatchWrite { writes: vec![] },
        query(None, "u1", None, None),
        query(None, "u1", Some(2), None),
        query(Some("by_topic"), "rust", Some(3), None),
        query(Some("by_nothing"), "rust", None, None),
        Request::BatchGet {
            keys: vec![
                (posts(), Key::range("u1", 3)),
                (users(), Key::hash("u2")),
                (posts(), Key::range("u1", 1)),
                (users(), Key::hash("u1")),
            ],
            consistent: false,
        },
        Request::TransactGet {
            keys: vec![(users(), Key::hash("u1")), (posts(), Key::range("u1", 99))],
        },
        Request::TransactWrite {
            writes: vec![
                Write::Check {
                    table: posts(),
                    key: Key::range("u1", 0),
                    condition: Condition::All(vec![]),
                },
                Write::Update {
                    table: users(),
                    key: Key::hash("u3"),
                    update: vec![set(visits(), Operand::Value(Value::Int(1)))],
                    condition: Some(Condition::Absent(Path::attr("id"))),
                },
                Write::Put {
                    table: posts(),
                    item: post("u3", 1),
                    condition: None,
                },
                Write::Delete {
                    table: posts(),
                    key: Key::range("u1", 7),
                    condition: None,
                },
            ],
        },
        Request::TransactWrite {
            writes: vec![
                Write::Put {
                    table: posts(),
                    item: post("u4", 1),
                    condition: None,
                },
                Write::Update {
                    table: users(),
                    key: Key::hash("u3"),
                    update: vec![set(visits(), Operand::Value(Value::Int(5)))],
                    condition: Some(Condition::equals(visits(), 7)),
                },
            ],
        },
        Request::Delete {
            table: users(),
            key: Key::hash("u3"),
            condition: Some(Condition::equals(visits(), 1)),
        },
    ];
    for table in [users(), posts(), missing] {
        program.push(Request::Scan {
            table,
            filter: None,
            projection: None,
            consistent: true,
            limit: None,
            start: None,
        });
    }
    program
}

type Answer = Result<Response, StoreError>;

fn same(request: &Request, ours: &Answer, theirs: &Answer) -> bool {
    match (ours, theirs) {
        (Err(StoreError::Cancelled(a)), Err(StoreError::Cancelled(b))) => a == b,
        (Err(a), Err(b)) => std::mem::discriminant(a) == std::mem::discriminant(b),
        (
            Ok(Response::Page {
                items: a,
                next: None,
            }),
            Ok(Response::Page {
                items: b,
                next: None,
            }),
        ) if matches!(request, Request::Scan { .. }) => {
            let (mut a, mut b) = (a.clone(), b.clone());
            a.sort();
            b.sort();
            a == b
        }
        (a, b) => a == b,
    }
}

async fn run() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let database = dynoxide::Database::memory().unwrap();
    let server = tokio::spawn(dynoxide::server::serve_on(listener, database));

    let client = connect(Some(&endpoint), "us-east-1").await;
    let dynamo = DynamoStore::new(client.clone());
    let store: Rc<dyn Store> = Rc::new(dynamo.clone());
    let world = World::real(1, Options::default());
    let scope = world.background_scope();
    let mut tables = Tables::new();
    for schema in schemas() {
        store.create_table(schema.clone()).await.unwrap();
        let again = store.create_table(schema.clone()).await;
        assert!(
            matches!(again, Err(StoreError::TableExists(_))),
            "{again:?}"
        );
        tables.create_table(schema).unwrap();
    }
    let (mut reads, mut writes) = (0, 0);
    for request in program() {
        let mut request = request;
        loop {
            let (ours, consumed) = tables.apply(&request);
            if ours.is_ok() {
                reads += consumed.read_half_units;
                writes += consumed.write_units;
            }
            let theirs = store.call(&scope, request.clone()).await;
            assert!(
                same(&request, &ours, &theirs),
                "{request:?}\n{ours:?}\n{theirs:?}"
            );
            let Ok(Response::Page {
                next: Some(next), ..
            }) = ours
            else {
                break;
            };
            if let Request::Query { start, .. } | Request::Scan { start, .. } = &mut request {
                *start = Some(next);
            }
        }
    }
    let work = dynamo.work();
    assert_eq!((work.read_half_units, work.write_units), (reads, writes));
    assert_eq!(work.store_condition_failures, 2);
    assert!(work.store_bytes_in > 0 && work.store_bytes_out > 0);

    // A store that did not create the tables finds their schemas out.
    let other = DynamoStore::new(client);
    let found = other
        .call(&scope, query(Some("by_topic"), "rust", None, None))
        .await
        .unwrap();
    assert_eq!(
        tables.apply(&query(Some("by_topic"), "rust", None, None)).0,
        Ok(found)
    );

    // Nobody answers there any more.
    server.abort();
    drop(server.await);
    let gone = connect(Some("http://127.0.0.1:9"), "us-east-1").await;
    let request = Request::Scan {
        table: users(),
        filter: None,
        projection: None,
        consistent: true,
        limit: None,
        start: None,
    };
    let result = DynamoStore::new(gone).call(&scope, request).await;
    assert!(
        matches!(result, Err(StoreError::Unavailable(_))),
        "{result:?}"
    );
}

#[test]
fn every_operation_answers_as_the_tables_in_memory_do() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, run());
}
