//! One record told by hand for every anomaly, and the same without it, which is clean.

use std::collections::BTreeMap;
use triptych_api::Isolation;
use triptych_model::causes::{Act, Batch, CausalKey, Causes, Event, Holds, Strand};
use triptych_model::history::TxStatus;
use triptych_model::{Guarantee, Name};
use triptych_oracle::causal::{Anomaly, Report, check, picture, rules};
use triptych_oracle::history::Refusal;

/// A record that is being told. Clients and keys are known by their names.
#[derive(Default)]
struct Told {
    causes: Causes,
    strands: BTreeMap<String, u32>,
    keys: BTreeMap<String, u32>,
    writes: BTreeMap<String, u32>,
    views: BTreeMap<u32, Vec<u32>>,
    looks: u32,
}

impl Told {
    /// A strand by its name, such as `1` or `1/branch`: the client comes first.
    fn strand(&mut self, name: &str) -> u32 {
        if let Some(strand) = self.strands.get(name) {
            return *strand;
        }
        let client = name.split('/').next().unwrap_or(name);
        let strand = self.causes.strands.len() as u32;
        self.causes.strands.push(Strand {
            name: Name::from(name),
            request: u64::from(strand),
            session: client.parse().expect("is a number"),
        });
        self.strands.insert(name.to_owned(), strand);
        strand
    }

    /// A key: a list, a document if its name begins with `d`, a list of the newest two with `n`.
    fn key(&mut self, name: &str) -> u32 {
        if let Some(key) = self.keys.get(name) {
            return *key;
        }
        let key = self.causes.keys.len() as u32;
        self.causes.keys.push(CausalKey {
            name: Name::from(name),
            holds: match name.as_bytes()[0] {
                b'd' => Holds::Last,
                b'n' => Holds::Newest(2),
                _ => Holds::All,
            },
            last: None,
            copies: Vec::new(),
        });
        self.keys.insert(name.to_owned(), key);
        key
    }

    fn number(&mut self, name: &str) -> u32 {
        let next = self.causes.names.len() as u32;
        let number = *self.writes.entry(name.to_owned()).or_insert(next);
        if number == next {
            self.causes.names.push(Name::from(name));
        }
        number
    }

    fn event(&mut self, strand: &str, act: Act) {
        let strand = self.strand(strand);
        self.causes.events.push(Event { strand, act });
    }

    fn write(&mut self, strand: &str, key: &str, name: &str) -> &mut Self {
        let (key, write) = (self.key(key), self.number(name));
        self.event(
            strand,
            Act::Write {
                key,
                write,
                tx: None,
            },
        );
        self
    }

    fn read(&mut self, strand: &str, key: &str, names: &[&str]) -> &mut Self {
        self.look(strand, key, names, None, None)
    }

    fn look(
        &mut self,
        strand: &str,
        key: &str,
        names: &[&str],
        look: Option<u32>,
        tx: Option<u32>,
    ) -> &mut Self {
        let key = self.key(key);
        let now: Vec<u32> = names.iter().map(|name| self.number(name)).collect();
        let old = self.views.insert(key, now.clone()).unwrap_or_default();
        let act = Act::Read {
            key,
            more: now.iter().filter(|w| !old.contains(w)).copied().collect(),
            less: old.iter().filter(|w| !now.contains(w)).copied().collect(),
            look,
            tx,
        };
        self.event(strand, act);
        self
    }

    /// One look at several keys.
    fn together(&mut self, strand: &str, keys: &[(&str, &[&str])]) -> &mut Self {
        self.looks += 1;
        for (key, names) in keys {
            self.look(strand, key, names, Some(self.looks), None);
        }
        self
    }

    /// The first strand comes after what the second has done.
    fn after(&mut self, strand: &str, other: &str) -> &mut Self {
        let of = self.strand(other);
        let event = self
            .causes
            .events
            .iter()
            .rposition(|event| event.strand == of);
        let event = event.expect("has done something") as u32;
        self.event(strand, Act::After { event });
        self
    }

