//! The command line, as `--help` shows it.

use clap::builder::PossibleValuesParser;
use clap::{Parser, Subcommand};
use std::path::PathBuf;
use triptych_cluster::bench::cache::Roaming;
use triptych_cluster::file::{Kind, Role};
use triptych_load::campaign::{FaultRates, Span, known};

/// A benchmark suite for stateful serverless runtimes. A number without a verdict is not a result.
#[derive(Debug, Parser)]
#[command(
    name = "triptych",
    version,
    after_help = "Exit status: 0 all promises kept; 1 a promise broken; 2 bad input; 3 unknown or \
                  incomplete; 64 and above: the suite itself failed."
)]
pub(crate) struct Args {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What can be done.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a campaign, then print its table and write its report.
    Run(RunArgs),
    /// Prove the harness: oracles with known answers, in under a minute.
    Selftest(SelftestArgs),
    /// Try many seeds with crashes, and judge them as one batch.
    Check(CheckArgs),
    /// Crash every request at every effect, and judge what is left.
    Explore(ExploreArgs),
    /// Run a bundle's run again, with one request traced step by step.
    Replay(ReplayArgs),
    /// Hold a runtime to what it declares: every crash point, random programs, transactions.
    Conform(ConformArgs),
    /// Search the highest rate that keeps a latency bound.
    Saturate(SaturateArgs),
    /// Recompute every published number, and the verdict, from the raw data.
    Verify(VerifyArgs),
    /// Export the history of a run's transactions, or check it again.
    History(HistoryArgs),
    /// Write the figures and the HTML report of a campaign or bundle.
    Report(ReportArgs),
    /// Run a cluster of the shared log, or a ring of cache servers, as processes on this machine.
    Cluster(ClusterArgs),
    /// Run one node of a cluster.
    Node(NodeArgs),
    /// Put a load on a running cluster; measure it, and judge what was acknowledged.
    Bench(BenchArgs),
    /// Measure how long nodes work on each kind of message, for the simulator.
    Calibrate(CalibrateArgs),
    /// List the names that exist.
    List(ListArgs),
    /// Print the JSON schema of campaign files.
    Schema,
}

/// Arguments of `run`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    triptych run                        the default campaign\n  \
    triptych run mine.toml --jobs 1     your own, on one core\n  \
    triptych run mine.toml --resume     go on where it stopped\n  \
    triptych run mine.toml --only full-movie.beldi.r100.s1")]
pub(crate) struct RunArgs {
    /// The campaign file; without one, the default campaign.
    pub(crate) campaign: Option<PathBuf>,
    /// The output folder [default: triptych-out/NAME].
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
    /// Another name for the campaign.
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// Runs at a time [default: the number of cores].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) jobs: Option<u16>,
    /// Keep the finished runs of the same campaign in the output folder, and do the rest.
    #[arg(long)]
    pub(crate) resume: bool,
    /// Throw away the campaign that is in the output folder.
    #[arg(long, conflicts_with = "resume")]
    pub(crate) force: bool,
    /// Do this run alone; may be repeated.
    #[arg(long, value_name = "RUN")]
    pub(crate) only: Vec<String>,
}

/// Arguments of `selftest`.
#[derive(Debug, clap::Args)]
pub(crate) struct SelftestArgs {
    /// Parts at a time [default: the number of cores].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) jobs: Option<u16>,
}

/// The random faults of `check` and of a run without a bundle.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct RateArgs {
    /// The share of requests in which an execution crashes.
    #[arg(long, default_value_t = 0.05, value_parser = share)]
    pub(crate) crash_rate: f64,
    /// The share of requests in which an execution is started twice.
    #[arg(long, default_value_t = 0.0, value_parser = share)]
    pub(crate) duplicate_rate: f64,
    /// The share of store calls and of invocations that are refused.
    #[arg(long, default_value_t = 0.0, value_parser = share)]
    pub(crate) throttle_rate: f64,
    /// The share of effects that come late, or whose reply does.
    #[arg(long, default_value_t = 0.0, value_parser = share)]
    pub(crate) delay_rate: f64,
}

/// Arguments of `check`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    triptych check --runtime beldi --profile full-movie --seeds 1000 --crash-rate 0.05\n  \
    triptych check --runtime beldi --profile all --seeds 2000 --throttle-rate 0.01")]
