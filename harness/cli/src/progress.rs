//! Progress on stderr: bars on a terminal, a line now and then elsewhere.

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use triptych_load::execute::Job;

/// At most four times a second, so that nothing is measured but the work.
const TICK: Duration = Duration::from_millis(250);
/// Between two lines where there is no terminal.
const QUIET: Duration = Duration::from_secs(10);

/// A bar per run under way, and one for all.
pub(crate) struct RunBars {
    bars: Option<(MultiProgress, ProgressBar)>,
    begun: Instant,
    total: usize,
}

fn style(template: &str) -> ProgressStyle {
    let style = ProgressStyle::with_template(template);
    style
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("━╸ ")
}

impl RunBars {
    /// For this many runs.
    pub(crate) fn new(total: usize) -> Self {
        let bars = std::io::stderr().is_terminal().then(|| {
            let bars = MultiProgress::new();
            let all = bars.add(ProgressBar::new(1_000 * total as u64));
            let left = "all runs {bar:30} {percent:>3} %  {elapsed} so far, {eta} left";
            all.set_style(style(left));
            (bars, all)
        });
        RunBars {
            bars,
            begun: Instant::now(),
            total,
        }
    }

    /// Watches the jobs until `over` is set. Belongs on a thread of its own.
    pub(crate) fn watch(&self, jobs: &[Job], over: &AtomicBool) {
        let Some((bars, all)) = &self.bars else {
            return;
        };
        let mut shown: BTreeMap<&str, ProgressBar> = BTreeMap::new();
        while !over.load(Ordering::Relaxed) {
            for job in jobs {
                let done = job.progress.permille();
                if done == 0 {
                    continue;
                }
                let bar = shown.entry(&job.cell.id).or_insert_with(|| {
                    let bar = bars.insert_before(all, ProgressBar::new(1_000));
                    bar.set_style(style("{msg:34} {bar:30} {percent:>3} %  {eta} left"));
                    bar.set_message(job.cell.id.clone());
                    bar
                });
                if done >= 1_000 {
                    bar.finish_and_clear();
                } else {
                    bar.set_position(done);
                }
            }
            all.set_position(jobs.iter().map(|job| job.progress.permille()).sum());
            std::thread::sleep(TICK);
        }
        shown.values().for_each(ProgressBar::finish_and_clear);
        all.finish_and_clear();
    }

    /// Says that a run ended, the `done`-th of all.
    pub(crate) fn ended(&self, done: usize, what: &str) {
        let spent = self.begun.elapsed().as_secs_f64();
        let left = spent / done.max(1) as f64 * self.total.saturating_sub(done) as f64;
        let line = format!("[{done}/{}] {what}", self.total);
        match &self.bars {
            Some((bars, _)) => {
                // A terminal that is gone is no reason to stop.
                let _ = bars.println(line);
            }
            None => eprintln!("{line}, {spent:.0} s so far, about {left:.0} s left"),
        }
    }
}

/// A count of things that are done, of a number that is known.
pub(crate) struct Counter {
    bar: Option<ProgressBar>,
    what: &'static str,
    total: u64,
    last: Instant,
}

impl Counter {
    /// For this many things.
    pub(crate) fn new(what: &'static str, total: u64) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new(total);
            bar.set_style(style("{msg} {bar:30} {pos}/{len}  {eta} left"));
            bar.set_message(what);
            bar
        });
        Counter {
            bar,
            what,
            total,
            last: Instant::now(),
        }
    }

    /// This many are done.
    pub(crate) fn at(&mut self, done: u64) {
        match &self.bar {
            Some(bar) => bar.set_position(done),
            None if self.last.elapsed() >= QUIET => {
                self.last = Instant::now();
                eprintln!("{}: {done} of {}", self.what, self.total);
            }
            None => {}
        }
    }

    /// No more will come.
    pub(crate) fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
