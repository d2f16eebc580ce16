// Package journal is the segmented, checksummed, group-committed log in which
// history is kept.
package journal
