//! The same random programs on [`Tables`] and on an independent DynamoDB emulator (dynoxide), which
//! is sent the printed expressions. Every answer must be the same, the kind of an error and the
//! consumed capacity included.

mod driver;
mod json;
mod programs;

use driver::Emulator;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner};
use triptych_model::{Action, Item};
use triptych_store::{Request, Response, Return, StoreError, Tables, Write};

/// Operations per program. How many programs there are, `PROPTEST_CASES` says.
const LENGTH: usize = 40;

fn set_start(request: &mut Request, next: Item) {
    if let Request::Query { start, .. } | Request::Scan { start, .. } = request {
        *start = Some(next);
    }
}

type Answer = Result<Response, StoreError>;

/// How two different answers are to be taken.
enum Known {
    /// A mistake of ours.
    No,
    /// A known difference that left the same items behind.
    Harmless,
    /// A known difference after which the items differ: the program ends here.
    Parted,
}

/// The known differences. The emulator is wrong, or so we believe, in these:
///
/// * An update that creates an item and returns `ALL_OLD`: DynamoDB returns nothing, the emulator
///   the new item's key.
/// * `<` and its like with a constant that has no order: DynamoDB refuses the operand's type, the
///   emulator does so in some requests (a query's filter) but not in others (a transaction).
/// * The continuation of a query of a table without range attribute: there is nothing left, but the
///   emulator begins again. Such a query is not continued here.
/// * A key of an index that is longer than a key may be: DynamoDB refuses the item, the emulator
///   takes it. The programs have no such values.
/// * A transaction's update of a key attribute: DynamoDB refuses it, the emulator overlooks some.
/// * A query for an empty string: DynamoDB refuses it as a key, the emulator finds nothing.
/// * An update that takes one attribute for a map and for a list: DynamoDB refuses the conflict
///   before it looks at the item, the emulator afterwards.
/// * A query of an index of keys that asks for another attribute: DynamoDB refuses it, the emulator
///   leaves the attribute out.
/// * The size of a negative number: the emulator counts a byte for the sign, we (that is, the model
///   crate) do not. It shows when an item ends within a byte or two of a unit's border, which the
///   programs of the usual number of cases do not meet.
///
/// In these nobody knows who is right:
///
/// * A batch or transaction with two mistakes, a table that does not exist and something not valid:
///   we report the table; the emulator what it meets first, in a batch in the order of a hash map.
/// * A read of a table that does not exist, with overlapping paths in its projection: we report the
///   projection, the emulator the table.
/// * A transaction with the same key twice, once with a range value too many: we cancel it for the
///   key that does not fit, the emulator refuses it for the repetition.
/// * A constant of the wrong type in a sum or in `list_append` in a transaction: we refuse the
///   request, as DynamoDB does outside of transactions; the emulator cancels the transaction.
fn known(request: &Request, mine: &Answer, theirs: &Answer) -> Known {
    match (request, mine, theirs) {
        (
            Request::Update {
                returns: Return::AllOld,
                ..
            },
            Ok(Response::Item(None)),
            Ok(Response::Item(Some(item))),
        ) if item.keys().all(|name| ["k", "r"].contains(&&**name)) => Known::Harmless,
        (_, Err(StoreError::Validation(text)), _) if text.contains("have an order") => {
            Known::Parted
        }
        (Request::Query { .. }, Err(StoreError::Validation(text)), Ok(_))
            if text.ends_with("is an empty string") || text.contains("does not project") =>
        {
            Known::Harmless
        }
        (_, Err(StoreError::Validation(text)), Err(_)) if text.contains("paths conflict") => {
            Known::Harmless
        }
        (
            Request::TransactWrite { .. },
            Err(StoreError::Validation(text)),
            Err(StoreError::Cancelled(_)),
        ) if text.contains("list_append takes") || text.contains("can be added to") => {
            Known::Harmless
        }
        (
            Request::TransactWrite { .. } | Request::TransactGet { .. },
            Err(StoreError::Cancelled(_)),
            Err(StoreError::Validation(text)),
        ) if text.contains("multiple operations on one item") => Known::Harmless,
        (Request::TransactWrite { writes }, Err(StoreError::Cancelled(_)), _)
            if writes.iter().any(updates_key) =>
        {
            Known::Parted
        }
        (
            Request::BatchGet { .. }
            | Request::BatchWrite { .. }
            | Request::TransactGet { .. }
            | Request::TransactWrite { .. },
            Err(StoreError::NoSuchTable(_)),
            Err(StoreError::Validation(_)),
        )
        | (
            Request::Get { .. } | Request::Query { .. } | Request::Scan { .. },
            Err(StoreError::Validation(_)),
            Err(StoreError::NoSuchTable(_)),
        ) => Known::Harmless,
        _ => Known::No,
    }
}

