// Package bus is the kind of destination that publishes the event on another
// bus. It does nothing itself: it asks the delivery engine to do so in the
// commit that records the success, so that the event is neither lost nor
// published twice.
package bus

import (
	"context"

	"github.com/grapnel/grapnel/internal/destination"
	"github.com/grapnel/grapnel/internal/spec"
)

// Kind describes the kind.
func Kind() destination.Kind {
	return destination.Kind{
		Name: "bus", Summary: "Publishes each event on another bus, with the id that it has.",
		New: func() destination.Config { return &Config{} },
	}
}

// Config is the configuration of a bus destination.
type Config struct {
	Bus string
}

var _ destination.Forwarder = (*Config)(nil)

// Fields lists the fields.
func (c *Config) Fields() []spec.Field {
	return []spec.Field{
		spec.Name("bus", &c.Bus).Required().Example("security").
			Doc("The bus. An event is forwarded over 8 buses at most. What is published is the event, whatever " +
				"`input` a target has."),
	}
}

// Address returns the name of the bus.
func (c *Config) Address() string { return "bus " + c.Bus }

// ForwardsTo returns the name of the bus.
func (c *Config) ForwardsTo() string { return c.Bus }

// Build makes the destination.
func (c *Config) Build(destination.Deps) (destination.Destination, error) {
	return forwarder{bus: c.Bus}, nil
}

type forwarder struct{ bus string }

// Do asks for the event to be published; a test, which has no event, only
// succeeds.
func (f forwarder) Do(ctx context.Context, r *destination.Request) (*destination.Response, error) {
	if err := context.Cause(ctx); err != nil {
		return nil, destination.Unanswered(ctx, err, nil)
	}
	if r.Test || r.Event == nil {
		return &destination.Response{Status: 200}, nil
	}
	return &destination.Response{Status: 200, Forward: f.bus}, nil
}
