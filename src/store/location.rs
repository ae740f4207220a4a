//! Where a store is, of whichever kind, and how it is opened.

use std::sync::Arc;

use super::{Place, PostgresPlace, PostgresStore, SqliteStore, Store, StoreError};

#[derive(Clone, Debug)]
pub enum Location {
    Sqlite(Place),
    Postgres(Box<PostgresPlace>),
}

impl Location {
    /// Makes what is missing.
    pub async fn open(&self) -> Result<Arc<dyn Store>, StoreError> {
        match self {
            Self::Sqlite(place) => {
                let place = place.clone();
                let opened = tokio::task::spawn_blocking(move || SqliteStore::open(&place)).await;
                let opened = opened.map_err(|error| StoreError::Unwritable(error.to_string()))?;
                Ok(Arc::new(opened?))
            }
            Self::Postgres(place) => Ok(Arc::new(PostgresStore::open(place).await?)),
        }
    }

    /// The same, for a gateway. Others may work on it beside this one; those whose names begin like ours are gone, since
    /// their data directory is ours.
    pub async fn open_to_work(&self, ours: impl FnOnce() -> String) -> Result<Arc<dyn Store>, StoreError> {
        let Self::Postgres(place) = self else { return self.open().await };
        let store = PostgresStore::open(place).await?;
        store.bury(&ours()).await?;
        Ok(Arc::new(store))
    }

    /// The same, while no gateway works on it, on this machine or another.
    pub async fn open_alone(&self) -> Result<Arc<dyn Store>, StoreError> {
        match self {
            // The lock on the data directory says so.
            Self::Sqlite(_) => self.open().await,
            Self::Postgres(place) => {
                let store = PostgresStore::open(place).await?;
                match store.worker().await? {
                    Some(owner) => {
                        store.close().await;
                        Err(StoreError::AtWork { owner })
                    }
                    None => Ok(Arc::new(store)),
                }
            }
        }
    }

    /// Why there can be nothing in it yet, where that is seen without opening it.
    pub fn is_missing(&self) -> Option<String> {
        match self {
            Self::Sqlite(place) if !place.database.exists() => {
                Some(format!("{} does not exist", place.database.display()))
            }
            Self::Sqlite(_) | Self::Postgres(_) => None,
        }
    }
}
