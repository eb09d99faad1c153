//! Makes each variant once, however many requests ask for it at the same time.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::sync::watch;
use xfiles_core::{object_key::ObjectKey, share};

use super::{Worker, decodings::Lane, http::Outcome};

/// The variants that are being made. A request for one of them waits for its outcome.
#[derive(Clone, Default)]
pub(super) struct Flights(Arc<Mutex<HashMap<ObjectKey, watch::Receiver<Option<Outcome>>>>>);

impl Worker {
    /// Makes a variant, or waits for the one that is being made. The making continues when all requests for it have left.
    pub(super) fn made_once(&self, key: &ObjectKey, lane: &Lane) -> impl Future<Output = Outcome> + use<> {
        let mut landing = {
            let mut flights = self.flights.0.lock().unwrap_or_else(PoisonError::into_inner);
            match flights.get(key) {
                Some(landing) => landing.clone(),
                None => {
                    let (outcome, landing) = watch::channel(None);
                    flights.insert(key.clone(), landing.clone());
                    let (worker, key, lane) = (self.clone(), key.clone(), lane.clone());
                    tokio::spawn(share::carried(async move {
                        // Dropped after a panic as well, so that the path is free.
                        let flight = Flight { flights: worker.flights.clone(), key: key.clone() };
                        let made = worker.make_or_explain(&key, &lane).await;
                        // Before the outcome is sent, so that a request that follows an error is not given the same one.
                        drop(flight);
                        outcome.send_replace(Some(made));
                    }));
                    landing
                }
            }
        };
        async move {
            match landing.wait_for(Option::is_some).await.as_deref() {
                Ok(Some(outcome)) => outcome.clone(),
                Ok(None) | Err(_) => Outcome::Unavailable(Duration::from_secs(5)),
            }
        }
    }
}

/// Removes a flight from the map when it ends.
struct Flight {
    flights: Flights,
    key: ObjectKey,
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.flights.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.key);
    }
}
