// Package journal is the segmented, checksummed, group-committed log in which
// history is kept. A batch that was reported done is on disk, whole, and is
// found again; one that was not is there whole or not at all. The package knows
// nothing of what records mean together: which deliveries are pending, what is a
// duplicate, what may be dropped is decided above it.
//
// # Files
//
//	LOCK, VERSION        of the data directory, see disk.Claim
//	journal/N.seg        a segment: a header and frames; a batch is one frame
//	journal/reserve      disk space kept for outcomes
//
// A Position is the number of the segment and the offset of the record in it;
// the horizon is the end of what is synced.
//
// # What happens in which order, and what a crash leaves
//
// Encoding and its checksums are done by whoever submits. One goroutine, the
// writer, does the rest, for everything that waits at once:
//
//  1. pwrite of all frames behind the synced end. A crash leaves any part of them,
//     in any order; nobody was told anything. The next start keeps the frames
//     that are whole.
//  2. fdatasync. After it the frames are durable, and the size with them.
//  3. The horizon moves, the positions are filled in, Committed is called, those
//     who wait are told. A crash before that leaves records that nobody knows to
//     be stored: at-least-once covers them.
//
// A segment is begun so:
//
//  1. creat with O_EXCL, pwrite of the header, twice. A crash leaves no file, an
//     empty one or half a header: the next start removes it.
//  2. fdatasync of the file, fsync of the directory. After a crash in between the
//     file may be gone; no frame was written yet.
//  3. Frames as above.
//
// From step 1 on the segment before it never grows again, because the header
// says where that one ends. What lies behind that end is not part of the journal:
// so the frames of a write whose sync has failed may be written again in the next
// segment and never appear twice.
//
// A segment is dropped with unlink and fsync of the directory, the oldest first,
// one at a time: after a crash the oldest may be back, never one without those
// that follow it.
//
// # Failing disks
//
// After a failed fdatasync the kernel may count pages as clean that it never
// wrote; a later success means nothing (Rebello et al., "Can Applications Recover
// from fsync Failures?", USENIX ATC 2020). The segment is therefore ended where
// its last good sync ended, its descriptor is closed, and the batch is written
// again in a fresh segment: the callers notice nothing. The same is done after a
// failed write. If the fresh segment fails too, the batch and all that follow are
// refused with store_unavailable, and a fresh segment is tried every ProbeEvery
// until one can be synced. Reading goes on.
//
// A process that died may have met the failing sync as its last act, and the page
// cache survives it. The next start therefore writes the bytes that no later
// frame proves to be synced, in place and unchanged, once more, and syncs them and
// the directory, before it shows any of them. Close writes an empty frame, which is
// such a proof.
//
// # Full disks
//
// ENOSPC from a write is no broken disk: the rest of the write is cut off with
// ftruncate and the segment goes on. Batches without Reserve set are refused with
// store_full from then on; for the others the reserve is shortened, a step at a
// time, as far as they need it. When there is space to fill the reserve up again,
// and a quarter more, everything is taken as before.
//
// # Damage
//
// Opening reads the headers and the last segment; the rest is checked when it is
// read. Bytes without a valid frame that have a valid one behind them, or that a
// header says were synced, are skipped and reported (Stats.Quarantined), never
// changed. Bytes at the end of the last segment that have none are a torn tail:
// the next segment's header leaves them out. Frames and records carry a random
// number of their segment and their place in their checksums, so that no body can
// pass for one. Every read verifies what it returns.
package journal