    fn tx(&mut self, status: TxStatus) -> u32 {
        let name = Name::from(format!("t{}", self.causes.batches.len()));
        self.causes.batches.push(Batch { name, status });
        self.causes.batches.len() as u32 - 1
    }

    /// A transaction that writes.
    fn batch(&mut self, strand: &str, status: TxStatus, writes: &[(&str, &str)]) -> &mut Self {
        let tx = self.tx(status);
        for (key, name) in writes {
            let (key, write) = (self.key(key), self.number(name));
            self.event(
                strand,
                Act::Write {
                    key,
                    write,
                    tx: Some(tx),
                },
            );
        }
        if status == TxStatus::Committed {
            self.event(strand, Act::Commit { tx });
        }
        self
    }

    /// A committed transaction that reads.
    fn reads(&mut self, strand: &str, keys: &[(&str, &[&str])]) -> &mut Self {
        let tx = self.tx(TxStatus::Committed);
        for (key, names) in keys {
            self.look(strand, key, names, None, Some(tx));
        }
        self.event(strand, Act::Commit { tx });
        self
    }

    fn last(&mut self, key: &str, names: &[&str]) -> &mut Self {
        let key = self.key(key);
        let last = names.iter().map(|name| self.number(name)).collect();
        self.causes.keys[key as usize].last = Some(last);
        self
    }

    fn copy(&mut self, key: &str, names: &[&str]) -> &mut Self {
        let key = self.key(key);
        let copy = names.iter().map(|name| self.number(name)).collect();
        let copies = &mut self.causes.keys[key as usize].copies;
        copies.push((Name::from("other"), copy));
        self
    }
}

fn checked(tell: impl FnOnce(&mut Told)) -> (Causes, Report) {
    let mut told = Told::default();
    tell(&mut told);
    let report = check(&told.causes).expect("is whole");
    (told.causes, report)
}

/// The first record shows this anomaly once and nothing else, and the second one nothing.
fn shows(anomaly: Anomaly, wrong: impl FnOnce(&mut Told), right: impl FnOnce(&mut Told)) -> String {
    let (causes, report) = checked(wrong);
    let found: Vec<_> = report.found.iter().map(|f| (f.anomaly, f.count)).collect();
    assert_eq!(found, [(anomaly, 1)], "{report:#?}");
    let svg = picture(&causes, &report.found[0]);
    assert!(svg.contains(anomaly.name()));
    let (_, clean) = checked(right);
    assert!(clean.found.is_empty(), "{clean:#?}");
    report.found[0].witness.told.clone()
}

fn nothing(tell: impl FnOnce(&mut Told)) {
    let (_, report) = checked(tell);
    assert!(report.found.is_empty(), "{report:#?}");
}

#[test]
fn a_client_does_not_see_its_own_write() {
    let told = shows(
        Anomaly::ReadYourWrites,
        |t| {
            t.write("1", "x", "a").read("1", "x", &[]);
        },
        |t| {
            t.write("1", "x", "a")
                .read("1", "x", &["a"])
                .read("2", "x", &[]);
        },
    );
    assert_eq!(
        told,
        "client 1 (1) wrote a to x; then client 1 (1) read x without a. Who wrote something sees \
         it, or something newer."
    );
}

#[test]
fn what_was_seen_vanishes() {
    shows(
        Anomaly::MonotonicReads,
        |t| {
            t.write("1", "x", "a")
                .read("2", "x", &["a"])
                .read("2", "x", &[]);
        },
        |t| {
            t.write("1", "x", "a")
                .read("2", "x", &[])
                .read("2", "x", &["a"]);
        },
    );
}

