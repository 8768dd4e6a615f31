//! The toy cluster as processes that speak TCP (each a thread of its own here).

mod toy;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::task::LocalSet;
use tokio::time::timeout;
use toy::{Counter, Driver, PRIMARY, Toy, additions_count_once, insist};
use triptych_nodes::NodeId;
use triptych_nodes::disk::StoreError;
use triptych_nodes::tcp::{
    Book, Client, Event, Handle, Limits, Options, Place, Report, RunError, Server,
};

const NODES: [NodeId; 3] = [PRIMARY, NodeId(2), NodeId(3)];
const CLUSTER: &str = "toy";

type Running = (Handle, JoinHandle<Result<Report, RunError>>);

struct Processes {
    folder: Option<TempDir>,
    options: BTreeMap<NodeId, Options>,
    book: Book,
    running: RefCell<BTreeMap<NodeId, Running>>,
    ended: RefCell<Vec<Report>>,
    client: Client<Toy>,
}

impl Processes {
    fn new(nodes: &[NodeId], on_disk: bool, change: impl Fn(&mut Options)) -> Self {
        Processes::behind(nodes, on_disk, change, |_| {})
    }

    /// With an address book that says something else than where the nodes are.
    fn behind(
        nodes: &[NodeId],
        on_disk: bool,
        change: impl Fn(&mut Options),
        elsewhere: impl FnOnce(&mut Book),
    ) -> Self {
        let folder = on_disk.then(|| TempDir::new().unwrap());
        let mut servers = Vec::new();
        let mut book = Book::new();
        let mut all = BTreeMap::new();
        for &node in nodes {
            let mut options = Options::new(node, CLUSTER);
            if let Some(folder) = &folder {
                options.place = Place::Folder(folder.path().join(node.to_string()));
            }
            change(&mut options);
            let server = Server::bind(options.clone()).unwrap();
            options.listen = server.address();
            book.insert(node, server.address().to_string());
            all.insert(node, options);
            servers.push((node, server));
        }
        elsewhere(&mut book);
        let processes = Processes {
            client: Client::new(CLUSTER, book.clone(), Limits::default()),
            folder,
            options: all,
            book,
            running: RefCell::default(),
            ended: RefCell::default(),
        };
        for (node, server) in servers {
            processes.run(node, server);
        }
        processes
    }

    fn run(&self, node: NodeId, server: Server) {
        let handle = server.handle();
        let (book, all) = (self.book.clone(), self.options.keys().copied().collect());
        let factory = Counter::boxed(node, all);
        let thread = std::thread::spawn(move || server.run(book, factory));
        self.running.borrow_mut().insert(node, (handle, thread));
    }

    fn stop(&self, node: NodeId) -> Report {
        let (handle, thread) = self.running.borrow_mut().remove(&node).unwrap();
        handle.stop();
        thread.join().unwrap().unwrap()
    }

    fn start(&self, node: NodeId) {
        let options = self.options[&node].clone();
        self.run(node, Server::bind(options).unwrap());
    }

    fn handle(&self, node: NodeId) -> Handle {
        self.running.borrow()[&node].0.clone()
    }

    fn address(&self, node: NodeId) -> SocketAddr {
        self.options[&node].listen
    }

    async fn report(&self, node: NodeId) -> Report {
        self.handle(node).report().await.unwrap()
    }