pub(crate) struct CheckArgs {
    /// The runtime.
    #[arg(long)]
    pub(crate) runtime: String,
    /// The profile; may be repeated, and seeds are dealt out to them in turn. `all` stands for every
    /// full and contended one.
    #[arg(long, default_value = "full-movie")]
    pub(crate) profile: Vec<String>,
    /// How many seeds.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) seeds: u64,
    /// The first seed.
    #[arg(long, default_value_t = 1)]
    pub(crate) first_seed: u64,
    #[command(flatten)]
    pub(crate) rates: RateArgs,
    /// Seeds at a time [default: the number of cores].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) jobs: Option<u16>,
    /// Write coverage, rules and verdicts here too.
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
}

/// Arguments of `explore`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    triptych explore --app movie --runtime beldi\n  \
    triptych explore --app movie --runtime beldi --kind compose --twice --duplicate\n  \
    triptych explore --app movie --runtime baseline --kind compose --case 'before@baseline.invoke#2'")]
pub(crate) struct ExploreArgs {
    /// The app.
    #[arg(long)]
    pub(crate) app: String,
    /// The runtime.
    #[arg(long)]
    pub(crate) runtime: String,
    /// The kind of request; may be repeated. `all` stands for every kind, and for the collectors.
    #[arg(long, default_value = "all")]
    pub(crate) kind: Vec<String>,
    /// The profile [default: the full or contended one with most kinds of requests].
    #[arg(long)]
    pub(crate) profile: Option<String>,
    /// Also crash at the same point again, when the execution is repeated.
    #[arg(long)]
    pub(crate) twice: bool,
    /// Also start a duplicate at each point while the first execution goes on.
    #[arg(long)]
    pub(crate) duplicate: bool,
    /// Also crash at every pair of points, of requests that have few.
    #[arg(long)]
    pub(crate) pairs: bool,
    /// Send the same request once more at the same time as each one that is crashed.
    #[arg(long)]
    pub(crate) contend: bool,
    /// The seed of requests and latencies.
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// These faults alone, as a finding gives them, of one kind of request.
    #[arg(long, value_name = "FAULTS")]
    pub(crate) case: Option<String>,
    /// With a case: write the traced request for Perfetto or chrome://tracing.
    #[arg(long, value_name = "FILE", requires = "case")]
    pub(crate) perfetto: Option<PathBuf>,
    /// Worlds at a time [default: the number of cores].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) jobs: Option<u16>,
}

/// Arguments of `replay`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    triptych replay out/runs/RUN --request 17 --perfetto trace.json\n  \
    triptych replay --runtime beldi --profile full-movie --seed 9 --request 17")]
pub(crate) struct ReplayArgs {
    /// The folder of a run's bundle; without one, a run of `check`.
    #[arg(required_unless_present = "runtime", conflicts_with_all = ["runtime", "profile", "seed"])]
    pub(crate) bundle: Option<PathBuf>,
    /// The request: its position in the schedule.
    #[arg(long, value_name = "ID")]
    pub(crate) request: u64,
    /// The runtime.
    #[arg(long)]
    pub(crate) runtime: Option<String>,
    /// The profile.
    #[arg(long, default_value = "full-movie")]
    pub(crate) profile: String,
    /// The seed.
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    #[command(flatten)]
    pub(crate) rates: RateArgs,
    /// Write the trace for Perfetto or chrome://tracing.
    #[arg(long, value_name = "FILE")]
    pub(crate) perfetto: Option<PathBuf>,
}

/// Arguments of `conform`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    triptych conform --runtime template\n  \
    triptych conform --runtime template --only crash-once --case 'reply-lost@12'")]
pub(crate) struct ConformArgs {
    /// The runtime.
    #[arg(long)]
    pub(crate) runtime: String,
    /// Some seconds: every crash point, the rest sampled [default].
    #[arg(long, conflicts_with = "full")]
    pub(crate) quick: bool,
    /// A minute or two: everything, with many seeds.
    #[arg(long)]
    pub(crate) full: bool,
    /// This requirement alone.
    #[arg(long, value_name = "REQUIREMENT")]
    pub(crate) only: Option<String>,
    /// One case of crashes again, as a witness gives it.
    #[arg(long, requires = "only")]
    pub(crate) case: Option<String>,
}

/// Arguments of `saturate`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "The bound and the range are the campaign's [saturation] section:\n\n  \
    [saturation]\n  p99_bound = \"1s\"\n  lowest = 10\n  highest = 3000\n  precision = 0.05"
)]
pub(crate) struct SaturateArgs {
    /// The campaign file; without one, the default campaign.
    pub(crate) campaign: Option<PathBuf>,
}

