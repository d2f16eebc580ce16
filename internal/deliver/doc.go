// Package deliver attempts deliveries until each one ends: it owns the work
// that it has claimed, and nothing else.
//
// For every destination there is a lane: a bounded number of attempts in
// flight, a rate, a breaker, and a bounded share of memory for what waits. What
// a lane has no room for stays in the store's queue and is claimed when there
// is room; so one destination that hangs or is dead slows nobody else, and
// memory is bounded by configuration, not by the backlog.
//
// What became of an attempt is an outcome, submitted to the recorder together
// with what it causes: the dispatch to a dead letter destination, the copy of
// an event for another bus, the notice that a rule can match. The attempt's slot
// is free again before the outcome is synced; the number of outcomes that are
// not synced yet is bounded, and while the store cannot take them no attempt
// begins. A crash before the sync leaves the delivery pending: it is tried
// again with the same id (at least once).
//
// The engine never reads an event back on the happy path, never waits in a
// goroutine or timer of its own for a delivery's next attempt (the store owns
// due time), and never writes anything but outcomes and disabled flags.
package deliver