    /// Waits until something is so.
    async fn until(&self, node: NodeId, what: &str, is: impl Fn(&Report) -> bool) -> Report {
        let begun = Instant::now();
        let mut notices = Vec::new();
        loop {
            let mut report = self.report(node).await;
            notices.append(&mut report.notices);
            if is(&report) {
                report.notices = notices;
                return report;
            }
            assert!(
                begun.elapsed() < Duration::from_secs(20),
                "{what}: {report:?}"
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

impl Drop for Processes {
    fn drop(&mut self) {
        let nodes: Vec<NodeId> = self.running.borrow().keys().copied().collect();
        for node in nodes {
            let (handle, thread) = self.running.borrow_mut().remove(&node).unwrap();
            handle.stop();
            let _ = thread.join();
        }
        drop(self.folder.take());
    }
}

fn answers(question: &Toy, answer: &Toy) -> bool {
    match (question, answer) {
        (Toy::Add { op: a, .. }, Toy::Sum { op: b, .. }) => a == b,
        (Toy::Look { at: a }, Toy::Seen { at: b, .. }) => a == b,
        (Toy::Echo { data: a }, Toy::Echo { data: b }) => a == b,
        _ => false,
    }
}

impl Driver for Processes {
    async fn ask(&self, to: NodeId, message: Toy) -> Option<Toy> {
        let wait = Duration::from_millis(100);
        if !self.client.send(to, &message) {
            tokio::time::sleep(Duration::from_millis(20)).await;
            return None;
        }
        timeout(wait, async {
            loop {
                match self.client.next().await {
                    Event::Message(from, answer) if from == to && answers(&message, &answer) => {
                        return answer;
                    }
                    _ => {}
                }
            }
        })
        .await
        .ok()
    }

    async fn kill(&self, id: NodeId) {
        let report = self.stop(id);
        self.ended.borrow_mut().push(report);
    }

    async fn restart(&self, id: NodeId) {
        self.start(id);
    }
}

fn test<T>(body: impl Future<Output = T>) -> T {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_all().build().unwrap();
    LocalSet::new().block_on(&runtime, async {
        let limit = Duration::from_secs(120);
        timeout(limit, body).await.expect("it ends")
    })
}

#[test]
fn additions_count_once_whatever_is_stopped() {
    test(async {
        let processes = Processes::new(&NODES, true, |_| {});
        additions_count_once(&processes, &NODES).await;
        for report in processes.ended.borrow().iter() {
            assert!(report.metrics.syncs > 0 && report.metrics.turns > 0);
        }
        let report = processes.report(PRIMARY).await;
        assert!(report.gauges.contains(&("adds", 40)));
        assert!(report.metrics.kinds["add"].messages_in >= 20);
        // Adding it up on both sides of the wire: both count frames.
        let sent = processes.report(NODES[2]).await.metrics.kinds["kept"];
        assert!(sent.bytes_out >= 5 * sent.messages_out && sent.messages_out > 0);
    });
}

#[test]
fn a_node_in_memory_measures_its_work() {
    test(async {
        let processes = Processes::new(&NODES[..1], false, |options| options.measure = true);
        for op in 1..=50 {
            insist(&processes, PRIMARY, Toy::Add { op, amount: 1 }).await;
        }
        insist(&processes, PRIMARY, Toy::Look { at: 7 }).await;
        let report = processes.report(PRIMARY).await;
        let add = report.samples["add"];
        // Under load some were asked for more than once.
        let count = report.metrics.kinds["add"].messages_in;
        assert!(count >= 50);
        assert_eq!((add.count, add.units), (count, count));
        assert_eq!(add.bytes, report.metrics.kinds["add"].bytes_in);
        assert!(add.nanos > 50 * 50, "{add:?}");
        for kind in ["(persisted)", "(read)", "(packet in)", "(packet out)"] {
            assert!(report.samples[kind].count > 0, "{kind}");
        }
        assert!(report.metrics.busy >= add.nanos / 2);
    });
}

#[test]
fn large_messages_pass_and_too_large_ones_end_the_connection() {
    test(async {
        let limit = 1 << 20;
        let processes = Processes::new(&NODES[..1], false, |options| {
            options.limits.message_bytes = limit;
        });
        let echo = |size| Toy::Echo {
            data: (0..size).map(|n| n as u8).collect(),
        };
        for size in [0, 1, 70_000, limit - 100, 3] {
            assert_eq!(insist(&processes, PRIMARY, echo(size)).await, echo(size));
        }
        assert!(processes.client.send(PRIMARY, &echo(limit + 1)));
        // What else comes was asked for more than once.
        while !matches!(processes.client.next().await, Event::Lost(PRIMARY, _)) {}
        let report = processes.until(PRIMARY, "it was refused", |report| {
            report.metrics.refused == 1
        });
        let notices = report.await.notices.join("\n");
        assert!(notices.contains("is larger than 1048576"), "{notices}");
        // The client comes back by itself.
        assert_eq!(insist(&processes, PRIMARY, echo(5)).await, echo(5));
        let gone = |report: &Report| report.gauges.contains(&("gone", 1));
        processes.until(PRIMARY, "the node was told", gone).await;
    });
}

/// A hello of a client of a cluster, as it stands on the wire.
fn hello(cluster: &str, version: u16, from: Option<u16>, to: u16) -> Vec<u8> {
    let mut bytes = b"triptych".to_vec();
    bytes.extend(version.to_le_bytes());
    bytes.extend(triptych_world::mix_str(0, cluster).to_le_bytes());
    bytes.push(u8::from(from.is_none()));
    bytes.extend(from.unwrap_or(0).to_le_bytes());
    bytes.extend(to.to_le_bytes());
    bytes.push(0);
    bytes
}

#[test]
fn who_speaks_garbage_is_refused_and_harms_nobody() {
    test(async {
        let processes = Processes::new(&NODES, false, |_| {});
        let address = processes.address(PRIMARY);
        let speak = |bytes: Vec<u8>| {
            let mut stream = TcpStream::connect(address).unwrap();
            stream.write_all(&bytes).unwrap();
            stream
        };
        let greeted = |more: &[u8]| [&hello(CLUSTER, 1, None, 1)[..], more].concat();
        let cases = [
            (
                b"GET / HTTP/1.1\r\n\r\n".to_vec(),
                "does not speak this protocol",
            ),
            (hello(CLUSTER, 9, None, 1), "speaks version 9, this one 1"),
            (hello("other", 1, None, 1), "belongs to another cluster"),
            (hello(CLUSTER, 1, None, 2), "is node n1, not n2"),
            (hello(CLUSTER, 1, Some(77), 1), "knows no node n77"),
            (greeted(&[255; 64]), "is larger than"),
            (greeted(&[3, 0, 0, 0, 99, 1, 2]), "makes no sense"),
            (greeted(&[4, 0, 0, 0, 3, 1, 2, 3]), "makes no sense"),
        ];
        let mut said = String::new();
        for (count, (bytes, notice)) in (1..).zip(cases) {
            let mut stream = speak(bytes);
            let report = processes.until(PRIMARY, notice, |report| report.metrics.refused == count);
            said.push_str(&report.await.notices.join("\n"));
            assert!(said.contains(notice), "{notice}: {said}");
            // It is hung up on; nothing but a hello may come before.
            let mut rest = Vec::new();
            let _ = stream.read_to_end(&mut rest);
            assert!(rest.len() <= 24, "{rest:?}");
        }
        // One that says nothing at all, and one that stops in the middle, block nobody.
        let _silent = TcpStream::connect(address).unwrap();
        let _half = speak(hello(CLUSTER, 1, None, 1)[..9].to_vec());
        let _half_a_message = speak(greeted(&[200, 0, 0, 0, 1, 2, 3]));
        let add = Toy::Add { op: 1, amount: 1 };
        let sum = Toy::Sum { op: 1, sum: 1 };
        assert_eq!(insist(&processes, PRIMARY, add).await, sum);
    });
}

#[test]
fn callers_learn_why_they_are_refused() {
    test(async {
        let processes = Processes::new(&NODES[..1], false, |_| {});
        let lost = async |cluster: &str, book: Book, to| {
            let client: Client<Toy> = Client::new(cluster, book, Limits::default());
            assert!(client.send(to, &Toy::Look { at: 1 }));
            match client.next().await {
                Event::Lost(node, why) if node == to => why,
                other => panic!("{other:?}"),
            }
        };
        let book = processes.book.clone();
        let why = lost("other", book.clone(), PRIMARY).await;
        assert_eq!(why, "the other side belongs to another cluster");
        let wrong: Book = [(NODES[1], book[&PRIMARY].clone())].into();
        let why = lost(CLUSTER, wrong, NODES[1]).await;
        assert_eq!(why, "the other side is node n1, not n2");
        // Something that listens and speaks something else, and nothing that listens.
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let other: Book = [(PRIMARY, address)].into();
        let speaking = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream.write_all(b"220 ready\r\n").unwrap();
        });
        let why = lost(CLUSTER, other.clone(), PRIMARY).await;
        assert_eq!(why, "the other side does not speak this protocol");
        speaking.join().unwrap();
        let why = lost(CLUSTER, other, PRIMARY).await;
        assert!(why.contains("refused"), "{why}");
        let client: Client<Toy> = Client::new(CLUSTER, Book::new(), Limits::default());
        assert!(!client.send(PRIMARY, &Toy::Look { at: 1 }), "no such node");
    });
}

#[test]
fn a_client_that_takes_nothing_is_read_from_no_more_and_blocks_nobody() {
    test(async {
        let processes = Processes::new(&NODES[..1], false, |options| {
            options.limits.client_bytes = 256 << 10;
        });
        let mut stream = TcpStream::connect(processes.address(PRIMARY)).unwrap();
        stream.write_all(&hello(CLUSTER, 1, None, 1)).unwrap();
        stream.set_nonblocking(true).unwrap();
        // Echoes of 64 KiB, whose answers nobody takes.
        let mut frame = 65_540_u32.to_le_bytes().to_vec();
        frame.extend([6, 0x80, 0x80, 4]);
        frame.extend(vec![7; 65_536]);
        let (mut sent, mut stuck) = (0_usize, 0);
        while stuck < 50 {
            match stream.write(&frame[sent % frame.len()..]) {
                Ok(count) => (sent, stuck) = (sent + count, 0),
                Err(_) => {
                    stuck += 1;
                    let add = Toy::Add {
                        op: sent as u64,
                        amount: 1,
                    };
                    insist(&processes, PRIMARY, add).await;
                }
            }
            assert!(sent < 256 << 20, "it is read from without end");
        }
        let report = processes.report(PRIMARY).await;
        let echo = report.metrics.kinds["echo"];
        assert!(echo.messages_in > 3 && (echo.bytes_in as usize) < sent);
        assert_eq!(report.metrics.refused, 0);
        // It is all there when the client takes it after all.
        stream.set_nonblocking(false).unwrap();
        let wanted = echo.messages_in as usize * (frame.len());
        let mut answers = vec![0; 24 + wanted];
        stream.read_exact(&mut answers).unwrap();
        assert_eq!(answers[24..24 + frame.len()], frame);
    });
}

#[test]
fn what_cannot_reach_a_node_is_dropped_and_counted() {
    test(async {
        let processes = Processes::new(&NODES, false, |options| {
            options.limits.peer_bytes = 2_000;
        });
        let add = |op| Toy::Add { op, amount: 1 };
        insist(&processes, PRIMARY, add(1)).await;
        processes.stop(NODES[2]);
        assert_eq!(processes.ask(PRIMARY, add(2)).await, None);
        let dropped = |report: &Report| report.metrics.kinds["keep"].dropped > 3;
        let report = processes.until(PRIMARY, "it was dropped", dropped).await;
        let notices = report.notices.join("\n");
        assert!(notices.contains("n3"), "{notices}");
        assert!(report.metrics.disconnects > 0);
        // In memory it has lost all; the primary sends again what it never took.
        processes.start(NODES[2]);
        let back = |report: &Report| report.metrics.connects > 4;
        processes
            .until(PRIMARY, "it is connected again", back)
            .await;
    });
}

/// Passes bytes on, until it hangs up.
struct Proxy {
    address: SocketAddr,
    streams: Arc<Mutex<Vec<TcpStream>>>,
}

impl Proxy {
    fn new(target: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let streams: Arc<Mutex<Vec<TcpStream>>> = Arc::default();
        let known = Arc::clone(&streams);
        std::thread::spawn(move || {
            for caller in listener.incoming() {
                let (caller, callee) = (caller.unwrap(), TcpStream::connect(&target).unwrap());
                let mut known = known.lock().unwrap();
                for (from, to) in [(&caller, &callee), (&callee, &caller)] {
                    let (mut from, mut to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
                    std::thread::spawn(move || {
                        let _ = std::io::copy(&mut from, &mut to);
                        let _ = to.shutdown(Shutdown::Both);
                    });
                }
                known.extend([caller, callee]);
            }
        });
        Proxy { address, streams }
    }

    /// Ends all connections, at once and in both directions. Returns how many there were.
    fn hang_up(&self) -> usize {
        let streams = std::mem::take(&mut *self.streams.lock().unwrap());
        for stream in &streams {
            let _ = stream.shutdown(Shutdown::Both);
        }
        streams.len() / 2
    }
}

#[test]
fn a_connection_that_breaks_is_made_again_and_nothing_is_lost_for_good() {
    test(async {
        let mut proxy = None;
        let processes = Processes::behind(
            &NODES,
            true,
            |_| {},
            |book| {
                let target = book[&NODES[2]].clone();
                let new = proxy.insert(Proxy::new(target));
                book.insert(NODES[2], new.address.to_string());
            },
        );
        let proxy = proxy.unwrap();
        let mut broken = 0;
        for op in 1..=30 {
            if op % 5 == 0 {
                broken += proxy.hang_up();
            }
            let sum = Toy::Sum { op, sum: op };
            let add = Toy::Add { op, amount: 1 };
            assert_eq!(insist(&processes, PRIMARY, add).await, sum);
        }
        assert!(broken > 0);
        let report = processes.report(PRIMARY).await;
        let (connects, disconnects) = (report.metrics.connects, report.metrics.disconnects);
        // To and from both copies, from the client, and again for each that has ended.
        assert!(disconnects > 0);
        assert_eq!(connects, 5 + disconnects);
        let copy = processes.report(NODES[2]).await;
        assert!(copy.gauges.contains(&("adds", 30)));
    });
}

#[test]
fn what_is_in_use_or_of_somebody_else_is_refused_by_name() {
    let first = Server::bind(Options::new(PRIMARY, CLUSTER)).unwrap();
    let mut options = Options::new(NODES[1], CLUSTER);
    options.listen = first.address();
    let error = Server::bind(options).err().unwrap();
    assert!(matches!(error, RunError::Listen { .. }));
    let begin = format!("cannot listen on {}: ", first.address());
    assert!(error.to_string().starts_with(&begin), "{error}");

    let folder = TempDir::new().unwrap();
    let place = |options: &mut Options, path: PathBuf| options.place = Place::Folder(path);
    let mut options = Options::new(PRIMARY, CLUSTER);
    place(&mut options, folder.path().to_owned());
    drop(Server::bind(options).unwrap());
    let mut options = Options::new(PRIMARY, "other");
    place(&mut options, folder.path().to_owned());
    let error = Server::bind(options).err().unwrap();
    assert!(matches!(error, RunError::Store(StoreError::Foreign { .. })));
}

#[test]
fn a_stopped_node_reports_no_more() {
    test(async {
        let processes = Processes::new(&NODES[..1], false, |_| {});
        let handle = processes.handle(PRIMARY);
        assert!(handle.report().await.is_some());
        processes.stop(PRIMARY);
        let waiting = timeout(Duration::from_secs(5), handle.report()).await;
        assert_eq!(waiting, Ok(None));
    });
}
