//! A ring of cache servers as a user has it: processes on this machine, and what happens to them.

mod common;
mod live;

use common::Place;
use live::{Live, free_ports, signal, until};
use std::fs;
use std::net::TcpListener;
use std::process::{Child, Stdio};
use std::rc::Rc;
use std::time::Duration;
use triptych_cluster::connect;
use triptych_cluster::file::{CacheFile, ClusterFile};
use triptych_cluster::probe;
use triptych_mesh::{Clock, Context, Failure, Key, Op, Port, Reply, Request, WriteId};
use triptych_model::Value;
use triptych_world::{MS, Options, World};

fn ring(base_port: u16, level: &str) -> String {
    format!(
        r#"kind = "cache"
name = "test"
level = "{level}"
data = "data"

[nodes]
base_port = {base_port}
servers = 3
databases = 1

[timing]
lease = "1s"
dead_after = "1500ms"
"#
    )
}

/// What a running ring's file says.
fn parsed(place: &Place) -> CacheFile {
    let text = fs::read_to_string(place.path("cluster.toml")).unwrap();
    CacheFile::parse("cluster.toml", &text).unwrap()
}

/// A gauge of every server that answers.
fn gauges(file: &CacheFile, name: &str) -> Vec<u64> {
    let file = ClusterFile::from(file.clone());
    let asked = probe::ask_all(&file, Duration::from_secs(1)).into_iter();
    asked
        .filter_map(|(_, status)| status.ok()?.gauge(name))
        .collect()
}

#[track_caller]
fn becomes(file: &CacheFile, gauge: &str, wanted: &[u64]) {
    let come = until(Duration::from_secs(60), || gauges(file, gauge) == wanted);
    assert!(come, "{gauge} is {:?}", gauges(file, gauge));
}

/// A client that roams, and writes numbers.
struct Client {
    ports: Vec<Rc<dyn Port>>,
    context: Context,
    id: u64,
    writes: u64,
}

impl Client {
    async fn new(world: &World, file: &CacheFile, id: u64) -> Client {
        let mut ports = Vec::new();
        for server in 0..file.servers().len() {
            ports.push(connect::cache::port(world, file, server).await.unwrap());
        }
        Client {
            ports,
            context: Context::default(),
            id,
            writes: 0,
        }
    }

    async fn write(&mut self, server: usize, key: &Key, value: i64) -> Result<(), Failure> {
        self.writes += 1;
        let request = Request::Write {
            write: WriteId {
                client: self.id,
                number: self.writes,
            },
            deps: self.context.deps.clone(),
            own: self.context.own_clock(),
            ops: vec![(key.clone(), Op::Put(Value::Int(value)))],
        };
        match self.ports[server].ask(request).await? {
            Reply::Written { version, stable } => {
                self.context.wrote(version);
                self.context.is_stable(&stable);
                Ok(())
            }
            other => panic!("{other:?}"),
        }
    }

