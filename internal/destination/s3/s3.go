// Package s3 is the kind of destination that writes each message into an Amazon
// S3 bucket as an object of its own: one line of NDJSON. The object is named as
// the delivery, so that a repeated attempt writes the same object again.
package s3

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/grapnel/grapnel/internal/destination"
	"github.com/grapnel/grapnel/internal/destination/awscall"
	"github.com/grapnel/grapnel/internal/fault"
	"github.com/grapnel/grapnel/internal/spec"
)

// Kind describes the kind.
func Kind() destination.Kind {
	return destination.Kind{
		Name: "s3", Summary: "Writes each message as an object of one NDJSON line into an Amazon S3 bucket.",
		New: func() destination.Config { return &Config{} },
	}
}

// Config is the configuration of an s3 destination.
type Config struct {
	Bucket   string
	Prefix   string
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
		spec.String("bucket", &c.Bucket).Required().Check(c.checkBucket).Example("hooks-archive").Doc("The bucket's name."),
		c.Access.RegionField("The region of the bucket.").Required(),
		spec.String("prefix", &c.Prefix).Check(c.checkPrefix).Example("hooks/").
			Doc("What the keys begin with. Year, month, day and hour of the event (UTC) and the delivery's id follow: " +
				"`hooks/2026/11/21/10/dlv_….ndjson`. There is one object for each delivery."),
		awscall.EndpointField(&c.Endpoint),
	}, c.Access.KeyFields()...)
}

// Check checks what concerns several fields.
func (c *Config) Check(at *spec.Place) { c.Access.Check(at) }

var (
	bucketText = regexp.MustCompile(`^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$`)
	prefixText = regexp.MustCompile(`^[a-zA-Z0-9!_.*'()=/-]{0,512}$`)
)

func (c *Config) checkBucket() error {
	if !bucketText.MatchString(c.Bucket) || strings.Contains(c.Bucket, "..") {
		return fault.New(fault.Invalid, "invalid_resource", "is not the name of a bucket")
	}
	return nil
}

func (c *Config) checkPrefix() error {
	dots := strings.Contains("/"+c.Prefix, "/./") || strings.Contains("/"+c.Prefix, "/../")
	if !prefixText.MatchString(c.Prefix) || strings.HasPrefix(c.Prefix, "/") || dots || strings.Contains(c.Prefix, "//") {
		return fault.New(fault.Invalid, "invalid_config",
			"is not the beginning of a key: letters, digits, ! _ . * ' ( ) = - and single slashes, but not first")
	}
	return nil
}

// resource returns what a policy names.
func (c *Config) resource() string {
	partition := "aws"
	if strings.HasPrefix(c.Access.Region, "cn-") {
		partition = "aws-cn"
	} else if strings.HasPrefix(c.Access.Region, "us-gov-") {
		partition = "aws-us-gov"
	}
	return "arn:" + partition + ":s3:::" + c.Bucket + "/" + c.Prefix + "*"
}

// Address returns bucket and prefix.
func (c *Config) Address() string {
	return awscall.Shown("s3://"+c.Bucket+"/"+c.Prefix, c.Endpoint)
}

// writer is a destination.
type writer struct {
	*awscall.Client

	base   url.URL // of the bucket, no slash at its end
	prefix string
	now    func() time.Time
}

// Build makes the destination.
func (c *Config) Build(d destination.Deps) (destination.Destination, error) {
	client, err := c.Access.Client(d, awscall.Target{
		Service: "s3", Region: c.Access.Region, Action: "s3:PutObject", Resource: c.resource(), Endpoint: c.Endpoint,
	})
	if err != nil {
		return nil, fmt.Errorf("building an s3 destination: %w", err)
	}
	u, err := url.Parse(client.Endpoint())
	if err != nil {
		return nil, fmt.Errorf("building an s3 destination: %w", err)
	}
	// Emulators know buckets by the path; so does TLS if the name has dots.
	if u.Host == awscall.Host("s3", c.Access.Region) && !strings.Contains(c.Bucket, ".") {
		u.Host = c.Bucket + "." + u.Host
	} else {
		u.Path += "/" + c.Bucket
	}
	return &writer{Client: client, base: *u, prefix: c.Prefix, now: d.Clock()}, nil
}

// line returns the object: JSON on one line, or what is no JSON as it is.
func line(r *destination.Request) (object []byte, contentType, suffix string) {
	var b bytes.Buffer
	b.Grow(len(r.Body) + 1)
	if json.Compact(&b, r.Body) == nil {
		b.WriteByte('\n')
		return b.Bytes(), "application/x-ndjson", ".ndjson"
	}
	contentType = r.ContentType
	if contentType == "" {
		contentType = "application/octet-stream"
	}
	return r.Body, contentType, ".raw"
}

// Do writes the object.
func (w *writer) Do(ctx context.Context, r *destination.Request) (*destination.Response, error) {
	object, contentType, suffix := line(r)
	at := w.now()
	if r.Event != nil {
		at = r.Event.Time // the same for every attempt
	}
	u := w.base
	u.Path += "/" + w.prefix + at.UTC().Format("2006/01/02/15/") + r.ID + suffix
	u.RawPath = escape(u.Path)
	answer, err := w.Send(ctx, awscall.Call{
		Method: http.MethodPut, URL: &u, Body: object, Want: r.WantBody,
		Header: http.Header{"Content-Type": {contentType}},
	})
	if err != nil {
		return nil, err //nolint:wrapcheck // It is a *destination.Error, as Do promises.
	}
	return answer.Response(), nil
}

// escape writes a path as signatures have it: S3 decodes what it gets and
// encodes it again, strictly, before it compares.
func escape(path string) string {
	var b strings.Builder
	for i := range len(path) {
		c := path[i]
		alnum := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
		if alnum || strings.IndexByte("/-._~", c) >= 0 {
			b.WriteByte(c)
			continue
		}
		fmt.Fprintf(&b, "%%%02X", c)
	}
	return b.String()
}
