package bench

import (
	"slices"
	"strconv"
	"time"
)

// Report is everything that Run found out.
type Report struct {
	Machine  Machine  `json:"machine"`
	Settings Settings `json:"settings"`
	// Throughput has a row for each contender, in the order of the table.
	Throughput []Throughput `json:"throughput"`
	Latency    []Latency    `json:"latency"`
	Footprint  Footprint    `json:"footprint"`
	// List is left out unless it was asked for.
	List  *List   `json:"list,omitempty"`
	Micro []Micro `json:"micro"`
}

// Machine is where it ran.
type Machine struct {
	System  string `json:"system"` // GOOS/GOARCH
	CPUs    int    `json:"cpus"`
	Go      string `json:"go"`
	Version string `json:"version"` // Grapnel's
	// Memory says that the data was on a file system in memory, where a sync
	// costs nothing and proves nothing.
	Memory bool `json:"memory_file_system"`
}

// Settings are the options that the figures depend on.
type Settings struct {
	Duration    Millis `json:"duration_ms"`
	Rounds      int    `json:"rounds"`
	Connections int    `json:"connections"`
	BodySize    int    `json:"body_size"`
}

// Millis is a duration that is written in milliseconds.
type Millis time.Duration

// MarshalJSON writes milliseconds.
func (m Millis) MarshalJSON() ([]byte, error) {
	return strconv.AppendFloat(nil, float64(m)/float64(time.Millisecond), 'f', 3, 64), nil
}

// Throughput is how a contender did under full load: medians over the rounds.
type Throughput struct {
	Name  string `json:"name"`
	Title string `json:"title"`
	// Limit names the contender that Percent compares with, round by round.
	Limit   string  `json:"limit,omitempty"`
	Rate    Decimal `json:"per_second"`
	Percent Decimal `json:"percent_of_limit,omitempty"`
	P50     Millis  `json:"p50_ms"` // from sending a request to its answer
	P99     Millis  `json:"p99_ms"`
	// CPU is the time that the contender, and only it, spent on each message.
	CPU Decimal `json:"cpu_us"`
	RSS int64   `json:"rss"` // bytes of memory at the end of the load
	// Failed says why the figures are void; they are zero then.
	Failed string  `json:"failed,omitempty"`
	Each   []Round `json:"rounds"`
}

// Decimal is a figure of which two decimals are worth writing.
type Decimal float64

// MarshalJSON writes two decimals.
func (d Decimal) MarshalJSON() ([]byte, error) {
	return strconv.AppendFloat(nil, float64(d), 'f', 2, 64), nil
}

// Round is one turn of a contender.
type Round struct {
	Rate    Decimal `json:"per_second"`
	Percent Decimal `json:"percent_of_limit,omitempty"`
	P50     Millis  `json:"p50_ms"`
	P99     Millis  `json:"p99_ms"`
	CPU     Decimal `json:"cpu_us"`
	// LoadCPU and ReceiverCPU are what the two ends of the measurement cost.
	LoadCPU     Decimal        `json:"load_cpu_us"`
	ReceiverCPU Decimal        `json:"receiver_cpu_us,omitempty"`
	RSS         int64          `json:"rss"`
	Stored      *audit         `json:"stored,omitempty"`
	Delivered   *audit         `json:"delivered,omitempty"`
	Errors      map[string]int `json:"errors,omitempty"` // answers other than 2xx, broken connections
	Failed      string         `json:"failed,omitempty"`
}

// Latency is how long messages take at a steady load.
type Latency struct {
	Name      string `json:"name"`
	Title     string `json:"title"`
	PerSecond int    `json:"per_second"`
	Messages  int    `json:"messages"`
	// Answer is from sending the request to its answer; Delivered from the answer
	// to the arrival at the receiver (0 if it was there before); Total from
	// sending to arrival; Late from when a request should have been sent to when
	// it was, which is the load generator's fault or that of a stall.
	Answer    Spread `json:"answer"`
	Delivered Spread `json:"accept_to_delivered"`
	Total     Spread `json:"sent_to_delivered"`
	Late      Spread `json:"late"`
	Failed    string `json:"failed,omitempty"`
}

