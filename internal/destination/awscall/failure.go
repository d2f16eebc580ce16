package awscall

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"net/http"
	"strings"

	"github.com/grapnel/grapnel/internal/destination"
)

// maxMessage bounds what is quoted of AWS's error messages, in bytes.
const maxMessage = 512

// classOf maps error codes that several services share to classes, where the
// status alone would say something else: most answer 400 to all of these.
var classOf = map[string]destination.Class{
	"ExpiredToken":                        destination.Credentials,
	"ExpiredTokenException":               destination.Credentials,
	"IncompleteSignature":                 destination.Credentials,
	"IncompleteSignatureException":        destination.Credentials,
	"InvalidAccessKeyId":                  destination.Credentials,
	"InvalidClientTokenId":                destination.Credentials,
	"InvalidSecurity":                     destination.Credentials,
	"InvalidSignatureException":           destination.Credentials,
	"InvalidToken":                        destination.Credentials,
	"MissingAuthenticationToken":          destination.Credentials,
	"MissingAuthenticationTokenException": destination.Credentials,
	"RequestExpired":                      destination.Credentials,
	"RequestTimeTooSkewed":                destination.Credentials,
	"SignatureDoesNotMatch":               destination.Credentials,
	"TokenRefreshRequired":                destination.Credentials,
	"UnrecognizedClientException":         destination.Credentials,

	"AccessDenied":                    destination.Forbidden,
	"AccessDeniedException":           destination.Forbidden,
	"AuthorizationError":              destination.Forbidden,
	"AuthorizationErrorException":     destination.Forbidden,
	"KMSAccessDenied":                 destination.Forbidden,
	"KMSAccessDeniedException":        destination.Forbidden,
	"KmsAccessDenied":                 destination.Forbidden,
	"NotAuthorizedForSourceException": destination.Forbidden,

	"BandwidthLimitExceeded":                 destination.Throttled,
	"ExecutionLimitExceeded":                 destination.Throttled,
	"KMSThrottling":                          destination.Throttled,
	"KMSThrottlingException":                 destination.Throttled,
	"KmsThrottled":                           destination.Throttled,
	"LimitExceededException":                 destination.Throttled,
	"Throttled":                              destination.Throttled,
	"OverLimit":                              destination.Throttled,
	"ProvisionedThroughputExceededException": destination.Throttled,
	"RequestLimitExceeded":                   destination.Throttled,
	"RequestThrottled":                       destination.Throttled,
	"RequestThrottledException":              destination.Throttled,
	"SlowDown":                               destination.Throttled,
	"ThrottledException":                     destination.Throttled,
	"Throttling":                             destination.Throttled,
	"ThrottlingException":                    destination.Throttled,
	"TooManyRequestsException":               destination.Throttled,

	"InternalError":                           destination.ServerError,
	"InternalException":                       destination.ServerError,
	"InternalFailure":                         destination.ServerError,
	"InternalServiceError":                    destination.ServerError,
	"RequestTimeout":                          destination.RequestTimeout,
	"ServiceUnavailable":                      destination.Unavailable,
	"ServiceUnavailableException":             destination.Unavailable,
	"EntityTooLarge":                          destination.TooLarge,
	"RequestEntityTooLarge":                   destination.TooLarge,
	"NoSuchBucket":                            destination.NotFound,
	"NotFound":                                destination.NotFound,
	"NotFoundException":                       destination.NotFound,
	"QueueDoesNotExist":                       destination.NotFound,
	"ResourceNotFoundException":               destination.NotFound,
	"StateMachineDeleting":                    destination.NotFound,
	"StateMachineDoesNotExist":                destination.NotFound,
	"QueueDeletedRecently":                    destination.NotFound,
	"InvalidAddress":                          destination.NotFound, // SQS: the account or queue of the URL
	"EndpointDisabled":                        destination.BadRequest,
	"AWS.SimpleQueueService.NonExistentQueue": destination.NotFound,
}

// Class returns the class of an error code and status of an AWS API.
func Class(code string, status int) destination.Class {
	if c, ok := classOf[code]; ok {
		return c
	}
	return destination.OfStatus(status)
}

// Denied reports whether a code says that a policy does not allow the action.
func Denied(code string) bool {
	switch code {
	case "AccessDenied", "AccessDeniedException", "AuthorizationError", "AuthorizationErrorException":
		return true
	}
	return false
}

// Allow says which action a policy is missing, and on what.
func Allow(action, resource string) string {
	return "the policy of the credentials must allow " + action + " on " + resource
}

// Failed is what an answer says about why it is no success.
type Failed struct{ Code, Message string }

// Explain reads the error of an answer in any of AWS's protocols: the header
// X-Amzn-Errortype, a JSON body, or an XML body. Both are empty if it has none.
func Explain(header http.Header, body []byte) Failed {
	f := Failed{Code: header.Get("X-Amzn-Errortype")}
	body = bytes.TrimSpace(body)
	switch {
	case bytes.HasPrefix(body, []byte("{")):
		var parsed map[string]json.RawMessage
		if json.Unmarshal(body, &parsed) == nil {
			f.Message = firstText(parsed, "message", "Message")
			if f.Code == "" {
				f.Code = firstText(parsed, "__type", "code", "Code")
			}
		}
	case bytes.HasPrefix(body, []byte("<")):
		// <Error><Code/> of S3, <ErrorResponse><Error><Code/> of the query protocol.
		var parsed struct {
			Code    string `xml:"Code"`
			Message string `xml:"Message"`
			Error   struct {
				Code    string `xml:"Code"`
				Message string `xml:"Message"`
			} `xml:"Error"`
		}
		if xml.Unmarshal(body, &parsed) == nil && f.Code == "" {
			f.Code, f.Message = parsed.Code+parsed.Error.Code, parsed.Message+parsed.Error.Message
		}
	}
	// Code:http://… in the header, namespace#Code in the body.
	f.Code, _, _ = strings.Cut(f.Code, ":")
	f.Code = f.Code[strings.LastIndexByte(f.Code, '#')+1:]
	if len(f.Code) > 128 || strings.ContainsFunc(f.Code, func(r rune) bool { return r <= ' ' || r > '~' }) {
		f.Code = ""
	}
	return f
}

func firstText(parsed map[string]json.RawMessage, names ...string) string {
	for _, name := range names {
		var text string
		if json.Unmarshal(parsed[name], &text) == nil && text != "" {
			return text
		}
	}
	return ""
}

// Clip shortens what is quoted.
func Clip(text string) string {
	if len(text) > maxMessage {
		return strings.ToValidUTF8(text[:maxMessage], "") + "…"
	}
	return text
}
