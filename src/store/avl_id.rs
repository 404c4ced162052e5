//! The table `trackport.avl_id`: the dictionary for SQL, loaded anew when this program has another edition of it.

use postgres::Client;

use super::dictionary::{CSV, MEANINGS};
use super::digest::digest_of;
use super::error::StoreError;
use super::typed;

/// Loads the dictionary into `trackport.avl_id` when the one there is another edition.
///
/// # Errors
/// When the database refuses it.
pub(super) fn load(client: &mut Client) -> Result<(), StoreError> {
    // The rows depend on the text and on the code that reads it: raise the number when that changes.
    let digest = format!("{}-2", digest_of(CSV));
    let mut transaction = client.transaction()?;
    let loaded = transaction.query_opt(
        "SELECT digest FROM trackport.dictionary WHERE name = 'avl_id' FOR UPDATE",
        &[],
    )?;
    if loaded.is_some_and(|row| row.get::<_, String>(0) == digest) {
        return Ok(());
    }
    // Through jsonb, because a jagged array (the models) has no array form.
    let rows: Vec<serde_json::Value> = MEANINGS
        .iter()
        .enumerate()
        .map(|(ordinal, one)| {
            serde_json::json!({
                "ordinal": ordinal, "id": one.id, "name": one.name, "bytes": one.width, "type": one.kind,
                "min": one.min, "max": one.max, "multiplier": one.multiplier, "unit": one.unit,
                "description": one.description, "models": one.models, "everywhere": one.everywhere || typed::fills_without_model(one.id),
            })
        })
        .collect();
    let n_rows =
        i32::try_from(rows.len()).expect("the dictionary has thousands of rows, not billions");
    transaction.execute("DELETE FROM trackport.avl_id", &[])?;
    transaction.execute(
        "INSERT INTO trackport.avl_id (ordinal, id, name, bytes, type, min, max, multiplier, unit, description, models, everywhere)
         SELECT ordinal, id, name, bytes, type, min, max, multiplier, unit, description, models, everywhere
         FROM jsonb_to_recordset($1) AS row (
             ordinal integer, id integer, name text, bytes smallint, type text, min numeric, max numeric,
             multiplier numeric, unit text, description text, models text[], everywhere boolean
         )",
        &[&serde_json::Value::Array(rows)],
    )?;
    transaction.execute(
        "INSERT INTO trackport.dictionary (name, digest, n_rows) VALUES ('avl_id', $1, $2)
         ON CONFLICT (name) DO UPDATE SET digest = excluded.digest, n_rows = excluded.n_rows, loaded_at = now()",
        &[&digest, &n_rows],
    )?;
    transaction.commit()?;
    Ok(())
}
