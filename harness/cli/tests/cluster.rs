//! A cluster of the log as a user has it: processes on this machine, and what happens to them.

mod common;
mod live;

use common::{Done, Place};
use live::{Live, file, free_ports, signal, until};
use std::fs;
use std::net::TcpListener;
use std::rc::Rc;
use std::time::Duration;
use triptych_cluster::connect;
use triptych_cluster::file::LogFile;
use triptych_log::{Book, Failure, Found, Port, Reply, Request, SeqNum};
use triptych_world::{MS, Options, World};

/// What a running cluster's file says.
fn parsed(place: &Place) -> LogFile {
    let text = fs::read_to_string(place.path("cluster.toml")).unwrap();
    LogFile::parse("cluster.toml", &text).unwrap()
}

#[test]
fn mistakes_in_a_cluster_file_are_shown_where_they_are() {
    let place = Place::new("");
    let good = file(free_ports(12), 3, 3, 3, "memory");
    let told = |from: &str, to: &str, told: &[&str]| {
        assert!(good.contains(from), "{from}");
        fs::write(place.path("cluster.toml"), good.replacen(from, to, 1)).unwrap();
        for command in [
            &["cluster", "up", "cluster.toml"][..],
            &["cluster", "status", "cluster.toml"],
            &["node", "engine", "--config", "cluster.toml", "--id", "1000"],
            &["bench", "log", "cluster.toml"],
        ] {
            place.triptych(command).exits(2).tells(told);
        }
        assert!(!place.path("data").exists(), "nothing was begun");
    };
    told(
        "level",
        "levels",
        &["cluster.toml:2:1", "did you mean `level`?"],
    );
    told(
        "\"memory\"",
        "\"durable\"",
        &["cluster.toml:2:9", "memory, synced"],
    );
    told(
        "copies = 3",
        "copies = 4",
        &["cluster.toml:8:10", "only 3 storages"],
    );
    let again = "engines = [{ id = 1, listen = \"127.0.0.1:9\" }]";
    told(
        "engines = 2",
        again,
        &["cluster.toml:", "the number 1 is there twice"],
    );
    let zero = "engines = [{ id = 9, listen = \"127.0.0.1:0\" }]";
    told("engines = 2", zero, &["cluster.toml:", "port 0"]);
    let place = Place::new("");
    place
        .triptych(&["cluster", "up", "nowhere.toml"])
        .exits(2)
        .tells(&["nowhere.toml: cannot be read"]);
}

#[test]
fn the_example_is_what_it_says() {
    let place = Place::new("");
    let example = place.triptych(&["cluster", "example"]);
    let file = LogFile::parse("example", &example.exits(0).out).unwrap();
    assert_eq!(file.name, "local");
    let schema = place.triptych(&["cluster", "schema"]);
    let schema: serde_json::Value = serde_json::from_str(&schema.exits(0).out).unwrap();
    assert!(schema["properties"]["shape"].is_object());
}

#[test]
fn what_is_in_the_way_is_said_and_nothing_is_touched() {
    let place = Place::new("");
    let base = free_ports(12);
    fs::write(place.path("cluster.toml"), file(base, 3, 3, 3, "memory")).unwrap();
    let up = ["cluster", "up", "cluster.toml"];

    // Somebody listens where a storage should.
    let taken = TcpListener::bind(("127.0.0.1", base + 7)).unwrap();
    let done = place.triptych(&up);
    done.exits(2).tells(&[
        "storage 201",
        &format!("{}", base + 7),
        "another process listens there",
    ]);
    assert!(!place.path("data").exists());
    let node = ["node", "storage", "--config", "cluster.toml", "--id", "201"];
    place
        .triptych(&node)
        .exits(2)
        .tells(&["storage 201", "another process listens"]);
    assert!(!place.path("data").exists());
    drop(taken);

    // The folder is somebody else's.
    fs::create_dir(place.path("data")).unwrap();
    fs::write(place.path("data/thesis.tex"), "mine").unwrap();
    for command in [
        &up[..],
        &node,
        &["cluster", "up", "cluster.toml", "--fresh"],
    ] {
        place
            .triptych(command)
            .exits(2)
            .tells(&["thesis.tex is in it", "--data DIR"]);
    }
    assert_eq!(fs::read_dir(place.path("data")).unwrap().count(), 1);
    fs::remove_dir_all(place.path("data")).unwrap();

    // A node that the file does not have.
    let done = place.triptych(&["node", "storage", "--config", "cluster.toml", "--id", "100"]);
    done.exits(2)
        .tells(&["has no storage 100", "200, 201, 202", "100 is a sequencer"]);
    assert!(!place.path("data").exists());
}

