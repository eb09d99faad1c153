//! Work without a caller: settling what is overdue, and finding what no unfinished change explains.

mod reconcile;
mod settle;

pub use self::{
    reconcile::{CERTAINTY, Drift, NoSuchReconciling, Orphan, Reconciliation, Reconciling},
    settle::{Overdue, Sweep},
};
