//! The table itself: its keys and indexes.

use aws_sdk_dynamodb::{
    error::ProvideErrorMetadata as _,
    types::{
        AttributeDefinition, BillingMode, GlobalSecondaryIndex, KeySchemaElement, KeyType, Projection, ProjectionType,
        ScalarAttributeType,
    },
};

use super::{
    Catalog, Consistency,
    item::{self, INDEXES, Index, PK, PROJECTED, SK},
};
use crate::{error::Result, id::FileId, stores::fault::failed};

impl Catalog {
    /// Makes the table with its indexes, unless it is there. On AWS the template makes it.
    pub async fn create_table(&self) -> Result<()> {
        let mut request = self.dynamodb.create_table().table_name(&self.table).billing_mode(BillingMode::PayPerRequest);
        for (name, kind) in [(PK, KeyType::Hash), (SK, KeyType::Range)] {
            request = request.key_schema(key_element(name, kind)).attribute_definitions(text_attribute(name));
        }
        for Index { name, pk, sk } in INDEXES {
            let projection = Projection::builder()
                .projection_type(ProjectionType::Include)
                .set_non_key_attributes(Some(PROJECTED.iter().map(ToString::to_string).collect()))
                .build();
            let index = GlobalSecondaryIndex::builder()
                .index_name(name)
                .key_schema(key_element(pk, KeyType::Hash))
                .key_schema(key_element(sk, KeyType::Range))
                .projection(projection)
                .build()
                .expect("name, keys and projection are set");
            request = request
                .attribute_definitions(text_attribute(pk))
                .attribute_definitions(text_attribute(sk))
                .global_secondary_indexes(index);
        }
        match request.send().await {
            Ok(_) => Ok(()),
            Err(e) if e.code() == Some("ResourceInUseException") => Ok(()),
            Err(e) => Err(failed("creating the table", e)),
        }
    }

    /// Whether the table answers.
    pub async fn ready(&self) -> Result<()> {
        self.get("asking the table whether it is there", item::file_key(FileId::mint()), Consistency::Eventual)
            .await
            .map(drop)
    }
}

fn key_element(name: &str, kind: KeyType) -> KeySchemaElement {
    KeySchemaElement::builder().attribute_name(name).key_type(kind).build().expect("name and kind are set")
}

fn text_attribute(name: &str) -> AttributeDefinition {
    AttributeDefinition::builder()
        .attribute_name(name)
        .attribute_type(ScalarAttributeType::S)
        .build()
        .expect("name and type are set")
}