#[test]
fn a_node_does_not_start_on_data_that_is_not_its_own() {
    let place = Place::new("");
    let text = file(free_ports(12), 3, 3, 3, "synced");
    fs::write(place.path("cluster.toml"), &text).unwrap();
    let node = |id: &str| {
        let args = [
            "node",
            "storage",
            "--config",
            "cluster.toml",
            "--id",
            id,
            "--leash",
        ];
        // Its standard input is at its end: it starts, and stops again.
        let mut command = place.command(&args);
        command.stdin(std::process::Stdio::null());
        Done::of(command.output().unwrap())
    };
    node("200").exits(0);
    assert!(place.path("data/storage-200").is_dir());
    assert!(!place.path("data/storage-200.pid").exists());

    // Of another cluster: the level is another one.
    fs::write(place.path("cluster.toml"), text.replace("synced", "memory")).unwrap();
    node("200")
        .exits(2)
        .tells(&["holds the data of cluster `test`", "synced", "memory"]);
    fs::write(place.path("cluster.toml"), &text).unwrap();

    // Of another node.
    fs::rename(
        place.path("data/storage-200"),
        place.path("data/storage-201"),
    )
    .unwrap();
    node("201").exits(2).tells(&["data/storage-201", "200"]);

    // Of another version of this program, or damaged.
    fs::rename(
        place.path("data/storage-201"),
        place.path("data/storage-200"),
    )
    .unwrap();
    let identity = place.path("data/storage-200/identity.toml");
    let text = fs::read_to_string(&identity).unwrap();
    assert!(text.contains("version = 1"), "{text}");
    fs::write(&identity, text.replace("version = 1", "version = 7")).unwrap();
    node("200")
        .exits(2)
        .tells(&["data/storage-200", "version 7"]);
    fs::write(&identity, "no").unwrap();
    node("200").exits(2).tells(&["data/storage-200", "damaged"]);
    fs::write(&identity, text).unwrap();
    node("200").exits(0);
    fs::remove_dir_all(place.path("data/storage-200/data")).unwrap();
    node("200").exits(2).tells(&["data/storage-200", "damaged"]);
}

