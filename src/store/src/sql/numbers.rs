//! The numbers of days.

use nearport_chat::directory::numbers::{DayNumbers, NumbersAdd, NumbersBatch, ONLINE_MINUTES, WRITER_DAYS};
use nearport_chat::directory::{DirectoryError, NumberStore};
use nearport_chat::key::AppId;
use nearport_chat::numbers::{Count, Crowd, DAY_MS, Sketch};

use super::{Engine, Row, SqlDirectory, Tx, params, params_each};

/// Stands beside the names of [`Count`].
const ONLINE_MOST: &str = "online_most";

const MINUTES_OF_A_DAY: u64 = DAY_MS / 60_000;

/// Whether this batch is to be added: no one of this writer's was that is not older.
fn is_new(tx: &mut dyn Tx, batch: &NumbersBatch) -> Result<bool, DirectoryError> {
    let added = tx.execute(
        "INSERT INTO number_writers (writer, number, day) VALUES ($1, $2, $3)
         ON CONFLICT (writer) DO UPDATE SET number = $2, day = $3 WHERE number_writers.number < $2",
        &params![batch.writer[..], batch.number, batch.day],
    )?;
    Ok(added > 0)
}

fn add_counts(tx: &mut dyn Tx, adds: &[NumbersAdd]) -> Result<(), DirectoryError> {
    let all = adds.iter().flat_map(|add| add.counts.iter().map(move |(count, n)| (add, count.name(), n)));
    let rows = params_each(all, |(add, name, n)| Ok(params![add.app.0, add.day, name, n].into()))?;
    tx.execute_each(
        "INSERT INTO app_numbers (app_id, day, name, value) VALUES ($1, $2, $3, $4)
         ON CONFLICT (app_id, day, name) DO UPDATE SET value = app_numbers.value + $4",
        &rows,
    )?;
    Ok(())
}

fn most_online(tx: &mut dyn Tx, most: &[(AppId, u32, u64)]) -> Result<(), DirectoryError> {
    let rows = params_each(most, |(app, day, most)| Ok(params![app.0, day, ONLINE_MOST, most].into()))?;
    tx.execute_each(
        "INSERT INTO app_numbers (app_id, day, name, value) VALUES ($1, $2, $3, $4)
         ON CONFLICT (app_id, day, name) DO UPDATE SET value = $4 WHERE app_numbers.value < $4",
        &rows,
    )?;
    Ok(())
}

fn sketch(row: &Row, column: usize) -> Result<Sketch, DirectoryError> {
    let damaged = || DirectoryError::Damaged("the numbers of a day are damaged".to_owned());
    Sketch::decode(row.blob(column)?).ok_or_else(damaged)
}

fn merge_crowds(tx: &mut dyn Tx, adds: &[NumbersAdd]) -> Result<(), DirectoryError> {
    for add in adds {
        for (crowd, more) in &add.crowds {
            let found = tx.query(
                "SELECT sketch FROM app_crowds WHERE app_id = $1 AND day = $2 AND name = $3",
                &params![add.app.0, add.day, crowd.name()],
            )?;
            let stored = found.first().map(|row| sketch(row, 0)).transpose();
            // One that cannot be read begins anew: it must not stop the numbers of all the others.
            let all = stored.unwrap_or_else(|error| {
                let (app, crowd) = (add.app.0, crowd.name());
                tracing::warn!(%error, app, day = add.day, crowd, "who was counted is unreadable and begins anew");
                None
            });
            let mut all = all.unwrap_or_default();
            if !all.merge(more) {
                continue;
            }
            tx.execute(
                "INSERT INTO app_crowds (app_id, day, name, sketch) VALUES ($1, $2, $3, $4)
                 ON CONFLICT (app_id, day, name) DO UPDATE SET sketch = $4",
                &params![add.app.0, add.day, crowd.name(), all.encode()],
            )?;
        }
    }
    Ok(())
}