fn updates_key(write: &Write) -> bool {
    let Write::Update { update, .. } = write else {
        return false;
    };
    update.iter().any(|action| match action {
        Action::Set(path, _) | Action::Remove(path) => ["k", "r"].contains(&&**path.root()),
    })
}

/// Whether two answers are the same; of errors, the kind counts.
fn same(mine: &Answer, theirs: &Answer) -> bool {
    match (mine, theirs) {
        (Err(StoreError::Cancelled(a)), Err(StoreError::Cancelled(b))) => a == b,
        (Err(a), Err(b)) => std::mem::discriminant(a) == std::mem::discriminant(b),
        (a, b) => a == b,
    }
}

/// Sends a request to both, following pages. Says whether the program can go on.
fn step(tables: &mut Tables, emulator: &Emulator, request: &Request) -> Result<bool, String> {
    let (mut ours, mut theirs) = (request.clone(), request.clone());
    let mut pages = (Vec::new(), Vec::new());
    let restarts =
        matches!(request, Request::Query { table, index: None, .. } if &**table == "plain");
    if restarts && matches!(request, Request::Query { start: Some(_), .. }) {
        return Ok(true);
    }
    loop {
        let (mine, consumed) = tables.apply(&ours);
        let answer = emulator.call(&theirs);
        // Pages of a scan hold other items there and are rounded up each.
        let comparable = !matches!(request, Request::Scan { limit: Some(_), .. });
        if let (true, Ok(_), Some(theirs)) = (comparable, &mine, answer.capacity) {
            let mine = consumed.read_half_units as f64 / 2.0 + consumed.write_units as f64;
            if mine != theirs {
                return Err(format!("consumed {mine}, emulator {theirs}"));
            }
        }
        match (mine, answer.result) {
            (
                Ok(Response::Page {
                    items: a,
                    next: next_a,
                }),
                Ok(Response::Page {
                    items: b,
                    next: next_b,
                }),
            ) => {
                // A scan's order is no promise, so only the union of its pages must agree.
                if matches!(request, Request::Query { .. }) && (&a, &next_a) != (&b, &next_b) {
                    return Err(format!("{a:?} {next_a:?}\nemulator {b:?} {next_b:?}"));
                }
                pages.0.extend(a);
                pages.1.extend(b);
                match (next_a, next_b) {
                    _ if restarts => break,
                    (None, None) => break,
                    (Some(a), Some(b)) => {
                        set_start(&mut ours, a);
                        set_start(&mut theirs, b);
                    }
                    (a, b) => return Err(format!("next {a:?}\nemulator {b:?}")),
                }
            }
            (mine, theirs) if same(&mine, &theirs) => return Ok(true),
            (mine, theirs) => match known(request, &mine, &theirs) {
                Known::No => return Err(format!("{mine:?}\nemulator {theirs:?}")),
                Known::Harmless => return Ok(true),
                Known::Parted => return Ok(false),
            },
        }
    }
    pages.0.sort();
    pages.1.sort();
    if pages.0 == pages.1 {
        Ok(true)
    } else {
        Err(format!("{:?}\nemulator {:?}", pages.0, pages.1))
    }
}

fn run(program: &[Request]) -> Result<(), TestCaseError> {
    let mut tables = Tables::new();
    for schema in programs::schemas() {
        tables.create_table(schema).expect("a good schema");
    }
    let emulator = Emulator::new(programs::schemas());
    for (at, request) in program.iter().enumerate() {
        match step(&mut tables, &emulator, request) {
            Ok(true) => {}
            Ok(false) => break,
            Err(told) => {
                return Err(TestCaseError::fail(format!(
                    "step {at}: {request:?}\n{told}"
                )));
            }
        }
    }
    Ok(())
}

#[test]
fn random_programs_get_the_same_answers_as_from_the_emulator() {
    let config = Config {
        failure_persistence: None,
        ..Config::default()
    };
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let mut runner = TestRunner::new_with_rng(config, rng);
    let programs = proptest::collection::vec(programs::request(), 1..LENGTH);
    if let Err(error) = runner.run(&programs, |program| run(&program)) {
        panic!("{error}");
    }
}
