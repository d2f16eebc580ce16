package cli

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/grapnel/grapnel/signature"
)

// receiver is the other end of the demo: an HTTP server that verifies what it
// gets as any user of Standard Webhooks would, and that is busy the first time
// someone calls /deploy.
type receiver struct {
	secret   string
	verifier *signature.Verifier
	now      func() time.Time
	server   *http.Server
	listener net.Listener
	ended    chan error

	mu   sync.Mutex // guards what follows
	busy bool       // whether the next request to /deploy fails
}

// provenText begins the answer to a request whose signature is right; its
// webhook-id ends it.
const provenText = "signature verified"

// newReceiver listens on loopback and serves until Stop.
func newReceiver(ctx context.Context, now func() time.Time) (*receiver, error) {
	raw := make([]byte, 32)
	_, _ = rand.Read(raw) // never fails: crypto/rand aborts the program instead
	r := &receiver{
		secret: "whsec_" + base64.StdEncoding.EncodeToString(raw), now: now, ended: make(chan error, 1), busy: true,
	}
	var err error
	if r.verifier, err = signature.New("standard-webhooks", signature.Secrets(r.secret)); err != nil {
		return nil, fmt.Errorf("making the receiver's verifier: %w", err)
	}
	var lc net.ListenConfig
	if r.listener, err = lc.Listen(ctx, "tcp", "127.0.0.1:0"); err != nil {
		return nil, fmt.Errorf("listening for the receiver: %w", err)
	}
	r.server = &http.Server{Handler: r, ReadHeaderTimeout: 10 * time.Second}
	go func() { r.ended <- r.server.Serve(r.listener) }() // ends with Stop, which waits for it
	return r, nil
}

// URL returns the address of the receiver.
func (r *receiver) URL() string { return "http://" + r.listener.Addr().String() }

// Stop ends the server.
func (r *receiver) Stop() error {
	err := r.server.Close()
	if ended := <-r.ended; !errors.Is(ended, http.ErrServerClosed) {
		err = errors.Join(err, ended)
	}
	return err
}

// ServeHTTP verifies a delivery.
func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, req.Body, 1<<20))
	if err != nil {
		http.Error(w, "the body cannot be read", http.StatusBadRequest)
		return
	}
	if _, err := r.verifier.Verify(signature.NewRequest(req, body), r.now()); err != nil {
		http.Error(w, err.Error(), http.StatusUnauthorized)
		return
	}
	id := req.Header.Get("Webhook-Id")
	if r.isBusy(req.URL.Path) {
		http.Error(w, provenText+", busy, try again with "+id, http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	// The sender went away if this fails; it tries again.
	_, _ = fmt.Fprintf(w, "%s, %s taken as %s\n", provenText, byteText(int64(len(body))), id) //nolint:gosec // plain text
}

func (r *receiver) isBusy(path string) bool {
	if path != "/deploy" {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	busy := r.busy
	r.busy = false
	return busy
}