/// Arguments of `verify`.
#[derive(Debug, clap::Args)]
pub(crate) struct VerifyArgs {
    /// The folder of a campaign or of a single run's bundle.
    pub(crate) dir: PathBuf,
}

/// Arguments of `history`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    triptych history out/runs/RUN --check --pictures out     findings, and their witnesses as SVG\n  \
    triptych history out/runs/RUN --elle history.edn         for Jepsen's Elle\n  \
    triptych history history.jsonl                           check what --json wrote")]
pub(crate) struct HistoryArgs {
    /// The folder of a run's bundle, or a file of JSON lines.
    pub(crate) from: PathBuf,
    /// Write it in Jepsen's list-append form, which Elle reads.
    #[arg(long, value_name = "FILE")]
    pub(crate) elle: Option<PathBuf>,
    /// Write it as lines of JSON, with everything.
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Check it again and print every finding; without a file to write, this is done anyway.
    #[arg(long)]
    pub(crate) check: bool,
    /// Draw the witness of every finding into this folder.
    #[arg(long, value_name = "DIR")]
    pub(crate) pictures: Option<PathBuf>,
}

/// Arguments of `report`.
#[derive(Debug, clap::Args)]
pub(crate) struct ReportArgs {
    /// The folder of a campaign or of a single run's bundle.
    pub(crate) dir: PathBuf,
    /// Where to write [default: a campaign's own folder; beside a bundle].
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
}

/// Arguments of `cluster`.
#[derive(Debug, clap::Args)]
pub(crate) struct ClusterArgs {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: ClusterCommand,
}

/// What can be done with a cluster.
#[derive(Debug, Subcommand)]
pub(crate) enum ClusterCommand {
    /// Start all nodes of a cluster file here, and end them with ^C.
    Up(UpArgs),
    /// Ask the nodes of a cluster how they are.
    Status(StatusArgs),
    /// Try many simulated clusters under faults, and judge what their clients saw.
    Check(TrialArgs),
    /// Print a small cluster file with everything that can be set.
    Example(KindArgs),
    /// Print the JSON schema of cluster files.
    Schema(KindArgs),
}

/// Arguments of `cluster example` and `cluster schema`.
#[derive(Debug, clap::Args)]
pub(crate) struct KindArgs {
    /// Of what: the shared log, or a ring of cache servers.
    #[arg(default_value = "log", value_parser = PossibleValuesParser::new(Kind::ALL.map(Kind::name)))]
    pub(crate) kind: String,
}

/// Arguments of `cluster up`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  \
    triptych cluster example > mine.toml\n  \
    triptych cluster up mine.toml\n\n\
    The nodes' log files are in the data folder.")]
pub(crate) struct UpArgs {
    /// The cluster file.
    pub(crate) file: PathBuf,
    /// The data folder [default: the file's].
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// Throw away the data that is there, and begin anew.
    #[arg(long)]
    pub(crate) fresh: bool,
    /// Seconds within which the cluster must be ready.
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) patience: u64,
}

/// Arguments of `cluster check`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    triptych cluster check --seeds 10000\n  \
    triptych cluster check --first-seed 4711 --seeds 1    one of them again\n\n\
    Clients append, read and trim while nodes are killed and come back, links are cut, messages\n\
    are lost, doubled and late, disks rot and all power fails; how likely each is, is drawn from the\n\
    seed, and so is the layout. Simulated.")]
pub(crate) struct TrialArgs {
    /// How many seeds.
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) seeds: u64,
    /// The first seed.
    #[arg(long, value_name = "SEED", default_value_t = 0)]
    pub(crate) first_seed: u64,
    /// Seeds at a time [default: the number of cores].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) jobs: Option<u16>,
}

/// Arguments of `cluster status`.
#[derive(Debug, clap::Args)]
pub(crate) struct StatusArgs {
    /// The cluster file.
    pub(crate) file: PathBuf,
    /// The data folder [default: the file's].
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
}

/// Arguments of `node`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  \
    triptych node storage --config cluster.toml --id 200 --data /var/lib/triptych\n  \
    triptych node cache --config ring.toml --id 1\n\n\
    All nodes of a cluster need the same file. A node ends with ^C, or by SIGTERM; what it has\n\
    promised is on its disk by then.")]
