//! A table of the target: its statements, its rows.

use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Error, Row};
use xxhash_rust::xxh3::xxh3_64;

use crate::sql::Value;

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Int,
    Text,
    Blob,
}

impl Kind {
    fn array(self) -> &'static str {
        match self {
            Self::Int => "bigint[]",
            Self::Text => "text[]",
            Self::Blob => "bytea[]",
        }
    }
}

/// A table, with one statement to write rows, one to find them again by their keys, and one to count them.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) name: String,
    pub(super) columns: Vec<(String, Kind)>,
    /// Indexes of the columns of the primary key.
    pub(super) keys: Vec<usize>,
    /// Runs before rows are written, with the first column.
    pub(super) before: Option<&'static str>,
    pub(super) insert: String,
    pub(super) find: String,
    pub(super) count: String,
    /// Runs with the last rows.
    pub(super) last: Option<String>,
}

fn list(items: impl Iterator<Item = String>) -> String {
    items.collect::<Vec<_>>().join(", ")
}

/// `$1::bigint[], $2::text[]`
fn arrays(kinds: impl Iterator<Item = Kind>) -> String {
    list(kinds.enumerate().map(|(index, kind)| format!("${}::{}", index + 1, kind.array())))
}

impl Table {
    /// With the statements that nearly every table needs. Identities are written as they are given.
    pub(super) fn new(name: &str, columns: Vec<(String, Kind)>, keys: Vec<usize>) -> Self {
        let names = list(columns.iter().map(|(name, _)| format!("\"{name}\"")));
        let values = arrays(columns.iter().map(|(_, kind)| *kind));
        let theirs = list(columns.iter().map(|(name, _)| format!("t.\"{name}\"")));
        let sought = arrays(keys.iter().map(|key| columns[*key].1));
        let k = list((0..keys.len()).map(|index| format!("k{index}")));
        let same =
            keys.iter().enumerate().map(|(index, key)| format!("t.\"{}\" = r.k{index}", columns[*key].0));
        let same = same.collect::<Vec<_>>().join(" AND ");
        Self {
            insert: format!(
                "INSERT INTO \"{name}\" ({names}) OVERRIDING SYSTEM VALUE SELECT * FROM unnest({values})"
            ),
            find: format!("SELECT {theirs} FROM unnest({sought}) AS r ({k}) JOIN \"{name}\" t ON {same}"),
            count: format!("SELECT count(*) FROM \"{name}\""),
            name: name.to_owned(),
            columns,
            keys,
            before: None,
            last: None,
        }
    }

    /// Writes rows, inside the transaction of the caller.
    pub(super) async fn write(&self, client: &Client, rows: &[Vec<Value>]) -> Result<u64, Error> {
        if rows.is_empty() {
            return Ok(0);
        }
        if let Some(before) = self.before {
            client.execute(before, &[self.array(rows, 0).param()]).await?;
        }
        let arrays: Vec<_> = (0..self.columns.len()).map(|column| self.array(rows, column)).collect();
        let params: Vec<_> = arrays.iter().map(Array::param).collect();
        client.execute(&self.insert, &params).await
    }

    /// What stands under the keys of `rows`, in any order.
    pub(super) async fn find(&self, client: &Client, rows: &[Vec<Value>]) -> Result<Vec<Vec<Value>>, Error> {
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        let arrays: Vec<_> = self.keys.iter().map(|column| self.array(rows, *column)).collect();
        let params: Vec<_> = arrays.iter().map(Array::param).collect();
        let found = client.query(&self.find, &params).await?;
        found.iter().map(|row| self.values(row)).collect()
    }

    fn values(&self, row: &Row) -> Result<Vec<Value>, Error> {
        let value = |(column, (_, kind)): (usize, &(String, Kind))| {
            Ok(match kind {
                Kind::Int => row.try_get::<_, Option<i64>>(column)?.map(Value::Int),
                Kind::Text => row.try_get::<_, Option<String>>(column)?.map(Value::Text),
                Kind::Blob => row.try_get::<_, Option<Vec<u8>>>(column)?.map(Value::Blob),
            }
            .unwrap_or(Value::Null))
        };
        self.columns.iter().enumerate().map(value).collect()
    }

