//! The tables and rows of a SQLite directory, as the file itself describes them.

use std::path::Path;

use nearport_chat::directory::DirectoryError;
use rusqlite::{Connection, params_from_iter};

use super::table::{self, Kind, Table};
use crate::directory_file;
use crate::fjall_ledger::{Page, PageMax};
use crate::sql::{Bound, Value, from_sqlite};

/// A directory file that nobody else uses.
#[derive(Debug)]
pub(super) struct Source(Connection);

const TABLES: &str = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%'
     AND name <> 'refinery_schema_history' ORDER BY rowid";
const COLUMNS: &str = "SELECT name, type, pk FROM pragma_table_info(?1) ORDER BY cid";

/// Name, type, and place in the primary key of each column; 0: not in it.
type Columns = Vec<(String, String, u32)>;

impl Source {
    pub(super) fn open(path: &Path) -> Result<Self, DirectoryError> {
        directory_file::open(path).map(Self).map_err(directory_file::failed)
    }

    /// All tables, in the order in which they were made: what others refer to stands first.
    pub(super) fn tables(&self) -> Result<Vec<Table>, DirectoryError> {
        let read = || -> rusqlite::Result<Vec<(String, Columns)>> {
            let mut tables = self.0.prepare(TABLES)?;
            let names = tables.query_map([], |row| row.get(0))?.collect::<Result<Vec<String>, _>>()?;
            let mut columns = self.0.prepare(COLUMNS)?;
            let mut all = Vec::with_capacity(names.len());
            for name in names {
                let of = columns.query_map([&name], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
                let of = of.collect::<Result<Vec<_>, _>>()?;
                all.push((name, of));
            }
            Ok(all)
        };
        let read = read().map_err(directory_file::failed)?;
        read.into_iter().map(|(name, columns)| described(&name, columns)).collect()
    }

    /// The rows behind `after`, a place that an earlier page gave, or empty.
    pub(super) fn page(&self, table: &Table, after: &[u8], most: PageMax) -> Result<Page, DirectoryError> {
        let place = table::take(after)
            .filter(|place| place.is_empty() || place.len() == table.keys.len())
            .ok_or_else(|| DirectoryError::Engine(format!("the place in {} is unreadable", table.name)))?;
        let list =
            |names: Vec<&str>| names.iter().map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(", ");
        let columns = list(table.columns.iter().map(|(name, _)| name.as_str()).collect());
        let keys = list(table.keys.iter().map(|key| table.columns[*key].0.as_str()).collect());
        let behind = if place.is_empty() {
            String::new()
        } else {
            format!("WHERE ({keys}) > ({})", vec!["?"; place.len()].join(", "))
        };
        let sql =
            format!("SELECT {columns} FROM \"{}\" {behind} ORDER BY {keys} LIMIT {}", table.name, most.rows);
        let mut statement = self.0.prepare_cached(&sql).map_err(directory_file::failed)?;
        let mut found =
            statement.query(params_from_iter(place.iter().map(Bound))).map_err(directory_file::failed)?;
        let (mut page, mut bytes) = (Page::default(), 0);
        while let Some(row) = found.next().map_err(directory_file::failed)? {
            let value = |column| from_sqlite(row.get_ref(column).map_err(directory_file::failed)?);
            let values = (0..table.columns.len()).map(value).collect::<Result<Vec<_>, _>>()?;
            bytes += values.iter().map(size).sum::<usize>();
            page.rows.push(values);
            if page.rows.len() >= most.rows || bytes >= most.bytes {
                let last = page.rows.last().expect("one was pushed just now");
                let key: Vec<Value> = table.keys.iter().map(|key| last[*key].clone()).collect();
                let mut place = Vec::new();
                table::put(&mut place, &key);
                page.next = Some(place);
                break;
            }
        }
        Ok(page)
    }
}

fn size(value: &Value) -> usize {
    match value {
        Value::Null | Value::Int(_) => 8,
        Value::Text(text) => text.len(),
        Value::Blob(bytes) => bytes.len(),
    }
}

fn described(name: &str, columns: Vec<(String, String, u32)>) -> Result<Table, DirectoryError> {
    let kind = |declared: &str| match declared {
        "INTEGER" => Some(Kind::Int),
        "TEXT" => Some(Kind::Text),
        "BLOB" => Some(Kind::Blob),
        _ => None,
    };
    // `pk` counts the columns of the key from 1; 0: none of it.
    let mut keys: Vec<_> = (0..columns.len()).filter(|column| columns[*column].2 > 0).collect();
    keys.sort_by_key(|column| columns[*column].2);
    let columns: Option<Vec<_>> =
        columns.into_iter().map(|(name, declared, _)| Some((name, kind(&declared)?))).collect();
    match columns {
        Some(columns) if !keys.is_empty() => {
            let last = match keys[..] {
                [key] if columns[key].1 == Kind::Int => Some(next_number(name, &columns[key].0)),
                _ => None,
            };
            Ok(Table { last, ..Table::new(name, columns, keys) })
        }
        _ => Err(DirectoryError::Engine(format!("the table {name} is none of this program's"))),
    }
}

/// Numbers that the target gives go on behind those that were copied. Where it gives none, `setval` gets NULL and does nothing,
/// as in a table without rows.
fn next_number(table: &str, key: &str) -> String {
    format!("SELECT setval(pg_get_serial_sequence('\"{table}\"', '{key}'), max(\"{key}\")) FROM \"{table}\"")
}
