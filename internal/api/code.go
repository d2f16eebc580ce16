package api

// The codes of the faults that this package makes. Engines add their own.
const (
	codeInternal        = "internal"
	codeInvalid         = "invalid"
	codeBadCursor       = "bad_cursor"
	codeMalformedBody   = "malformed_body"
	codeBodyTooLarge    = "body_too_large"
	codeMediaType       = "unsupported_media_type"
	codeTokenMissing    = "token_missing"
	codeTokenWrong      = "token_wrong"
	codeHostRefused     = "host_refused"
	codeNoRoute         = "no_such_route"
	codeMethod          = "method_not_allowed"
	codeTimeLimit       = "time_limit"
	codeCanceled        = "canceled"
	codeTooManyTails    = "too_many_tails"
	codeEventNotFound   = "event_not_found"
	codeEventID         = "malformed_event_id"
	codeNoBody          = "no_stored_body"
	codeEventTooLarge   = "event_too_large"
	codeMalformedDetail = "malformed_detail"
	codeReservedSource  = "reserved_source"
	codeDeliveryID      = "malformed_delivery_id"
	codeDeliveryUnknown = "delivery_not_found"
	codeRefusedUnknown  = "refused_not_found"
	codeDestUnknown     = "destination_not_found"
	codeSourceUnknown   = "source_not_found"
)

// CodeInfo explains one error code to people.
type CodeInfo struct {
	Code   string
	Status int    // HTTP status it is sent with
	What   string // what happened
	Next   string // what to do
}

// Codes returns the table of the error codes that this package makes, for
// docs/api.md and docs/errors.md.
func Codes() []CodeInfo { return append([]CodeInfo(nil), codes...) }

var codes = []CodeInfo{
	{
		codeInternal, 500, "Grapnel itself failed.",
		"Look for the request_id in the log, and report the line.",
	},
	{
		codeInvalid, 400, "Parameters or members of the body are wrong; errors lists each of them.",
		"Correct them; docs/openapi.json has the schema. Unknown parameters are refused, so that a typo does not drop a filter.",
	},
	{
		codeBadCursor, 400, "The cursor is not one that this list gave.",
		"Send the value of next unchanged, or leave cursor out.",
	},
	{codeMalformedBody, 400, "The body is not valid JSON, or missing.", "Correct the body."},
	{codeBodyTooLarge, 413, "The body is larger than this request may be.", "Send less."},
	{
		codeMediaType, 415, "A POST without Content-Type: application/json.",
		"Set the header. It keeps web pages of other sites from posting here.",
	},
	{
		codeTokenMissing, 401, "The request carries no bearer token.",
		"Send Authorization: Bearer with the token in the file admin.token of the data directory.",
	},
	{
		codeTokenWrong, 401, "The bearer token is not the one of this server.",
		"Use the token of this server's data directory.",
	},
	{
		codeHostRefused, 403, "The Host header names neither an address, localhost, nor a configured host.",
		"Use the address, or set admin.public_url to the name by which this server is reached.",
	},
	{codeNoRoute, 404, "Nothing is served at this path.", "See docs/api.md for the routes."},
	{codeMethod, 405, "The path does not take this method.", "Use one that the Allow header names."},
	{
		codeTimeLimit, 503, "The request took longer than it may.",
		"Narrow the filter or the time range, and try again.",
	},
	{codeCanceled, 499, "Who asked went away.", "Nothing."},
	{
		codeTooManyTails, 429, "As many streams are open as this server allows.",
		"Close one, or try again later.",
	},
	{
		codeEventNotFound, 404, "No event has this id or position; it may have left with its retention.",
		"Check the id: grapnel events list.",
	},
	{
		codeEventID, 400, "The text is neither an event id nor a position.",
		"An id is a UUID of 36 characters, a position is 16 hex digits.",
	},
	{codeNoBody, 404, "The event did not come with a request, so there is no body.", "Read its detail instead."},
	{
		codeEventTooLarge, 413, "The event is larger than 1 MiB, as PutEvents counts it.",
		"Put the data elsewhere and send a reference.",
	},
	{codeMalformedDetail, 400, "detail is not a JSON object.", "Wrap the value in an object."},
	{codeReservedSource, 400, "Sources that begin with aws. belong to AWS.", "Choose another source."},
	{codeDeliveryID, 400, "The text is not a delivery id.", "An id is dlv_ and 26 characters."},
	{
		codeDeliveryUnknown, 404, "No delivery has this id; its event may have left with its retention.",
		"Check the id: grapnel deliveries list.",
	},
	{
		codeRefusedUnknown, 404, "No refused request with this id is kept; a bounded number is.",
		"List what is kept: grapnel refused list.",
	},
	{codeDestUnknown, 404, "No destination has this name.", "Check the name: GET /api/v1/destinations."},
	{codeSourceUnknown, 404, "No source has this name.", "Check the name: GET /api/v1/sources."},
}
