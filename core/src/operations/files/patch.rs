//! Changing a confirmed file, and a pending one's URL.

use std::time::Duration;

use crate::operations::{Begun, Files};
use crate::{
    catalog::Consistency,
    error::{Error, Result},
    event::Event,
    file::{File, LEASE, Patch, State},
    id::{FileId, ProjectId},
    intent::EntityWord,
};

/// How often a change starts over because the record changed under it.
const ATTEMPTS: u32 = 4;

/// How long a change waits for another that is under way before it looks again: most are done by then.
const PAUSE: Duration = Duration::from_millis(250);

impl Files {
    /// Changes a confirmed file: at `revision` only, if one is given.
    ///
    /// When it answers, the file is where its new visibility says, and nothing is left where its old one said.
    pub async fn patch(&self, project: ProjectId, id: FileId, patch: &Patch, revision: Option<u64>) -> Result<File> {
        for _ in 0..ATTEMPTS {
            let file = self.get(project, id).await?;
            if revision.is_some_and(|revision| revision != file.revision) {
                return Err(Error::PreconditionFailed);
            }
            // An earlier change of visibility is finished first.
            if file.is_on_the_move() {
                match self.take_over_and_settle(&file, LEASE).await {
                    Ok(()) => continue,
                    Err(Error::Conflict) => {
                        tokio::time::sleep(PAUSE).await;
                        continue;
                    }
                    Err(error) => return Err(error),
                }
            }
            let changed = file.patch(patch, self.clock.now())?;
            let written = match changed.state {
                // The event of a move is written when nothing is left where the file was.
                State::Moving { .. } => self.catalog.replace(&changed).await,
                _ => self.catalog.replace_and_tell(&changed, &Event::updated(&changed, self.clock.now())).await,
            };
            match written {
                Ok(()) => return self.settle_change(changed).await,
                Err(Error::Conflict) => {}
                Err(error) => return Err(error),
            }
        }
        Err(Error::Conflict)
    }

    /// Does what a change owes, and answers the file as it is then.
    async fn settle_change(&self, file: File) -> Result<File> {
        let settled = match &file.state {
            State::Moving { etag, to, .. } => Box::pin(self.move_original(&file, etag, *to)).await,
            State::Confirmed { owes: Some(leftovers), .. } if !leftovers.again => {
                Box::pin(self.remove_leftovers(&file, *leftovers)).await
            }
            _ => return Ok(file),
        };
        match settled {
            // The cleanup or another caller was quicker with the rest.
            Err(Error::Conflict) => self.get(file.project, file.id).await,
            settled => settled,
        }
    }

    /// Gives a pending upload a fresh URL with a life of its own.
    pub async fn resign(&self, project: ProjectId, id: FileId) -> Result<Begun> {
        let file = self.catalog.file(id, Consistency::Strong).await?;
        if file.project != project {
            return Err(Error::FileNotFound);
        }
        self.renew(&file).await
    }

    pub(in crate::operations) async fn renew(&self, file: &File) -> Result<Begun> {
        let renewed = file.renew(self.clock.now())?;
        let upload = self.blobs.presign_put(&renewed).await?;
        self.catalog.replace(&renewed).await?;
        Ok(Begun { file: renewed, upload })
    }

    /// Puts an entity's files in this order: the first gets position 0. All of them or none; at most
    /// [`Catalog::REPLACE_AT_ONCE`](crate::catalog::Catalog::REPLACE_AT_ONCE).
    pub async fn order(
        &self,
        project: ProjectId,
        kind: &EntityWord,
        entity: &EntityWord,
        ids: &[FileId],
    ) -> Result<Vec<File>> {
        let files = self.catalog.confirmed_files(project, ids).await?;
        let attached = |file: &File| file.entity.as_ref().is_some_and(|e| e.kind == *kind && e.id == *entity);
        if files.len() != ids.len() || !files.iter().all(attached) {
            return Err(Error::FileNotFound);
        }
        let now = self.clock.now();
        let mut ordered = Vec::with_capacity(files.len());
        for (position, file) in (0..).zip(&files) {
            let position = Some(crate::intent::Position(position));
            ordered.push(file.patch(&Patch { position, ..Patch::default() }, now)?);
        }
        let events: Vec<Event> = ordered.iter().map(|file| Event::updated(file, now)).collect();
        self.catalog.replace_all(&ordered, &events).await?;
        Ok(ordered)
    }
}