#[test]
fn a_clients_second_write_is_seen_without_its_first() {
    for key in ["x", "y"] {
        shows(
            Anomaly::MonotonicWrites,
            |t| {
                t.write("1", "x", "a").write("1", "y", "b");
                t.read("2", "y", &["b"]).read("2", "x", &[]);
            },
            |t| {
                t.write("1", "x", "a").write("1", key, "b");
                t.read("2", "x", &["a"]);
            },
        );
    }
    // In one list: the look shows the later one alone.
    shows(
        Anomaly::MonotonicWrites,
        |t| {
            t.write("1", "x", "a")
                .write("1", "x", "b")
                .read("2", "x", &["b"]);
        },
        |t| {
            t.write("1", "x", "a")
                .write("3", "x", "b")
                .read("2", "x", &["b"]);
        },
    );
}

#[test]
fn an_answer_is_seen_without_what_it_answers() {
    let told = shows(
        Anomaly::WritesFollowReads,
        |t| {
            t.write("1", "posts", "p").read("2", "posts", &["p"]);
            t.write("2", "answers", "q").read("3", "answers", &["q"]);
            t.read("3", "posts", &[]);
        },
        |t| {
            t.write("1", "posts", "p").read("2", "posts", &["p"]);
            t.write("2", "answers", "q").read("3", "posts", &[]);
            t.read("3", "answers", &["q"]).read("3", "posts", &["p"]);
        },
    );
    assert_eq!(told.matches("; then ").count(), 4, "{told}");
}

#[test]
fn causes_reach_over_several_clients() {
    shows(
        Anomaly::Causality,
        |t| {
            t.write("1", "x", "a")
                .write("1", "y", "b")
                .read("2", "y", &["b"]);
            t.write("2", "z", "c")
                .read("3", "z", &["c"])
                .read("3", "x", &[]);
        },
        |t| {
            t.write("1", "x", "a")
                .write("1", "y", "b")
                .write("2", "z", "c");
            t.read("3", "z", &["c"]).read("3", "x", &[]);
        },
    );
}

#[test]
fn branches_and_callees_are_part_of_their_request() {
    // What a branch wrote before it was joined.
    shows(
        Anomaly::ReadYourWrites,
        |t| {
            t.read("1", "x", &[])
                .after("1/a", "1")
                .write("1/a", "x", "a");
            t.after("1", "1/a").read("1", "x", &[]);
        },
        // The other branch need not know.
        |t| {
            t.read("1", "x", &[]).after("1/a", "1").after("1/b", "1");
            t.write("1/a", "x", "a").read("1/b", "x", &[]);
            t.after("1", "1/a").after("1", "1/b").read("1", "x", &["a"]);
        },
    );
    // What the caller had seen.
    shows(
        Anomaly::MonotonicReads,
        |t| {
            t.write("2", "x", "a").read("1", "x", &["a"]);
            t.after("1/callee", "1").read("1/callee", "x", &[]);
        },
        |t| {
            t.write("2", "x", "a").read("1", "x", &["a"]);
            t.read("1/callee", "x", &[]);
        },
    );
}

#[test]
fn of_two_documents_the_newer_one_is_the_one_that_happened_after() {
    shows(
        Anomaly::MonotonicReads,
        |t| {
            t.write("1", "d", "a")
                .read("2", "d", &["a"])
                .write("2", "d", "b");
            t.read("3", "d", &["b"]).read("3", "d", &["a"]);
        },
        |t| {
            t.write("1", "d", "a")
                .read("2", "d", &["a"])
                .write("2", "d", "b");
            t.read("3", "d", &["a"]).read("3", "d", &["b"]);
        },
    );
    // Of two that know nothing of each other either may win, even if the loser was seen.
    nothing(|t| {
        t.write("1", "d", "a").write("2", "d", "b");
        t.read("3", "d", &["b"])
            .read("3", "d", &["a"])
            .read("2", "d", &["a"]);
    });
    // What was loaded is older than everything.
    shows(
        Anomaly::ReadYourWrites,
        |t| {
            let loaded = t.number("loaded");
            t.causes.loaded.push(loaded);
            t.write("1", "d", "a").read("1", "d", &["loaded"]);
        },
        |t| {
            let loaded = t.number("loaded");
            t.causes.loaded.push(loaded);
            t.write("1", "d", "a").read("2", "d", &["loaded"]);
        },
    );
}

