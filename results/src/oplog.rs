//! The raw operation log, `ops.bin`: every request of the run, none dropped, a few bytes each.
//!
//! A header, then one zlib stream of length-prefixed records, then an end mark with the count, so
//! that a log that was cut off is told from one that is short. Times are differences: to the
//! previous intended time, and to the own one. Writer and reader hold one record at a time.
//! A reader of any bytes whatever returns an error and never panics.

use crate::untrusted::{Shape, check_depth};
use flate2::Compression;
use flate2::read::ZlibDecoder;
use flate2::write::ZlibEncoder;
use serde::{Deserialize, Serialize};
use std::io::{self, BufRead, BufReader, Read, Write};
use triptych_model::{OpRecord, Outcome, Value};

/// The first bytes of the file.
pub const MAGIC: &[u8; 8] = b"TRIPTOPS";
/// The version of the format, little-endian after the magic bytes.
pub const VERSION: u32 = 1;
/// No record is longer. Requests carry ids and short texts; 4 MiB is far above any payload limit.
const LONGEST: u64 = 4 << 20;

/// Why an operation log cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum OpLogError {
    /// The file could not be read or written.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// It does not begin as an operation log does.
    #[error("not an operation log")]
    Magic,
    /// It was written by another version.
    #[error("operation log version {0} is not known; this version reads {VERSION}")]
    Version(u32),
    /// A record cannot be decoded.
    #[error("record {index}: {why}")]
    Record {
        /// Which record, from 0.
        index: u64,
        /// What is wrong with it.
        why: String,
    },
    /// The record offered is not the next one of the schedule.
    #[error("record {index}: {why}")]
    Order {
        /// Which record was due, from 0.
        index: u64,
        /// What does not fit.
        why: String,
    },
    /// The log ends without its end mark, or goes on behind it.
    #[error("{0}")]
    End(String),
}

/// A record as it is stored.
#[derive(Serialize, Deserialize)]
struct Line<'a> {
    kind: u16,
    session: u32,
    /// To the intended time of the record before.
    step: i64,
    sent: i64,
    done: i64,
    /// To the intended time; 0 is kept apart because it means unknown.
    settled: Option<i64>,
    entry: u64,
    faults: u16,
    #[serde(borrow)]
    outcome: LineOutcome<'a>,
}

