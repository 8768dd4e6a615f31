//! Histories for other tools.
//!
//! [`edn`] writes Jepsen's list-append form, an operation a line, which Elle reads:
//!
//! ```text
//! {:index 0, :time 12, :type :invoke, :process 3, :f :txn, :value [[:r "Account/1" nil] [:append "Account/1" "r5"]]}
//! {:index 1, :time 19, :type :ok, :process 3, :f :txn, :value [[:r "Account/1" ["r2"]] [:append "Account/1" "r5"]]}
//! ```
//!
//! Every transaction is a process of its own, because clients here overlap their requests; `:ok` is
//! committed, `:fail` aborted, `:info` unknown. A last transaction reads every list as it was in the
//! end. Registers are written as lists of their versions cannot be, and left out, as are windows:
//! that form has no reads of a list's end.
//!
//! [`json_lines`] writes everything: a line `{"keys": […], "names": […], …}` with the history without
//! its transactions, a line per transaction, and a last line `{"end": COUNT}`, without which
//! [`from_json_lines`] takes the file for cut off.

use super::Refusal;
use serde::{Deserialize, Serialize};
use std::fmt::Write;
use triptych_model::history::{History, KeyKind, MicroOp, Transaction, TxStatus};

/// Jepsen's list-append form.
pub fn edn(history: &History) -> String {
    let mut events: Vec<(u64, bool, usize)> = Vec::new();
    for (at, tx) in history.transactions.iter().enumerate() {
        events.push((tx.begin, false, at));
        let end = match tx.status {
            TxStatus::Indeterminate => u64::MAX,
            _ => tx.end.max(tx.begin),
        };
        events.push((end, true, at));
    }
    // Of one moment the beginnings first: neither came before the other.
    events.sort_unstable();
    let mut text = String::new();
    let mut index = 0;
    let mut last = 0;
    for (time, ended, at) in events {
        let tx = &history.transactions[at];
        let value = value(history, &tx.ops, ended && tx.status == TxStatus::Committed);
        if value == "[]" {
            continue;
        }
        let kind = match (ended, tx.status) {
            (false, _) => "invoke",
            (true, TxStatus::Committed) => "ok",
            (true, TxStatus::Aborted) => "fail",
            (true, TxStatus::Indeterminate) => "info",
        };
        last = if time == u64::MAX { last } else { time };
        line(&mut text, index, last, kind, at, &value);
        index += 1;
    }
    let lists = (0u32..)
        .zip(&history.keys)
        .filter(|(_, key)| key.kind == KeyKind::List);
    let (mut asked, mut told) = (String::new(), String::new());
    for (_, key) in lists {
        let order = key.order.as_deref().unwrap_or(&[]);
        let _ = write!(asked, " [:r {:?} nil]", &*key.name);
        let _ = write!(told, " [:r {:?} {}]", &*key.name, vector(history, order));
    }
    if !asked.is_empty() {
        let process = history.transactions.len();
        let (asked, told) = (format!("[{}]", &asked[1..]), format!("[{}]", &told[1..]));
        line(&mut text, index, last + 1, "invoke", process, &asked);
        line(&mut text, index + 1, last + 2, "ok", process, &told);
    }
    text
}

fn line(text: &mut String, index: u64, time: u64, kind: &str, process: usize, value: &str) {
    let _ = writeln!(
        text,
        "{{:index {index}, :time {time}, :type :{kind}, :process {process}, :f :txn, :value {value}}}"
    );
}

fn vector(history: &History, list: &[u32]) -> String {
    let names = list
        .iter()
        .map(|element| format!("{:?}", &*history.element(*element)));
    format!("[{}]", names.collect::<Vec<_>>().join(" "))
}

fn value(history: &History, ops: &[MicroOp], known: bool) -> String {
    let listed = ops
        .iter()
        .filter(|op| history.keys[op.key() as usize].kind == KeyKind::List);
    let texts = listed.filter_map(|op| {
        let name = history.key(op.key());
        match op {
            MicroOp::Append { element, .. } => Some(format!(
                "[:append {:?} {:?}]",
                &*name,
                &*history.element(*element)
            )),
            MicroOp::Read { key, saw } if known => {
                let list = vector(history, history.list(*key, saw));
                Some(format!("[:r {:?} {list}]", &*name))
            }
            MicroOp::Read { .. } => Some(format!("[:r {:?} nil]", &*name)),
            MicroOp::Write { .. } | MicroOp::Get { .. } => None,
        }
    });
    format!("[{}]", texts.collect::<Vec<_>>().join(" "))
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct End {
    end: u64,
}

/// Everything, as lines of JSON.
pub fn json_lines(history: &History) -> String {
    let head = History {
        transactions: Vec::new(),
        ..history.clone()
    };
    let json = |line: serde_json::Result<String>| line.unwrap_or_default();
    let mut text = json(serde_json::to_string(&head));
    for tx in &history.transactions {
        text.push('\n');
        text.push_str(&json(serde_json::to_string(tx)));
    }
    let end = history.transactions.len() as u64;
    text.push('\n');
    text.push_str(&json(serde_json::to_string(&End { end })));
    text.push('\n');
    text
}

/// Reads what [`json_lines`] wrote.
///
/// # Errors
/// [`Refusal::Truncated`] if the end is missing, [`Refusal::Malformed`] with the line otherwise.
pub fn from_json_lines(text: &str) -> Result<History, Refusal> {
    let cut = |why: &str| Err(Refusal::Truncated(why.to_owned()));
    let malformed =
        |line: usize, error: serde_json::Error| Refusal::Malformed(format!("line {line}: {error}"));
    let lines: Vec<&str> = text.lines().collect();
    let Some((last, rest)) = lines.split_last() else {
        return cut("the file is empty");
    };
    let Ok(End { end }) = serde_json::from_str::<End>(last) else {
        return cut("the last line is not the end of a history");
    };
    let Some((head, rest)) = rest.split_first() else {
        return cut("there is nothing but an end");
    };
    if rest.len() as u64 != end {
        return cut(&format!("{} of {end} transactions are there", rest.len()));
    }
    let mut history: History = serde_json::from_str(head).map_err(|error| malformed(1, error))?;
    for (at, line) in rest.iter().enumerate() {
        let tx: Transaction = serde_json::from_str(line).map_err(|e| malformed(at + 2, e))?;
        history.transactions.push(tx);
    }
    Ok(history)
}
