// Package disktest has file systems for tests: one in memory that can lose power,
// and one that injects faults into any other.
package disktest