    fn array<'a>(&self, rows: &'a [Vec<Value>], column: usize) -> Array<'a> {
        let values = rows.iter().map(|row| &row[column]);
        match self.columns[column].1 {
            Kind::Int => {
                Array::Int(values.map(|v| if let Value::Int(v) = v { Some(*v) } else { None }).collect())
            }
            Kind::Text => Array::Text(
                values.map(|v| if let Value::Text(v) = v { Some(v.as_str()) } else { None }).collect(),
            ),
            Kind::Blob => Array::Blob(
                values.map(|v| if let Value::Blob(v) = v { Some(v.as_slice()) } else { None }).collect(),
            ),
        }
    }

    /// A row as people find it: by its key.
    pub(super) fn name_of(&self, row: &[Value]) -> String {
        let part = |key: &usize| {
            let value = match &row[*key] {
                Value::Null => "NULL".to_owned(),
                Value::Int(number) => number.to_string(),
                Value::Text(text) => format!("{text:?}"),
                Value::Blob(bytes) => format!("'{}'", bytes.escape_ascii()),
            };
            format!("{} {value}", self.columns[*key].0)
        };
        list(self.keys.iter().map(part))
    }
}

/// One column of some rows.
enum Array<'a> {
    Int(Vec<Option<i64>>),
    Text(Vec<Option<&'a str>>),
    Blob(Vec<Option<&'a [u8]>>),
}

impl Array<'_> {
    fn param(&self) -> &(dyn ToSql + Sync) {
        match self {
            Self::Int(values) => values,
            Self::Text(values) => values,
            Self::Blob(values) => values,
        }
    }
}

/// Checksum of a row. Those of a table are added, so that their order does not matter.
pub(super) fn checksum(row: &[Value]) -> u64 {
    let mut bytes = Vec::with_capacity(256);
    put(&mut bytes, row);
    xxh3_64(&bytes)
}

/// Appends values so that [`take`] gives them back.
pub(super) fn put(out: &mut Vec<u8>, values: &[Value]) {
    for value in values {
        let (tag, bytes): (u8, &[u8]) = match value {
            Value::Null => (b'-', &[]),
            Value::Int(number) => (b'i', &number.to_be_bytes()),
            Value::Text(text) => (b't', text.as_bytes()),
            Value::Blob(blob) => (b'b', blob),
        };
        out.push(tag);
        out.extend_from_slice(&(bytes.len() as u64).to_be_bytes());
        out.extend_from_slice(bytes);
    }
}

/// The values that [`put`] wrote; `None` for anything else.
pub(super) fn take(mut bytes: &[u8]) -> Option<Vec<Value>> {
    let mut values = Vec::new();
    while let Some((tag, rest)) = bytes.split_first() {
        let (length, rest) = rest.split_first_chunk::<8>()?;
        let (value, rest) = rest.split_at_checked(usize::try_from(u64::from_be_bytes(*length)).ok()?)?;
        values.push(match tag {
            b'-' => Value::Null,
            b'i' => Value::Int(i64::from_be_bytes(value.try_into().ok()?)),
            b't' => Value::Text(String::from_utf8(value.to_vec()).ok()?),
            b'b' => Value::Blob(value.to_vec()),
            _ => return None,
        });
        bytes = rest;
    }
    Some(values)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn value() -> impl Strategy<Value = Value> {
        prop_oneof![
            Just(Value::Null),
            any::<i64>().prop_map(Value::Int),
            ".{0,9}".prop_map(Value::Text),
            proptest::collection::vec(any::<u8>(), 0..9).prop_map(Value::Blob),
        ]
    }

    proptest! {
        #[test]
        fn places_come_back_and_damaged_ones_are_refused_without_a_panic(
            values in proptest::collection::vec(value(), 0..5), damaged in proptest::collection::vec(any::<u8>(), 0..60),
        ) {
            let mut bytes = Vec::new();
            put(&mut bytes, &values);
            prop_assert_eq!(take(&bytes), Some(values));
            let _ = take(&damaged);
        }
    }
}
