//! The counters of one group of a stage.
//!
//! Key: `pk` = `group#{run}#{stage}#{generation}#{group}`, `sk` = `count`; a partition of its own, so that
//! groups do not wait for one another.
//! Value: the sets of numbers `done`, `failed`, `handed`, `sent_next` and, for the reader at place N, `sent_reader_N`
//! (chunk indexes; absent while empty), and the sums as numbers, `records`, `bad_records`, `bytes_in`, `bytes_out`, `failed_chunks`.
//! Lifetime: `expires_at`, 60 days after the last write.
//!
//! All of a call's marks are one update on the condition that none of them is there, so that sets and sums
//! never part. A repetition inside the SDK answers `Before` with a state that has the marks, as any second
//! completion does: what was marked and not handed is then done again.

use std::collections::BTreeMap;

use fanfold_domain::{
    ChunkIndex, GroupCount, GroupIndex, Mark, Note, Sums, group::MAX_MARKS, pipeline::MAX_STAGES,
};
use fanfold_ports::ledger::{Marked, StageId};
use fanfold_ports::{Fault, PortError};

use super::expression::Update;
use super::item::{Item, Malformed, key, number, numbers, read_numbers, read_sums, sums};
use super::table::Updated;
use super::{DynamoLedger, lifetime};

impl DynamoLedger {
    pub(super) async fn mark_group(
        &self,
        stage: &StageId,
        group: GroupIndex,
        marks: &[(ChunkIndex, Mark)],
        notes: &[(ChunkIndex, Note)],
    ) -> Result<Marked, PortError> {
        let name = pk(stage, group);
        let mut update = marking(marks)
            .map_err(|detail| PortError::new(Fault::Permanent, "mark", &name, detail))?
            .set("expires_at", number(lifetime::of_counters()));
        let mut noted: BTreeMap<Note, Vec<ChunkIndex>> = BTreeMap::new();
        for (chunk, note) in notes {
            noted.entry(*note).or_default().push(*chunk);
        }
        for (note, chunks) in noted {
            update = update.add(set_of(note), numbers(chunks));
        }
        let read = |item: &Item| read_group(item).map_err(|error| error.error("mark", &name));
        match self.update("mark", key(name.clone(), SK), update).await? {
            Updated::Now(item) => Ok(Marked::Now(read(&item)?)),
            Updated::Refused(Some(item)) => Ok(Marked::Before(read(&item)?)),
            Updated::Refused(None) => Ok(Marked::Before(self.get_group("mark", stage, group).await?)),
        }
    }

    pub(super) async fn hand_group(
        &self,
        stage: &StageId,
        group: GroupIndex,
        chunks: &[ChunkIndex],
    ) -> Result<(), PortError> {
        if chunks.is_empty() {
            return Ok(());
        }
        let update = Update::default()
            .set("expires_at", number(lifetime::of_counters()))
            .add("handed", numbers(chunks));
        self.update("hand", key(pk(stage, group), SK), update).await?;
        Ok(())
    }

    pub(super) async fn get_group(
        &self,
        operation: &'static str,
        stage: &StageId,
        group: GroupIndex,
    ) -> Result<GroupCount, PortError> {
        let name = pk(stage, group);
        let item = self.get(operation, key(name.clone(), SK), true).await?.unwrap_or_default();
        read_group(&item).map_err(|error| error.error(operation, name))
    }
}

const SK: &str = "count";

/// The set of a note.
fn set_of(note: Note) -> &'static str {
    match note {
        Note::Handed => "handed",
        Note::SentNext => "sent_next",
        Note::SentReader(place) => SENT_READERS[place],
    }
}

/// One for each place that a stage can have.
const SENT_READERS: [&str; MAX_STAGES] = [
    "sent_reader_0",
    "sent_reader_1",
    "sent_reader_2",
    "sent_reader_3",
    "sent_reader_4",
    "sent_reader_5",
    "sent_reader_6",
    "sent_reader_7",
    "sent_reader_8",
    "sent_reader_9",
    "sent_reader_10",
    "sent_reader_11",
    "sent_reader_12",
    "sent_reader_13",
    "sent_reader_14",
    "sent_reader_15",
];