pub(crate) struct NodeArgs {
    /// What the node does.
    #[arg(value_parser = PossibleValuesParser::new(Role::ALL.map(Role::name)))]
    pub(crate) role: String,
    /// The cluster file.
    #[arg(long, value_name = "FILE")]
    pub(crate) config: PathBuf,
    /// The node's number in the file.
    #[arg(long, value_name = "N")]
    pub(crate) id: u16,
    /// The data folder [default: the file's].
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// End when standard input does: for whoever starts nodes as its children.
    #[arg(long)]
    pub(crate) leash: bool,
    /// Measure how long the node works on what it is given.
    #[arg(long)]
    pub(crate) measure: bool,
}

/// Arguments of `bench`.
#[derive(Debug, clap::Args)]
pub(crate) struct BenchArgs {
    /// What to measure.
    #[command(subcommand)]
    pub(crate) command: BenchCommand,
}

/// What can be measured.
#[derive(Debug, Subcommand)]
pub(crate) enum BenchCommand {
    /// The shared log: appends, and reads by where they are served.
    Log(BenchLogArgs),
    /// A ring of cache servers: reads and writes of clients that roam, and how long a write takes
    /// until others see it.
    Cache(BenchCacheArgs),
}

/// Arguments of `bench cache`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    triptych bench cache ring.toml                                 the micro workload, closed loop\n  \
    triptych bench cache ring.toml --what mix --rate 2000 --rate 8000   open loop, two rates\n  \
    triptych bench cache ring.toml --what mix --roaming random --roaming affinity --read-keys 4\n\n\
    Every list is tried with every other. All keys are written once before. Every answer is judged:\n\
    what a client sees never goes back, it sees its own writes, and what is shown is a causal cut with\n\
    all that the client depends on. Afterwards all keys are compared on all servers. Exit status 1: a\n\
    promise was broken.")]
pub(crate) struct BenchCacheArgs {
    /// The cluster file.
    pub(crate) file: PathBuf,
    /// The data folder [default: the file's].
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// What to measure; may be repeated [default: everything].
    #[arg(long, value_parser = PossibleValuesParser::new(["mix", "visibility"]))]
    pub(crate) what: Vec<String>,
    /// Clients, each with a context and connections of its own; may be repeated.
    #[arg(long, value_name = "N", default_value = "16", value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) clients: Vec<u16>,
    /// Requests per second over all clients, in an open loop; may be repeated [default: a closed
    /// loop, each client asks when it was answered].
    #[arg(long, value_name = "PER_SECOND")]
    pub(crate) rate: Vec<f64>,
    /// The share of requests that read; may be repeated.
    #[arg(long, value_name = "SHARE", default_value = "0.8", value_parser = share)]
    pub(crate) reads: Vec<f64>,
    /// How many keys a read asks for; may be repeated.
    #[arg(long, value_name = "N", default_value = "1", value_parser = clap::value_parser!(u16).range(1..=500))]
    pub(crate) read_keys: Vec<u16>,
    /// Which server a client asks; may be repeated.
    #[arg(long, value_name = "POLICY", default_value = "random", value_parser = PossibleValuesParser::new(Roaming::ALL.map(Roaming::name)))]
    pub(crate) roaming: Vec<String>,
    /// Bytes of a value; may be repeated.
    #[arg(long, value_name = "BYTES", default_value = "8", value_parser = clap::value_parser!(u32).range(8..=1_048_576))]
    pub(crate) payload: Vec<u32>,
    /// How many keys there are.
    #[arg(long, value_name = "N", default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub(crate) keys: u32,
    /// How much more the popular keys are asked for: the exponent of Zipf's law; 0 is all alike.
    #[arg(long, value_name = "EXPONENT", default_value_t = 1.0, value_parser = exponent)]
    pub(crate) zipf: f64,
    /// After so many requests a client begins anew, with nothing that it depends on; 0 is never.
    #[arg(long, value_name = "REQUESTS", default_value_t = 0)]
    pub(crate) session: u64,
    /// How long is measured.
    #[arg(long, value_name = "SPAN", default_value = "10s", value_parser = Span::parse)]
    pub(crate) duration: Span,
    /// How long before that nothing is measured.
    #[arg(long, value_name = "SPAN", default_value = "2s", value_parser = Span::parse)]
    pub(crate) warmup: Span,
    /// The seed of keys, servers and of an open loop's times.
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// Write everything here too.
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
}

