//! Servers of other systems: started in a folder, asked for, and ended with this process.

use std::ffi::OsStr;
use std::fs::File;
use std::future::Future;
use std::io;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Ports that were free a moment ago.
pub(crate) fn ports(count: usize) -> io::Result<Vec<u16>> {
    let held: io::Result<Vec<TcpListener>> = (0..count)
        .map(|_| TcpListener::bind("127.0.0.1:0"))
        .collect();
    let ports = held?.into_iter();
    ports.map(|one| Ok(one.local_addr()?.port())).collect()
}

/// Whether a program can be started.
pub(crate) fn installed(program: &str) -> bool {
    let quiet = Command::new(program)
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    quiet.is_ok_and(|status| status.success())
}

/// Processes of one program, killed when this is dropped.
pub(crate) struct Servers {
    program: &'static str,
    children: Vec<Child>,
}

impl Servers {
    pub(crate) fn new(program: &'static str) -> Servers {
        Servers {
            program,
            children: Vec::new(),
        }
    }

    pub(crate) fn spawn(&mut self, args: &[&OsStr], folder: &Path) -> io::Result<()> {
        let log = File::create(folder.join("server.log"))?;
        let child = Command::new(self.program)
            .args(args)
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        self.children.push(child);
        Ok(())
    }

    pub(crate) fn pids(&self) -> Vec<u32> {
        self.children.iter().map(Child::id).collect()
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        for child in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Tries something until it works, for half a minute.
pub(crate) async fn within<T, F>(what: &str, attempt: impl Fn() -> F) -> io::Result<T>
where
    F: Future<Output = io::Result<T>>,
{
    let began = Instant::now();
    loop {
        let tried = tokio::time::timeout(Duration::from_secs(6), attempt()).await;
        let error = match tried {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(error)) => error.to_string(),
            Err(_) => "no answer".to_owned(),
        };
        if began.elapsed() > Duration::from_secs(30) {
            return Err(io::Error::other(format!(
                "waited in vain until {what}: {error}"
            )));
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
