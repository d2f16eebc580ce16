package awscall

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/logging"

	"github.com/grapnel/grapnel/internal/destination"
	"github.com/grapnel/grapnel/internal/egress"
)

// Load reads the shared AWS configuration files, and returns the SDK's
// configuration and the chain of credentials that signs. Credentials are looked
// up when they are first needed.
func (a *Access) Load(d destination.Deps, region string, hide destination.Hidden) (aws.Config, *Chain, error) {
	options := []func(*config.LoadOptions) error{
		config.WithRegion(region),
		config.WithHTTPClient(credentialsClient(d.Egress)),
		config.WithLogger(sdkLogger(d.Log, hide)),
	}
	if a.Profile != "" {
		options = append(options, config.WithSharedConfigProfile(a.Profile))
	}
	if k := a.Credentials; k != nil {
		options = append(options, config.WithCredentialsProvider(credentials.NewStaticCredentialsProvider(
			k.AccessKeyID, k.SecretAccessKey.Reveal(), k.SessionToken.Reveal())))
	}
	// The files are read here; nothing waits, so that there is nothing to cancel.
	loaded, err := config.LoadDefaultConfig(context.Background(), options...)
	if err != nil {
		return aws.Config{}, nil, fmt.Errorf("loading the AWS configuration: %w", hide.Err(err))
	}
	chain := &Chain{providers: []aws.CredentialsProvider{loaded.Credentials}}
	if r := a.AssumeRole; r != nil {
		role := stscreds.NewAssumeRoleProvider(sts.NewFromConfig(loaded), r.ARN, func(o *stscreds.AssumeRoleOptions) {
			o.RoleSessionName = r.SessionName
			if id := r.ExternalID.Reveal(); id != "" {
				o.ExternalID = &id
			}
		})
		chain.role = r.ARN
		chain.providers = append(chain.providers, aws.NewCredentialsCache(role))
	}
	loaded.Credentials = chain
	return loaded, chain, nil
}

// Transport returns the transport of the calls themselves: the destination's
// network with the certificates of AWS_CA_BUNDLE, if there are any.
func Transport(d destination.Deps, loaded aws.Config) *http.Transport {
	limits := egress.Options{IdlePerHost: d.MaxInFlight}
	if own, ok := loaded.HTTPClient.(*awshttp.BuildableClient); ok {
		limits.RootCAs = own.GetTransport().TLSClientConfig.RootCAs
	}
	return d.Egress.Transport(limits)
}

// credentialsClient returns the client with which the SDK asks for credentials.
// It alone may reach the credentials services of machine and container, whose
// addresses are fixed or set by the environment of the process, never by a
// destination. The SDK wants a client of its own make, to which it adds
// AWS_CA_BUNDLE.
func credentialsClient(n *egress.Network) *awshttp.BuildableClient {
	guarded := n.Transport(egress.Options{Also: []netip.Prefix{
		netip.MustParsePrefix("169.254.169.254/32"), netip.MustParsePrefix("fd00:ec2::254/128"), // instance
		netip.MustParsePrefix("169.254.170.2/32"),                                             // ECS
		netip.MustParsePrefix("169.254.170.23/32"), netip.MustParsePrefix("fd00:ec2::23/128"), // EKS
		netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128"), // AWS_CONTAINER_CREDENTIALS_FULL_URI
	}})
	return awshttp.NewBuildableClient().WithTransportOptions(func(t *http.Transport) {
		t.DialContext, t.Proxy = guarded.DialContext, nil
	})
}

// sdkLogger passes what the SDK has to say to the log at level debug.
func sdkLogger(log *slog.Logger, hide destination.Hidden) logging.Logger {
	return logging.LoggerFunc(func(_ logging.Classification, format string, v ...any) {
		log.Debug("AWS SDK", slog.String("text", hide.Text(fmt.Sprintf(format, v...))))
	})
}

// Chain gives credentials, and makes the errors of getting them known as such.
type Chain struct {
	role      string                    // that is assumed, if any
	providers []aws.CredentialsProvider // the last one signs, each is made with the one before
}

// Retrieve returns the credentials, or a *CredentialsError.
func (c *Chain) Retrieve(ctx context.Context) (aws.Credentials, error) {
	last := c.providers[len(c.providers)-1]
	if last == nil {
		return aws.Credentials{}, &CredentialsError{Err: errors.New("there are none")}
	}
	found, err := last.Retrieve(ctx)
	if err != nil {
		return aws.Credentials{}, &CredentialsError{Role: c.role, Err: err}
	}
	return found, nil
}

// Refresh makes the next Retrieve look again.
func (c *Chain) Refresh() {
	for _, p := range c.providers {
		if cache, ok := p.(*aws.CredentialsCache); ok {
			cache.Invalidate()
		}
	}
}

// CredentialsError says that there are no credentials.
type CredentialsError struct {
	Role string // that was to be assumed, if any
	Err  error
}

// Error returns the cause.
func (e *CredentialsError) Error() string { return "no AWS credentials: " + e.Err.Error() }

// Unwrap returns the cause.
func (e *CredentialsError) Unwrap() error { return e.Err }

// NoCredentials returns what Do returns for a *CredentialsError; ok is false if
// err is none, or if ctx ended first.
func NoCredentials(ctx context.Context, err error, hide destination.Hidden) (failure *destination.Error, ok bool) {
	missing, ok := errors.AsType[*CredentialsError](err)
	if ctx.Err() != nil || !ok {
		return nil, false //nolint:nilerr // Whatever else err is, the caller reports.
	}
	message := "no AWS credentials were found, or they could not be renewed"
	if missing.Role != "" {
		message = "the role " + missing.Role + " could not be assumed"
		if api, ok := errors.AsType[smithy.APIError](err); ok && Denied(api.ErrorCode()) {
			message += "; " + Allow("sts:AssumeRole", missing.Role) + ", and the role must trust the caller"
		}
	}
	return &destination.Error{Class: destination.Credentials, Message: message, Err: hide.Err(err)}, true
}
