package client

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/url"
	"strings"

	"github.com/grapnel/grapnel/internal/api"
	"github.com/grapnel/grapnel/internal/fault"
)

const v1 = "/api/v1"

func (c *Client) get(ctx context.Context, path string, query url.Values, out any) error {
	return c.call(ctx, request{method: http.MethodGet, path: path, query: query}, out)
}

func (c *Client) post(ctx context.Context, path string, body, out any) error {
	return c.call(ctx, request{method: http.MethodPost, path: path, body: body}, out)
}

// at joins a path of the API; the parts are escaped.
func at(parts ...string) string {
	var path strings.Builder
	path.WriteString(v1)
	for _, p := range parts {
		path.WriteString("/" + url.PathEscape(p))
	}
	return path.String()
}

// Healthy returns nil if the process answers.
func (c *Client) Healthy(ctx context.Context) error {
	var out api.Health
	return c.get(ctx, "/healthz", nil, &out)
}

// Ready says whether events can be taken; that they cannot is no error.
func (c *Client) Ready(ctx context.Context) (api.Ready, error) {
	out := api.Ready{}
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	req, err := c.newRequest(ctx, request{method: http.MethodGet, path: "/readyz"})
	if err != nil {
		return out, err
	}
	response, err := c.http.Do(req)
	if err != nil {
		return out, c.unreachable(ctx, err)
	}
	defer func() {
		drain(response.Body)
		_ = response.Body.Close() // the answer has been dealt with
	}()
	if response.StatusCode != http.StatusOK && response.StatusCode != http.StatusServiceUnavailable {
		return out, c.problem(response)
	}
	if err := decode(response.Body, &out); err != nil {
		return out, notGrapnel(c.root, err)
	}
	return out, nil
}

// Status describes the running process.
func (c *Client) Status(ctx context.Context) (out api.Status, err error) {
	err = c.get(ctx, at("status"), nil, &out)
	return out, err
}

// OpenAPI returns the OpenAPI document as JSON.
func (c *Client) OpenAPI(ctx context.Context) ([]byte, error) {
	return c.bytes(ctx, "/openapi.json")
}

// Metrics returns the metrics in the text format of Prometheus.
func (c *Client) Metrics(ctx context.Context) ([]byte, error) {
	return c.bytes(ctx, "/metrics")
}

func (c *Client) bytes(ctx context.Context, path string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	response, err := c.send(ctx, request{method: http.MethodGet, path: path, accept: "*/*"})
	if err != nil {
		return nil, err
	}
	defer func() {
		drain(response.Body)
		_ = response.Body.Close() // the answer has been dealt with
	}()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", path, err)
	}
	return text, nil
}

// EventsPage returns one page of events.
func (c *Client) EventsPage(ctx context.Context, filter api.EventFilter) (out api.EventPage, err error) {
	err = c.get(ctx, at("events"), queryOf(filter), &out)
	return out, err
}

// Events returns all events that fit, page by page from the filter's cursor on;
// the filter's limit is the size of a page. It ends with the first error.
func (c *Client) Events(ctx context.Context, filter api.EventFilter) iter.Seq2[api.EventSummary, error] {
	filter.Limit = cmp.Or(filter.Limit, pageSize)
	return follow(func(cursor string) ([]api.EventSummary, string, error) {
		filter.Cursor = cmp.Or(cursor, filter.Cursor)
		page, err := c.EventsPage(ctx, filter)
		return page.Events, page.Next, err
	})
}

// Event returns everything about the event with the id or at the position.
// Returns NotFound if there is none.
func (c *Client) Event(ctx context.Context, id string) (out api.EventDetail, err error) {
	err = c.get(ctx, at("events", id), nil, &out)
	return out, err
}

// EventBody returns the body of the event's request, byte for byte, and its
// content type; the caller closes it. Returns NotFound if there is none.
func (c *Client) EventBody(ctx context.Context, id string) (body io.ReadCloser, contentType string, err error) {
	response, err := c.send(ctx, request{method: http.MethodGet, path: at("events", id, "body"), accept: "*/*"})
	if err != nil {
		return nil, "", err
	}
	return response.Body, response.Header.Get("Content-Type"), nil
}

// Explain asks every rule why it matches the event or does not.
func (c *Client) Explain(ctx context.Context, id string) (out api.Explanation, err error) {
	err = c.get(ctx, at("events", id, "explain"), nil, &out)
	return out, err
}

// Replay dispatches the event again.
func (c *Client) Replay(ctx context.Context, id string, r api.ReplayRequest) (out api.Replayed, err error) {
	err = c.post(ctx, at("events", id, "replay"), r, &out)
	return out, err
}

// Publish commits an event.
func (c *Client) Publish(ctx context.Context, ev api.NewEvent) (out api.Published, err error) {
	err = c.post(ctx, at("events"), ev, &out)
	return out, err
}

// Refused lists refused requests, newest first, with the counts by reason.
func (c *Client) Refused(ctx context.Context, filter api.RefusedFilter) (out api.RefusedPage, err error) {
	err = c.get(ctx, at("refused"), queryOf(filter), &out)
	return out, err
}

// RefusedRequest returns a refused request. Returns NotFound if it is not kept.
func (c *Client) RefusedRequest(ctx context.Context, id string) (out api.RefusedDetail, err error) {
	err = c.get(ctx, at("refused", id), nil, &out)
	return out, err
}

