//! Transactions: a batch is several statements.

use sqlx::MySqlConnection;

/// Locks only rows that are there, not the gaps into which others want to insert.
pub(super) const BEGIN: &str = "SET TRANSACTION ISOLATION LEVEL READ COMMITTED; START TRANSACTION";
/// The user variable is there because MySQL, which has no such setting, sees only a comment after it.
const LIMIT: &str = "SET @session_sql = 1 /*M!100300 , SESSION idle_transaction_timeout = 2 */";

/// Lets MariaDB end a transaction that waits for its next statement for 2 seconds. If the network loses a
/// connection within a transaction, the server does not notice: the rows would remain locked for up to
/// `wait_timeout`, eight hours by default.
pub(super) async fn limit(connection: &mut MySqlConnection) -> sqlx::Result<()> {
    sqlx::raw_sql(LIMIT).execute(connection).await?;
    Ok(())
}
