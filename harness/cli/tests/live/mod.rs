//! A `triptych cluster up` that runs while a test does something to it.

use crate::common::{Done, Place};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};
use triptych_cluster::bench::machine::Process;
use triptych_cluster::up::folder::DataFolder;

/// Longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// The first of so many ports in a row that were free a moment ago.
pub(crate) fn free_ports(count: u16) -> u16 {
    // Tests of one process ask one after the other, those of others begin elsewhere.
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let start = (std::process::id() * 61 % 200) as u16;
    for _ in 0..1000 {
        let block = (start + NEXT.fetch_add(1, Ordering::Relaxed)) % 700;
        let base = 12_000 + 24 * block;
        let free = |port| TcpListener::bind(("127.0.0.1", port)).is_ok();
        if (base..base + count).all(free) {
            return base;
        }
    }
    panic!("no free ports");
}

/// A cluster file: two engines, one log, three of everything where there are so many.
#[allow(dead_code, reason = "a ring has another file")]
pub(crate) fn file(
    base_port: u16,
    controllers: u16,
    sequencers: u16,
    storages: u16,
    level: &str,
) -> String {
    let (metas, copies) = (sequencers.min(3), storages.min(3));
    format!(
        r#"name = "test"
level = "{level}"
data = "data"

[shape]
logs = 1
metas = {metas}
copies = {copies}
indexes = 1

[nodes]
base_port = {base_port}
controllers = {controllers}
sequencers = {sequencers}
storages = {storages}
engines = 2

[timing]
alive_every = "50ms"
dead_after = "1500ms"
again_after = "20ms"
"#
    )
}

/// Sends a signal to a process.
pub(crate) fn signal(name: &str, pid: u32) {
    let command = format!("kill -{name} {pid}");
    let status = Command::new("sh").args(["-c", &command]).status().unwrap();
    assert!(status.success(), "{command}");
}

/// Whether something comes true in time.
pub(crate) fn until(patience: Duration, mut come: impl FnMut() -> bool) -> bool {
    let began = Instant::now();
    loop {
        if come() {
            return true;
        }
        if began.elapsed() > patience {
            return false;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A cluster that runs. To drop it kills the command, and thereby its nodes.
pub(crate) struct Live {
    child: Child,
    lines: Receiver<String>,
    out: String,
}

impl Live {
    /// Starts `cluster up cluster.toml`.
    pub(crate) fn up(place: &Place, more: &[&str]) -> Live {
        let args = [&["cluster", "up", "cluster.toml"], more].concat();
        let mut command = place.command(&args);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        let (send, lines) = channel();
        std::thread::spawn(move || {
            for line in out.lines().map_while(Result::ok) {
                if send.send(line).is_err() {
                    break;
                }
            }
        });
        Live {
            child,
            lines,
            out: String::new(),
        }
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits until it prints a line with this in it.
    #[track_caller]
    pub(crate) fn prints(&mut self, part: &str) {
        let began = Instant::now();
        loop {
            match self
                .lines
                .recv_timeout(PATIENCE.saturating_sub(began.elapsed()))
            {
                Ok(line) => {
                    self.out.push_str(&line);
                    self.out.push('\n');
                    if line.contains(part) {
                        return;
                    }
                }
                Err(RecvTimeoutError::Timeout) => panic!("no `{part}` in:\n{}", self.out),
                Err(RecvTimeoutError::Disconnected) => {
                    let done = self.ends();
                    panic!("it ended ({:?}):\n{}\n{}", done.code, done.out, done.err);
                }
            }
        }
    }

    #[track_caller]
    pub(crate) fn is_ready(&mut self) {
        self.prints("ready: ");
    }

    /// The processes of its nodes, by name.
    pub(crate) fn pids(&self, place: &Place) -> BTreeMap<String, Process> {
        DataFolder::at(&place.path("data"))
            .running()
            .into_iter()
            .collect()
    }

    /// Waits for its end.
    #[track_caller]
    pub(crate) fn ends(&mut self) -> Done {
        let mut status = None;
        let ended = until(PATIENCE, || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        assert!(ended, "it does not end; so far:\n{}", self.out);
        while let Ok(line) = self.lines.recv_timeout(Duration::from_secs(1)) {
            self.out.push_str(&line);
            self.out.push('\n');
        }
        let mut err = String::new();
        if let Some(mut from) = self.child.stderr.take() {
            from.read_to_string(&mut err).unwrap();
        }
        Done {
            code: status.and_then(|status| status.code()),
            out: std::mem::take(&mut self.out),
            err,
        }
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
