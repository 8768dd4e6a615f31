//! The folder of files that a run leaves, written at once and read part by part.
//!
//! A bundle is written into `<run-id>.partial` and renamed when it is whole, so that a folder
//! without that ending is always complete. Each part is checked against its digest when it is
//! read: a damaged file is an error that names it, never a wrong number.

use crate::error::BundleError;
use crate::files;
use crate::gauges::{self, Gauge};
use crate::hlog::{self, HlogEntry};
use crate::manifest::{Environment, Manifest, SCHEMA, check_schema};
use crate::oplog::{OpLogError, OpReader, OpWriter};
use crate::summarise::Summariser;
use crate::summary::{Summary, SummaryError};
use crate::untrusted::{Shape, check_depth};
use flate2::Compression;
use flate2::read::ZlibDecoder;
use flate2::write::ZlibEncoder;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use triptych_model::history::History;
use triptych_model::{OpRecord, State, Verdict, Work};

/// The facts of the run.
pub const MANIFEST: &str = "manifest.json";
/// The raw operation log.
pub const OPS: &str = "ops.bin";
/// Response times per interval as a histogram log.
pub const LATENCY: &str = "latency.hlog";
/// The work counters.
pub const WORK: &str = "work.json";
/// What the runtime left behind.
pub const STATE: &str = "state.bin";
/// The oracle's verdict.
pub const VERDICT: &str = "verdict.json";
/// The published numbers.
pub const SUMMARY: &str = "summary.json";
/// Where and when it ran.
pub const ENVIRONMENT: &str = "environment.json";
/// What the runtime kept over time, in bundles whose profile asks for it.
pub const GAUGES: &str = "gauges.csv";
/// What transactions read and wrote; only in bundles of runs that recorded it.
pub const HISTORY: &str = "history.bin";
/// What happened before what; only in bundles of runs that recorded it.
pub const CAUSES: &str = "causes.bin";
/// The digests of all files but this and the environment.
pub const DIGESTS: &str = "digests.json";
/// The files that every bundle has and two runs of the same seed have in common, byte for byte.
/// [`GAUGES`] is one more where it exists.
pub const DETERMINISTIC: [&str; 7] = [LATENCY, MANIFEST, OPS, STATE, SUMMARY, VERDICT, WORK];

/// The ending of a folder whose run has not been published.
pub(crate) const PARTIAL: &str = ".partial";
/// More than this is not the final state of a run that a laptop simulated.
const LARGEST_STATE: u64 = 4 << 30;

/// Everything that a run hands over for its bundle.
#[derive(Clone, Copy, Debug)]
pub struct RunData<'a> {
    /// The facts of the run.
    pub manifest: &'a Manifest,
    /// Every request in the order of the schedule: dense indexes, intended times never going back.
    pub ops: &'a [OpRecord],
    /// The work of the whole run, warm-up included.
    pub work: &'a Work,
    /// What the runtime left behind.
    pub state: &'a State,
    /// What the runtime kept over time; empty if nobody asked.
    pub gauges: &'a [Gauge],
    /// What transactions read and wrote, if it was recorded.
    pub history: Option<&'a History>,
    /// What the oracle says.
    pub verdict: &'a Verdict,
    /// Where and when it ran.
    pub environment: &'a Environment,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Digests {
    schema: u32,
    files: BTreeMap<String, String>,
}

/// A complete bundle on disk.
#[derive(Clone, Debug)]
pub struct RunBundle {
    dir: PathBuf,
    digests: BTreeMap<String, String>,
}

