package ingest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/grapnel/grapnel/internal/egress"
	"github.com/grapnel/grapnel/signature"
)

// Bounds of fetching keys.
const (
	jwksTimeout = 5 * time.Second
	jwksBytes   = 1 << 20
	// jwksAge is how long fetched keys are used without asking again.
	jwksAge = time.Hour
	// jwksPause is the least time between two fetches once there are keys: a
	// forger who makes up key ids must not make us hammer the provider.
	jwksPause = time.Minute
)

// KeySets fetches and remembers JSON Web Key Sets (RFC 7517). Addresses come
// from the configuration only, never from a request.
type KeySets struct {
	client *http.Client

	mu   sync.Mutex // guards sets
	sets map[string]*keySet
}

// NewKeySets returns a KeySets that connects through the network.
func NewKeySets(network *egress.Network) *KeySets {
	client := network.Client(egress.Options{})
	client.Timeout = jwksTimeout
	return &KeySets{client: client, sets: map[string]*keySet{}}
}

// Fetch returns the keys at the address. The same address shares what was
// fetched, also across reloads.
func (k *KeySets) Fetch(url string) signature.KeySource {
	k.mu.Lock()
	defer k.mu.Unlock()
	s, ok := k.sets[url]
	if !ok {
		s = &keySet{client: k.client, url: url}
		k.sets[url] = s
	}
	return s
}

type keySet struct {
	client *http.Client
	url    string

	mu      sync.Mutex // guards everything below; held while fetching, so that one fetch serves all who wait
	keys    []signature.Key
	fetched time.Time
	tried   time.Time
	err     error
}

// Keys implements signature.KeySource. Keys that were fetched once are used on
// when the address does not answer.
func (s *keySet) Keys(id string, now time.Time) ([]signature.Key, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	found := s.find(id)
	stale := len(found) == 0 || now.Sub(s.fetched) > jwksAge
	pause := jwksPause
	if len(s.keys) == 0 {
		pause = defaultRetryAfter // without any key every sender is told to come back then
	}
	if stale && (s.tried.IsZero() || now.Sub(s.tried) >= pause || now.Before(s.tried)) {
		s.tried = now
		if s.err = s.fetch(); s.err == nil {
			s.fetched = now
		}
		found = s.find(id)
	}
	if len(found) == 0 && s.err != nil {
		// The key may be one that could not be fetched: nothing is known.
		return nil, s.err
	}
	return found, nil
}

func (s *keySet) find(id string) []signature.Key {
	if id == "" {
		return s.keys
	}
	var found []signature.Key
	for _, k := range s.keys {
		if k.ID == id {
			found = append(found, k)
		}
	}
	return found
}

func (s *keySet) fetch() error {
	ctx, cancel := context.WithTimeoutCause(context.Background(), jwksTimeout, errors.New("the keys did not arrive in time"))
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url, nil)
	if err != nil {
		return fmt.Errorf("fetching keys: %w", err)
	}
	r.Header.Set("Accept", "application/jwk-set+json, application/json")
	response, err := s.client.Do(r)
	if err != nil {
		return fmt.Errorf("fetching keys: %w", err)
	}
	defer func() { _ = response.Body.Close() }() // read only: nothing is lost
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("fetching keys: status %d", response.StatusCode)
	}
	text, err := io.ReadAll(io.LimitReader(response.Body, jwksBytes))
	if err != nil {
		return fmt.Errorf("fetching keys: %w", err)
	}
	all, err := signature.ParseKeys(string(text))
	if err != nil {
		return fmt.Errorf("fetching keys: %w", err)
	}
	// A published set must not hold shared secrets: everyone could sign with them.
	s.keys = s.keys[:0:0]
	for _, k := range all {
		if k.Secret == nil {
			s.keys = append(s.keys, k)
		}
	}
	return nil
}

// Close closes connections that are not in use.
func (k *KeySets) Close() { k.client.CloseIdleConnections() }