// DeliveriesPage returns one page of deliveries.
func (c *Client) DeliveriesPage(ctx context.Context, list api.DeliveryList) (out api.DeliveryPage, err error) {
	err = c.get(ctx, at("deliveries"), queryOf(list), &out)
	return out, err
}

// Deliveries returns all deliveries that fit, as Events does for events.
func (c *Client) Deliveries(ctx context.Context, list api.DeliveryList) iter.Seq2[api.Delivery, error] {
	list.Limit = cmp.Or(list.Limit, pageSize)
	return follow(func(cursor string) ([]api.Delivery, string, error) {
		list.Cursor = cmp.Or(cursor, list.Cursor)
		page, err := c.DeliveriesPage(ctx, list)
		return page.Deliveries, page.Next, err
	})
}

// Delivery returns a delivery with its attempts. Returns NotFound if there is none.
func (c *Client) Delivery(ctx context.Context, id string) (out api.DeliveryDetail, err error) {
	err = c.get(ctx, at("deliveries", id), nil, &out)
	return out, err
}

// RetryDelivery makes a delivery due at once and returns it. Returns NotFound
// or Conflict.
func (c *Client) RetryDelivery(ctx context.Context, id string) (out api.DeliveryDetail, err error) {
	err = c.post(ctx, at("deliveries", id, "retry"), nil, &out)
	return out, err
}

// CancelDelivery ends a delivery and returns it. Returns NotFound or Conflict.
func (c *Client) CancelDelivery(ctx context.Context, id string) (out api.DeliveryDetail, err error) {
	err = c.post(ctx, at("deliveries", id, "cancel"), nil, &out)
	return out, err
}

// RetryDeliveries retries what fits, at most the limit of the request. It takes
// as long as the rate says.
func (c *Client) RetryDeliveries(ctx context.Context, r api.BulkRetry) (out api.BulkRetried, err error) {
	err = c.call(ctx, request{
		method: http.MethodPost, path: at("deliveries", "retry"), body: r, patient: true,
	}, &out)
	return out, err
}

// RetryAll retries everything that fits, request by request; each one's limit
// is that of r. What it yields is what each request did.
func (c *Client) RetryAll(ctx context.Context, r api.BulkRetry) iter.Seq2[api.BulkRetried, error] {
	return follow(func(cursor string) ([]api.BulkRetried, string, error) {
		r.Cursor = cmp.Or(cursor, r.Cursor)
		done, err := c.RetryDeliveries(ctx, r)
		return []api.BulkRetried{done}, done.Next, err
	})
}

// Destinations lists the destinations and how they fare.
func (c *Client) Destinations(ctx context.Context) ([]api.Destination, error) {
	var out api.DestinationPage
	err := c.get(ctx, at("destinations"), nil, &out)
	return out.Destinations, err
}

// Destination returns one destination. Returns NotFound if there is none.
func (c *Client) Destination(ctx context.Context, name string) (out api.Destination, err error) {
	err = c.get(ctx, at("destinations", name), nil, &out)
	return out, err
}

// TestDestination sends one message now: Test Connection. A receiver that
// refuses is a result, not an error.
func (c *Client) TestDestination(ctx context.Context, name string, r api.TestRequest) (out api.TestResult, err error) {
	err = c.call(ctx, request{
		method: http.MethodPost, path: at("destinations", name, "test"), body: r, patient: true,
	}, &out)
	return out, err
}

// DisableDestination holds what is bound for the destination.
func (c *Client) DisableDestination(ctx context.Context, name, reason string) (out api.Destination, err error) {
	err = c.post(ctx, at("destinations", name, "disable"), api.DisableRequest{Reason: reason}, &out)
	return out, err
}

// EnableDestination lets deliveries go again.
func (c *Client) EnableDestination(ctx context.Context, name string) (out api.Destination, err error) {
	err = c.post(ctx, at("destinations", name, "enable"), nil, &out)
	return out, err
}

// Sources lists the sources with the URL to paste.
func (c *Client) Sources(ctx context.Context) ([]api.Source, error) {
	var out api.SourcePage
	err := c.get(ctx, at("sources"), nil, &out)
	return out.Sources, err
}

// Source returns one source. Returns NotFound if there is none.
func (c *Client) Source(ctx context.Context, name string) (out api.Source, err error) {
	err = c.get(ctx, at("sources", name), nil, &out)
	return out, err
}

// Rules lists the rules.
func (c *Client) Rules(ctx context.Context) ([]api.Rule, error) {
	var out api.RulePage
	err := c.get(ctx, at("rules"), nil, &out)
	return out.Rules, err
}

// TestPattern tries a pattern with an event.
func (c *Client) TestPattern(ctx context.Context, test api.PatternTest) (out api.RuleVerdict, err error) {
	err = c.post(ctx, at("pattern", "test"), test, &out)
	return out, err
}

// pageSize is the size of a page when everything is wanted.
const pageSize = 500

// follow yields the entries of all pages. A cursor that comes back twice ends
// it with an error: it would never end otherwise.
func follow[T any](page func(cursor string) ([]T, string, error)) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for cursor := ""; ; {
			entries, next, err := page(cursor)
			if err != nil {
				var none T
				yield(none, err)
				return
			}
			for _, e := range entries {
				if !yield(e, nil) {
					return
				}
			}
			if next == "" {
				return
			}
			if next == cursor {
				var none T
				yield(none, fault.New(fault.Internal, "cursor_loop", "the server gave the same cursor twice"))
				return
			}
			cursor = next
		}
	}
}
