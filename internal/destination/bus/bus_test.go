package bus_test

import (
	"strings"
	"testing"

	"github.com/grapnel/grapnel/internal/destination"
	"github.com/grapnel/grapnel/internal/destination/bus"
	"github.com/grapnel/grapnel/internal/destination/destinationtest"
)

func TestConformance(t *testing.T) {
	t.Parallel()
	destinationtest.RunOffline(t, bus.Kind(), `{"bus": "security"}`)
}

func TestTheEngineIsAskedToForward(t *testing.T) {
	t.Parallel()
	d := destinationtest.Build(t, bus.Kind(), `{"bus": "security"}`, destinationtest.Deps(t))
	resp, err := d.Do(t.Context(), destinationtest.Request(`{}`))
	if err != nil || resp.Forward != "security" || resp.Status != 200 {
		t.Errorf("Do = %+v, %v, want it to forward to security", resp, err)
	}
}

func TestTheConfigurationNamesItsBus(t *testing.T) {
	t.Parallel()
	c, problems := destinationtest.Decode(t, bus.Kind(), `{"bus": "security"}`)
	forwarder, ok := c.(destination.Forwarder)
	if !ok || forwarder.ForwardsTo() != "security" || c.Address() != "bus security" || problems != "" {
		t.Errorf("configuration %+v (%s), want one that forwards to security", c, problems)
	}
	for config, want := range map[string]string{`{}`: "bus: is missing", `{"bus": "a b"}`: "a name consists of"} {
		if _, problems := destinationtest.Decode(t, bus.Kind(), config); !strings.Contains(problems, want) {
			t.Errorf("%s: %q, want a problem that says %q", config, problems, want)
		}
	}
}
