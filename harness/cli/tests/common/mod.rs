//! Helpers to run the command as a user does.

#![allow(dead_code, reason = "every test file uses a part of it")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use tempfile::TempDir;

/// A small campaign: two runtimes, two seeds, a few seconds of load on a small data set.
pub(crate) const SMALL: &str = r#"
name = "small"
runtimes = ["baseline", "beldi"]
profiles = ["full-movie"]
rates = [20]
duration = "3s"
warmup = "1s"
repetitions = 2

[faults]
crash_rate = 0.05

[settings]
movies = 10
users = 10
"#;

/// A folder for one test, with a campaign file in it.
pub(crate) struct Place {
    pub(crate) dir: TempDir,
}

impl Place {
    pub(crate) fn new(campaign: &str) -> Place {
        let dir = TempDir::new().unwrap();
        fs::write(dir.path().join("mine.toml"), campaign).unwrap();
        Place { dir }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The command, in this folder.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_triptych"));
        command.args(args).current_dir(self.dir.path());
        command
    }

    /// Runs it to its end.
    pub(crate) fn triptych(&self, args: &[&str]) -> Done {
        Done::of(self.command(args).output().unwrap())
    }

    /// The ids of the complete runs in an output folder.
    pub(crate) fn runs(&self, out: &str) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.path(out).join("runs")) else {
            return Vec::new();
        };
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut ids: Vec<String> = names.filter(|name| !name.ends_with(".partial")).collect();
        ids.sort();
        ids
    }

    /// The bytes of the files of a run that depend on nothing but the campaign.
    pub(crate) fn deterministic(&self, out: &str, run: &str) -> Vec<(&'static str, Vec<u8>)> {
        let folder = self.path(out).join("runs").join(run);
        let read = |name: &'static str| (name, fs::read(folder.join(name)).unwrap());
        triptych_results::bundle::DETERMINISTIC
            .into_iter()
            .map(read)
            .collect()
    }
}

/// What a command came to.
pub(crate) struct Done {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Done {
    pub(crate) fn of(output: Output) -> Done {
        Done {
            code: output.status.code(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }

    #[track_caller]
    pub(crate) fn exits(&self, code: i32) -> &Done {
        assert_eq!(
            self.code,
            Some(code),
            "stdout:\n{}\nstderr:\n{}",
            self.out,
            self.err
        );
        self
    }

    #[track_caller]
    pub(crate) fn tells(&self, parts: &[&str]) -> &Done {
        for part in parts {
            assert!(
                self.err.contains(part),
                "`{part}` is not in stderr:\n{}",
                self.err
            );
        }
        self
    }

    #[track_caller]
    pub(crate) fn prints(&self, parts: &[&str]) -> &Done {
        for part in parts {
            assert!(
                self.out.contains(part),
                "`{part}` is not in stdout:\n{}",
                self.out
            );
        }
        self
    }
}

/// Flips one bit in the middle of a file.
pub(crate) fn flip(file: &Path) {
    let mut bytes = fs::read(file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(file, bytes).unwrap();
}
