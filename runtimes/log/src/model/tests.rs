use super::*;
use crate::{Book, Condition};
use triptych_world::{Options, SECOND};

const SURE: Conduct = Conduct {
    append: MS,
    read: 50 * US,
    stale: 0.0,
    forgets: 0.0,
    unknown: 0.0,
    unavailable: 0.0,
};

fn with<F: Future<Output = ()> + 'static>(
    seed: u64,
    conduct: Conduct,
    body: impl FnOnce(World, ModelLog) -> F + 'static,
) {
    let run = |world: World| {
        let log = ModelLog::new(&world, conduct);
        body(world, log)
    };
    World::simulate(seed, Options::default(), run).expect("no deadlock");
}

fn handle(log: &ModelLog) -> Book {
    Book::new(Rc::new(log.clone()), 7)
}

async fn texts(book: &Book, tag: Tag) -> Vec<String> {
    let found = book.read_some(tag, SeqNum::ZERO, 100).await.unwrap();
    let text = |found: &Found| String::from_utf8(found.record.data.to_vec()).unwrap();
    found.iter().map(text).collect()
}

#[test]
fn records_are_in_their_streams_in_the_order_of_their_numbers() {
    with(1, SURE, |_, log| async move {
        let book = handle(&log);
        let a = book.append(&[5], b"a").await.unwrap();
        let b = book.append(&[6, 5, 6], b"b").await.unwrap();
        let c = book.append(&[6], b"c").await.unwrap();
        assert!(a < b && b < c);
        assert_eq!(texts(&book, 5).await, ["a", "b"]);
        assert_eq!(texts(&book, 6).await, ["b", "c"]);
        assert_eq!(texts(&book, EVERY).await, ["a", "b", "c"]);
        let at = |found: Option<Found>| found.map(|found| found.seq);
        assert_eq!(at(book.read_next(5, a.next()).await.unwrap()), Some(b));
        assert_eq!(at(book.read_next(5, b.next()).await.unwrap()), None);
        assert_eq!(at(book.read_previous(5, c).await.unwrap()), Some(b));
        assert_eq!(at(book.read_previous(6, a).await.unwrap()), None);
        assert_eq!(at(book.check_tail(6).await.unwrap()), Some(c));
        let other = Book::new(Rc::new(log.clone()), 8);
        assert_eq!(other.check_tail(5).await.unwrap(), None);
        assert!(matches!(
            book.append(&[0], b"x").await,
            Err(Failure::Bad(_))
        ));
        assert!(matches!(book.append(&[5], b"").await, Err(Failure::Bad(_))));
    });
}

#[test]
fn of_many_conditional_appends_on_one_tail_one_is_taken() {
    with(2, SURE, |world, log| async move {
        let append = |n: u8| {
            let book = handle(&log);
            world.spawn("appender", async move {
                let tail = SeqNum::ZERO;
                let condition = Condition { tag: 5, tail };
                book.append_if(&[5], &[n], condition).await.unwrap()
            })
        };
        let all: Vec<_> = (1..9).map(append).collect();
        let mut taken = Vec::new();
        let mut tails = Vec::new();
        for one in all {
            match one.await {
                Ok(seq) => taken.push(seq),
                Err(tail) => tails.push(tail),
            }
        }
        assert_eq!((taken.len(), tails.len()), (1, 7));
        assert!(tails.iter().all(|tail| *tail == taken[0]));
        assert_eq!(texts(&handle(&log), 5).await.len(), 1);
    });
}

