// Package e2e holds the tests of the built binary: real processes, real sockets,
// real files, kill -9. With the build tag real it also runs the libraries with
// which providers sign and receivers verify (make test-real).
package e2e