/// Arguments of `bench log`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    triptych bench log mine.toml                                       everything, closed loop\n  \
    triptych bench log mine.toml --what append --rate 2000 --rate 8000 open loop, two rates\n  \
    triptych bench log mine.toml --clients 1 --clients 64 --payload 128 --payload 1024\n\n\
    Every list is tried with every other. Exit status 1: something that was acknowledged is not\n\
    there, or not as it should be.")]
pub(crate) struct BenchLogArgs {
    /// The cluster file.
    pub(crate) file: PathBuf,
    /// The data folder [default: the file's].
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// What to ask; may be repeated [default: everything that the cluster's shape allows].
    #[arg(long, value_parser = PossibleValuesParser::new(["append", "read-cached", "read-storage", "read-remote"]))]
    pub(crate) what: Vec<String>,
    /// Clients, each with a connection of its own; may be repeated.
    #[arg(long, value_name = "N", default_value = "16", value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) clients: Vec<u16>,
    /// Requests per second over all clients, in an open loop; may be repeated [default: a closed
    /// loop, each client asks when it was answered].
    #[arg(long, value_name = "PER_SECOND")]
    pub(crate) rate: Vec<f64>,
    /// Bytes of a record; may be repeated.
    #[arg(long, value_name = "BYTES", default_value = "1024", value_parser = clap::value_parser!(u32).range(16..))]
    pub(crate) payload: Vec<u32>,
    /// How long is measured.
    #[arg(long, value_name = "SPAN", default_value = "10s", value_parser = Span::parse)]
    pub(crate) duration: Span,
    /// How long before that nothing is measured.
    #[arg(long, value_name = "SPAN", default_value = "2s", value_parser = Span::parse)]
    pub(crate) warmup: Span,
    /// Logbooks over which appends are spread.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    pub(crate) books: u64,
    /// How many acknowledged records to read back, at most about.
    #[arg(long, value_name = "N", default_value_t = 200_000, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) read_back: u64,
    /// The seed of an open loop's times.
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// Write everything here too.
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
}

/// Arguments of `calibrate`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Starts a cluster of its own on free ports, drives it with several loads, and\n\
    fits what each kind of message costs. The profile says on what machine it was measured."
)]
pub(crate) struct CalibrateArgs {
    /// A cluster file of either kind, for its shape and level [default: the log's example].
    pub(crate) file: Option<PathBuf>,
    /// Where to write the profile [default: to stdout].
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
    /// How long each load is measured.
    #[arg(long, value_name = "SPAN", default_value = "3s", value_parser = Span::parse)]
    pub(crate) duration: Span,
}

/// Arguments of `list`.
#[derive(Debug, clap::Args)]
pub(crate) struct ListArgs {
    /// Which names.
    #[arg(value_parser = PossibleValuesParser::new(known::KINDS))]
    pub(crate) kind: String,
}

impl RateArgs {
    /// As campaigns have them.
    pub(crate) fn rates(&self) -> FaultRates {
        let RateArgs {
            crash_rate,
            duplicate_rate,
            throttle_rate,
            delay_rate,
        } = *self;
        FaultRates {
            crash_rate,
            duplicate_rate,
            throttle_rate,
            delay_rate,
        }
    }

    /// As arguments of a command.
    pub(crate) fn told(&self) -> String {
        let rates = self.rates().named();
        let told = rates.map(|(key, rate)| format!("--{} {rate}", key.replace('_', "-")));
        told.join(" ")
    }
}

/// Threads to use.
pub(crate) fn threads(jobs: Option<u16>) -> usize {
    jobs.map_or_else(triptych_load::pool::cores, usize::from)
}

fn exponent(text: &str) -> Result<f64, String> {
    let exponent: Result<f64, _> = text.parse();
    match exponent {
        Ok(exponent) if (0.0..=10.0).contains(&exponent) => Ok(exponent),
        Ok(exponent) => Err(format!("{exponent} is not from 0 to 10")),
        Err(_) => Err(format!("`{text}` is not a number")),
    }
}

fn share(text: &str) -> Result<f64, String> {
    let share: f64 = text
        .parse()
        .map_err(|_| format!("`{text}` is not a number"))?;
    if (0.0..=1.0).contains(&share) {
        Ok(share)
    } else {
        Err(format!("{share} is not a share from 0 to 1"))
    }
}
