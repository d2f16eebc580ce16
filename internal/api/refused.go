package api

import (
	"cmp"
	"context"
	"slices"

	"github.com/grapnel/grapnel/internal/fault"
)

// RefusedFilter filters the requests that were refused. A zero member does not filter.
type RefusedFilter struct {
	Source string `query:"source" doc:"Only requests to this source."`
	Reason string `query:"reason" doc:"Only requests refused for this reason code."`
	Since  When   `query:"since" doc:"Only requests at this time or later."`
	Limit  int    `query:"limit" minimum:"1" maximum:"1000" default:"50" doc:"At most so many, the newest."`
}

// RefusedPage lists requests that were refused, newest first. A bounded number
// is kept for each source; the counts are exact.
type RefusedPage struct {
	Refused []Refused                   `json:"refused"`
	More    bool                        `json:"more" doc:"Whether others fit beyond the limit."`
	Counts  map[string]map[string]int64 `json:"counts" doc:"Numbers since the start of the process, by source and reason. Requests to no source are under the empty name."`
}

// Refused is a request that was not accepted.
type Refused struct {
	ID         string `json:"id"`
	Time       Time   `json:"time"`
	Source     string `json:"source,omitempty" doc:"Left out when the path belongs to no source."`
	Reason     string `json:"reason" doc:"The reason code."`
	Status     int    `json:"status" doc:"The status of the answer."`
	Detail     string `json:"detail,omitempty" doc:"What exactly was wrong."`
	Hint       string `json:"hint,omitempty" doc:"What to do."`
	Method     string `json:"method"`
	Path       string `json:"path"`
	RemoteAddr string `json:"remote_addr"`
	Size       int64  `json:"size" doc:"Bytes of the body that were received."`
}

// RefusedDetail is a refused request with everything that is kept of it.
type RefusedDetail struct {
	Refused

	Request *Request `json:"request"`
}

type refusedInput struct {
	ID string `path:"id" maxLength:"128" doc:"The id of a refused request."`
}

func (s *server) listRefused(_ context.Context, in *RefusedFilter) (*output[RefusedPage], error) {
	since := in.Since.On(s.config.Now())
	kept := slices.DeleteFunc(slices.Clone(s.config.Refusals.Refused(in.Source)), func(r *Refusal) bool {
		return in.Reason != "" && r.Reason != in.Reason || r.Time.Before(since)
	})
	slices.SortStableFunc(kept, func(a, b *Refusal) int {
		return cmp.Or(b.Time.Compare(a.Time), cmp.Compare(b.ID, a.ID))
	})
	page := RefusedPage{Refused: []Refused{}, Counts: s.config.Refusals.RefusedCounts()}
	if page.Counts == nil {
		page.Counts = map[string]map[string]int64{}
	}
	for _, r := range kept {
		if len(page.Refused) == pageLimit(in.Limit) {
			page.More = true
			break
		}
		page.Refused = append(page.Refused, refusedOf(r))
	}
	return &output[RefusedPage]{Body: page}, nil
}

func (s *server) showRefused(_ context.Context, in *refusedInput) (*output[RefusedDetail], error) {
	for _, r := range s.config.Refusals.Refused("") {
		if r.ID == in.ID {
			return &output[RefusedDetail]{Body: RefusedDetail{
				Refused: refusedOf(r), Request: requestOf(&r.Raw, r.BodySize),
			}}, nil
		}
	}
	return nil, fault.New(fault.NotFound, codeRefusedUnknown, "no refused request with the id %q is kept", in.ID).
		WithHint("a bounded number is kept for each source; look with: grapnel refused list")
}

func refusedOf(r *Refusal) Refused {
	return Refused{
		ID: r.ID, Time: Time{r.Time}, Source: r.Source, Reason: r.Reason, Status: r.Status, Detail: r.Detail,
		Hint: r.Hint, Method: r.Raw.Method, Path: r.Raw.Path, RemoteAddr: r.Raw.RemoteAddr,
		Size: max(r.BodySize, int64(len(r.Raw.Body))),
	}
}
