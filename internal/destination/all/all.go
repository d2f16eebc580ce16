// Package all lists every kind of destination. A new kind is a folder beside
// this one and a line here.
package all

import (
	"github.com/grapnel/grapnel/internal/destination"
	"github.com/grapnel/grapnel/internal/destination/apigateway"
	"github.com/grapnel/grapnel/internal/destination/bus"
	"github.com/grapnel/grapnel/internal/destination/email"
	"github.com/grapnel/grapnel/internal/destination/eventbridge"
	"github.com/grapnel/grapnel/internal/destination/exec"
	"github.com/grapnel/grapnel/internal/destination/firehose"
	"github.com/grapnel/grapnel/internal/destination/kinesis"
	"github.com/grapnel/grapnel/internal/destination/lambda"
	"github.com/grapnel/grapnel/internal/destination/log"
	"github.com/grapnel/grapnel/internal/destination/pagerduty"
	"github.com/grapnel/grapnel/internal/destination/s3"
	"github.com/grapnel/grapnel/internal/destination/slack"
	"github.com/grapnel/grapnel/internal/destination/sns"
	"github.com/grapnel/grapnel/internal/destination/sqs"
	"github.com/grapnel/grapnel/internal/destination/states"
	"github.com/grapnel/grapnel/internal/destination/webhook"
	"github.com/grapnel/grapnel/internal/spec"
)

// Kinds returns all kinds in the order in which they are documented.
func Kinds() []destination.Kind {
	return []destination.Kind{
		webhook.Kind(),
		lambda.Kind(),
		apigateway.Kind(),
		eventbridge.Kind(),
		sqs.Kind(),
		sns.Kind(),
		kinesis.Kind(),
		firehose.Kind(),
		states.Kind(),
		s3.Kind(),
		slack.Kind(),
		pagerduty.Kind(),
		email.Kind(),
		exec.Kind(),
		bus.Kind(),
		log.Kind(),
	}
}

// Specs returns all kinds as variants of a destination's configuration, for
// internal/config. What decoding chooses is a destination.Config.
func Specs() []spec.Kind {
	kinds := Kinds()
	specs := make([]spec.Kind, len(kinds))
	for i, k := range kinds {
		specs[i] = k.Spec()
	}
	return specs
}
