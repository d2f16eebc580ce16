package api

import (
	"cmp"
	"context"
	"net/http"
	"time"

	"github.com/grapnel/grapnel/internal/fault"
)

// Health says that the process answers.
type Health struct {
	Status string `json:"status" enum:"ok"`
}

// Ready says whether events can be taken.
type Ready struct {
	Ready   bool     `json:"ready"`
	Reasons []string `json:"reasons" doc:"Why not; empty when ready."`
}

// Status describes the running process.
type Status struct {
	Version    string       `json:"version"`
	Generation string       `json:"generation" doc:"Names the configuration in force."`
	Config     ConfigStatus `json:"config"`
	Started    Time         `json:"started"`
	Uptime     Duration     `json:"uptime"`
	DataDir    string       `json:"data_dir"`
	Listen     Listen       `json:"listen"`
	Store      StoreStatus  `json:"store"`
	Ready
}

// ConfigStatus describes the configuration file.
type ConfigStatus struct {
	Path       string  `json:"path"`
	LoadedAt   Time    `json:"loaded_at" doc:"When the configuration in force was loaded."`
	LastReload *Reload `json:"last_reload,omitempty" doc:"The last reload, if there was one."`
}

// Reload is what became of a reload. A file that is refused leaves the old
// configuration in force.
type Reload struct {
	Time     Time     `json:"time"`
	OK       bool     `json:"ok"`
	Problems []string `json:"problems" doc:"What was wrong, with file, line and column."`
}

// Listen are the addresses of the process.
type Listen struct {
	Public    string `json:"public"`
	Admin     string `json:"admin"`
	PublicURL string `json:"public_url,omitempty"`
}

// StoreStatus are the figures of the store.
type StoreStatus struct {
	Available     bool     `json:"available" doc:"Whether records can be taken now."`
	Unavailable   string   `json:"unavailable,omitempty" doc:"Why they cannot."`
	Segments      int      `json:"segments"`
	JournalBytes  int64    `json:"journal_bytes"`
	IndexBytes    int64    `json:"index_bytes"`
	IndexLag      int64    `json:"index_lag_bytes" doc:"Bytes that are synced but not yet listed."`
	Pending       int64    `json:"pending" doc:"Deliveries that are not final."`
	Held          int64    `json:"held"`
	OldestPending *Time    `json:"oldest_pending,omitempty"`
	FreeBytes     int64    `json:"free_bytes" doc:"Of the file system; -1 if unknown."`
	Damaged       []Damage `json:"damaged" doc:"Parts of the journal that could not be read."`
}

// Damage names bytes of the journal that could not be read and were skipped.
type Damage struct {
	Segment uint32 `json:"segment"`
	Offset  int64  `json:"offset"`
	Length  int64  `json:"length"`
	Reason  string `json:"reason"`
}

type readyOutput struct {
	Status int
	Body   Ready
}

func (s *server) health(context.Context, *struct{}) (*output[Health], error) {
	return &output[Health]{Body: Health{Status: "ok"}}, nil
}

func (s *server) ready(context.Context, *struct{}) (*readyOutput, error) {
	out := &readyOutput{Status: http.StatusOK, Body: s.readiness(s.config.Instance.Info())}
	if !out.Body.Ready {
		out.Status = http.StatusServiceUnavailable
	}
	return out, nil
}

func (s *server) readiness(info Info) Ready {
	reasons := append([]string{}, info.NotReady...)
	if why := s.config.History.Stats().Unavailable; why != "" {
		reasons = append(reasons, "the store cannot take records: "+why)
	}
	return Ready{Ready: len(reasons) == 0, Reasons: reasons}
}

func (s *server) status(context.Context, *struct{}) (*output[Status], error) {
	info := s.config.Instance.Info()
	status := Status{
		Version: info.Version, Generation: info.Generation,
		Config:  ConfigStatus{Path: info.ConfigPath, LoadedAt: Time{info.LoadedAt}},
		Started: Time{info.Started}, Uptime: Duration(s.config.Now().Sub(info.Started).Round(time.Millisecond)),
		DataDir: info.DataDir, Listen: Listen{Public: info.Public, Admin: info.Admin, PublicURL: info.PublicURL},
		Store: s.storeStatus(), Ready: s.readiness(info),
	}
	if last := info.LastReload; !last.Time.IsZero() {
		last.Problems = nonNil(last.Problems)
		status.Config.LastReload = &last
	}
	return &output[Status]{Body: status}, nil
}

func (s *server) storeStatus() StoreStatus {
	f := s.config.History.Stats()
	out := StoreStatus{
		Available: f.Unavailable == "", Unavailable: f.Unavailable, Segments: f.Segments,
		JournalBytes: f.JournalBytes, IndexBytes: f.IndexBytes, IndexLag: f.IndexLag,
		Pending: f.Pending, Held: f.Held, OldestPending: timeOrNil(f.OldestPending), FreeBytes: f.FreeBytes,
		Damaged: make([]Damage, 0, len(f.Quarantined)),
	}
	for _, d := range f.Quarantined {
		out.Damaged = append(out.Damaged, Damage(d))
	}
	return out
}

func errTimeLimit(d time.Duration) error {
	return fault.New(fault.Transient, codeTimeLimit, "the request took longer than %v", d).
		WithHint("narrow the filter or the time range")
}

// output is a JSON answer.
type output[T any] struct{ Body T }

// timeOrNil returns nil for the zero time, which JSON leaves out.
func timeOrNil(t time.Time) *Time {
	if t.IsZero() {
		return nil
	}
	return &Time{t}
}

// nonNil returns a slice that JSON writes as [] when it is empty.
func nonNil[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}

// pageLimit is how many entries a list has when the request does not say.
func pageLimit(n int) int { return cmp.Or(n, 50) }
