package config_test

import (
	"net/url"

	"github.com/grapnel/grapnel/internal/secret"
	"github.com/grapnel/grapnel/internal/spec"
)

// kinds are kinds of destinations as small as they can be.
func kinds() []spec.Kind {
	return []spec.Kind{
		{Name: "webhook", Summary: "POST to a URL.", New: func() spec.Fielder { return new(webhook) }},
		{Name: "lambda", Summary: "AWS Lambda.", New: func() spec.Fielder { return new(lambda) }},
		{Name: "apigateway", Summary: "A URL behind AWS IAM.", New: func() spec.Fielder { return new(gateway) }},
		{Name: "log", Summary: "A line in the log.", New: func() spec.Fielder { return new(logLine) }},
		{Name: "bus", Summary: "Another bus.", New: func() spec.Fielder { return new(forward) }},
	}
}

type webhook struct {
	URL     string
	Headers map[string]string
	Signing *signing
}

func (w *webhook) Fields() []spec.Field {
	return []spec.Field{
		spec.URL("url", &w.URL).Required().Check(func() error {
			_, err := url.Parse(w.URL)
			return err
		}).Doc("Where requests go.").Example("https://crm.example.com/hooks"),
		spec.StringMap("headers", &w.Headers).Doc("Further headers."),
		spec.Optional("signing", &w.Signing).Doc("How requests are signed."),
	}
}

type signing struct {
	Scheme  string
	Secrets []secret.String
}

func (s *signing) Fields() []spec.Field {
	return []spec.Field{
		spec.Enum("scheme", &s.Scheme, "standard-webhooks", "hmac").Default("standard-webhooks").Doc("Scheme."),
		spec.Secrets("secrets", &s.Secrets).Required().MinItems(1).Doc("Secrets."),
	}
}

type lambda struct{ Function, Invocation, Region, Endpoint string }

func (l *lambda) Fields() []spec.Field {
	return []spec.Field{
		spec.String("function", &l.Function).Required().Doc("Name or ARN."),
		spec.Enum("invocation", &l.Invocation, "request_response", "event").Default("request_response").Doc("How."),
		spec.String("region", &l.Region).Doc("Region."),
		spec.URL("endpoint", &l.Endpoint).Doc("Another endpoint."),
	}
}

type gateway struct {
	URL, Region, Service string
	Credentials          *awsKeys
}

func (g *gateway) Fields() []spec.Field {
	return []spec.Field{
		spec.URL("url", &g.URL).Required().Doc("Where requests go.").Example("https://crm.example.com/hooks"),
		spec.String("region", &g.Region).Required().Doc("Region."),
		spec.String("service", &g.Service).Default("execute-api").Doc("Service."),
		spec.Optional("credentials", &g.Credentials).Doc("Keys."),
	}
}

type awsKeys struct {
	ID  string
	Key secret.String
}

func (k *awsKeys) Fields() []spec.Field {
	return []spec.Field{
		spec.String("access_key_id", &k.ID).Required().Doc("Id."),
		spec.Secret("secret_access_key", &k.Key).Required().Doc("Key."),
	}
}

type logLine struct{}

func (*logLine) Fields() []spec.Field { return nil }

type forward struct{ Bus string }

func (f *forward) Fields() []spec.Field {
	return []spec.Field{spec.Name("bus", &f.Bus).Required().Doc("Name of the bus.")}
}

func (f *forward) ForwardsTo() string { return f.Bus }