impl RunBundle {
    /// Writes the bundle of a run into the folder `runs`, under its id, and returns its path.
    /// The summary and the histogram log are computed on the way.
    ///
    /// # Errors
    /// If the data contradict themselves (see [`SummaryError`]), a bundle of that id exists
    /// already, or the disk refuses.
    pub fn write(runs: &Path, data: &RunData<'_>) -> Result<PathBuf, BundleError> {
        let RunData { manifest, .. } = data;
        let inconsistent = |why: String| BundleError::Inconsistent {
            run: manifest.run_id.clone(),
            why,
        };
        manifest.check().map_err(inconsistent)?;
        check_schema(Path::new(MANIFEST), manifest.schema)?;
        let dir = runs.join(&manifest.run_id);
        if dir.exists() {
            return Err(BundleError::Exists {
                path: dir,
                why: String::new(),
            });
        }
        let partial = runs.join(format!("{}{PARTIAL}", manifest.run_id));
        if partial.exists() {
            // What an interrupted run left: nothing that anybody could have read.
            let failed = |e| BundleError::io(&partial, "removed", e);
            fs::remove_dir_all(&partial).map_err(failed)?;
        }
        fs::create_dir_all(&partial).map_err(|e| BundleError::io(&partial, "created", e))?;
        write_parts(&partial, data)?;
        fs::rename(&partial, &dir).map_err(|e| BundleError::io(&dir, "published", e))?;
        // The name itself must be on the disk too; where folders cannot be opened, it is anyway.
        if let Ok(folder) = File::open(runs) {
            let _ = folder.sync_all();
        }
        Ok(dir)
    }

    /// Opens a bundle. Parts are read, and checked against their digests, when they are asked for.
    ///
    /// # Errors
    /// If it is not a bundle of this schema, or its list of digests is damaged.
    pub fn open(dir: impl AsRef<Path>) -> Result<RunBundle, BundleError> {
        let dir = dir.as_ref().to_path_buf();
        if !dir.is_dir() {
            return Err(BundleError::Missing { file: dir });
        }
        let file = dir.join(DIGESTS);
        let Digests { schema, files } = files::read_checked(&file)?;
        check_schema(&file, schema)?;
        let names = files.keys().map(String::as_str);
        let optional = [GAUGES, HISTORY, CAUSES];
        if names
            .filter(|name| !optional.contains(name))
            .ne(DETERMINISTIC)
        {
            return Err(BundleError::damaged(
                &file,
                "it does not list the files of a bundle",
            ));
        }
        Ok(RunBundle {
            dir,
            digests: files,
        })
    }

    /// The bundle's folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The facts of the run.
    ///
    /// # Errors
    /// If the file is missing, damaged or of another schema.
    pub fn manifest(&self) -> Result<Manifest, BundleError> {
        let manifest: Manifest = self.versioned(MANIFEST)?;
        manifest
            .check()
            .map_err(|why| BundleError::damaged(&self.file(MANIFEST), why))?;
        Ok(manifest)
    }

    /// The published numbers.
    ///
    /// # Errors
    /// If the file is missing, damaged or of another schema.
    pub fn summary(&self) -> Result<Summary, BundleError> {
        self.versioned(SUMMARY)
    }

    /// The work counters.
    ///
    /// # Errors
    /// If the file is missing or damaged.
    pub fn work(&self) -> Result<Work, BundleError> {
        self.json(WORK)
    }

    /// The oracle's verdict.
    ///
    /// # Errors
    /// If the file is missing or damaged.
    pub fn verdict(&self) -> Result<Verdict, BundleError> {
        self.json(VERDICT)
    }

    /// What the runtime kept over time; nothing if nobody asked.
    ///
    /// # Errors
    /// If the file is missing or damaged.
    pub fn gauges(&self) -> Result<Vec<Gauge>, BundleError> {
        if !self.has(GAUGES) {
            return Ok(Vec::new());
        }
        let damaged = |why: String| BundleError::damaged(&self.file(GAUGES), why);
        let text = String::from_utf8(self.part(GAUGES)?);
        let text = text.map_err(|error| damaged(error.to_string()))?;
        gauges::read(&text).map_err(damaged)
    }