// Spread is a distribution of durations.
type Spread struct {
	P50 Millis `json:"p50_ms"`
	P99 Millis `json:"p99_ms"`
	Max Millis `json:"max_ms"`
}

// Footprint is what Grapnel takes before anything happens.
type Footprint struct {
	Start  Millis `json:"start_ms"` // from the start of the process to ready, empty directory
	Idle   int64  `json:"idle_rss"` // bytes of memory a second later
	Binary int64  `json:"binary"`   // bytes of this program
	Failed string `json:"failed,omitempty"`
}

// List is how long the API takes to list the newest 50 events.
type List struct {
	Events int     `json:"events"`
	Fill   Decimal `json:"fill_per_second"` // how fast the store was filled, without HTTP
	Newest Spread  `json:"newest"`
	ByType Spread  `json:"by_type"`
	Failed string  `json:"failed,omitempty"`
}

// Micro is one step on the way of a webhook, alone and in this process.
type Micro struct {
	Name   string  `json:"name"`
	Title  string  `json:"title"`
	Nanos  Decimal `json:"ns"`
	Allocs Decimal `json:"allocs"`
}

// spread sorts the durations, in nanoseconds, and reads off the quantiles.
func spread(nanos []int64) Spread {
	if len(nanos) == 0 {
		return Spread{}
	}
	slices.Sort(nanos)
	return Spread{
		P50: Millis(quantile(nanos, 0.50)), P99: Millis(quantile(nanos, 0.99)), Max: Millis(nanos[len(nanos)-1]),
	}
}

// quantile is the smallest value that at least the share q of the sorted values
// does not exceed.
func quantile(sorted []int64, q float64) int64 {
	at := int(q*float64(len(sorted))+0.999999) - 1
	return sorted[min(max(at, 0), len(sorted)-1)]
}

// median returns the middle of the values, or the mean of the two in the middle.
func median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	mid := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return sorted[mid]
	}
	return (sorted[mid-1] + sorted[mid]) / 2
}

// compare sets what each round of a contender is of the same round of its limit,
// and then the medians. A contender with a failed round has no figures, and
// neither has a comparison with one.
func compare(rows []Throughput) {
	for i := range rows {
		row := &rows[i]
		limit := slices.IndexFunc(rows, func(t Throughput) bool { return t.Name == row.Limit })
		for j := range row.Each {
			if limit >= 0 && rows[limit].Each[j].Failed == "" && row.Each[j].Failed == "" {
				row.Each[j].Percent = 100 * row.Each[j].Rate / rows[limit].Each[j].Rate
			}
		}
		row.summarize()
	}
}

func (t *Throughput) summarize() {
	pick := func(f func(Round) float64) float64 {
		values := make([]float64, 0, len(t.Each))
		for _, r := range t.Each {
			if v := f(r); v > 0 {
				values = append(values, v)
			}
		}
		return median(values)
	}
	for _, r := range t.Each {
		if r.Failed != "" {
			t.Failed = r.Failed
			return
		}
	}
	t.Rate = Decimal(pick(func(r Round) float64 { return float64(r.Rate) }))
	t.Percent = Decimal(pick(func(r Round) float64 { return float64(r.Percent) }))
	t.P50 = Millis(pick(func(r Round) float64 { return float64(r.P50) }))
	t.P99 = Millis(pick(func(r Round) float64 { return float64(r.P99) }))
	t.CPU = Decimal(pick(func(r Round) float64 { return float64(r.CPU) }))
	t.RSS = int64(pick(func(r Round) float64 { return float64(r.RSS) }))
}

// failures lists what did not pass its check.
func (r *Report) failures() []string {
	var out []string
	add := func(what, why string) {
		if why != "" {
			out = append(out, what+": "+why)
		}
	}
	for _, t := range r.Throughput {
		add(t.Title, t.Failed)
	}
	for _, l := range r.Latency {
		add(l.Title, l.Failed)
	}
	add("start", r.Footprint.Failed)
	if r.List != nil {
		add("list", r.List.Failed)
	}
	return out
}
