//! `bare_revocations`: each client's number of live revocations by bare jti, counted when they are appended.

use crate::store::{Store, StoreError};
use jeton_token::UnixSeconds;

const HOUR_S: i64 = 3_600;

/// A client's live revocations by bare jti.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BareRevocations {
    /// Their number; counted up to an hour longer than they are held.
    pub held: i64,
    /// The time when the first of them are forgotten.
    pub fewer_from: Option<UnixSeconds>,
}

impl Store {
    /// The live revocations of this client.
    pub async fn bare_revocations(
        &self,
        client_id: &str,
        now: UnixSeconds,
    ) -> Result<BareRevocations, StoreError> {
        let row = self
            .run(async |connection| {
                Ok(sqlx::query!(
                    r#"select coalesce(sum(held), 0)::bigint as "held!", min(expire_hour) as first_hour
                         from bare_revocations where client_id = $1 and expire_hour > $2"#,
                    client_id,
                    now.get().div_euclid(HOUR_S)
                )
                .fetch_one(connection)
                .await?)
            })
            .await?;
        let fewer_from = row.first_hour.map(|hour| UnixSeconds::new(hour.saturating_mul(HOUR_S)));
        Ok(BareRevocations { held: row.held, fewer_from })
    }

    /// Forgets the counts of hours that have passed.
    pub async fn purge_bare_revocations(&self, now: UnixSeconds) -> Result<(), StoreError> {
        self.run(async |connection| {
            let hour = now.get().div_euclid(HOUR_S);
            sqlx::query!("delete from bare_revocations where expire_hour < $1", hour)
                .execute(connection)
                .await?;
            Ok(())
        })
        .await
    }
}
