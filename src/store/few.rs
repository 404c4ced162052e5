//! A few rows in one round trip: an array of rows as the one parameter of one prepared statement.
//!
//! A COPY needs a transaction of its own around it and four round trips; for a packet or two the round trips are most of
//! the time. One statement that commits by itself is answered after its commit. Source of the forms: PostgreSQL's
//! `array_recv` and `record_recv`.

use bytes::BytesMut;
use postgres::types::{IsNull, Kind, ToSql, Type, to_sql_checked};
use postgres::{Client, Statement};

use super::error::StoreError;
use super::rows::{COLUMNS, NULL, Rows};

/// Rows up to which one statement is faster than a COPY in its transaction.
pub(super) const FEW: usize = 20;

/// The statements, and the types of the array's fields.
pub(super) struct FewRows {
    /// For rows that are new; a known one is an error.
    insert: Statement,
    /// For rows that may be there; dearer, because it marks each row twice.
    merge: Statement,
    row_type: Type,
    field_types: Vec<Type>,
    array: Vec<u8>,
}

impl FewRows {
    /// Prepares the statements on a connection that has the table `pg_temp.record_stage`.
    ///
    /// # Errors
    /// Those of the database; columns that are not those of [`COLUMNS`] in their order.
    pub(super) fn new(client: &mut Client) -> Result<FewRows, StoreError> {
        let text = format!(
            "INSERT INTO trackport.record ({COLUMNS}) \
             SELECT {COLUMNS} FROM unnest($1::pg_temp.record_stage[])"
        );
        let insert = client.prepare(&text)?;
        let merge = client.prepare(&format!(
            "{text} ON CONFLICT (device_id, time, digest) DO NOTHING"
        ))?;
        let row_type = match merge.params().first().map(Type::kind) {
            Some(Kind::Array(row_type)) => row_type.clone(),
            other => return Err(unexpected(&format!("{other:?}"))),
        };
        let Kind::Composite(fields) = row_type.kind() else {
            return Err(unexpected(row_type.name()));
        };
        let names: Vec<&str> = fields.iter().map(postgres::types::Field::name).collect();
        if names.join(", ") != COLUMNS {
            return Err(unexpected(&names.join(", ")));
        }
        let field_types = fields.iter().map(|field| field.type_().clone()).collect();
        Ok(FewRows {
            insert,
            merge,
            row_type,
            field_types,
            array: Vec::new(),
        })
    }

    /// Makes the rows durable, passing over those of `staged` that are there. Returns how many were new.
    ///
    /// # Errors
    /// Those of the database; a unique violation where nothing is staged and a row is there all the same.
    pub(super) fn insert(
        &mut self,
        client: &mut Client,
        direct: &Rows,
        staged: &Rows,
    ) -> Result<u64, StoreError> {
        self.encode([direct, staged]);
        let statement = if staged.is_empty() {
            &self.insert
        } else {
            &self.merge
        };
        Ok(client.execute(statement, &[&Array(&self.array)])?)
    }

    /// One dimension, no NULL among its elements, the rows in order; each field with its type in front.
    fn encode(&mut self, rows: [&Rows; 2]) {
        let out = &mut self.array;
        out.clear();
        put(out, 1);
        put(out, 0);
        out.extend_from_slice(&self.row_type.oid().to_be_bytes());
        put(out, rows[0].len() + rows[1].len());
        put(out, 1);
        for row in rows.into_iter().flat_map(Rows::iter) {
            let length_at = out.len();
            put(out, 0);
            put(out, self.field_types.len());
            // Rows that are not wide end before the last columns: NULL.
            let fields = row.chain(std::iter::repeat(&NULL[..]));
            for (field, field_type) in fields.zip(&self.field_types) {
                out.extend_from_slice(&field_type.oid().to_be_bytes());
                out.extend_from_slice(field);
            }
            let length = out.len() - length_at - 4;
            let length = i32::try_from(length).expect("a packet is smaller than 2 GiB");
            out[length_at..length_at + 4].copy_from_slice(&length.to_be_bytes());
        }
    }
}

fn put(out: &mut Vec<u8>, number: usize) {
    let number = i32::try_from(number).expect("a few rows are counted in 32 bits");
    out.extend_from_slice(&number.to_be_bytes());
}

fn unexpected(found: &str) -> StoreError {
    StoreError::Refused(format!(
        "trackport.record has other columns than this program writes: found {found}"
    ))
}

/// An array that is encoded already.
#[derive(Debug)]
struct Array<'a>(&'a [u8]);

impl ToSql for Array<'_> {
    fn to_sql(
        &self,
        _: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        out.extend_from_slice(self.0);
        Ok(IsNull::No)
    }

    fn accepts(ty: &Type) -> bool {
        matches!(ty.kind(), Kind::Array(_))
    }

    to_sql_checked!();
}