#[test]
fn a_full_list_drops_the_oldest_and_not_another() {
    nothing(|t| {
        t.write("1", "n", "a")
            .write("1", "n", "b")
            .write("1", "n", "c");
        t.read("1", "n", &["b", "c"]);
    });
    shows(
        Anomaly::ReadYourWrites,
        |t| {
            t.write("1", "n", "a")
                .write("1", "n", "b")
                .write("1", "n", "c");
            t.read("1", "n", &["a", "c"]);
        },
        // Another client's elements may be the newer ones.
        |t| {
            t.write("1", "n", "a")
                .write("2", "n", "b")
                .write("3", "n", "c");
            t.read("1", "n", &["b", "c"]);
        },
    );
}

#[test]
fn a_transaction_is_seen_whole_or_not_at_all() {
    let both: &[(&str, &str)] = &[("x", "a"), ("y", "b")];
    shows(
        Anomaly::FracturedRead,
        |t| {
            t.batch("1", TxStatus::Committed, both);
            t.reads("2", &[("x", &["a"]), ("y", &[])]);
        },
        |t| {
            t.batch("1", TxStatus::Committed, both);
            t.reads("2", &[("x", &["a"]), ("y", &["b"])]);
            t.reads("3", &[("x", &[]), ("y", &[])]);
        },
    );
    shows(
        Anomaly::FracturedLook,
        |t| {
            t.batch("1", TxStatus::Committed, both);
            t.together("2", &[("y", &[]), ("x", &["a"])]);
        },
        // One look after another is no look at both.
        |t| {
            t.batch("1", TxStatus::Committed, both);
            t.read("2", "y", &[]).read("2", "x", &["a"]);
        },
    );
}

#[test]
fn what_is_seen_together_was_there_together() {
    shows(
        Anomaly::TornLook,
        |t| {
            t.write("1", "x", "a").write("1", "y", "b");
            t.together("2", &[("x", &[]), ("y", &["b"])]);
        },
        |t| {
            t.write("1", "x", "a").write("1", "y", "b");
            t.together("2", &[("x", &["a"]), ("y", &[])]);
        },
    );
    shows(
        Anomaly::TornSnapshot,
        |t| {
            t.write("1", "x", "a").write("1", "y", "b");
            t.reads("2", &[("x", &[]), ("y", &["b"])]);
        },
        |t| {
            t.write("1", "x", "a").write("3", "y", "b");
            t.reads("2", &[("x", &[]), ("y", &["b"])]);
        },
    );
}

#[test]
fn what_was_undone_or_replaced_is_never_seen() {
    shows(
        Anomaly::AbortedRead,
        |t| {
            t.batch("1", TxStatus::Aborted, &[("x", "a")])
                .read("2", "x", &["a"]);
        },
        |t| {
            t.batch("1", TxStatus::Aborted, &[("x", "a")]);
            t.batch("1", TxStatus::Indeterminate, &[("x", "b")]);
            t.read("2", "x", &["b"]).read("1", "x", &[]);
        },
    );
    shows(
        Anomaly::IntermediateRead,
        |t| {
            t.batch("1", TxStatus::Committed, &[("d", "a"), ("d", "b")]);
            t.read("2", "d", &["a"]);
        },
        |t| {
            t.batch("1", TxStatus::Committed, &[("d", "a"), ("d", "b")]);
            t.read("2", "d", &["b"]);
        },
    );
}