    async fn read(&mut self, server: usize, key: &Key) -> Result<Option<i64>, Failure> {
        let request = Request::Read {
            deps: self.context.deps.clone(),
            own: self.context.own_of([key].into_iter()),
            keys: vec![key.clone()],
        };
        match self.ports[server].ask(request).await? {
            Reply::Read { seen, stable } => {
                self.context.saw(&seen[0]);
                self.context.is_stable(&stable);
                Ok(seen[0].value.as_ref().and_then(Value::as_int))
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn mistakes_in_a_ring_file_are_shown_where_they_are() {
    let place = Place::new("");
    let good = ring(free_ports(4), "replicated");
    let told = |from: &str, to: &str, told: &[&str]| {
        assert!(good.contains(from), "{from}");
        fs::write(place.path("cluster.toml"), good.replacen(from, to, 1)).unwrap();
        for command in [
            &["cluster", "up", "cluster.toml"][..],
            &["cluster", "status", "cluster.toml"],
            &["node", "cache", "--config", "cluster.toml", "--id", "1"],
            &["bench", "cache", "cluster.toml"],
        ] {
            place.triptych(command).exits(2).tells(told);
        }
        assert!(!place.path("data").exists(), "nothing was begun");
    };
    told(
        "level",
        "levels",
        &["cluster.toml:3:1", "did you mean `level`?"],
    );
    told(
        "\"replicated\"",
        "\"durable\"",
        &["cluster.toml:3:9", "async, synced, replicated"],
    );
    told(
        "servers = 3",
        "servers = 1",
        &["cluster.toml:8:11", "one server is no ring"],
    );
    // A file of the other kind.
    fs::write(place.path("cluster.toml"), &good).unwrap();
    place
        .triptych(&["bench", "log", "cluster.toml"])
        .exits(2)
        .tells(&["cluster.toml:"]);
    let engine = ["node", "engine", "--config", "cluster.toml", "--id", "1"];
    let done = place.triptych(&engine);
    done.exits(2)
        .tells(&["a cache, has no engine", "1 is a cache"]);
}

#[test]
fn the_example_of_a_ring_is_what_it_says() {
    let place = Place::new("");
    let example = place.triptych(&["cluster", "example", "cache"]);
    let file = CacheFile::parse("example", &example.exits(0).out).unwrap();
    assert_eq!(file.servers().len(), 3);
    let schema = place.triptych(&["cluster", "schema", "cache"]);
    let schema: serde_json::Value = serde_json::from_str(&schema.exits(0).out).unwrap();
    assert!(schema["properties"]["merging"].is_object());
    place.triptych(&["cluster", "example", "cash"]).exits(2);
}

#[test]
fn what_is_in_the_way_is_said_and_nothing_is_touched() {
    let place = Place::new("");
    let base = free_ports(4);
    fs::write(place.path("cluster.toml"), ring(base, "async")).unwrap();
    let up = ["cluster", "up", "cluster.toml"];
    let taken = TcpListener::bind(("127.0.0.1", base + 1)).unwrap();
    place
        .triptych(&up)
        .exits(2)
        .tells(&["cache 2", "another process listens there"]);
    assert!(!place.path("data").exists());
    drop(taken);
    // The folder is a log's.
    fs::create_dir(place.path("data")).unwrap();
    let log = place.triptych(&["cluster", "example"]).exits(0).out.clone();
    fs::write(place.path("data/cluster.toml"), &log).unwrap();
    place.triptych(&up).exits(2).tells(&[
        "data of cluster `local`",
        "this one is `test` (a cache, async",
    ]);
    fs::remove_dir_all(place.path("data")).unwrap();
    // A node's data is of another version of this program.
    let node = || {
        let args = [
            "node",
            "cache",
            "--config",
            "cluster.toml",
            "--id",
            "1",
            "--leash",
        ];
        let mut command = place.command(&args);
        // Its standard input is at its end: it starts, and stops again.
        command.stdin(Stdio::null());
        common::Done::of(command.output().unwrap())
    };
    node().exits(0);
    let identity = place.path("data/cache-1/identity.toml");
    let text = fs::read_to_string(&identity).unwrap();
    fs::write(&identity, text.replace("version = 1", "version = 7")).unwrap();
    node().exits(2).tells(&["data/cache-1", "version 7"]);
}

/// A ring comes up, takes writes, is measured, ends without a trace of a process, and has its data
/// when it comes up again.
#[test]
fn a_ring_comes_up_serves_and_ends() {
    let place = Place::new("");
    fs::write(
        place.path("cluster.toml"),
        ring(free_ports(4), "replicated"),
    )
    .unwrap();
    let mut live = Live::up(&place, &[]);
    live.is_ready();
    let pids = live.pids(&place);
    assert_eq!(pids.len(), 4);
    let status = place.triptych(&["cluster", "status", "cluster.toml"]);
    status
        .exits(0)
        .prints(&["cache 3", "in epoch", "database 900"]);
    let bench = place.triptych(&[
        "bench",
        "cache",
        "cluster.toml",
        "--clients",
        "4",
        "--keys",
        "200",
        "--read-keys",
        "1",
        "--read-keys",
        "4",
        "--duration",
        "500ms",
        "--warmup",
        "100ms",
        "--json",
        "bench.json",
    ]);
    bench.exits(0).prints(&["kept: ", "its predecessor"]);
    let json = fs::read_to_string(place.path("bench.json")).unwrap();
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    for load in json["loads"].as_array().unwrap() {
        assert!(load["per_second"].as_f64().unwrap() > 0.0);
        assert!(load["verdict"]["shown"].as_u64().unwrap() > 0);
        assert!(load["verdict"]["compared"].as_u64().unwrap() == 200);
        assert_eq!(load["kept"], true);
    }
    assert!(json["visibility"]["writes"].as_u64().unwrap() > 0);

    let file = parsed(&place);
    let ring = file.clone();
    World::run_real(1, Options::default(), |world| async move {
        let mut client = Client::new(&world, &ring, 7).await;
        for n in 0..30 {
            let (key, server) = (Key::new("t", &n.to_string()), n as usize % 3);
            client.write(server, &key, n).await.unwrap();
            // Wherever it goes, it sees what it wrote.
            assert_eq!(
                client
                    .read(server + 1 - 3 * usize::from(server == 2), &key)
                    .await,
                Ok(Some(n))
            );
        }
    })
    .unwrap();
    // What is in the database is there when all servers were gone.
    becomes(&file, "dirty", &[0, 0, 0]);
    signal("INT", live.id());
    live.ends().exits(0).prints(&["stopped"]);
    for (name, process) in pids {
        assert!(!process.runs(), "{name} still runs");
    }
    place
        .triptych(&["cluster", "status", "cluster.toml"])
        .exits(3);
    let mut live = Live::up(&place, &[]);
    live.is_ready();
    World::run_real(1, Options::default(), |world| async move {
        let mut client = Client::new(&world, &file, 8).await;
        for n in 0..30 {
            let key = Key::new("t", &n.to_string());
            assert_eq!(client.read(n as usize % 3, &key).await, Ok(Some(n)));
        }
    })
    .unwrap();
}

/// A server that is started by hand. To drop it kills it.
struct ByHand(Child);

impl Drop for ByHand {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A server is killed while a client works: the ring goes on without it, nothing that was acknowledged
/// is lost, and the server comes back on the ring when somebody starts it again.
#[test]
fn a_killed_server_is_taken_off_the_ring_and_comes_back_by_hand() {
    let place = Place::new("");
    fs::write(
        place.path("cluster.toml"),
        ring(free_ports(4), "replicated"),
    )
    .unwrap();
    let mut live = Live::up(&place, &[]);
    live.is_ready();
    let victim = live.pids(&place).remove("cache-2").unwrap();
    let file = parsed(&place);
    let key = |n: i64| Key::new("t", &(n % 50).to_string());
    let ring = file.clone();
    let written = World::run_real(1, Options::default(), |world| async move {
        let mut client = Client::new(&world, &ring, 7).await;
        let mut written = 0;
        for n in 0..200 {
            if n == 100 {
                signal("KILL", victim.pid);
            }
            // One that is asked while the ring changes may not know; it is asked again as another
            // write, and both say the same.
            for attempt in 0.. {
                match client.write(n as usize % 3, &key(n), n).await {
                    Ok(()) => break,
                    Err(Failure::Unknown | Failure::Unavailable) if attempt < 20 => {
                        world.sleep(100 * MS).await;
                    }
                    Err(failure) => panic!("write {n}: {failure}"),
                }
            }
            written = n;
            assert_eq!(
                client.read(n as usize / 3 % 3, &key(n)).await,
                Ok(Some(n)),
                "{n}"
            );
        }
        written
    })
    .unwrap();
    assert_eq!(written, 199);
    live.prints("cache 2");
    becomes(&file, "ring", &[2, 2]);
    let args = ["node", "cache", "--config", "cluster.toml", "--id", "2"];
    let mut again = place.command(&args);
    again
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let again = ByHand(again.spawn().unwrap());
    becomes(&file, "ring", &[3, 3, 3]);
    becomes(&file, "whole", &[1, 1, 1]);
    // It has what was written while it was away, and before.
    World::run_real(1, Options::default(), |world| async move {
        let port = connect::cache::port(&world, &file, 1).await.unwrap();
        for n in 150..200 {
            let request = Request::Read {
                deps: Clock::default(),
                own: Vec::new(),
                keys: vec![key(n)],
            };
            let Ok(Reply::Read { seen, .. }) = port.ask(request).await else {
                panic!("it does not answer");
            };
            assert_eq!(seen[0].value, Some(Value::Int(n)));
        }
    })
    .unwrap();
    drop(again);
    signal("INT", live.id());
    live.ends().exits(0);
}
