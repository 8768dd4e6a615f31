//! What comes to cache servers over the wire and makes no sense: it is answered or refused, and the
//! ring goes on.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::rc::Rc;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use triptych_api::{Change, Condition};
use triptych_cluster::connect;
use triptych_cluster::file::{CacheFile, ClusterFile};
use triptych_cluster::node::{self, Options};
use triptych_cluster::up::folder::DataFolder;
use triptych_load::pool::Cancel;
use triptych_mesh::{
    Clock, Context, Failure, Key, Message, Op, Own, Port, Reply, Request, Slot, Version, WriteId,
};
use triptych_model::{Value, mix_str};
use triptych_world::{MS, Options as WorldOptions, World};

/// A ring of three and its database, each a thread of this process.
struct Ring {
    file: CacheFile,
    stop: Arc<Cancel>,
    nodes: Vec<JoinHandle<()>>,
    _folder: TempDir,
}

impl Ring {
    fn start() -> Ring {
        let text = "kind = \"cache\"\nname = \"input\"\nlevel = \"async\"\n\
             [nodes]\nbase_port = 7200\nservers = 3\ndatabases = 1\n\
             [timing]\nlease = \"5s\"\ndead_after = \"10s\"\n\
             [limits]\nrequest_keys = 10\n";
        let mut file = CacheFile::parse("input.toml", text).unwrap();
        file.place_anywhere().unwrap();
        let folder = TempDir::new().unwrap();
        let stop = Arc::new(Cancel::new());
        let either = ClusterFile::from(file.clone());
        // Threads of one process would write its first file at the same time.
        drop(DataFolder::join(&folder.path().join("data"), &either).unwrap());
        let nodes = either.nodes().into_iter().map(|at| {
            let (file, stop) = (either.clone(), Arc::clone(&stop));
            let options = Options {
                data: folder.path().join("data"),
                leash: false,
                measure: false,
            };
            thread::spawn(move || node::run(&file, at, &options, stop).unwrap())
        });
        Ring {
            nodes: nodes.collect(),
            file,
            stop,
            _folder: folder,
        }
    }

    fn address(&self, server: usize) -> SocketAddr {
        self.file.servers()[server].listen
    }

    /// Runs something with a port to the first server, when all serve.
    fn with<T>(&self, work: impl AsyncFnOnce(&World, Rc<dyn Port>) -> T) -> T {
        World::run_real(1, WorldOptions::default(), |world| async move {
            let port = connect::cache::port(&world, &self.file, 0).await;
            let port = port.unwrap();
            let begun = Instant::now();
            while !matches!(
                port.ask(read(&["a"], Clock::default())).await,
                Ok(Reply::Read { .. })
            ) {
                assert!(begun.elapsed() < Duration::from_secs(60), "it never serves");
                world.sleep(50 * MS).await;
            }
            work(&world, port).await
        })
        .unwrap()
    }

    /// Whether a write at one server is seen at another one: the ring goes on.
    fn goes_on(&self, number: u64) {
        self.with(async |world: &World, port: Rc<dyn Port>| {
            let key = format!("alive-{number}");
            let id = WriteId {
                client: number,
                number: 1,
            };
            let written = port.ask(write(id, &[&key], Clock::default())).await;
            assert!(matches!(written, Ok(Reply::Written { .. })), "{written:?}");
            let other = connect::cache::port(world, &self.file, 2).await.unwrap();
            let begun = Instant::now();
            loop {
                let asked = other.ask(read(&[&key], Clock::default())).await;
                if let Ok(Reply::Read { seen, .. }) = asked
                    && seen[0].value.is_some()
                {
                    return;
                }
                assert!(begun.elapsed() < Duration::from_secs(60), "it is not seen");
                world.sleep(20 * MS).await;
            }
        });
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        self.stop.cancel();
        for node in self.nodes.drain(..) {
            let ended = node.join();
            assert!(thread::panicking() || ended.is_ok(), "a node has panicked");
        }
    }
}

fn key(name: &str) -> Key {
    Key::new("t", name)
}

fn read(keys: &[&str], deps: Clock) -> Request {
    Request::Read {
        deps,
        own: Vec::new(),
        keys: keys.iter().map(|name| key(name)).collect(),
    }
}

fn write(write: WriteId, keys: &[&str], deps: Clock) -> Request {
    let put = |name: &&str| (key(name), Op::Put(Value::Int(1)));
    Request::Write {
        write,
        deps,
        own: Own::default(),
        ops: keys.iter().map(put).collect(),
    }
}

/// What somebody who has said hello to a server as a client of the ring says next.
fn greeted(file: &CacheFile, to: u16) -> Vec<u8> {
    let mut bytes = b"triptych".to_vec();
    bytes.extend(1_u16.to_le_bytes());
    bytes.extend(mix_str(0, &file.spoken_name()).to_le_bytes());
    bytes.push(1);
    bytes.extend(0_u16.to_le_bytes());
    bytes.extend(to.to_le_bytes());
    bytes.push(0);
    bytes
}

fn frame(body: &[u8]) -> Vec<u8> {
    [&(body.len() as u32).to_le_bytes()[..], body].concat()
}

/// Sends bytes, and what comes until the other side hangs up, or for a while.
fn speak(address: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).unwrap();
    let limit = Some(Duration::from_secs(20));
    stream.set_read_timeout(limit).unwrap();
    // It may hang up before all is sent.
    let _ = stream.write_all(bytes);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    answer
}