#[test]
fn the_end_has_everything_once_and_alike() {
    shows(
        Anomaly::Lost,
        |t| {
            t.write("1", "x", "a").last("x", &[]);
        },
        |t| {
            t.batch("1", TxStatus::Indeterminate, &[("x", "b")]);
            t.write("1", "x", "a").last("x", &["a"]);
        },
    );
    shows(
        Anomaly::Lost,
        |t| {
            t.write("1", "d", "a")
                .write("1", "d", "b")
                .last("d", &["a"]);
        },
        |t| {
            t.write("1", "d", "a")
                .write("2", "d", "b")
                .last("d", &["a"]);
        },
    );
    shows(
        Anomaly::Twice,
        |t| {
            t.write("1", "x", "a").last("x", &["a", "a"]);
        },
        |t| {
            t.write("1", "x", "a").last("x", &["a"]).copy("x", &["a"]);
        },
    );
    shows(
        Anomaly::Diverged,
        |t| {
            t.write("1", "x", "a").write("2", "x", "b");
            t.last("x", &["a", "b"]).copy("x", &["b", "a"]);
        },
        |t| {
            t.write("1", "x", "a").write("2", "x", "b");
            t.last("x", &["b", "a"]).copy("x", &["b", "a"]);
        },
    );
}

#[test]
fn nothing_is_concluded_from_what_nobody_knows() {
    // A write that was made twice proves nothing of what came before it.
    nothing(|t| {
        t.write("1", "x", "a")
            .write("1", "y", "b")
            .write("4", "y", "b");
        t.read("2", "y", &["b"]).read("2", "x", &[]);
    });
    // Nor does one that nobody heard of.
    nothing(|t| {
        t.write("1", "x", "a").read("2", "y", &["unheard"]);
        t.read("2", "x", &[]).read("2", "y", &[]);
    });
    // Nor does one that is seen before its end was heard.
    nothing(|t| {
        t.read("2", "x", &["a"]).write("1", "x", "a");
        t.read("3", "x", &[]);
    });
}

/// Makes a record wrong.
type Harm = fn(&mut Causes);

#[test]
fn a_record_that_is_not_whole_is_refused() {
    let mut told = Told::default();
    told.write("1", "x", "a");
    let whole = told.causes;
    let mut cut = whole.clone();
    cut.truncated = Some("cut off".to_owned());
    assert!(matches!(check(&cut), Err(Refusal::Truncated(_))));
    let wrong: [(&str, Harm); 6] = [
        ("a strand", |c| c.events[0].strand = 7),
        ("a key", |c| {
            c.events[0].act = Act::Write {
                key: 9,
                write: 0,
                tx: None,
            };
        }),
        ("a write", |c| {
            c.events[0].act = Act::Write {
                key: 0,
                write: 9,
                tx: None,
            };
        }),
        ("an earlier event", |c| {
            c.events[0].act = Act::After { event: 0 }
        }),
        ("a transaction", |c| c.events[0].act = Act::Commit { tx: 3 }),
        ("a write that does not exist", |c| {
            c.keys[0].last = Some(vec![12]);
        }),
    ];
    for (what, spoil) in wrong {
        let mut spoilt = whole.clone();
        spoil(&mut spoilt);
        let refusal = check(&spoilt).expect_err(what);
        assert!(refusal.to_string().contains(what), "{refusal}");
    }
}

#[test]
fn rules_ask_of_looks_only_who_promises_them() {
    let mut told = Told::default();
    told.write("1", "x", "a").write("1", "y", "b");
    told.together("2", &[("x", &[]), ("y", &["b"])]);
    told.read("1", "x", &[]);
    for (promised, asked) in [
        (Isolation::None, false),
        (Isolation::Serializable, false),
        (Isolation::Tcc, true),
    ] {
        let judged = rules(&told.causes, promised).expect("is whole");
        let rule = |name: &str| judged.rules.iter().find(|rule| rule.rule == name);
        let torn = rule("C-torn-look").expect("was examined");
        assert_eq!((torn.violations, torn.asked), (1, asked));
        assert_eq!(torn.guarantee, Guarantee::Isolation);
        let own = rule("C-read-your-writes").expect("is always there");
        assert_eq!((own.examined, own.violations, own.asked), (1, 1, true));
        assert_eq!(own.guarantee, Guarantee::Order);
        assert_eq!(own.per_million(), 1e6);
        // Nobody asked for a transaction.
        assert_eq!(rule("C-fractured-read"), None);
    }
}
