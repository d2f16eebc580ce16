package api

import (
	"fmt"
	"reflect"
	"strings"
	"sync"

	"github.com/danielgtaylor/huma/v2"
)

const description = `The administrative interface of Grapnel: events, refused requests, deliveries,
destinations, sources and rules. Every request but /healthz and /readyz needs the bearer token.

Times are RFC 3339 in UTC with milliseconds; durations are strings in Go's notation, such as "1.5s".
Lists are paged by an opaque cursor: send next of a page as cursor of the following one. Unknown
parameters are refused. Errors are problem documents (RFC 9457) with a stable code and a hint.`

// schemas is where the document keeps its schemas.
const schemas = "#/components/schemas/"

// humaConfig describes the API. Nothing of it depends on the process, so that
// the generated document is the same everywhere.
func (s *server) humaConfig() huma.Config {
	json := huma.DefaultJSONFormat
	return huma.Config{
		OpenAPI: &huma.OpenAPI{
			OpenAPI: "3.1.0",
			Info:    &huma.Info{Title: "Grapnel", Version: "1", Description: description},
			Components: &huma.Components{
				Schemas: huma.NewMapRegistry(schemas, huma.DefaultSchemaNamer),
				SecuritySchemes: map[string]*huma.SecurityScheme{
					"token": {Type: "http", Scheme: "bearer", Description: "The admin token, from the data directory."},
				},
			},
			Security: []map[string][]string{{"token": {}}},
			Tags: []*huma.Tag{
				{Name: tagEvents},
				{Name: tagRefused},
				{Name: tagDeliveries},
				{Name: tagDestinations},
				{Name: tagComponents},
				{Name: tagServer},
			},
		},
		Formats:                      map[string]huma.Format{"application/json": json, "json": json},
		DefaultFormat:                "application/json",
		RejectUnknownQueryParameters: true,
		Transformers:                 []huma.Transformer{s.humaProblem},
	}
}

// documentOf finishes the document once all routes are known.
func documentOf(api huma.API) func() []byte {
	doc := api.OpenAPI()
	registry := doc.Components.Schemas
	registry.Schema(reflect.TypeFor[Problem](), true, "Problem")
	// huma describes its own errors too, but never sends them as they are.
	delete(registry.Map(), "ErrorModel")
	delete(registry.Map(), "ErrorDetail")
	closed := map[string]bool{}
	for _, path := range doc.Paths {
		if path.Post != nil && path.Post.RequestBody != nil {
			for _, media := range path.Post.RequestBody.Content {
				closeOver(registry, media.Schema, closed)
			}
		}
	}
	for name, schema := range registry.Map() {
		finish(schema, closed[name])
	}
	return sync.OnceValue(func() []byte {
		text, err := indented(doc)
		if err != nil {
			panic(fmt.Sprintf("the OpenAPI document cannot be written: %v", err)) // a bug that every test finds
		}
		return text
	})
}

// closeOver notes the schemas that a request's body is made of.
func closeOver(registry huma.Registry, schema *huma.Schema, closed map[string]bool) {
	name, ok := strings.CutPrefix(schema.Ref, schemas)
	if !ok || closed[name] {
		return
	}
	closed[name] = true
	for _, property := range registry.SchemaFromRef(schema.Ref).Properties {
		closeOver(registry, property, closed)
	}
}

// finish says of a schema what this API does: an empty list is [], not null,
// and answers may get more members, while requests have none but those named.
func finish(schema *huma.Schema, closed bool) {
	for _, property := range schema.Properties {
		if property.Type == huma.TypeArray {
			property.Nullable = false
		}
	}
	if open, ok := schema.AdditionalProperties.(bool); ok && !open && !closed {
		schema.AdditionalProperties = nil
	}
}