#[test]
fn who_speaks_garbage_is_hung_up_on_and_the_ring_goes_on() {
    let ring = Ring::start();
    ring.goes_on(1);
    let hello = greeted(&ring.file, 1);
    let sent = |body: &[u8]| [&hello[..], &frame(body)[..]].concat();
    let asked = Message::Request {
        op: 1,
        age: 0,
        request: read(&["a"], Clock::default()),
    };
    let whole = postcard::to_stdvec(&asked).unwrap();
    let mut damaged = whole.clone();
    damaged.truncate(whole.len() - 1);
    let cases: Vec<Vec<u8>> = vec![
        b"GET / HTTP/1.1\r\n\r\n".to_vec(),
        // A client of a log of the same name is a stranger.
        {
            let mut log = hello.clone();
            log[10..18].copy_from_slice(&mix_str(0, &ring.file.name).to_le_bytes());
            log
        },
        // A message of no kind, one that is cut short, one that is too long, one of nothing.
        sent(&[99, 1, 2, 3]),
        sent(&damaged),
        sent(&[&whole[..], &[0]].concat()),
        sent(&[]),
        [&hello[..], &u32::MAX.to_le_bytes()[..]].concat(),
    ];
    for (n, bytes) in cases.iter().enumerate() {
        let begun = Instant::now();
        let answer = speak(ring.address(0), bytes);
        assert!(answer.len() <= 24, "case {n}: {answer:?}");
        assert!(
            begun.elapsed() < Duration::from_secs(15),
            "case {n}: it was not hung up on"
        );
    }
    // What only servers and bridges say to each other, from a client: ignored.
    let strange = [
        Message::Behind { epoch: 77 },
        Message::Ring(Arc::default()),
        Message::Frame {
            epoch: 1,
            first: 1,
            items: Vec::new(),
            stable: Clock::from(vec![9, 9, 9]),
            stored: Clock::from(vec![9]),
        },
        Message::Ack {
            epoch: 1,
            next: u64::MAX,
            held: vec![Clock::from(vec![u64::MAX])],
            stable: Clock::from(vec![u64::MAX; 3]),
        },
        Message::Reply {
            op: 0,
            reply: Reply::Failed(Failure::Unknown),
        },
    ];
    let mut stream = TcpStream::connect(ring.address(1)).unwrap();
    stream.write_all(&greeted(&ring.file, 2)).unwrap();
    for message in strange {
        let body = postcard::to_stdvec(&message).unwrap();
        stream.write_all(&frame(&body)).unwrap();
    }
    ring.goes_on(2);
}

#[test]
fn clocks_and_requests_that_make_no_sense_are_answered_so() {
    let ring = Ring::start();
    ring.with(async |_: &World, port: Rc<dyn Port>| {
        let id = |number| WriteId { client: 9, number };
        let version = |origin: u16, clock: Vec<u64>| {
            Arc::new(Version {
                origin: Slot(origin),
                clock: Clock::from(clock),
                write: id(99),
                ops: vec![(key("a"), Op::Put(Value::Int(1)))],
            })
        };
        let with_own = |own: Arc<Version>| Request::Read {
            deps: Clock::default(),
            own: vec![own],
            keys: vec![key("a")],
        };
        let mut nested = Condition::Exists(triptych_model::Path::attr("x"));
        for _ in 0..60 {
            nested = Condition::Not(Box::new(nested));
        }
        let many: Vec<String> = (0..11).map(|n| n.to_string()).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        let far = Clock::from([vec![0; 40], vec![1]].concat());
        // A clock names a server that does not exist, or writes that nobody has made. The server asks
        // whether the ring has changed before it says so.
        let nowhere = [
            read(&["a"], far.clone()),
            write(id(1), &["a"], far.clone()),
            with_own(version(40, [vec![0; 40], vec![1]].concat())),
            read(&["a"], Clock::from(vec![0, 1_000_000])),
        ];
        for (n, request) in nowhere.into_iter().enumerate() {
            let asked = port.ask(request).await;
            assert!(matches!(asked, Err(Failure::Bad(_))), "{n}: {asked:?}");
        }
        let bad = [
            // It counts more than anybody ever writes.
            read(&["a"], Clock::from(vec![0, u64::MAX])),
            // An own write without a number.
            with_own(version(1, vec![7])),
            // Too many keys, one twice, a condition without end.
            read(&many, Clock::default()),
            write(id(2), &many, Clock::default()),
            write(id(3), &["a", "b", "a"], Clock::default()),
            Request::Update {
                write: id(4),
                deps: Clock::default(),
                own: Vec::new(),
                key: key("a"),
                condition: Some(nested),
                changes: vec![Change::add("x", 1)],
            },
        ];
        for (n, request) in bad.into_iter().enumerate() {
            let asked = port.ask(request).await;
            assert!(matches!(asked, Err(Failure::Bad(_))), "{n}: {asked:?}");
        }
    });
    ring.goes_on(3);
}

#[test]
fn bytes_that_are_no_context_are_refused_with_a_reason() {
    let mut context = Context::default();
    let clock = Clock::from(vec![3, 1]);
    context.deps = clock.clone();
    context.own = vec![Arc::new(Version {
        origin: Slot(0),
        clock,
        write: WriteId {
            client: 1,
            number: 1,
        },
        ops: vec![(key("a"), Op::Put(Value::Int(1)))],
    })];
    let bytes = context.encode();
    assert_eq!(Context::decode(&bytes), Ok(context.clone()));
    for cut in 0..bytes.len() {
        assert!(Context::decode(&bytes[..cut]).is_err(), "{cut}");
    }
    // An own write that no server has numbered.
    let own = Arc::make_mut(&mut context.own[0]);
    own.origin = Slot(7);
    let error = Context::decode(&context.encode()).unwrap_err();
    assert!(error.to_string().contains("has no number"), "{error}");
}
