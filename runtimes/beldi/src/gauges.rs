//! How much an installation keeps: what grows without a garbage collector.

use crate::Shared;
use crate::dump::{lists, scan_all};
use crate::gc::walk;
use crate::names::{intent_table, local_table, log_table};
use triptych_faas::Gauges;
use triptych_model::Name;
use triptych_store::StoreError;

/// The longest list, as its rows are linked and as they lie in the table; all rows of lists;
/// intents; entries of the read and invoke logs; shadows.
pub(crate) async fn gauges(shared: &Shared) -> Result<Gauges, StoreError> {
    let (mut linked, mut physical, mut rows) = (0, 0, 0);
    let (mut intents, mut entries, mut shadows) = (0, 0, 0);
    for function in &shared.app.functions {
        for table in &function.tables {
            if shared.config.is_cross_table() {
                let found = scan_all(shared, table, None).await?.len();
                (linked, physical) = (linked.max(found.min(1)), physical.max(found.min(1)));
                rows += found;
                continue;
            }
            for list in lists(shared, table).await?.values() {
                linked = linked.max(walk(list).len());
                physical = physical.max(list.len());
                rows += list.len();
            }
        }
        let count = async |table| Ok(scan_all(shared, &table, None).await?.len());
        intents += count(intent_table(&function.name)).await?;
        entries += count(log_table(&function.name)).await?;
        shadows += count(local_table(&function.name)).await?;
    }
    let named = [
        ("longest_list_linked", linked),
        ("longest_list_physical", physical),
        ("list_rows", rows),
        ("intents", intents),
        ("log_entries", entries),
        ("shadow_rows", shadows),
    ];
    Ok(named
        .map(|(name, count)| (Name::from(name), count as u64))
        .into_iter()
        .collect())
}
