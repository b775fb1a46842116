//! The largest packet that the server accepts.

use session_core::Record;
use sqlx::MySqlConnection;

/// From here on payloads are compared with the server's limit, which costs a round trip. It is 16 MiB or
/// more by default.
const LARGE: usize = 256 << 10;
const LIMIT: &str = "SELECT CAST(@@max_allowed_packet AS UNSIGNED)";
/// More than a row has beside its payload.
const ROW: usize = 512;

/// Fails with an error of the class `TooLarge` if rows of these records exceed what the server accepts:
/// it would close the connection, and what happened would not be known.
pub(super) async fn check<'a>(
    connection: &mut MySqlConnection,
    records: impl ExactSizeIterator<Item = &'a Record>,
) -> sqlx::Result<()> {
    let rows = records.len();
    let payloads: usize = records.map(|record| record.payload.len()).sum();
    if payloads < LARGE {
        return Ok(());
    }
    let limit: u64 = sqlx::query_scalar(LIMIT).fetch_one(connection).await?;
    // A batch is filled up to less than twice its rows.
    let fill = if rows > 1 { 2 } else { 1 };
    let packet = fill * (payloads + rows * ROW);
    if u64::try_from(packet).is_ok_and(|packet| packet <= limit) {
        return Ok(());
    }
    Err(sqlx::Error::Encode("larger than max_allowed_packet".into()))
}
