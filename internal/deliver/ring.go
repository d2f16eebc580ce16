package deliver

import (
	"time"

	"github.com/grapnel/grapnel/internal/store"
)

// job is a delivery in hand, leased from the store.
type job struct {
	delivery *store.Delivery
	event    *store.Event   // nil if it could not be read
	counted  int            // attempts that count against the policy
	made     int            // attempts over the delivery's life
	last     *store.Outcome // the last outcome, if any
	size     int64          // of the event in memory
}

// jobOverhead is what an event takes in memory beside its bytes, roughly.
const jobOverhead = 1024

func newJob(d *store.Delivery, ev *store.Event) job {
	return job{delivery: d, event: ev, size: sizeOf(ev)}
}

func sizeOf(ev *store.Event) int64 {
	if ev == nil {
		return jobOverhead
	}
	n := int64(len(ev.Envelope.Detail)) + jobOverhead
	if ev.Raw != nil && !ev.DetailIsBody {
		n += int64(len(ev.Raw.Body))
	}
	return n
}

func (j *job) overdue(now time.Time) bool {
	return !j.delivery.Deadline.IsZero() && !now.Before(j.delivery.Deadline)
}

// ring is a queue of jobs, first in first out, without an allocation per job.
type ring struct {
	jobs []job // its length is a power of two
	head int
	len  int
}

func (r *ring) push(j job) {
	if r.len == len(r.jobs) {
		grown := make([]job, max(16, 2*len(r.jobs)))
		for i := range r.len {
			grown[i] = *r.at(i)
		}
		r.jobs, r.head = grown, 0
	}
	r.len++
	*r.at(r.len - 1) = j
}

func (r *ring) at(i int) *job { return &r.jobs[(r.head+i)&(len(r.jobs)-1)] }

func (r *ring) pop() job {
	j := *r.at(0)
	*r.at(0) = job{} // let go of the event
	r.head = (r.head + 1) & (len(r.jobs) - 1)
	r.len--
	return j
}

// remove takes out the job of the delivery, wherever it stands.
func (r *ring) remove(id store.DeliveryID) (job, bool) {
	for i := range r.len {
		if r.at(i).delivery.ID != id {
			continue
		}
		j := *r.at(i)
		for ; i < r.len-1; i++ {
			*r.at(i) = *r.at(i + 1)
		}
		*r.at(r.len - 1) = job{}
		r.len--
		return j, true
	}
	return job{}, false
}