/// Adds up what processes have at the beginning of a minute; the sums of today are the most, perhaps.
fn add_online(tx: &mut dyn Tx, batch: &NumbersBatch) -> Result<(), DirectoryError> {
    let Some(newest) = batch.online.iter().map(|(_, minute, _)| *minute).max() else { return Ok(()) };
    let rows = params_each(&batch.online, |(app, minute, users)| Ok(params![app.0, minute, users].into()))?;
    let sums = tx.query_each(
        "INSERT INTO app_online (app_id, minute, users) VALUES ($1, $2, $3)
         ON CONFLICT (app_id, minute) DO UPDATE SET users = app_online.users + $3
         RETURNING users",
        &rows,
    )?;
    let sum = |((app, minute, _), rows): (&(AppId, u64, u64), Vec<Row>)| {
        let day = u32::try_from(minute / MINUTES_OF_A_DAY).unwrap_or(u32::MAX);
        let users = rows.first().map(|row| row.int(0)).transpose()?.unwrap_or_default();
        Ok((*app, day, users))
    };
    let sums = batch.online.iter().zip(sums).map(sum).collect::<Result<Vec<_>, DirectoryError>>()?;
    most_online(tx, &sums)?;
    tx.execute("DELETE FROM app_online WHERE minute < $1", &params![newest.saturating_sub(ONLINE_MINUTES)])?;
    Ok(())
}

fn forget(tx: &mut dyn Tx, before: u32, today: u32) -> Result<(), DirectoryError> {
    tx.execute("DELETE FROM app_numbers WHERE day < $1", &params![before])?;
    tx.execute("DELETE FROM app_crowds WHERE day < $1", &params![before])?;
    tx.execute("DELETE FROM number_writers WHERE day < $1", &params![today.saturating_sub(WRITER_DAYS)])?;
    Ok(())
}

impl<E: Engine> NumberStore for SqlDirectory<E> {
    fn add_numbers(&self, batch: &NumbersBatch) -> Result<(), DirectoryError> {
        self.write(|tx| {
            if !is_new(tx, batch)? {
                return Ok(());
            }
            add_counts(tx, &batch.adds)?;
            merge_crowds(tx, &batch.adds)?;
            let most = batch.adds.iter().filter(|add| add.online_most > 0);
            let most: Vec<_> = most.map(|add| (add.app, add.day, add.online_most)).collect();
            most_online(tx, &most)?;
            add_online(tx, batch)?;
            batch.forget_before.map_or(Ok(()), |before| forget(tx, before, batch.day))
        })
    }

    fn numbers(&self, app: AppId, from: u32, to: u32) -> Result<Vec<DayNumbers>, DirectoryError> {
        self.read(|tx| {
            let mut days = std::collections::BTreeMap::new();
            let of = params![app.0, from, to];
            let counts = tx.query(
                "SELECT day, name, value FROM app_numbers WHERE app_id = $1 AND day >= $2 AND day <= $3",
                &of,
            )?;
            for row in &counts {
                let day = days.entry(row.int(0)?).or_insert_with_key(|day| DayNumbers::none(*day));
                match (row.text(1)?, row.int(2)?) {
                    (ONLINE_MOST, most) => day.online_most = most,
                    // A name of another version is not shown here.
                    (name, n) => {
                        Count::find(name).into_iter().for_each(|count| day.counts[count as usize] = n)
                    }
                }
            }
            let crowds = tx.query(
                "SELECT day, name, sketch FROM app_crowds WHERE app_id = $1 AND day >= $2 AND day <= $3",
                &of,
            )?;
            for row in &crowds {
                let day = days.entry(row.int(0)?).or_insert_with_key(|day| DayNumbers::none(*day));
                if let Some(crowd) = Crowd::find(row.text(1)?) {
                    day.crowds[crowd as usize] = sketch(row, 2)?;
                }
            }
            Ok(days.into_values().collect())
        })
    }

    fn accounts_made_before(&self, app: AppId, times_ms: &[u64]) -> Result<Vec<u64>, DirectoryError> {
        self.read(|tx| {
            let from = std::iter::once(&0).chain(times_ms);
            let spans = params_each(from.zip(times_ms), |(from, to)| Ok(params![app.0, from, to].into()))?;
            let made = tx.query_each(
                "SELECT COUNT(*) FROM accounts
                 WHERE app_id = $1 AND created_ms >= $2 AND created_ms < $3 AND deleted_ms = 0",
                &spans,
            )?;
            let mut all = 0;
            let sum = |rows: &Vec<Row>| {
                all += rows.first().map(|row| row.int::<u64>(0)).transpose()?.unwrap_or_default();
                Ok(all)
            };
            made.iter().map(sum).collect()
        })
    }
}