/// [`Outcome`] with its reason borrowed: reasons repeat in every record of a class.
#[derive(Serialize, Deserialize)]
enum LineOutcome<'a> {
    Ok,
    Rejected(&'a str),
    Aborted(&'a str),
    Failed(&'a str),
    Indeterminate(&'a str),
    Shed,
    InFlight,
}

fn line_outcome(outcome: &Outcome) -> LineOutcome<'_> {
    match outcome {
        Outcome::Ok => LineOutcome::Ok,
        Outcome::Rejected(reason) => LineOutcome::Rejected(reason),
        Outcome::Aborted(reason) => LineOutcome::Aborted(reason),
        Outcome::Failed(reason) => LineOutcome::Failed(reason),
        Outcome::Indeterminate(reason) => LineOutcome::Indeterminate(reason),
        Outcome::Shed => LineOutcome::Shed,
        Outcome::InFlight => LineOutcome::InFlight,
    }
}

fn outcome(line: LineOutcome<'_>) -> Outcome {
    match line {
        LineOutcome::Ok => Outcome::Ok,
        LineOutcome::Rejected(reason) => Outcome::Rejected(reason.to_string()),
        LineOutcome::Aborted(reason) => Outcome::Aborted(reason.to_string()),
        LineOutcome::Failed(reason) => Outcome::Failed(reason.to_string()),
        LineOutcome::Indeterminate(reason) => Outcome::Indeterminate(reason.to_string()),
        LineOutcome::Shed => Outcome::Shed,
        LineOutcome::InFlight => Outcome::InFlight,
    }
}

/// Differences wrap, so that every pair of times, sensible or not, comes back as it was.
fn minus(a: u64, b: u64) -> i64 {
    a.wrapping_sub(b) as i64
}

fn plus(a: u64, difference: i64) -> u64 {
    a.wrapping_add(difference as u64)
}

/// Writes an operation log, record by record.
pub struct OpWriter<W: Write> {
    stream: ZlibEncoder<W>,
    frame: Vec<u8>,
    count: u64,
    intended_ns: u64,
}

impl<W: Write> OpWriter<W> {
    /// Begins a log.
    ///
    /// # Errors
    /// If `out` refuses the header.
    pub fn new(mut out: W) -> Result<Self, OpLogError> {
        out.write_all(MAGIC)?;
        out.write_all(&VERSION.to_le_bytes())?;
        let stream = ZlibEncoder::new(out, Compression::fast());
        Ok(OpWriter {
            stream,
            frame: Vec::new(),
            count: 0,
            intended_ns: 0,
        })
    }

    /// Appends a record.
    ///
    /// # Errors
    /// If it is not the next of the schedule: indexes are dense from 0 and intended times never
    /// go back. If `out` refuses it.
    pub fn push(&mut self, op: &OpRecord) -> Result<(), OpLogError> {
        let index = self.count;
        if op.index != index {
            let why = format!("its index is {}, but indexes are dense from 0", op.index);
            return Err(OpLogError::Order { index, why });
        }
        if op.intended_ns < self.intended_ns {
            let why = format!(
                "it was intended at {} ns, before the record in front of it ({} ns)",
                op.intended_ns, self.intended_ns
            );
            return Err(OpLogError::Order { index, why });
        }
        let line = Line {
            kind: op.kind,
            session: op.session,
            step: minus(op.intended_ns, self.intended_ns),
            sent: minus(op.sent_ns, op.intended_ns),
            done: minus(op.done_ns, op.intended_ns),
            settled: (op.settled_ns != 0).then(|| minus(op.settled_ns, op.intended_ns)),
            entry: op.entry_ns,
            faults: op.faults,
            outcome: line_outcome(&op.outcome),
        };
        let encode = |why: postcard::Error| OpLogError::Record {
            index,
            why: why.to_string(),
        };
        self.frame.clear();
        // The values come first, where the reader can look at their depth before it decodes.
        postcard::to_io(&(&op.input, &op.observed), &mut self.frame).map_err(encode)?;
        postcard::to_io(&line, &mut self.frame).map_err(encode)?;
        if self.frame.len() as u64 > LONGEST {
            let why = format!("{} bytes are more than a record may have", self.frame.len());
            return Err(OpLogError::Record { index, why });
        }
        // Never 0, because a record is never empty: 0 is the end mark.
        self.number(self.frame.len() as u64)?;
        self.stream.write_all(&self.frame)?;
        self.count += 1;
        self.intended_ns = op.intended_ns;
        Ok(())
    }

    /// Writes the end mark and returns what was written to.
    ///
    /// # Errors
    /// If `out` refuses the rest.
    pub fn finish(mut self) -> Result<W, OpLogError> {
        self.number(0)?;
        self.number(self.count)?;
        Ok(self.stream.finish()?)
    }

    fn number(&mut self, mut number: u64) -> io::Result<()> {
        while number >= 0x80 {
            self.stream.write_all(&[number as u8 | 0x80])?;
            number >>= 7;
        }
        self.stream.write_all(&[number as u8])
    }
}

/// Reads an operation log, record by record. After an error or the end it gives nothing more.
pub struct OpReader<R: Read> {
    stream: BufReader<ZlibDecoder<R>>,
    frame: Vec<u8>,
    count: u64,
    intended_ns: u64,
    ended: bool,
}

impl<R: Read> OpReader<R> {
    /// Reads the header.
    ///
    /// # Errors
    /// If it is not an operation log of this version.
    pub fn new(mut input: R) -> Result<Self, OpLogError> {
        let mut header = [0u8; 12];
        match input.read_exact(&mut header) {
            Ok(()) => {}
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => return Err(OpLogError::Magic),
            Err(e) => return Err(e.into()),
        }
        let (magic, version) = header.split_at(8);
        if magic != MAGIC {
            return Err(OpLogError::Magic);
        }
        let version = version
            .iter()
            .rev()
            .fold(0, |sum, byte| sum << 8 | u32::from(*byte));
        if version != VERSION {
            return Err(OpLogError::Version(version));
        }
        let stream = BufReader::with_capacity(64 << 10, ZlibDecoder::new(input));
        Ok(OpReader {
            stream,
            frame: Vec::new(),
            count: 0,
            intended_ns: 0,
            ended: false,
        })
    }

    fn number(&mut self) -> Result<u64, OpLogError> {
        let mut number = 0u64;
        for position in 0..10 {
            let mut byte = [0u8];
            self.stream.read_exact(&mut byte).map_err(|e| self.cut(e))?;
            number |= u64::from(byte[0] & 0x7f) << (7 * position);
            if byte[0] & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(self.bad("an endless number"))
    }

    fn cut(&self, e: io::Error) -> OpLogError {
        if e.kind() == io::ErrorKind::UnexpectedEof {
            OpLogError::End(format!("cut off after {} records", self.count))
        } else {
            self.bad(e)
        }
    }

    fn bad(&self, why: impl ToString) -> OpLogError {
        OpLogError::Record {
            index: self.count,
            why: why.to_string(),
        }
    }

    fn step(&mut self) -> Result<Option<OpRecord>, OpLogError> {
        let length = self.number()?;
        if length == 0 {
            let count = self.number()?;
            if count != self.count {
                let found = self.count;
                return Err(OpLogError::End(format!(
                    "{found} records instead of {count}"
                )));
            }
            let more = self.stream.fill_buf().map(|more| !more.is_empty());
            if more.map_err(|e| self.bad(e))? {
                return Err(OpLogError::End(format!(
                    "goes on after its {count} records"
                )));
            }
            return Ok(None);
        }
        if length > LONGEST {
            return Err(self.bad(format!("a length of {length} bytes")));
        }
        self.frame.clear();
        // Through `take`, so that memory grows with what is really there, not with what is claimed.
        let mut part = (&mut self.stream).take(length);
        let read = part.read_to_end(&mut self.frame);
        match read {
            Ok(read) if read as u64 == length => {}
            Ok(_) => {
                return Err(OpLogError::End(format!(
                    "cut off after {} records",
                    self.count
                )));
            }
            Err(e) => return Err(self.bad(e)),
        }
        let op = self.decode().map_err(|why| self.bad(why))?;
        self.intended_ns = op.intended_ns;
        self.count += 1;
        Ok(Some(op))
    }

    fn decode(&self) -> Result<OpRecord, String> {
        let rest = check_depth(&self.frame, Shape::Value)?;
        check_depth(rest, Shape::Value)?;
        let told = |e: postcard::Error| e.to_string();
        let ((input, observed), rest) =
            postcard::take_from_bytes::<(Value, Value)>(&self.frame).map_err(told)?;
        let (line, rest) = postcard::take_from_bytes::<Line<'_>>(rest).map_err(told)?;
        if !rest.is_empty() {
            return Err(format!("{} bytes too many", rest.len()));
        }
        let intended_ns = plus(self.intended_ns, line.step);
        if intended_ns < self.intended_ns {
            return Err("it was intended before the record in front of it".to_string());
        }
        Ok(OpRecord {
            index: self.count,
            kind: line.kind,
            session: line.session,
            intended_ns,
            sent_ns: plus(intended_ns, line.sent),
            done_ns: plus(intended_ns, line.done),
            settled_ns: line.settled.map_or(0, |settled| plus(intended_ns, settled)),
            entry_ns: line.entry,
            outcome: outcome(line.outcome),
            input,
            observed,
            faults: line.faults,
        })
    }
}

impl<R: Read> Iterator for OpReader<R> {
    type Item = Result<OpRecord, OpLogError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let step = self.step();
        self.ended = !matches!(step, Ok(Some(_)));
        step.transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn op(index: u64, outcome: Outcome) -> OpRecord {
        OpRecord {
            index,
            kind: (index % 3) as u16,
            session: 7,
            intended_ns: index * 1_000_000,
            sent_ns: index * 1_000_000 + 250,
            done_ns: index * 1_000_000 + 20_000_000,
            settled_ns: if index.is_multiple_of(2) {
                0
            } else {
                index * 1_000_000 + 30_000_000
            },
            entry_ns: 15_000_000,
            outcome,
            input: Value::map([("user", Value::str("u1")), ("n", Value::Int(-3))]),
            observed: Value::list([Value::Null, Value::Float(0.25)]),
            faults: 1,
        }
    }

    fn outcomes() -> Vec<Outcome> {
        vec![
            Outcome::Ok,
            Outcome::Rejected("sold out".into()),
            Outcome::Aborted("conflict".into()),
            Outcome::Failed("throttled".into()),
            Outcome::Indeterminate("timeout".into()),
            Outcome::Shed,
            Outcome::InFlight,
        ]
    }

    fn written(ops: &[OpRecord]) -> Vec<u8> {
        let mut writer = OpWriter::new(Vec::new()).unwrap();
        ops.iter().for_each(|op| writer.push(op).unwrap());
        writer.finish().unwrap()
    }

    fn read(bytes: &[u8]) -> Result<Vec<OpRecord>, OpLogError> {
        OpReader::new(bytes)?.collect()
    }

    #[test]
    fn what_was_written_comes_back() {
        let ops: Vec<OpRecord> = outcomes()
            .into_iter()
            .enumerate()
            .map(|(i, outcome)| op(i as u64, outcome))
            .collect();
        assert_eq!(read(&written(&ops)).unwrap(), ops);
        assert_eq!(read(&written(&[])).unwrap(), []);
    }

    #[test]
    fn times_that_make_no_sense_come_back_too() {
        let mut odd = op(0, Outcome::Shed);
        (odd.intended_ns, odd.sent_ns, odd.done_ns, odd.settled_ns) = (u64::MAX, 0, 1, u64::MAX);
        assert_eq!(read(&written(std::slice::from_ref(&odd))).unwrap(), [odd]);
    }

    #[test]
    fn a_record_out_of_order_is_refused() {
        let mut writer = OpWriter::new(Vec::new()).unwrap();
        assert!(matches!(
            writer.push(&op(1, Outcome::Ok)),
            Err(OpLogError::Order { .. })
        ));
        writer
            .push(&OpRecord {
                intended_ns: 5,
                ..op(0, Outcome::Ok)
            })
            .unwrap();
        let early = OpRecord {
            intended_ns: 4,
            ..op(1, Outcome::Ok)
        };
        assert!(matches!(writer.push(&early), Err(OpLogError::Order { .. })));
    }

    #[test]
    fn a_cut_is_found_wherever_it_is() {
        let ops: Vec<OpRecord> = (0..50).map(|i| op(i, Outcome::Ok)).collect();
        let bytes = written(&ops);
        for cut in 0..bytes.len() {
            assert!(
                read(&bytes[..cut]).is_err(),
                "cut at {cut} of {}",
                bytes.len()
            );
        }
    }

    #[test]
    fn a_record_costs_a_few_bytes() {
        let ops: Vec<OpRecord> = (0..10_000).map(|i| op(i, Outcome::Ok)).collect();
        let bytes = written(&ops).len();
        assert!(bytes < 80_000, "{bytes} bytes for 10,000 records");
    }

    /// Wraps bytes as the contents of the zlib stream, so that damage reaches the decoder.
    fn wrapped(content: &[u8]) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend(VERSION.to_le_bytes());
        let mut stream = ZlibEncoder::new(bytes, Compression::fast());
        stream.write_all(content).unwrap();
        stream.finish().unwrap()
    }

    #[test]
    fn a_forged_nesting_or_length_does_not_hurt() {
        let mut deep = vec![0x80, 0x80, 0x40];
        deep.extend([6u8, 1].repeat(512 << 10));
        assert!(
            read(&wrapped(&deep))
                .unwrap_err()
                .to_string()
                .contains("deeper")
        );
        let long = [0xff, 0xff, 0xff, 0xff, 0x7f];
        assert!(
            read(&wrapped(&long))
                .unwrap_err()
                .to_string()
                .contains("length")
        );
        assert!(read(&wrapped(&[0x80; 20])).is_err());
        assert!(matches!(read(b"nonsense"), Err(OpLogError::Magic)));
        assert!(matches!(
            read(b"TRIPTOPS\x09\0\0\0"),
            Err(OpLogError::Version(9))
        ));
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic(content in prop::collection::vec(any::<u8>(), 0..400)) {
            let _ = read(&content);
            let _ = read(&wrapped(&content));
        }

        #[test]
        fn a_flipped_byte_never_passes(position in any::<prop::sample::Index>(), flip in 1u8..) {
            let ops: Vec<OpRecord> = (0..20).map(|i| op(i, Outcome::Ok)).collect();
            let mut bytes = written(&ops);
            let position = position.index(bytes.len());
            bytes[position] ^= flip;
            // Some bits of a zlib header mean nothing to a decoder; then the content is the same.
            if let Ok(read) = read(&bytes) {
                prop_assert_eq!(read, ops);
            }
        }
    }
}
