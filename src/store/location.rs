//! Where a store is, of whichever kind, and how it is opened.

use std::{sync::Arc, time::Duration};

use super::{Place, PostgresPlace, PostgresStore, SqliteStore, Store, StoreError};

/// Between two looks whether another gateway still works on what waits.
const STAND_BY: Duration = Duration::from_secs(1);

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

    /// The same, for a gateway. Where several may come, all but one stand by until its lease ends, which is at once when
    /// it stops and half a minute after it was last heard of. One whose name begins like ours is not waited for: it
    /// is gone, since its data directory is ours.
    pub async fn open_to_work(&self, ours: impl FnOnce() -> String) -> Result<Arc<dyn Store>, StoreError> {
        let Self::Postgres(place) = self else { return self.open().await };
        let store = PostgresStore::open(place).await?;
        let (ours, mut told) = (ours(), false);
        while let Some(owner) = store.worker().await?.filter(|owner| !owner.starts_with(&ours)) {
            if !std::mem::replace(&mut told, true) {
                let reason = format!("{owner} works on this store");
                tracing::info!(reason = reason.as_str(), "standing by until the other gateway is gone");
            }
            tokio::time::sleep(STAND_BY).await;
        }
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
