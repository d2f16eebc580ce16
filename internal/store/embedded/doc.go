// Package embedded is the store of one machine: the journal is the truth, and
// three SQLite files beside it are what the journal alone cannot answer quickly.
//
//	journal/           history (package journal)
//	live.db            one row per delivery that is not final; rebuilt from the journal
//	index-00000001.db  what lists ask of one segment; rebuilt from the journal
//	state.db           small versioned records; the only copy, never rebuilt
//
// Views follow the journal: the writer hands every synced batch to two feeds, one
// of live.db and one of the indexes, and each view applies its feed in large
// transactions, with the position it has reached in the same transaction. Whoever
// asks a view first applies what is waiting for it, so that an answer contains all
// that was synced when the question was put. A view that falls too far behind drops
// its feed and reads the journal instead; so does one that starts, or that was
// found missing, damaged, of another version or ahead of the journal.
//
// Appends never wait for a view: they meet only the journal and the memory of
// dedupe keys.
package embedded
