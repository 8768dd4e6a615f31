//! What the machine says: processor time of processes, and how long a sync of the disk takes.

use super::drive::histogram;
use hdrhistogram::Histogram;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;
use std::time::{Duration, Instant};

/// Units of processor time per second in `/proc`: the same on every Linux that programs see.
const TICKS: f64 = 100.0;

/// A process, so that another one which got its number later is not taken for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Process {
    /// Its number.
    pub pid: u32,
    /// When it was started, in ticks since the machine was.
    pub started: u64,
}

impl Process {
    /// A running process by its number.
    pub fn find(pid: u32) -> Option<Process> {
        let started = field(&stat(pid)?, 19)?;
        Some(Process { pid, started })
    }

    /// This process.
    pub fn own() -> Option<Process> {
        Process::find(std::process::id())
    }

    /// As one line of a file.
    pub fn line(&self) -> String {
        format!("{} {}\n", self.pid, self.started)
    }

    /// From [`Process::line`]; nothing if that process does not run any more.
    pub fn from_line(line: &str) -> Option<Process> {
        let (pid, started) = line.trim().split_once(' ')?;
        let found = Process::find(pid.parse().ok()?)?;
        let started: u64 = started.parse().ok()?;
        (found.started == started && !found.is_over()).then_some(found)
    }

    /// Whether it has ended and only waits for its parent to look.
    fn is_over(&self) -> bool {
        let state = stat(self.pid).and_then(|stat| stat.chars().next());
        state.is_none_or(|state| matches!(state, 'Z' | 'X'))
    }

    /// Whether it still runs.
    pub fn runs(&self) -> bool {
        Process::find(self.pid) == Some(*self) && !self.is_over()
    }

    /// Processor time that it has used, in seconds; nothing if it is over.
    pub fn cpu(&self) -> Option<f64> {
        let stat = stat(self.pid)?;
        (field(&stat, 19)? == self.started).then_some(())?;
        Some((field(&stat, 11)? + field(&stat, 12)?) as f64 / TICKS)
    }
}

/// What `/proc` says of a process after its name, which may have any characters in it.
fn stat(pid: u32) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, after) = stat.rsplit_once(") ")?;
    Some(after.to_owned())
}

fn field(stat: &str, at: usize) -> Option<u64> {
    stat.split_whitespace().nth(at)?.parse().ok()
}

/// How long it takes to append so many bytes to a file in a folder and sync it, one after the other:
/// what the disk needs by itself. For about a second, at least 20 times.
///
/// # Errors
/// What the file system says.
pub fn syncs(folder: &Path, bytes: usize) -> io::Result<Histogram<u64>> {
    let path = folder.join(".sync-probe");
    let mut file = File::create(&path)?;
    let data = vec![0x5a; bytes];
    let mut latency = histogram();
    let began = Instant::now();
    while latency.len() < 20 || began.elapsed() < Duration::from_secs(1) {
        let one = Instant::now();
        file.write_all(&data)?;
        file.sync_data()?;
        latency.saturating_record(one.elapsed().as_nanos() as u64);
    }
    drop(file);
    fs::remove_file(&path)?;
    Ok(latency)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_known_by_number_and_birth() {
        let own = Process::own().unwrap();
        assert!(own.runs());
        assert_eq!(Process::from_line(&own.line()), Some(own));
        let other = Process {
            started: own.started + 1,
            ..own
        };
        assert!(!other.runs() && other.cpu().is_none());
        assert_eq!(Process::from_line(&other.line()), None);
        assert_eq!(Process::from_line("nonsense"), None);
    }

    #[test]
    fn processor_time_grows_with_work() {
        let own = Process::own().unwrap();
        let (before, began) = (own.cpu().unwrap(), Instant::now());
        let mut sum = 0u64;
        while own.cpu().unwrap() < before + 0.05 && began.elapsed() < Duration::from_secs(30) {
            sum = (0..1_000_000).fold(sum, |sum, n| std::hint::black_box(sum ^ n));
        }
        assert!(own.cpu().unwrap() >= before + 0.05, "{sum}");
    }

    #[test]
    fn a_folder_can_be_synced() {
        let folder = tempfile::tempdir().unwrap();
        let latency = syncs(folder.path(), 100).unwrap();
        assert!(latency.len() >= 20 && latency.max() > 0);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        assert!(syncs(&folder.path().join("nowhere"), 1).is_err());
    }
}
