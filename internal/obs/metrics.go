package obs

import (
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Metrics are the figures of one process. Label sets are closed: names of
// configured things and codes from tables, never text from outside. The
// methods are safe for concurrent use.
type Metrics struct {
	registry *prometheus.Registry

	accepted   *prometheus.CounterVec
	duplicates *prometheus.CounterVec
	refused    *prometheus.CounterVec
	handshakes *prometheus.CounterVec
	matched    *prometheus.CounterVec
	unmatched  *prometheus.CounterVec
	deliveries *prometheus.CounterVec
	attempts   *prometheus.CounterVec
	panics     *prometheus.CounterVec
	commit     prometheus.Histogram
	batch      prometheus.Histogram
	ingest     *prometheus.HistogramVec
	attemptSec *prometheus.HistogramVec
	endToEnd   *prometheus.HistogramVec
	inFlight   *prometheus.GaugeVec
	breaker    *prometheus.GaugeVec
	reloads    *prometheus.CounterVec
	reloadTime prometheus.Gauge
}

// Row describes one metric for the reference.
type Row struct {
	Name, Type, Help string
	Labels           []string
}

// seconds are the bounds of every latency histogram: from a fast sync to a
// slow receiver.
var seconds = []float64{
	.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300,
}

// rows is the reference of every metric, in the order of docs/metrics.md.
var rows = []Row{
	{"grapnel_events_accepted_total", "counter", "Events committed, by source.", []string{"source"}},
	{"grapnel_events_duplicate_total", "counter", "Verified requests that repeated an event, by source.", []string{"source"}},
	{"grapnel_requests_refused_total", "counter", "Requests refused, by source and reason code.", []string{"source", "reason"}},
	{"grapnel_handshakes_total", "counter", "Provider handshakes answered, by source.", []string{"source", "handshake"}},
	{"grapnel_events_matched_total", "counter", "Events that matched a rule, by rule.", []string{"rule"}},
	{"grapnel_events_unmatched_total", "counter", "Events that matched no rule, by bus.", []string{"bus"}},
	{"grapnel_deliveries_total", "counter", "Deliveries that ended, by destination and final state.", []string{"destination", "state"}},
	{"grapnel_attempts_total", "counter", "Attempts, by destination and result (ok or an error class).", []string{"destination", "result"}},
	{"grapnel_panics_total", "counter", "Panics recovered, by component. Each is a bug.", []string{"component"}},
	{"grapnel_commit_seconds", "histogram", "Time from handing an event to the journal until it is synced.", nil},
	{"grapnel_commit_batches", "histogram", "Batches that shared one sync.", nil},
	{"grapnel_ingest_seconds", "histogram", "Time from the last byte of a request until its answer.", []string{"source"}},
	{"grapnel_attempt_seconds", "histogram", "Duration of an attempt.", []string{"destination"}},
	{"grapnel_accept_to_delivered_seconds", "histogram", "Time from the acceptance of an event to its delivery.", []string{"destination"}},
	{"grapnel_in_flight", "gauge", "Attempts under way.", []string{"destination"}},
	{"grapnel_breaker_state", "gauge", "0 closed, 1 half-open, 2 open, 3 disabled.", []string{"destination"}},
	{"grapnel_config_reloads_total", "counter", "Reloads of the configuration, by result.", []string{"result"}},
	{"grapnel_config_loaded_timestamp_seconds", "gauge", "When the configuration in force was loaded.", nil},
	{"grapnel_pending_deliveries", "gauge", "Deliveries that are not final.", nil},
	{"grapnel_held_deliveries", "gauge", "Deliveries held because their target or destination is missing or disabled.", nil},
	{"grapnel_oldest_pending_seconds", "gauge", "Age of the oldest delivery that is not final; 0 if there is none.", nil},
	{"grapnel_journal_bytes", "gauge", "Bytes of journal segments on disk.", nil},
	{"grapnel_journal_segments", "gauge", "Journal segments on disk.", nil},
	{"grapnel_index_bytes", "gauge", "Bytes of index files on disk.", nil},
	{"grapnel_index_lag_bytes", "gauge", "Bytes of the journal that are not in the index yet.", nil},
	{"grapnel_store_available", "gauge", "1 if the store takes records, 0 if it cannot.", nil},
	{"grapnel_damaged_ranges", "gauge", "Ranges of the journal that could not be read and were set aside.", nil},
	{"grapnel_disk_free_bytes", "gauge", "Free bytes of the file system of the data directory.", nil},
	{"grapnel_build_info", "gauge", "1, labeled with the version.", []string{"version"}},
}

// Rows returns the reference of all metrics.
func Rows() []Row { return append([]Row(nil), rows...) }

// NewMetrics returns the metrics of a process of the given version.
func NewMetrics(version string) *Metrics {
	r := prometheus.NewRegistry()
	m := &Metrics{
		registry:   r,
		accepted:   counter(r, "grapnel_events_accepted_total"),
		duplicates: counter(r, "grapnel_events_duplicate_total"),
		refused:    counter(r, "grapnel_requests_refused_total"),
		handshakes: counter(r, "grapnel_handshakes_total"),
		matched:    counter(r, "grapnel_events_matched_total"),
		unmatched:  counter(r, "grapnel_events_unmatched_total"),
		deliveries: counter(r, "grapnel_deliveries_total"),
		attempts:   counter(r, "grapnel_attempts_total"),
		panics:     counter(r, "grapnel_panics_total"),
		commit:     histogram(r, "grapnel_commit_seconds", seconds).WithLabelValues().(prometheus.Histogram),
		batch:      histogram(r, "grapnel_commit_batches", prometheus.ExponentialBuckets(1, 2, 12)).WithLabelValues().(prometheus.Histogram),
		ingest:     histogram(r, "grapnel_ingest_seconds", seconds),
		attemptSec: histogram(r, "grapnel_attempt_seconds", seconds),
		endToEnd:   histogram(r, "grapnel_accept_to_delivered_seconds", seconds),
		inFlight:   gauge(r, "grapnel_in_flight"),
		breaker:    gauge(r, "grapnel_breaker_state"),
		reloads:    counter(r, "grapnel_config_reloads_total"),
		reloadTime: gauge(r, "grapnel_config_loaded_timestamp_seconds").WithLabelValues(),
	}
	gauge(r, "grapnel_build_info").WithLabelValues(version).Set(1)
	r.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

func row(name string) Row {
	for _, r := range rows {
		if r.Name == name {
			return r
		}
	}
	panic("metric " + name + " is not in the reference") // a bug that every test finds
}

func counter(r *prometheus.Registry, name string) *prometheus.CounterVec {
	d := row(name)
	c := prometheus.NewCounterVec(prometheus.CounterOpts{Name: d.Name, Help: d.Help}, d.Labels)
	r.MustRegister(c)
	return c
}

func gauge(r *prometheus.Registry, name string) *prometheus.GaugeVec {
	d := row(name)
	g := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: d.Name, Help: d.Help}, d.Labels)
	r.MustRegister(g)
	return g
}