    /// Whether a digest of this file was published.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.digests.contains_key(name)
    }

    /// Where and when it ran.
    ///
    /// # Errors
    /// If the file is missing or damaged.
    pub fn environment(&self) -> Result<Environment, BundleError> {
        files::read_checked(&self.file(ENVIRONMENT))
    }

    /// What the runtime left behind.
    ///
    /// # Errors
    /// If the file is missing or damaged.
    pub fn state(&self) -> Result<State, BundleError> {
        unpack_state(&self.part(STATE)?).map_err(|why| BundleError::damaged(&self.file(STATE), why))
    }

    /// What transactions read and wrote; none if the run did not record it.
    ///
    /// # Errors
    /// If the file is missing although it was published, or damaged.
    pub fn history(&self) -> Result<Option<History>, BundleError> {
        let mut history = None;
        if self.digests.contains_key(HISTORY) {
            let damaged = |why| BundleError::damaged(&self.file(HISTORY), why);
            let unpacked = unpack::<History>(&self.part(HISTORY)?);
            history = Some(unpacked.map_err(damaged)?);
        }
        if self.digests.contains_key(CAUSES) {
            let damaged = |why| BundleError::damaged(&self.file(CAUSES), why);
            let causes = unpack(&self.part(CAUSES)?).map_err(damaged)?;
            history.get_or_insert_default().causes = Some(causes);
        }
        Ok(history)
    }

    /// Response times per interval.
    ///
    /// # Errors
    /// If the file is missing or damaged.
    pub fn latency_log(&self) -> Result<Vec<HlogEntry>, BundleError> {
        hlog::read(&self.part(LATENCY)?)
            .map_err(|why| BundleError::damaged(&self.file(LATENCY), why))
    }

    /// The operation log, record by record in fixed memory. The digest is checked first.
    ///
    /// # Errors
    /// If the file is missing or damaged; each record may be an error too.
    pub fn ops(&self) -> Result<Ops, BundleError> {
        let file = self.file(OPS);
        self.check(OPS, &files::sha256_of(&file)?)?;
        let input = File::open(&file).map_err(|e| BundleError::io(&file, "read", e))?;
        let reader =
            OpReader::new(BufReader::new(input)).map_err(|why| BundleError::damaged(&file, why))?;
        Ok(Ops { file, reader })
    }

    /// The whole operation log.
    ///
    /// # Errors
    /// If the file is missing or damaged.
    pub fn read_ops(&self) -> Result<Vec<OpRecord>, BundleError> {
        self.ops()?.collect()
    }

    /// The path of one of the bundle's files.
    pub fn file(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// The bytes of a file, if they have the digest that was published.
    pub(crate) fn part(&self, name: &str) -> Result<Vec<u8>, BundleError> {
        let bytes = files::read(&self.file(name))?;
        self.check(name, &files::sha256(&bytes))?;
        Ok(bytes)
    }

    fn check(&self, name: &str, found: &str) -> Result<(), BundleError> {
        match self.digests.get(name) {
            Some(published) if published == found => Ok(()),
            Some(published) => {
                let (found, published) = (&found[..12], &published[..12.min(published.len())]);
                let why = format!("its digest is {found}…, but {published}… was published");
                Err(BundleError::damaged(&self.file(name), why))
            }
            None => Err(BundleError::damaged(
                &self.file(name),
                "no digest was published",
            )),
        }
    }

    fn json<T: DeserializeOwned>(&self, name: &str) -> Result<T, BundleError> {
        files::parse(&self.file(name), &self.part(name)?)
    }

    /// Reads the schema version before anything else, so that a newer file is told as such.
    fn versioned<T: DeserializeOwned>(&self, name: &str) -> Result<T, BundleError> {
        #[derive(Deserialize)]
        struct Version {
            schema: u32,
        }
        let file = self.file(name);
        let bytes = self.part(name)?;
        check_schema(&file, files::parse::<Version>(&file, &bytes)?.schema)?;
        files::parse(&file, &bytes)
    }
}

/// The operation log of a bundle, record by record.
pub struct Ops {
    file: PathBuf,
    reader: OpReader<BufReader<File>>,
}

impl Iterator for Ops {
    type Item = Result<OpRecord, BundleError>;

    fn next(&mut self) -> Option<Self::Item> {
        let record = self.reader.next()?;
        Some(record.map_err(|why| BundleError::damaged(&self.file, why)))
    }
}

