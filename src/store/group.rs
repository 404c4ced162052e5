//! Groups: the unit of customers and of access, with the parameters of their reports.

use postgres::Client;

use super::error::StoreError;

/// What a group is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupName {
    /// Its key.
    pub id: i32,
    /// Its name, which no other group has.
    pub name: String,
    /// As `pg_timezone_names` has it.
    pub time_zone: String,
}

/// All groups, by name.
///
/// # Errors
/// When the database does not answer.
pub fn names(client: &mut Client) -> Result<Vec<GroupName>, StoreError> {
    let rows = client.query(
        "SELECT id, name, time_zone FROM trackport.group ORDER BY name, id",
        &[],
    )?;
    let names = rows.iter().map(|row| GroupName {
        id: row.get(0),
        name: row.get(1),
        time_zone: row.get(2),
    });
    Ok(names.collect())
}
