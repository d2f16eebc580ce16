package signature

import (
	"fmt"
	"slices"
	"strings"
)

// Provider is what is known about a sender of webhooks.
type Provider struct {
	// Name is what configurations call the provider. Aliases are accepted too.
	Name    string   `json:"name"`
	Aliases []string `json:"aliases,omitempty"`
	// Title is what people call it.
	Title string `json:"title"`
	// Source is the source of its events.
	Source string `json:"source"`
	// Profiles are the names of the profiles by which its requests may be verified, the default
	// first.
	Profiles []string `json:"profiles"`
	// ID and Type are where the delivery id and the event type stand, in the order of preference.
	ID   []Locator `json:"id,omitempty"`
	Type []Locator `json:"type,omitempty"`
	// Split is how several events come in one request, nil if they never do.
	Split *Split `json:"split,omitempty"`
	// DetailType is the detail-type of an event whose type is not found.
	DetailType string `json:"detail_type"`
	// Answer is the answer to an accepted request that the provider expects. A zero status means
	// that any 2xx does.
	Answer Answer `json:"answer"`
	// Expects says in words what answer the provider waits for, and how long.
	Expects string `json:"expects"`
	// Handshakes are the names of the requests by which the provider verifies an endpoint.
	Handshakes []string `json:"handshakes,omitempty"`
	// Steps say how to set the webhook up at the provider.
	Steps []string `json:"steps"`
	// MaskHeaders and MaskQuery are header and parameter names, beside those of the profile, whose
	// values must not be stored.
	MaskHeaders []string `json:"mask_headers,omitempty"`
	MaskQuery   []string `json:"mask_query,omitempty"`
	// Signed says what the signature covers, Unsigned what it does not.
	Signed   string `json:"signed"`
	Unsigned string `json:"unsigned"`
	// Retries says what the provider does when a request fails.
	Retries string `json:"retries"`
}

// Providers returns all providers, sorted by name. What is in them is shared: do not change it.
func Providers() []Provider {
	list := slices.Concat(codeProviders, buildProviders, messageProviders, moneyProviders,
		shopProviders, commerceProviders, serviceProviders, businessProviders, operationsProviders,
		identityProviders, genericProviders)
	slices.SortFunc(list, func(a, b Provider) int { return strings.Compare(a.Name, b.Name) })
	return list
}

// LookupProvider returns the provider with the name or alias.
func LookupProvider(name string) (Provider, bool) {
	for _, p := range Providers() {
		if p.Name == name || slices.Contains(p.Aliases, name) {
			return p, true
		}
	}
	return Provider{}, false
}

// DeliveryID returns the id that the provider gave to the delivery, "" if it gives none or it cannot
// be found. Most providers do not sign it: see Unsigned.
func (p *Provider) DeliveryID(req *Request) string { return locate(req, p.ID, maxID) }

// EventType returns the type of the event, or DetailType if the request does not say.
func (p *Provider) EventType(req *Request) string {
	if text := locate(req, p.Type, maxType); text != "" {
		return text
	}
	return p.DetailType
}

// Credentials returns where requests of the provider carry credentials under the named profile, the
// first one if the name is empty.
func (p *Provider) Credentials(profile string) Credentials {
	if profile == "" {
		profile = p.Profiles[0]
	}
	var c Credentials
	if q, ok := LookupProfile(profile); ok {
		c = q.Credentials()
	}
	return c.With(Credentials{Headers: p.MaskHeaders, Query: p.MaskQuery})
}

// With returns the places of both, and those headers that always carry credentials.
func (c Credentials) With(other Credentials) Credentials {
	c = Credentials{
		Headers: slices.Concat(c.Headers, canonical(other.Headers),
			[]string{"Authorization", "Cookie", "Proxy-Authorization"}),
		Query:    slices.Concat(c.Query, other.Query),
		Segments: slices.Concat(c.Segments, other.Segments),
		Pointers: slices.Concat(c.Pointers, other.Pointers),
	}
	c.Headers, c.Query = distinct(c.Headers), distinct(c.Query)
	c.Segments, c.Pointers = distinct(c.Segments), distinct(c.Pointers)
	return c
}

// distinct sorts the list and drops repeats.
func distinct[T string | int](list []T) []T {
	slices.Sort(list)
	return slices.Compact(list)
}

// resolve returns the profile for the name of a provider or profile.
func resolve(name, profile string) (Profile, error) {
	if p, ok := LookupProvider(name); ok {
		if profile == "" {
			profile = p.Profiles[0]
		}
		if !slices.Contains(p.Profiles, profile) {
			return Profile{}, fmt.Errorf("provider %q has no profile %q, only %s: %w",
				name, profile, strings.Join(p.Profiles, ", "), ErrProfile)
		}
		name = profile
	} else if profile != "" && profile != name {
		return Profile{}, fmt.Errorf("provider %q is unknown: %w", name, ErrProfile)
	}
	p, ok := LookupProfile(name)
	if !ok {
		return Profile{}, fmt.Errorf("provider %q is unknown: %w", name, ErrProfile)
	}
	return p, nil
}