/// A cluster comes up, takes records, is measured, and ends without a trace of a process.
#[test]
fn a_cluster_comes_up_serves_and_ends() {
    let place = Place::new("");
    fs::write(
        place.path("cluster.toml"),
        file(free_ports(12), 3, 3, 3, "synced"),
    )
    .unwrap();
    let mut live = Live::up(&place, &[]);
    live.is_ready();
    let pids = live.pids(&place);
    assert_eq!(pids.len(), 11);

    let file = parsed(&place);
    let places = World::run_real(1, Options::default(), |world| async move {
        let port = connect::log::port(&world, &file, 0).await.unwrap();
        let book = Book::new(port, 7);
        let mut places = Vec::new();
        for n in 0..20u8 {
            places.push(book.append(&[1], &[n]).await.unwrap());
        }
        // Another engine, told how far this one has seen.
        let other = Book::new(connect::log::port(&world, &file, 1).await.unwrap(), 7);
        other.observe(book.progress());
        let found = other.read_some(1, SeqNum::ZERO, 100).await.unwrap();
        assert!(
            found
                .iter()
                .map(|found| found.seq)
                .eq(places.iter().copied())
        );
        places
    })
    .unwrap();
    assert!(places.is_sorted() && places.len() == 20);

    let status = place.triptych(&["cluster", "status", "cluster.toml"]);
    status
        .exits(0)
        .prints(&["engine 1000", "in view", "storage 202"]);
    let bench = place.triptych(&[
        "bench",
        "log",
        "cluster.toml",
        "--what",
        "append",
        "--what",
        "read-cached",
        "--clients",
        "4",
        "--payload",
        "100",
        "--duration",
        "500ms",
        "--warmup",
        "100ms",
        "--json",
        "bench.json",
    ]);
    bench
        .exits(0)
        .prints(&["kept: all", "one sync of 100 bytes"]);
    let json = fs::read_to_string(place.path("bench.json")).unwrap();
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert!(json["loads"][0]["per_second"].as_f64().unwrap() > 0.0);
    assert!(json["loads"][0]["nodes_cpu_seconds"].as_f64().is_some());
    assert_eq!(json["loads"][1]["kept"], true);

    // A second one finds the ports taken, and does no harm.
    let second = place.triptych(&["cluster", "up", "cluster.toml", "--fresh"]);
    second.exits(2).tells(&["another process listens there"]);

    signal("INT", live.id());
    let done = live.ends();
    done.exits(0).prints(&["stopped"]);
    for (name, process) in pids {
        assert!(!process.runs(), "{name} still runs");
    }
    let status = place.triptych(&["cluster", "status", "cluster.toml"]);
    status.exits(3);

    // What was synced is there when it comes up again.
    let mut live = Live::up(&place, &[]);
    live.is_ready();
    let file = parsed(&place);
    let found = World::run_real(1, Options::default(), |world| async move {
        let book = Book::new(connect::log::port(&world, &file, 1).await.unwrap(), 7);
        // An append of its own shows it everything that was ordered before.
        patiently(&world, || book.append(&[2], b"after")).await;
        patiently(&world, || book.read_some(1, SeqNum::ZERO, 100)).await
    });
    let found: Vec<Found> = found.unwrap();
    assert!(found.iter().map(|found| found.seq).eq(places));
}

/// Tries something until it works, for a while.
async fn patiently<T, F>(world: &World, attempt: impl Fn() -> F) -> T
where
    F: Future<Output = Result<T, Failure>>,
{
    let mut failed = None;
    for _ in 0..200 {
        match attempt().await {
            Ok(value) => return value,
            Err(failure) => failed = Some(failure),
        }
        world.sleep(50 * MS).await;
    }
    panic!("it never worked: {failed:?}");
}

#[test]
fn nodes_end_when_who_started_them_is_killed() {
    let place = Place::new("");
    fs::write(
        place.path("cluster.toml"),
        file(free_ports(12), 1, 1, 1, "memory"),
    )
    .unwrap();
    let mut live = Live::up(&place, &[]);
    live.is_ready();
    let pids = live.pids(&place);
    assert_eq!(pids.len(), 5);
    signal("KILL", live.id());
    live.ends();
    let gone = until(Duration::from_secs(10), || {
        pids.iter().all(|(_, process)| !process.runs())
    });
    assert!(gone, "nodes are left over");
    // Nothing is in the way of the next one.
    let mut live = Live::up(&place, &["--fresh"]);
    live.is_ready();
}

#[test]
fn a_cluster_that_cannot_become_ready_says_who_is_missing() {
    let place = Place::new("");
    fs::write(
        place.path("cluster.toml"),
        file(free_ports(12), 3, 3, 3, "memory"),
    )
    .unwrap();
    let mut live = Live::up(&place, &[]);
    live.is_ready();
    let storage = live.pids(&place).remove("storage-201").unwrap();
    signal("KILL", storage.pid);
    live.prints("storage 201");
    signal("INT", live.id());
    live.ends().exits(0);
    // Damage keeps the node from starting.
    fs::write(place.path("data/storage-201/identity.toml"), "no").unwrap();
    let done = place.triptych(&["cluster", "up", "cluster.toml"]);
    done.exits(2)
        .tells(&["the cluster cannot start", "storage 201", "damaged"]);
}

