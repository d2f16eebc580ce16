// Package cli is the grapnel command: it reads flags, asks the admin API of a
// running Grapnel (or works offline), and prints for people or, with --json,
// for programs.
//
// What a command prints on stdout is its result; hints, questions and progress
// go to stderr. Nothing that came from outside reaches a terminal with control
// characters in it, colors are for terminals only, and no secret is printed.
// Each command documents its exit codes; `grapnel help exit-codes` lists them.
package cli
