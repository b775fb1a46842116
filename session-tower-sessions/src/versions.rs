//! The traits of both versions of tower-sessions: the same text, with other types.

/// Implements the traits of one version of `tower_sessions_core`.
macro_rules! implement {
    ($core:ident) => {
        use $core::session::{Id, Record};
        use $core::session_store::{Error, ExpiredDeletion, Result, SessionStore};

        use crate::store::TowerStore;
        use crate::versions::{Failure, failure};

        #[async_trait::async_trait]
        impl SessionStore for TowerStore {
            async fn create(&self, record: &mut Record) -> Result<()> {
                let new_id = || Id::default().0;
                let created =
                    self.create_session(record.id.0, new_id, &record.data, record.expiry_date);
                record.id = Id(created.await.map_err(error)?);
                Ok(())
            }

            async fn save(&self, record: &Record) -> Result<()> {
                self.save_session(record.id.0, &record.data, record.expiry_date)
                    .await
                    .map_err(error)
            }

            async fn load(&self, id: &Id) -> Result<Option<Record>> {
                let found = self.load_session(id.0).await.map_err(error)?;
                Ok(found.map(|(data, expiry_date)| Record { id: *id, data, expiry_date }))
            }

            async fn delete(&self, id: &Id) -> Result<()> {
                self.delete_session(id.0).await.map_err(error)
            }
        }

        #[async_trait::async_trait]
        impl ExpiredDeletion for TowerStore {
            async fn delete_expired(&self) -> Result<()> {
                self.delete_expired_sessions().await.map_err(error)
            }
        }

        fn error(error: session_core::Error) -> Error {
            match failure(&error) {
                Failure::Encode(text) => Error::Encode(text),
                Failure::Decode(text) => Error::Decode(text),
                Failure::Backend(text) => Error::Backend(text),
            }
        }
    };
}

#[cfg(feature = "v0_14")]
mod v0_14 {
    implement!(tower_sessions_core_014);
}

#[cfg(feature = "v0_15")]
mod v0_15 {
    implement!(tower_sessions_core_015);
}

#[cfg(not(any(feature = "v0_14", feature = "v0_15")))]
compile_error!("session-tower-sessions needs one of its features `v0_14` and `v0_15`");

/// An error as tower-sessions has it: a class and a text.
enum Failure {
    Encode(String),
    Decode(String),
    Backend(String),
}

fn failure(error: &session_core::Error) -> Failure {
    use session_core::ErrorKind;

    // That library keeps no sources, so they become part of the text. None holds a secret.
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    match error.kind() {
        ErrorKind::Corrupt => Failure::Decode(text),
        ErrorKind::TooLarge | ErrorKind::InvalidValue => Failure::Encode(text),
        _ => Failure::Backend(text),
    }
}
