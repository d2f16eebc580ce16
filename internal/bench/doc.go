// Package bench measures Grapnel on the machine that it runs on, beside the
// limits of that machine: it is what `grapnel bench` and `make bench` run.
//
// Every contender is a process of its own, started from the same binary, and is
// loaded in turn by the same generator over loopback: a handler that does
// nothing, one that makes the body durable, one that also passes it on, and
// Grapnel. The rounds are interleaved and a figure is compared only with those
// of its own round, because machines drift.
//
// Every message has a number and bytes that follow from it. What was accepted is
// looked for afterwards, where it was stored and where it was delivered, byte for
// byte; a result of which something is missing or changed is reported as failed,
// never as a number.
package bench
