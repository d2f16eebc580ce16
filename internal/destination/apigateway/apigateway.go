// Package apigateway is the kind of destination that sends a message to an HTTP
// endpoint which lets in who signs with AWS Signature Version 4: an API Gateway
// stage, a Lambda function URL, or any URL that checks such signatures. Its
// statuses mean what they mean for a webhook.
package apigateway

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/grapnel/grapnel/internal/destination"
	"github.com/grapnel/grapnel/internal/destination/awscall"
)

// The headers by which a receiver knows a message again (Standard Webhooks).
const (
	headerID        = "Webhook-Id"
	headerTimestamp = "Webhook-Timestamp"
)

// gateway is a destination.
type gateway struct {
	*awscall.Client

	method string
	url    *url.URL
	header http.Header // of all requests
	noBody bool
	now    func() time.Time
}

// Build makes the destination. It reads the shared AWS configuration files;
// credentials are looked up when they are first needed.
func (c *Config) Build(d destination.Deps) (destination.Destination, error) {
	u, err := url.Parse(c.URL)
	if err != nil {
		return nil, errors.New("building an apigateway destination: the URL is not valid") // its text could show a secret
	}
	header := http.Header{"User-Agent": {"Grapnel/" + d.Version}}
	for name, value := range c.Headers {
		header.Set(name, value.Reveal())
	}
	client, err := c.Access.Client(d, awscall.Target{
		Service: c.Service, Region: c.Access.Region, Action: action(c.Service), Resource: c.Address(),
		Code: class, Explain: explain(c.Service), Hide: c.hidden(),
	})
	if err != nil {
		return nil, fmt.Errorf("building an apigateway destination: %w", err)
	}
	return &gateway{
		Client: client, method: c.Method, url: u, header: header, now: d.Clock(),
		noBody: c.Method == http.MethodGet || c.Method == http.MethodHead,
	}, nil
}

// action returns what a policy must allow. Function URLs made since October
// 2025 need two.
func action(service string) string {
	switch service {
	case executeAPI:
		return "execute-api:Invoke"
	case lambdaURL:
		return "lambda:InvokeFunctionUrl (and lambda:InvokeFunction)"
	}
	return "the action of service " + service
}

// noRoute is what API Gateway answers to a signed request for a stage, path or
// method that it does not have.
const noRoute = "MissingAuthenticationTokenException"

// class leaves classes to the status, as with webhooks, but for what concerns
// the signature.
func class(code string) destination.Class {
	if code == noRoute {
		return destination.NotFound
	}
	return ""
}

// explain reads the code that the gateway puts into a header. What is in the
// body comes from the application behind it as well, and is its own.
func explain(service string) func(http.Header, []byte) awscall.Failed {
	return func(header http.Header, body []byte) awscall.Failed {
		if service == s3 {
			return awscall.Explain(header, body)
		}
		f := awscall.Explain(header, body)
		if header.Get("X-Amzn-Errortype") == "" {
			f.Code = ""
		}
		if f.Code == noRoute {
			f.Message += " (the request was signed: there is no such stage, path or method)"
		}
		return f
	}
}

// Do sends the request.
func (g *gateway) Do(ctx context.Context, r *destination.Request) (*destination.Response, error) {
	at := r.Time
	if at.IsZero() {
		at = g.now()
	}
	header := g.header.Clone()
	header.Set(headerID, r.ID)
	header.Set(headerTimestamp, strconv.FormatInt(at.Unix(), 10))
	body := r.Body
	if g.noBody {
		body = nil
	}
	if len(body) > 0 && header.Get("Content-Type") == "" {
		contentType := r.ContentType
		if contentType == "" {
			contentType = "application/json"
		}
		header.Set("Content-Type", contentType)
	}
	answer, err := g.Send(ctx, awscall.Call{Method: g.method, URL: g.url, Header: header, Body: body, Want: r.WantBody})
	if err != nil {
		return nil, err //nolint:wrapcheck // It is a *destination.Error, as Do promises.
	}
	return answer.Response(), nil
}
