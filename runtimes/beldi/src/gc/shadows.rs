//! Shadows of transactions: they go when everybody who logged in them is over.
//!
//! A shadow is shared by all instances of the function that took part in the transaction, and its
//! rows hold their log entries, so it cannot go with any single one of them. What lies in the shadow
//! table is what has not been collected yet, so a scan of it costs what there is to do.

use super::lists::owners;
use super::{Owner, Sweep};
use crate::names::{HEAD, KEY, LOGS, NEXT, ROW, VALUE, local_table};
use crate::rows::{row_key, text};
use crate::shadow::Shadow;
use std::collections::{BTreeMap, BTreeSet};
use triptych_api::Result;
use triptych_model::{Condition, Item, Name, Path};
use triptych_store::Request;

impl Sweep<'_> {
    pub(super) async fn shadows(&self) -> Result<()> {
        let table = local_table(&self.run.function);
        if self.run.shared.config.is_cross_table() {
            return Ok(());
        }
        let scan = |start| Request::Scan {
            table: table.clone(),
            filter: None,
            projection: Some([KEY, ROW, NEXT, LOGS, VALUE].map(Path::attr).to_vec()),
            consistent: true,
            limit: None,
            start,
        };
        let mut shadows: BTreeMap<Name, BTreeMap<Name, Item>> = BTreeMap::new();
        for item in self.run.all_pages("beldi.gc.shadows", scan).await? {
            if let (Some(tx), Some(row)) = (text(&item, KEY), text(&item, ROW)) {
                shadows.entry(tx).or_default().insert(row, item);
            }
        }
        for (tx, rows) in shadows {
            // Without its first row, it is what a pass that crashed has left.
            let ended = !rows.contains_key(HEAD)
                || rows
                    .values()
                    .filter_map(|row| row.get(VALUE))
                    .any(|document| Shadow::parse(document).finished);
            let logged: BTreeSet<Owner> = rows.values().flat_map(owners).collect();
            if !ended || !self.all_over(&logged).await? {
                continue;
            }
            // The first row goes first: what is left is not a list any more.
            let head = rows.keys().filter(|id| &***id == HEAD);
            let others = rows.keys().filter(|id| &***id != HEAD);
            for id in head.chain(others) {
                let at = (&table, row_key(&tx, id));
                let exists = Condition::Exists(Path::attr(KEY));
                let point = "beldi.gc.shadow.delete";
                self.run.delete_if(point, at, exists).await?;
            }
        }
        Ok(())
    }
}
