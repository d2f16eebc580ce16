// Package api is the administrative HTTP surface of Grapnel: REST under /api/v1
// with an OpenAPI document that is generated from the code, health, metrics and
// profiles. It owns the shape of what it shows (its types are what the Go client
// decodes) and who may ask; it decides nothing about events, and reaches the
// engines only through the interfaces declared here.
//
// Every request but /healthz and /readyz needs the bearer token. Times are RFC
// 3339 in UTC with milliseconds; durations are strings in Go's notation, such as
// "1.5s"; lists have an opaque cursor. Errors are problem documents (RFC 9457)
// with a stable code and a hint; only messages of package fault are shown, every
// other error is "internal error" with the id of the request, which is in the log.
package api
