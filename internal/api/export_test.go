package api

import "time"

// Hooks for tests of what is not reached from outside.
var (
	ParseEventCursor    = parseEventCursor
	ParseDeliveryCursor = parseDeliveryCursor
	ParsePlace          = func(text string) (string, error) { p, err := parsePlace(text); return p.cursor(), err }
	EventCursor         = eventCursor
	DeliveryCursor      = deliveryCursor
)

// MaxTails and TailHeartbeat are the bounds of streams.
const (
	MaxTails                     = maxTails
	TailPeriod     time.Duration = tailHeartbeat
	TailChunk                    = tailChunk
	StreamPatience               = tailPatience
)
