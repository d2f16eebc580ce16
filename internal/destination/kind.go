package destination

import (
	"log/slog"
	"time"

	"github.com/grapnel/grapnel/internal/egress"
	"github.com/grapnel/grapnel/internal/spec"
)

// Kind is one sort of destination: its name and how it is configured. The list
// of all kinds is in destination/all.
type Kind struct {
	Name    string // lower_snake_case; never renamed, only aliased
	Aliases []string
	Summary string // a sentence for the reference
	// New returns an empty configuration. It may also be a spec.Checker.
	New func() Config
}

// Spec returns the kind as a variant of a destination's configuration. What
// decoding chooses is the kind's Config.
func (k Kind) Spec() spec.Kind {
	return spec.Kind{
		Name: k.Name, Aliases: k.Aliases, Summary: k.Summary,
		New: func() spec.Fielder { return k.New() },
	}
}

// Config is the configuration of one destination. What destinations of all
// kinds have (timeout, max_in_flight, rate) is not in it.
type Config interface {
	spec.Fielder
	// Build makes the destination, all fallible work included, and talks to
	// nobody. Its errors may be shown: they hold no secret.
	Build(d Deps) (Destination, error)
	// Address says where the destination sends to, as people may see it: a URL
	// without secrets, an ARN, a name.
	Address() string
}

// Forwarder is implemented by the configuration of a kind that publishes on a
// bus, so that the name can be checked.
type Forwarder interface {
	// ForwardsTo returns the name of the bus.
	ForwardsTo() string
}

// Deps is what a destination is built with.
type Deps struct {
	// Name is the destination's name, for logs.
	Name string
	// Egress makes its connections.
	Egress *egress.Network
	// Log is where kind log writes and where others report what nobody returns.
	Log *slog.Logger
	// Version is Grapnel's, for the User-Agent.
	Version string
	// MaxInFlight is how many requests there will be at once: so many
	// connections are kept.
	MaxInFlight int
	// Now is the clock; nil is time.Now.
	Now func() time.Time
}

// Clock returns the clock.
func (d Deps) Clock() func() time.Time {
	if d.Now == nil {
		return time.Now
	}
	return d.Now
}
