//! What a runtime kept over time: named amounts, noted at regular moments of the run.
//!
//! Runs whose profile asks for it have a file `gauges.csv`; the others have none. A line per moment
//! and amount: the time in nanoseconds from the start of the load, the name, the amount.

use std::collections::BTreeMap;

/// The amounts at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Gauge {
    /// When, nanoseconds from the start of the load.
    pub at_ns: u64,
    /// The amounts by name.
    pub amounts: BTreeMap<String, u64>,
}

const HEAD: &str = "at_ns,name,amount";

pub(crate) fn write(gauges: &[Gauge]) -> String {
    let mut text = format!("{HEAD}\n");
    for Gauge { at_ns, amounts } in gauges {
        for (name, amount) in amounts {
            text.push_str(&format!("{at_ns},{name},{amount}\n"));
        }
    }
    text
}

/// Reads what [`write`] wrote, and nothing else: times go forward, names within one are sorted.
pub(crate) fn read(text: &str) -> Result<Vec<Gauge>, String> {
    let mut lines = text.lines();
    if lines.next() != Some(HEAD) {
        return Err(format!("it does not begin with {HEAD}"));
    }
    let mut gauges: Vec<Gauge> = Vec::new();
    for (number, line) in (2..).zip(lines) {
        let wrong = |what: &str| format!("line {number}: {what}");
        let mut fields = line.split(',');
        let (Some(at), Some(name), Some(amount), None) =
            (fields.next(), fields.next(), fields.next(), fields.next())
        else {
            return Err(wrong("not three fields"));
        };
        let at_ns = at.parse().map_err(|_| wrong("not a time"))?;
        let amount = amount.parse().map_err(|_| wrong("not an amount"))?;
        match gauges.last() {
            Some(last) if last.at_ns > at_ns => return Err(wrong("the time goes back")),
            Some(last) if last.at_ns == at_ns => {}
            _ => gauges.push(Gauge {
                at_ns,
                ..Gauge::default()
            }),
        }
        let amounts = gauges.last_mut().map(|gauge| &mut gauge.amounts);
        if amounts
            .and_then(|amounts| amounts.insert(name.to_owned(), amount))
            .is_some()
        {
            return Err(wrong("the amount is there twice"));
        }
    }
    Ok(gauges)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gauges_read_back_as_they_were_written() {
        let gauge = |at_ns, amounts: &[(&str, u64)]| Gauge {
            at_ns,
            amounts: amounts
                .iter()
                .map(|(name, n)| ((*name).to_owned(), *n))
                .collect(),
        };
        let gauges = [
            gauge(0, &[("a", 1), ("b", 2)]),
            gauge(60_000_000_000, &[("a", 3), ("b", u64::MAX)]),
        ];
        let text = write(&gauges);
        assert_eq!(read(&text), Ok(gauges.to_vec()));
        assert_eq!(read(&write(&[])), Ok(Vec::new()));
        for bad in ["", "at_ns,name\n", "at_ns,name,amount\n1,a\n"] {
            assert!(read(bad).is_err(), "{bad}");
        }
        assert!(
            read(&format!("{text}0,a,1\n"))
                .unwrap_err()
                .contains("goes back")
        );
        assert!(
            read(&format!("{HEAD}\n0,a,1\n0,a,1\n"))
                .unwrap_err()
                .contains("twice")
        );
    }
}