#[test]
fn what_is_trimmed_is_gone_and_freed_once_no_stream_holds_it() {
    with(3, SURE, |_, log| async move {
        let book = handle(&log);
        let a = book.append(&[5, 6], b"a").await.unwrap();
        let b = book.append(&[5], b"b").await.unwrap();
        let count = || log.0.state.borrow().books[&7].records.len();
        book.trim(vec![(5, b)]).await.unwrap();
        assert_eq!(texts(&book, 5).await, ["b"]);
        assert_eq!(texts(&book, 6).await, ["a"]);
        assert_eq!(count(), 2);
        book.trim(vec![(6, a.next())]).await.unwrap();
        assert_eq!((texts(&book, EVERY).await, count()), (vec!["b".into()], 1));
        // Nobody can tell what was in the stream at such a tail.
        let condition = Condition {
            tag: 5,
            tail: SeqNum::ZERO,
        };
        let refused = book.append_if(&[5], b"c", condition).await.unwrap();
        assert_eq!(refused, Err(b));
        let condition = Condition { tag: 5, tail: b };
        assert!(book.append_if(&[5], b"c", condition).await.unwrap().is_ok());
        book.trim(vec![(EVERY, SeqNum::MAX)]).await.unwrap();
        assert_eq!(count(), 0);
    });
}

#[test]
fn a_handle_sees_what_it_has_seen_and_strangers_may_see_less() {
    let stale = Conduct { stale: 1.0, ..SURE };
    with(4, stale, |_, log| async move {
        let (writer, mut behind) = (handle(&log), 0);
        for n in 1..60 {
            writer.append(&[5], &[n]).await.unwrap();
            let told = handle(&log);
            told.observe(writer.progress());
            for sees in [&writer, &told] {
                let tail = sees.check_tail(5).await.unwrap().unwrap();
                assert_eq!(*tail.record.data, [n]);
            }
            let stranger = handle(&log);
            let tail = stranger.check_tail(5).await.unwrap();
            let first = tail.map_or(0, |tail| tail.record.data[0]);
            behind += u32::from(first < n);
            let tail = stranger.check_tail(5).await.unwrap();
            assert!(tail.map_or(0, |tail| tail.record.data[0]) >= first);
        }
        assert!(behind > 20, "{behind}");
    });
}

#[test]
fn a_read_waits_for_a_record_but_not_for_ever() {
    with(5, SURE, |world, log| async move {
        let book = handle(&log);
        let waits = book.read_next_wait(5, SeqNum::ZERO, 3 * SECOND);
        let waits = world.spawn("reader", waits);
        world.sleep(SECOND).await;
        handle(&log).append(&[6], b"other").await.unwrap();
        let seq = handle(&log).append(&[5], b"it").await.unwrap();
        let came = waits.await.unwrap().expect("it came");
        assert_eq!((came.seq, world.now() / SECOND), (seq, 1));
        let none = book.read_next_wait(5, seq.next(), SECOND).await.unwrap();
        assert_eq!((none, world.now() / SECOND), (None, 2));
    });
}

#[test]
fn after_an_unknown_end_the_record_may_be_there_and_may_not() {
    let doubtful = Conduct {
        unknown: 0.5,
        ..SURE
    };
    with(6, doubtful, |_, log| async move {
        let book = handle(&log);
        let mut ends = [0; 3];
        for n in 1..=100 {
            let end = book.append(&[n], b"x").await;
            let there = book.check_tail(n).await.unwrap().is_some();
            match (end, there) {
                (Ok(_), true) => ends[0] += 1,
                (Err(Failure::Unknown), true) => ends[1] += 1,
                (Err(Failure::Unknown), false) => ends[2] += 1,
                other => panic!("{other:?}"),
            }
        }
        assert!(ends.iter().all(|count| *count > 10), "{ends:?}");
    });
}

#[test]
fn a_request_is_the_logs_once_it_was_polled_and_memos_may_be_forgotten() {
    let forgets = Conduct {
        forgets: 1.0,
        ..SURE
    };
    with(7, forgets, |world, log| async move {
        let book = handle(&log);
        drop(book.append(&[5], b"never polled"));
        drop(world.timeout(1, book.append(&[5], b"polled")).await);
        world.sleep(SECOND).await;
        assert_eq!(texts(&book, 5).await, ["polled"]);
        let tail = book.check_tail(5).await.unwrap().unwrap();
        book.annotate(tail.seq, b"memo").await.unwrap();
        let kept = log.0.state.borrow().books[&7].records[&tail.seq]
            .aux
            .clone();
        assert_eq!(kept.as_deref(), Some(&b"memo"[..]));
        assert_eq!(book.check_tail(5).await.unwrap().unwrap().aux, None);
    });
}
