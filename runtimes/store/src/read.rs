//! Plans reads of single items, batches and transactions. Pages are in `page`.

use crate::check::{self, invalid};
use crate::page::returned;
use crate::table::RowKey;
use crate::tables::{Answer, Tables};
use crate::units::read_half_units;
use crate::{Cancellation, Consumed, Key, Projection, Response, StoreError};
use triptych_model::Name;

const BATCH_KEYS: usize = 100;

impl Tables {
    pub(crate) fn get(
        &self,
        table: &str,
        key: &Key,
        projection: &Projection,
        consistent: bool,
        consumed: &mut Consumed,
    ) -> Result<Answer, StoreError> {
        if let Some(paths) = projection {
            check::projection(paths)?;
        }
        let (number, table) = self.table(table)?;
        check::key(&table.schema, key)?;
        let row_key = RowKey::new(key.clone());
        let row = table.rows.get(&row_key);
        let size = row.map_or(0, |row| row.size);
        consumed.read(
            number,
            None,
            row_key.hash,
            read_half_units(size, consistent),
        );
        consumed.touch(size, row.is_some_and(|row| row.nested));
        let item = row.map(|row| returned(&row.item, size, projection, consumed));
        Ok(Answer::Known(Response::Item(item)))
    }

    pub(crate) fn batch_get(
        &self,
        keys: &[(Name, Key)],
        consistent: bool,
        consumed: &mut Consumed,
    ) -> Result<Answer, StoreError> {
        if keys.is_empty() || keys.len() > BATCH_KEYS {
            return invalid(format!("a batch has 1 to {BATCH_KEYS} keys"));
        }
        for (table, _) in keys {
            self.table(table)?;
        }
        let mut found = Vec::with_capacity(keys.len());
        for (table, key) in keys {
            let (number, table) = self.table(table)?;
            check::key(&table.schema, key)?;
            found.push((number, RowKey::new(key.clone())));
        }
        Tables::check_distinct(&found)?;
        self.get_all(
            keys,
            found,
            |size| read_half_units(size, consistent),
            consumed,
        )
    }

    pub(crate) fn transact_get(
        &self,
        keys: &[(Name, Key)],
        consumed: &mut Consumed,
    ) -> Result<Answer, StoreError> {
        if keys.is_empty() || keys.len() > self.txn_max_items {
            return invalid(format!(
                "a transaction has 1 to {} keys",
                self.txn_max_items
            ));
        }
        let mut reasons = Vec::with_capacity(keys.len());
        let mut found = Vec::with_capacity(keys.len());
        for (table, key) in keys {
            let (number, table) = self.table(table)?;
            if check::key(&table.schema, key).is_ok() {
                reasons.push(Cancellation::None);
                found.push((number, RowKey::new(key.clone())));
            } else {
                reasons.push(Cancellation::Validation);
            }
        }
        if reasons.contains(&Cancellation::Validation) {
            return Err(StoreError::Cancelled(reasons));
        }
        Tables::check_distinct(&found)?;
        self.get_all(
            keys,
            found,
            |size| 2 * read_half_units(size, true),
            consumed,
        )
    }

    fn get_all(
        &self,
        keys: &[(Name, Key)],
        found: Vec<(usize, RowKey)>,
        halves: impl Fn(usize) -> u64,
        consumed: &mut Consumed,
    ) -> Result<Answer, StoreError> {
        let mut items = Vec::with_capacity(found.len());
        for ((name, _), (number, row_key)) in keys.iter().zip(found) {
            let (_, table) = self.table(name)?;
            let row = table.rows.get(&row_key);
            let size = row.map_or(0, |row| row.size);
            consumed.read(number, None, row_key.hash, halves(size));
            consumed.touch(size, row.is_some_and(|row| row.nested));
            items.push(row.map(|row| returned(&row.item, size, &None, consumed)));
        }
        Ok(Answer::Known(Response::Items(items)))
    }
}
