//! Ids of conversations and users: given once, never changed, so what is known of them may be remembered.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, PoisonError};

use deadpool_postgres::Client;

use crate::postgres::{PgError, Postgres};

/// Names that are remembered, about 100 bytes each. When there are more, all are forgotten and learned anew.
const REMEMBERED_MAX: usize = 200_000;

/// How a table gives ids.
#[derive(Debug)]
pub(super) struct Table {
    find: &'static str,
    make: &'static str,
}

pub(super) const CONVERSATIONS: Table = Table {
    find: "SELECT key, id FROM ledger_conversations WHERE key = ANY($1::bytea[])",
    make: "INSERT INTO ledger_conversations (key) SELECT k FROM unnest($1::bytea[]) AS k ORDER BY k
           ON CONFLICT (key) DO NOTHING",
};

pub(super) const USERS: Table = Table {
    find: "SELECT key, id FROM ledger_users WHERE key = ANY($1::bytea[])",
    make: "INSERT INTO ledger_users (key) SELECT k FROM unnest($1::bytea[]) AS k ORDER BY k
           ON CONFLICT (key) DO NOTHING",
};

/// Ids of one table.
#[derive(Debug)]
pub(super) struct Names {
    table: &'static Table,
    known: Mutex<HashMap<Box<[u8]>, i64>>,
}

/// The ids that one batch needs.
pub(super) type Ids<'a> = HashMap<&'a [u8], i64>;

impl Names {
    pub(super) fn new(table: &'static Table) -> Self {
        Self { table, known: Mutex::default() }
    }

    /// Ids of `made` and of those of `found` that have one. New ones are made in a transaction of their own: a name without
    /// messages means nothing, and inside the commit's it would be a lock taken out of order.
    pub(super) async fn ids<'a>(
        &self,
        server: &Postgres,
        client: &Client,
        made: &BTreeSet<&'a [u8]>,
        found: &BTreeSet<&'a [u8]>,
    ) -> Result<Ids<'a>, PgError> {
        let mut ids: Ids<'a> = HashMap::with_capacity(made.len() + found.len());
        self.remembered(made.iter().chain(found), &mut ids);
        let missing: Vec<&[u8]> =
            made.iter().chain(found).filter(|key| !ids.contains_key(**key)).copied().collect();
        if missing.is_empty() {
            return Ok(ids);
        }
        self.look_up(server, client, &missing, made, found, &mut ids).await?;
        let new: Vec<&[u8]> = made.iter().filter(|key| !ids.contains_key(**key)).copied().collect();
        if !new.is_empty() {
            let make = async {
                let statement = client.prepare_cached(self.table.make).await?;
                client.execute(&statement, &[&new]).await
            };
            server.within(make).await?;
            self.look_up(server, client, &new, made, found, &mut ids).await?;
        }
        Ok(ids)
    }

    fn remembered<'a, 'b>(&self, keys: impl Iterator<Item = &'b &'a [u8]>, ids: &mut Ids<'a>)
    where
        'a: 'b,
    {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        for key in keys {
            if let Some(id) = known.get(*key) {
                ids.insert(key, *id);
            }
        }
    }

    async fn look_up<'a>(
        &self,
        server: &Postgres,
        client: &Client,
        missing: &[&'a [u8]],
        made: &BTreeSet<&'a [u8]>,
        found: &BTreeSet<&'a [u8]>,
        ids: &mut Ids<'a>,
    ) -> Result<(), PgError> {
        let find = async {
            let statement = client.prepare_cached(self.table.find).await?;
            client.query(&statement, &[&missing]).await
        };
        let rows = server.within(find).await?;
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() + rows.len() > REMEMBERED_MAX {
            known.clear();
        }
        for row in rows {
            let (key, id): (&[u8], i64) = (row.get(0), row.get(1));
            if let Some(key) = made.get(key).or_else(|| found.get(key)) {
                ids.insert(key, id);
            }
            known.insert(key.into(), id);
        }
        Ok(())
    }
}
