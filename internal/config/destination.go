package config

import (
	"slices"
	"time"

	"github.com/grapnel/grapnel/internal/spec"
)

// Destination is where deliveries go.
type Destination struct {
	Name        string
	Description string
	Kind        string
	Config      spec.Fielder // what the kind's New made, filled
	Disabled    bool
	Timeout     time.Duration // of one attempt
	MaxInFlight int
	Rate        spec.Rate // zero is no limit
	// DisableAfterGone is after how many answers 410 in a row the destination is disabled; 0 is never.
	DisableAfterGone int

	kinds []spec.Kind
}

// Forwarder is what the configuration of a kind implements that publishes on a bus.
type Forwarder interface{ ForwardsTo() string }

// Runner is what the configuration of a kind implements that runs programs on this machine. Such
// destinations are refused unless the file enables them.
type Runner interface{ RunsCommand() bool }

// MaxTimeout is the longest that one attempt may take.
const MaxTimeout = 300 * time.Second

// laterKinds are the kinds of destinations of later versions.
var laterKinds = []string{"channel", "function"}

// allKinds adds the kinds of later versions to those there are.
func allKinds(kinds []spec.Kind) []spec.Kind {
	all := slices.Clone(kinds)
	for _, name := range laterKinds {
		if !slices.ContainsFunc(kinds, func(k spec.Kind) bool { return k.Name == name }) {
			all = append(all, spec.Kind{Name: name, Reserved: "destinations of this kind come with a later version"})
		}
	}
	return all
}

// Fields describes a destination; what it has further depends on its kind.
func (d *Destination) Fields() []spec.Field {
	return []spec.Field{
		spec.Variant("kind", d.kinds, &d.Kind, &d.Config).Doc("What it is; decides which further keys there are."),
		description(&d.Description),
		spec.Bool("disabled", &d.Disabled).Default("false").
			Doc("Hold deliveries instead of sending them, until their time is over."),
		spec.Duration("timeout", &d.Timeout).Default("30s").Min("100ms").Max("300s").
			Doc("How long one attempt may take."),
		spec.Int("max_in_flight", &d.MaxInFlight).Default("16").Min("1").Max("1000").
			Doc("How many requests there may be at once."),
		spec.RateOf("rate", &d.Rate).DefaultDoc("no limit").Example("50/s").Doc("How many requests are sent."),
		spec.Int("disable_after_gone", &d.DisableAfterGone).Default("3").Min("0").Max("1000").
			Doc("After how many answers 410 Gone in a row the destination is disabled; 0 is never."),
	}
}