fn write_parts(dir: &Path, data: &RunData<'_>) -> Result<(), BundleError> {
    let RunData {
        manifest,
        ops,
        work,
        state,
        gauges,
        history,
        verdict,
        environment,
    } = data;
    let run = &manifest.run_id;
    let file = |name: &str| dir.join(name);
    let summary_error = |source: SummaryError| BundleError::Summary {
        run: run.clone(),
        source,
    };
    let ops_error = |why: OpLogError| match why {
        OpLogError::Io(e) => BundleError::io(&file(OPS), "written", e),
        why => BundleError::Inconsistent {
            run: run.clone(),
            why: why.to_string(),
        },
    };

    // One pass over the operations feeds the log, the histograms and the summary.
    let out = File::create(file(OPS)).map_err(|e| BundleError::io(&file(OPS), "written", e))?;
    let mut log = OpWriter::new(BufWriter::new(out)).map_err(ops_error)?;
    let mut summariser = Summariser::new(manifest).map_err(summary_error)?;
    for op in *ops {
        log.push(op).map_err(ops_error)?;
        summariser.push(op).map_err(summary_error)?;
    }
    let out = log.finish().map_err(ops_error)?;
    let flushed = out
        .into_inner()
        .map_err(|e| e.into_error())
        .and_then(|out| out.sync_all());
    flushed.map_err(|e| BundleError::io(&file(OPS), "written", e))?;
    let (summary, latency) = summariser.finish(work, verdict).map_err(summary_error)?;

    files::write(&file(LATENCY), &latency)?;
    files::write(&file(MANIFEST), &files::json(&file(MANIFEST), manifest)?)?;
    files::write(&file(WORK), &files::json(&file(WORK), work)?)?;
    files::write(&file(VERDICT), &files::json(&file(VERDICT), verdict)?)?;
    files::write(&file(SUMMARY), &files::json(&file(SUMMARY), &summary)?)?;
    let packed = pack(state).map_err(|why| BundleError::Inconsistent {
        run: run.clone(),
        why: why.to_string(),
    })?;
    files::write(&file(STATE), &packed)?;
    if !gauges.is_empty() {
        files::write(&file(GAUGES), gauges::write(gauges).as_bytes())?;
    }
    let packed = |packed: Result<Vec<u8>, Box<dyn std::error::Error>>| {
        packed.map_err(|why| BundleError::Inconsistent {
            run: run.clone(),
            why: why.to_string(),
        })
    };
    if let Some(history) = history.filter(|history| history.has_lists()) {
        files::write(&file(HISTORY), &packed(pack(history))?)?;
    }
    if let Some(causes) = history.and_then(|history| history.causes.as_ref()) {
        files::write(&file(CAUSES), &packed(pack(causes))?)?;
    }
    files::write(
        &file(ENVIRONMENT),
        &files::checked(&file(ENVIRONMENT), environment)?,
    )?;
    write_digests(dir)
}

/// Writes the list of digests of the files as they are. A bundle without it is not complete.
pub(crate) fn write_digests(dir: &Path) -> Result<(), BundleError> {
    let digest = |name: &str| Ok((name.to_string(), files::sha256_of(&dir.join(name))?));
    let optional = [GAUGES, HISTORY, CAUSES].into_iter();
    let optional = optional.filter(|name| dir.join(name).exists());
    let files = DETERMINISTIC
        .into_iter()
        .chain(optional)
        .map(digest)
        .collect::<Result<_, BundleError>>()?;
    let file = dir.join(DIGESTS);
    files::write(
        &file,
        &files::checked(
            &file,
            &Digests {
                schema: SCHEMA,
                files,
            },
        )?,
    )
}

fn pack(content: &impl Serialize) -> Result<Vec<u8>, Box<dyn std::error::Error>> {
    let bytes = postcard::to_stdvec(content)?;
    let mut stream = ZlibEncoder::new(Vec::new(), Compression::fast());
    stream.write_all(&bytes)?;
    Ok(stream.finish()?)
}

fn unpack_state(packed: &[u8]) -> Result<State, String> {
    let mut bytes = Vec::new();
    let mut stream = ZlibDecoder::new(packed).take(LARGEST_STATE);
    stream.read_to_end(&mut bytes).map_err(|e| e.to_string())?;
    check_depth(&bytes, Shape::Maps(2))?;
    let (state, rest) = postcard::take_from_bytes(&bytes).map_err(|e| e.to_string())?;
    if rest.is_empty() {
        Ok(state)
    } else {
        Err(format!("{} bytes too many", rest.len()))
    }
}

fn unpack<T: DeserializeOwned>(packed: &[u8]) -> Result<T, String> {
    let mut bytes = Vec::new();
    let mut stream = ZlibDecoder::new(packed).take(LARGEST_STATE);
    stream.read_to_end(&mut bytes).map_err(|e| e.to_string())?;
    let (content, rest) = postcard::take_from_bytes(&bytes).map_err(|e| e.to_string())?;
    if rest.is_empty() {
        Ok(content)
    } else {
        Err(format!("{} bytes too many", rest.len()))
    }
}
