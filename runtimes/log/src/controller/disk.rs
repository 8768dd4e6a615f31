//! What a controller keeps on its disk.
//!
//! | key | value |
//! |---|---|
//! | `view`, number | a view that was chosen |
//! | `register`, number | what was promised and accepted in the register of a view that is not known to be chosen |
//!
//! Numbers are big-endian, so that keys come in order. Values have a checksum before them.

use super::register::Acceptor;
use crate::sequencer::checked;
use crate::{Ballot, View, ViewId};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use triptych_nodes::{Key, Stored, Write};

const VIEW: &[u8] = b"view";
const REGISTER: &[u8] = b"register";

fn key(prefix: &[u8], view: ViewId) -> Key {
    [prefix, &view.to_be_bytes()].concat()
}

/// Keeps a view that was chosen; its register is needed no more.
pub(super) fn choose(view: &View) -> Vec<Write> {
    vec![
        Write {
            key: key(VIEW, view.id),
            value: Some(checked::encode(view)),
        },
        Write {
            key: key(REGISTER, view.id),
            value: None,
        },
    ]
}

/// Keeps a register.
pub(super) fn register(view: ViewId, acceptor: &Acceptor<Arc<View>>) -> Vec<Write> {
    let state = (acceptor.promised(), acceptor.accepted());
    vec![Write {
        key: key(REGISTER, view),
        value: Some(checked::encode(&state)),
    }]
}

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) views: BTreeMap<ViewId, Arc<View>>,
    pub(super) registers: BTreeMap<ViewId, Acceptor<Arc<View>>>,
    /// Registers of which what was promised and accepted is lost.
    pub(super) lost: BTreeSet<ViewId>,
    /// What an operator should know: one line per damaged value.
    pub(super) notices: Vec<String>,
}

/// Reads everything.
pub(super) fn recover(stored: &dyn Stored) -> Found {
    let mut found = Found::default();
    for (id, value) in numbered(stored, VIEW) {
        match checked::decode::<Arc<View>>(&value).filter(|view| view.id == id) {
            Some(view) => {
                found.views.insert(id, view);
            }
            None => {
                found.lost.insert(id);
                let notice = format!("view {id} is damaged; it must be had from other controllers");
                found.notices.push(notice);
            }
        }
    }
    for (id, value) in numbered(stored, REGISTER) {
        match checked::decode::<(Ballot, Option<(Ballot, Arc<View>)>)>(&value) {
            Some((promised, accepted)) => {
                let acceptor = Acceptor::recovered(promised, accepted, None);
                found.registers.insert(id, acceptor);
            }
            None => {
                found.lost.insert(id);
                found.notices.push(format!(
                    "the register of view {id} is damaged; this controller takes no part in it"
                ));
            }
        }
    }
    found
        .registers
        .retain(|id, _| !found.views.contains_key(id));
    found
}

fn numbered<'a>(
    stored: &'a dyn Stored,
    prefix: &'a [u8],
) -> impl Iterator<Item = (ViewId, Vec<u8>)> + 'a {
    stored.scan(prefix).filter_map(|(key, value)| {
        let id = key.strip_prefix(prefix)?.try_into().ok()?;
        Some((ViewId::from_be_bytes(id), value))
    })
}
