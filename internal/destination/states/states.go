// Package states is the kind of destination that starts an execution of an AWS
// Step Functions state machine with each message as its input. The execution is
// named as the delivery: an attempt after one whose answer was lost starts
// nothing twice.
package states

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"

	"github.com/grapnel/grapnel/internal/destination"
	"github.com/grapnel/grapnel/internal/destination/awscall"
	"github.com/grapnel/grapnel/internal/fault"
	"github.com/grapnel/grapnel/internal/spec"
)

// maxInput is the size of an input in bytes.
const maxInput = 256 << 10

// Kind describes the kind.
func Kind() destination.Kind {
	return destination.Kind{
		Name: "states", Summary: "Starts an AWS Step Functions execution with each message.",
		New: func() destination.Config { return &Config{} },
	}
}

// Config is the configuration of a states destination.
type Config struct {
	Machine  string
	Endpoint string
	Access   awscall.Access
}

var (
	_ destination.Config = (*Config)(nil)
	_ spec.Checker       = (*Config)(nil)
)

// Fields lists the fields.
func (c *Config) Fields() []spec.Field {
	return append([]spec.Field{
		spec.String("state_machine", &c.Machine).Required().Check(c.checkMachine).
			Example("arn:aws:states:us-east-1:123456789012:stateMachine:triage").
			Doc("The state machine's ARN; it may end in `:version` or `:alias`. Executions are named as the " +
				"deliveries, so that a standard state machine runs once however often an attempt is repeated."),
		c.Access.RegionField("The region of the state machine.").DefaultDoc("that of the ARN"),
		awscall.EndpointField(&c.Endpoint),
	}, c.Access.KeyFields()...)
}

// Check checks what concerns several fields.
func (c *Config) Check(at *spec.Place) {
	c.Access.Check(at)
	c.Access.CheckRegion(at, "state_machine", c.arn().Region)
}

func (c *Config) arn() awscall.ARN {
	arn, err := awscall.ParseARN(c.Machine, "states")
	if err != nil {
		return awscall.ARN{}
	}
	return arn
}

var machineText = regexp.MustCompile(`^stateMachine:[a-zA-Z0-9_.+!@='-]{1,80}(?::[a-zA-Z0-9_.-]{1,80})?$`)

func (c *Config) checkMachine() error {
	if !machineText.MatchString(c.arn().Resource) {
		return fault.New(fault.Invalid, "invalid_resource", "is not the ARN of a state machine")
	}
	return nil
}

// Address returns the ARN.
func (c *Config) Address() string { return awscall.Shown(c.Machine, c.Endpoint) }

// starter is a destination.
type starter struct {
	*awscall.Client

	machine string
}

// Build makes the destination.
func (c *Config) Build(d destination.Deps) (destination.Destination, error) {
	client, err := c.Access.Client(d, awscall.Target{
		Service: "states", Region: c.arn().Region, Action: "states:StartExecution", Resource: c.Machine,
		Endpoint: c.Endpoint, Code: class,
	})
	if err != nil {
		return nil, fmt.Errorf("building a states destination: %w", err)
	}
	return &starter{Client: client, machine: c.Machine}, nil
}

// class makes a conflict of a name that an execution had within the last 90 days.
func class(code string) destination.Class {
	if code == "ExecutionAlreadyExists" {
		return destination.Conflict
	}
	return ""
}

// Do starts the execution.
func (s *starter) Do(ctx context.Context, r *destination.Request) (*destination.Response, error) {
	switch {
	case !json.Valid(r.Body):
		return nil, awscall.Unfit("the message is not JSON, which the input of an execution must be")
	case len(r.Body) > maxInput:
		return nil, awscall.TooLarge("the message", len(r.Body), maxInput)
	}
	in := map[string]string{"stateMachineArn": s.machine, "name": r.ID, "input": string(r.Body)}
	answer, err := s.JSON(ctx, "1.0", "AWSStepFunctions.StartExecution", in, r.WantBody, 0)
	//nolint:errorlint // It is what JSON returned, never wrapped.
	if failure, ok := err.(*destination.Error); ok && failure.Class == destination.Conflict && failure.Status == http.StatusBadRequest {
		// An earlier attempt of this very delivery started it.
		return &destination.Response{Status: http.StatusOK, Header: http.Header{}, Body: failure.Excerpt}, nil
	}
	if err != nil {
		return nil, err //nolint:wrapcheck // It is a *destination.Error, as Do promises.
	}
	return answer.Response(), nil
}
