//! What the operator of a deployment asks: the cleanup, the health checks, and the version.

use xfiles_core::{
    clock::Timestamp,
    file::State,
    operations::{self, Sweep},
};

use crate::words::{DebtorId, DebtorState, FILE, Word};

object! {
    /// How to clean up.
    pub struct CleanupWish {
        /// Only list what is overdue.
        dry_run: bool [default false] = true,
        /// Only compare bucket, records and quota, and list what does not agree.
        report: bool [default false],
    }
}

object! {
    /// What a cleanup did.
    pub struct CleanupDone {
        /// How many records were settled.
        settled: u64 = 7,
        /// The ids of those that could not be; the next run tries again.
        failed: Vec<String>,
        /// Whether it stopped at its bounds with more to do.
        more: bool = false,
    }

    /// What a cleanup would do.
    pub struct CleanupDue {
        overdue: Vec<Overdue>,
        /// Whether there is more than is listed.
        more: bool = false,
    }

    /// `{"report": Reconciliation}`.
    pub struct CleanupReport {
        report: Reconciliation,
    }

    /// A record that owes work.
    pub struct Overdue {
        /// A file's id, or that of a project that is being cleared.
        id: DebtorId,
        state: Word<DebtorState> = "pending",
        /// How many bytes it holds.
        size: u64 = 2_417_803,
        created_at: Timestamp,
    }

    /// What a walk through bucket, records and quota found.
    pub struct Reconciliation {
        /// How many objects were looked at.
        objects: u64 = 1204,
        /// How many published files were looked at.
        records: u64 = 398,
        /// Objects without a record. The cleanup removes those that it has known for a day.
        orphans: Vec<Orphan>,
        /// How many objects have keys that XFiles does not make. They are left alone.
        foreign: u64 = 0,
        /// Published files whose bytes are missing.
        missing: Vec<String>,
        /// Published files whose bytes are not those that were published. Only the embedded store checks this.
        damaged: Vec<String>,
        /// Projects whose free bytes are not what their files leave.
        drifts: Vec<Drift>,
        /// Whether the time of one request was not enough for all of it.
        more: bool = false,
    }

    /// An object without a record.
    pub struct Orphan {
        key: String = format!("files/originals/public/k3v9x2m7q1z8/{FILE}/photo-k3v9x2.jpg"),
        /// When the cleanup first found it.
        since: Option<Timestamp>,
    }

    /// A project whose counter is off.
    pub struct Drift {
        project_id: String = "k3v9x2m7q1z8",
        /// How many bytes too few are free; negative: too many.
        missing_bytes: i64 = 1024,
    }

    /// The answer of a health check.
    pub struct Health {
        /// `ok`.
        status: String = "ok",
    }

    /// Which version answers.
    pub struct Version {
        name: String = "xfiles",
        version: String = env!("CARGO_PKG_VERSION"),
    }

    /// A description of an API, as the OpenAPI specification has it.
    pub struct Description {
        /// Which version of that specification.
        openapi: String = "3.1.0",
    }
}

one_of! {
    /// What a cleanup did, or would do.
    pub enum Cleanup { Due(CleanupDue), Done(CleanupDone), Report(CleanupReport) }
}

impl From<&State> for DebtorState {
    fn from(state: &State) -> Self {
        match state {
            State::Pending => Self::Pending,
            State::Confirming { .. } => Self::Confirming,
            State::Confirmed { .. } => Self::Confirmed,
            State::Moving { .. } => Self::Moving,
            State::Expiring => Self::Expiring,
            State::Deleting { .. } => Self::Deleting,
            State::Removed { .. } => Self::Removed,
        }
    }
}

impl From<&operations::Overdue> for Overdue {
    fn from(overdue: &operations::Overdue) -> Self {
        match overdue {
            operations::Overdue::File(file) => Self {
                id: DebtorId(file.id.to_string()),
                state: DebtorState::from(&file.state).into(),
                size: file.holds(),
                created_at: file.created,
            },
            operations::Overdue::Project(project) => Self {
                id: DebtorId(project.id.to_string()),
                state: DebtorState::Clearing.into(),
                size: project.used_bytes(),
                created_at: project.created,
            },
        }
    }
}

impl From<Sweep> for CleanupDone {
    fn from(Sweep { settled, failed, more, .. }: Sweep) -> Self {
        Self { settled, failed, more }
    }
}

impl From<operations::Reconciliation> for Reconciliation {
    fn from(found: operations::Reconciliation) -> Self {
        let orphans = found.orphans.iter().map(|o| Orphan { key: o.key.to_string(), since: o.since });
        let drifts = found.drifts.iter();
        let drifts = drifts.map(|d| Drift { project_id: d.project.to_string(), missing_bytes: d.missing_bytes });
        Self {
            objects: found.objects,
            records: found.records,
            orphans: orphans.collect(),
            foreign: found.foreign,
            missing: found.missing.iter().map(ToString::to_string).collect(),
            damaged: found.damaged.iter().map(ToString::to_string).collect(),
            drifts: drifts.collect(),
            more: found.more,
        }
    }
}
