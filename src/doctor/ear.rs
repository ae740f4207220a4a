//! Who hears what an inbox calls back: the gateway, where one runs, else we ourselves, at the same address.

use std::{collections::HashMap, sync::Arc};

use axum::Router;
use bridge_api::Secret;
use serde_json::json;
use tokio::{net::TcpListener, sync::watch};

use crate::{
    clock::Clock,
    gateway::Live,
    http::{self, Heard, Proof, Trial, Watches},
    settings::{Inbox, Settings},
};

pub(super) enum Ear {
    Gateway(Live),
    Own(Own),
    /// Nobody, for this reason.
    Deaf(String),
}

/// Our own, while no gateway runs.
pub(super) struct Own {
    trial: Arc<Trial>,
    /// Of inboxes whose secret the settings leave out.
    secrets: HashMap<String, watch::Sender<Vec<Secret>>>,
}

impl Ear {
    pub(super) async fn open(settings: &Settings) -> (Self, Option<TcpListener>) {
        match Live::reach(&settings.gateway.data_dir) {
            Ok(Some(live)) => return (Self::Gateway(live), None),
            Ok(None) => {}
            Err(error) => return (Self::Deaf(error.to_string()), None),
        }
        match TcpListener::bind(settings.gateway.listen).await {
            Ok(listener) => (Self::Own(Own::of(settings)), Some(listener)),
            Err(error) => (Self::Deaf(error.to_string()), None),
        }
    }

    pub(super) fn is_gateway(&self) -> bool {
        matches!(self, Self::Gateway(_))
    }

    /// From now on callbacks about this message are noted.
    pub(super) async fn begin(&self, source_id: &str) -> Result<(), String> {
        match self {
            Self::Gateway(live) => {
                let begun = live.post("/admin/watches", &json!({ "source_id": source_id })).await;
                begun.map(drop).map_err(|error| error.to_string())
            }
            Self::Own(own) => {
                let begun = own.trial.watches.begin(source_id, own.trial.clock.now());
                if begun { Ok(()) } else { Err("too many messages are watched for".to_owned()) }
            }
            Self::Deaf(reason) => Err(reason.clone()),
        }
    }

    /// The callbacks about this message so far.
    pub(super) async fn heard(&self, source_id: &str) -> Result<Vec<Heard>, String> {
        match self {
            Self::Gateway(live) => {
                let answer = live.get("/admin/watches", &[("source_id", source_id)]).await;
                let mut answer = answer.map_err(|error| error.to_string())?;
                serde_json::from_value(answer["heard"].take()).map_err(|error| error.to_string())
            }
            Self::Own(own) => Ok(own.trial.watches.heard(source_id)),
            Self::Deaf(reason) => Err(reason.clone()),
        }
    }

    /// What the inbox says that it signs with.
    pub(super) fn learn(&self, inbox: &str, secret: &Secret) {
        if let Self::Own(own) = self
            && let Some(secrets) = own.secrets.get(inbox)
        {
            // The one before stays good, as with the gateway.
            secrets.send_modify(|known| known.insert(0, secret.clone()));
        }
    }
}

impl Own {
    fn of(settings: &Settings) -> Self {
        let mut secrets = HashMap::new();
        let proofs = settings.inboxes.iter().map(|(name, inbox)| {
            let known = [&inbox.callback_secret, &inbox.callback_secret_before];
            let (tell, told) = watch::channel(known.into_iter().flatten().cloned().collect());
            if inbox.callback_secret.is_none() {
                secrets.insert(name.clone(), tell);
            }
            (name.clone(), proof(inbox, told))
        });
        let proofs = proofs.collect();
        let trial = Trial { watches: Watches::default(), clock: Clock::system(), proofs };
        Self { trial: Arc::new(trial), secrets }
    }

    pub(super) fn router(&self) -> Router {
        http::trial(self.trial.clone())
    }
}

/// As the gateway would have it.
fn proof(inbox: &Inbox, secrets: watch::Receiver<Vec<Secret>>) -> Proof {
    match (&inbox.callback_secret, &inbox.callback_path_token) {
        (None, Some(token)) => Proof::PathToken(token.clone()),
        (Some(_), _) | (None, None) => Proof::Signature(secrets),
    }
}
