//! Creating tables, and finding out about those that exist already.

use crate::Inner;
use crate::error::plain;
use aws_sdk_dynamodb::error::BuildError;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, GlobalSecondaryIndex, IndexStatus, KeySchemaElement,
    KeyType as Role, Projection, ProjectionType, ScalarAttributeType, TableDescription,
    TableStatus,
};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;
use triptych_model::Name;
use triptych_store::{IndexSchema, KeyAttribute, KeyType, StoreError, TableSchema};

/// How often, and how many times, a table that is being created is asked for.
const PAUSE: Duration = Duration::from_millis(500);
const ATTEMPTS: usize = 600;

/// An SDK structure that lacks a member. Ours never do, but the SDK cannot know.
pub(crate) fn incomplete(error: BuildError) -> StoreError {
    StoreError::Unavailable(error.to_string())
}

impl Inner {
    pub(crate) async fn create_table(&self, schema: TableSchema) -> Result<(), StoreError> {
        let mut kinds = BTreeMap::new();
        let table_keys = keys(&schema.hash, schema.range.as_ref(), &mut kinds)?;
        let mut request = self
            .client
            .create_table()
            .table_name(&*schema.name)
            .billing_mode(BillingMode::PayPerRequest)
            .set_key_schema(Some(table_keys));
        for index in &schema.indexes {
            let kind = if index.keys_only {
                ProjectionType::KeysOnly
            } else {
                ProjectionType::All
            };
            let index_keys = keys(&index.hash, index.range.as_ref(), &mut kinds)?;
            let index = GlobalSecondaryIndex::builder()
                .index_name(&*index.name)
                .set_key_schema(Some(index_keys))
                .projection(Projection::builder().projection_type(kind).build())
                .build()
                .map_err(incomplete)?;
            request = request.global_secondary_indexes(index);
        }
        for (name, kind) in kinds {
            let definition = AttributeDefinition::builder()
                .attribute_name(&*name)
                .attribute_type(kind);
            request = request.attribute_definitions(definition.build().map_err(incomplete)?);
        }
        request
            .send()
            .await
            .map_err(|error| plain(error, &schema.name))?;
        for _ in 0..ATTEMPTS {
            match self.describe(&schema.name).await {
                Ok(table) if is_active(&table) => {
                    self.schemas
                        .borrow_mut()
                        .insert(schema.name.clone(), Rc::new(schema));
                    return Ok(());
                }
                // A new table may take a moment to be known at all.
                Ok(_) | Err(StoreError::NoSuchTable(_)) => tokio::time::sleep(PAUSE).await,
                Err(error) => return Err(error),
            }
        }
        Err(StoreError::Unavailable(format!(
            "table {} is still not active",
            schema.name
        )))
    }

    async fn describe(&self, name: &str) -> Result<TableDescription, StoreError> {
        let answer = self.client.describe_table().table_name(name).send().await;
        let table = answer.map_err(|error| plain(error, name))?.table;
        table.ok_or_else(|| StoreError::NoSuchTable(name.to_owned()))
    }

    /// The schema of a table, looked up once.
    pub(crate) async fn schema(&self, name: &Name) -> Result<Rc<TableSchema>, StoreError> {
        if let Some(schema) = self.schemas.borrow().get(name) {
            return Ok(Rc::clone(schema));
        }
        let schema = Rc::new(read(name, &self.describe(name).await?)?);
        self.schemas
            .borrow_mut()
            .insert(name.clone(), Rc::clone(&schema));
        Ok(schema)
    }
}

fn is_active(table: &TableDescription) -> bool {
    table.table_status() == Some(&TableStatus::Active)
        && table
            .global_secondary_indexes()
            .iter()
            .all(|index| index.index_status() == Some(&IndexStatus::Active))
}

fn keys(
    hash: &KeyAttribute,
    range: Option<&KeyAttribute>,
    kinds: &mut BTreeMap<Name, ScalarAttributeType>,
) -> Result<Vec<KeySchemaElement>, StoreError> {
    let hash = std::iter::once((Role::Hash, hash));
    let mut elements = Vec::new();
    for (role, attribute) in hash.chain(range.map(|range| (Role::Range, range))) {
        let kind = match attribute.kind {
            KeyType::Str => ScalarAttributeType::S,
            KeyType::Number => ScalarAttributeType::N,
        };
        kinds.insert(attribute.name.clone(), kind);
        let element = KeySchemaElement::builder()
            .attribute_name(&*attribute.name)
            .key_type(role);
        elements.push(element.build().map_err(incomplete)?);
    }
    Ok(elements)
}

/// Reads a table's description.
fn read(name: &Name, table: &TableDescription) -> Result<TableSchema, StoreError> {
    let definitions = table.attribute_definitions();
    let attribute = |elements: &[KeySchemaElement], role: Role| -> Option<KeyAttribute> {
        let element = elements
            .iter()
            .find(|element| *element.key_type() == role)?;
        let mut known = definitions.iter();
        let known = known.find(|known| known.attribute_name() == element.attribute_name())?;
        Some(match known.attribute_type() {
            ScalarAttributeType::N => KeyAttribute::number(element.attribute_name()),
            _ => KeyAttribute::str(element.attribute_name()),
        })
    };
    let strange = || StoreError::Unavailable(format!("the description of {name} has no keys"));
    let mut schema = TableSchema {
        name: name.clone(),
        hash: attribute(table.key_schema(), Role::Hash).ok_or_else(strange)?,
        range: attribute(table.key_schema(), Role::Range),
        indexes: Vec::new(),
    };
    for index in table.global_secondary_indexes() {
        let kind = index
            .projection()
            .and_then(|projection| projection.projection_type());
        schema.indexes.push(IndexSchema {
            name: Name::from(index.index_name().unwrap_or_default()),
            hash: attribute(index.key_schema(), Role::Hash).ok_or_else(strange)?,
            range: attribute(index.key_schema(), Role::Range),
            keys_only: kind == Some(&ProjectionType::KeysOnly),
        });
    }
    Ok(schema)
}