func histogram(r *prometheus.Registry, name string, buckets []float64) *prometheus.HistogramVec {
	d := row(name)
	h := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: d.Name, Help: d.Help, Buckets: buckets}, d.Labels)
	r.MustRegister(h)
	return h
}

// Figures are read when someone asks for the metrics.
type Figures struct {
	Pending, Held                      int64
	OldestPending                      time.Duration
	JournalBytes, IndexBytes, IndexLag int64
	Segments, Damaged                  int
	Available                          bool
	DiskFree                           int64
}

// Observe registers read as the origin of the gauges that describe the store.
func (m *Metrics) Observe(read func() Figures) {
	m.registry.MustRegister(figures(read))
}

// Handler serves the metrics in the Prometheus text format.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{})
}

type figures func() Figures

// Describe implements prometheus.Collector.
func (figures) Describe(ch chan<- *prometheus.Desc) {
	for _, name := range figureNames {
		ch <- prometheus.NewDesc(name, row(name).Help, nil, nil)
	}
}

// figureNames are in the order in which Collect sends their values.
var figureNames = [...]string{
	"grapnel_pending_deliveries", "grapnel_held_deliveries", "grapnel_oldest_pending_seconds",
	"grapnel_journal_bytes", "grapnel_index_bytes", "grapnel_index_lag_bytes", "grapnel_journal_segments",
	"grapnel_damaged_ranges", "grapnel_store_available", "grapnel_disk_free_bytes",
}

// Collect implements prometheus.Collector.
func (read figures) Collect(ch chan<- prometheus.Metric) {
	f := read()
	available := 0.0
	if f.Available {
		available = 1
	}
	values := [len(figureNames)]float64{
		float64(f.Pending), float64(f.Held), f.OldestPending.Seconds(),
		float64(f.JournalBytes), float64(f.IndexBytes), float64(f.IndexLag), float64(f.Segments),
		float64(f.Damaged), available, float64(f.DiskFree),
	}
	for i, name := range figureNames {
		desc := prometheus.NewDesc(name, row(name).Help, nil, nil)
		ch <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, values[i])
	}
}