fn pk(stage: &StageId, group: GroupIndex) -> String {
    format!("group#{}#{}#{}#{group}", stage.run, stage.stage, stage.generation)
}

/// The update that sets all marks, on the condition that none is set.
fn marking(marks: &[(ChunkIndex, Mark)]) -> Result<Update, String> {
    let of = |wanted: fn(&Mark) -> bool| -> Vec<u32> {
        marks.iter().filter(|(_, mark)| wanted(mark)).map(|(chunk, _)| chunk.0).collect()
    };
    let done = of(|mark| matches!(mark, Mark::Done(_)));
    let failed = of(|mark| matches!(mark, Mark::Failed));
    let mut all = [done.as_slice(), failed.as_slice()].concat();
    all.sort_unstable();
    if all.is_empty() || all.len() > MAX_MARKS {
        return Err(format!("{} marks, and 1 to {MAX_MARKS} are set at once", all.len()));
    }
    if let Some([twice, ..]) = all.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(format!("chunk {twice} is marked twice in one call"));
    }
    let mut update = Update::default().unless_contained(&["done", "failed"], &all);
    for (attribute, chunks) in [("done", done), ("failed", failed)] {
        if !chunks.is_empty() {
            update = update.add(attribute, numbers(chunks));
        }
    }
    let added: Sums = marks.iter().map(|(_, mark)| mark.sums()).sum();
    Ok(adding(update, added))
}

/// The update with what it adds to the sums.
pub(super) fn adding(update: Update, added: Sums) -> Update {
    sums(added).into_iter().fold(update, |update, (name, value)| update.add(name, number(value)))
}

pub(super) fn read_group(item: &Item) -> Result<GroupCount, Malformed> {
    let mut sent_readers = BTreeMap::new();
    for (place, name) in SENT_READERS.into_iter().enumerate().filter(|(_, name)| item.contains_key(*name)) {
        sent_readers.insert(place, read_numbers(item, name, ChunkIndex)?);
    }
    Ok(GroupCount {
        done: read_numbers(item, "done", ChunkIndex)?,
        failed: read_numbers(item, "failed", ChunkIndex)?,
        handed: read_numbers(item, "handed", ChunkIndex)?,
        sent_next: read_numbers(item, "sent_next", ChunkIndex)?,
        sent_readers,
        sums: read_sums(item)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn done(index: u32) -> (ChunkIndex, Mark) {
        (ChunkIndex(index), Mark::Done(Sums { records: 10, ..Sums::default() }))
    }

    #[test]
    fn only_sets_that_get_a_chunk_are_added_to() {
        let update = marking(&[done(3), done(1)]).unwrap();
        assert_eq!(
            update.expression(),
            "ADD #done :v2, #records :v3, #bad_records :v4, #bytes_in :v5, #bytes_out :v6, #failed_chunks :v7"
        );
        let (_, values) = update.into_placeholders();
        assert_eq!((&values[":v2"], &values[":v3"]), (&numbers([3, 1]), &number(20)));
        let update = marking(&[(ChunkIndex(3), Mark::Failed)]).unwrap();
        assert!(update.expression().starts_with("ADD #failed :v1, #records"));
    }

    #[test]
    fn marks_that_cannot_be_one_update_are_refused() {
        assert!(marking(&[]).unwrap_err().contains("0 marks"));
        assert!(marking(&[done(1), (ChunkIndex(1), Mark::Failed)]).unwrap_err().contains("chunk 1"));
        let many: Vec<_> = (0..65).map(done).collect();
        assert!(marking(&many).unwrap_err().contains("65 marks"));
        assert!(marking(&many[..64]).is_ok());
    }

    #[test]
    fn an_absent_item_is_a_group_in_which_nothing_ended() {
        assert_eq!(read_group(&Item::new()).unwrap(), GroupCount::default());
    }
}
