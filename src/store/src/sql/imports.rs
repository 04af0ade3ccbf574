//! Marks of imports.

use nearport_chat::directory::DirectoryError;
use nearport_chat::directory::imports::ImportTx;
use nearport_chat::key::AppId;

use super::params;
use super::people::PeopleRows;

impl ImportTx for PeopleRows<'_> {
    fn import_mark(&mut self, app: AppId, job: &[u8; 32]) -> Result<Option<String>, DirectoryError> {
        let rows = self
            .0
            .query("SELECT mark FROM imports WHERE app_id = $1 AND job = $2", &params![app.0, job[..]])?;
        rows.first().map(|row| row.text(0).map(str::to_owned)).transpose()
    }

    fn put_import_mark(&mut self, app: AppId, job: &[u8; 32], mark: &str) -> Result<(), DirectoryError> {
        self.0.execute(
            "INSERT INTO imports (app_id, job, mark) VALUES ($1, $2, $3)
             ON CONFLICT (app_id, job) DO UPDATE SET mark = $3",
            &params![app.0, job[..], mark],
        )?;
        Ok(())
    }
}