/// The view in which an engine serves; 0 while it is in none.
async fn view(port: &Rc<dyn Port>) -> u16 {
    match port.ask(Request::Status).await {
        Ok(Reply::Status { view, .. }) => view,
        _ => 0,
    }
}

/// One storage, one backup and the primary are killed while two clients append: the service resumes
/// after each, and everything that was acknowledged is there, once, in order.
#[test]
fn killed_nodes_are_replaced_and_nothing_acknowledged_is_lost() {
    let place = Place::new("");
    fs::write(
        place.path("cluster.toml"),
        file(free_ports(20), 3, 5, 4, "memory"),
    )
    .unwrap();
    let mut live = Live::up(&place, &[]);
    live.is_ready();
    let pids = live.pids(&place);
    let cluster = parsed(&place);
    let (acked, found) = World::run_real(1, Options::default(), |world| async move {
        let mut clients = Vec::new();
        let acked: Rc<std::cell::RefCell<Vec<(u64, SeqNum)>>> = Rc::default();
        let stop = Rc::new(std::cell::Cell::new(false));
        for client in 0..2u64 {
            let port: Rc<dyn Port> = connect::log::port(&world, &cluster, client as usize)
                .await
                .unwrap();
            let (acked, stop) = (Rc::clone(&acked), Rc::clone(&stop));
            let at = world.clone();
            clients.push(world.spawn("client", async move {
                let book = Book::new(port, 7);
                let mut number = client;
                while !stop.get() {
                    number += 2;
                    match book.append(&[1], &number.to_be_bytes()).await {
                        Ok(seq) => acked.borrow_mut().push((number, seq)),
                        Err(_) => at.sleep(5 * MS).await,
                    }
                }
            }));
        }
        let watch = connect::log::port(&world, &cluster, 0).await.unwrap();
        // The primary of the only log is the first sequencer of the view.
        for victim in ["storage-200", "sequencer-101", "sequencer-100"] {
            let (view, before) = (self::view(&watch).await, acked.borrow().len());
            while acked.borrow().len() < before + 20 {
                world.sleep(10 * MS).await;
            }
            signal("KILL", pids[victim].pid);
            let (killed, at) = (acked.borrow().len(), world.now());
            // Some may have been on their way; many more must follow. And it must be replaced before
            // the next one fails: of three sequencers one may fail at a time.
            while acked.borrow().len() < killed + 50 || self::view(&watch).await <= view {
                world.sleep(20 * MS).await;
                let waited = world.now() - at;
                assert!(waited < 20_000 * MS, "no service after {victim} was killed");
            }
        }
        stop.set(true);
        futures_util::future::join_all(clients).await;
        let book = Book::new(connect::log::port(&world, &cluster, 1).await.unwrap(), 7);
        patiently(&world, || book.append(&[2], b"after")).await;
        let mut found: Vec<Found> = Vec::new();
        loop {
            let from = found.last().map_or(SeqNum::ZERO, |found| found.seq.next());
            let more = patiently(&world, || book.read_some(1, from, 500)).await;
            if more.is_empty() {
                break;
            }
            found.extend(more);
        }
        (acked.take(), found)
    })
    .unwrap();
    let number = |found: &Found| u64::from_be_bytes((*found.record.data).try_into().unwrap());
    let there: std::collections::BTreeMap<SeqNum, u64> = found
        .iter()
        .map(|found| (found.seq, number(found)))
        .collect();
    assert_eq!(there.len(), found.len());
    assert!(found.is_sorted_by_key(|found| found.seq));
    for (number, seq) in &acked {
        assert_eq!(
            there.get(seq),
            Some(number),
            "append {number} at {seq} was acknowledged"
        );
    }
    let mut numbers: Vec<u64> = there.into_values().collect();
    numbers.sort_unstable();
    assert!(
        numbers.windows(2).all(|two| two[0] < two[1]),
        "nothing is there twice"
    );
    live.prints("sequencer 100");
    signal("INT", live.id());
    live.ends().exits(0);
}
