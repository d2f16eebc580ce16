package lambda

import (
	"context"
	"errors"
	"net/http"
	"strings"

	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/grapnel/grapnel/internal/destination"
	"github.com/grapnel/grapnel/internal/destination/awscall"
)

// classOf maps error codes of the Invoke API to classes, where the status alone
// would say something else.
var classOf = map[string]destination.Class{
	"ResourceConflictException":  destination.FunctionPending,
	"SnapStartNotReadyException": destination.FunctionPending,
	"ResourceNotReadyException":  destination.FunctionPending,

	// Conflicts that do not pass by themselves.
	"SnapStartRegenerationFailureException":   destination.BadRequest,
	"DurableExecutionAlreadyStartedException": destination.BadRequest,

	// 410, but it is the function's file system that is gone for now.
	"EFSIOException": destination.ServerError,

	// 502, but somebody must change the function.
	"EC2AccessDeniedException":        destination.Forbidden,
	"KMSAccessDeniedException":        destination.Forbidden,
	"KMSDisabledException":            destination.BadRequest,
	"KMSInvalidStateException":        destination.BadRequest,
	"KMSNotFoundException":            destination.BadRequest,
	"InvalidRuntimeException":         destination.BadRequest,
	"InvalidSecurityGroupIDException": destination.BadRequest,
	"InvalidSubnetIDException":        destination.BadRequest,
	"InvalidZoneException":            destination.BadRequest,
	"InvalidZipFileException":         destination.BadRequest,
}

// class returns the class of an error code and status of the Invoke API.
func class(code string, status int) destination.Class {
	if c, ok := classOf[code]; ok {
		return c
	}
	if strings.HasPrefix(code, "CodeArtifact") {
		return destination.BadRequest
	}
	if status == http.StatusGone { // never the function: that would be 404
		return destination.ServerError
	}
	return awscall.Class(code, status)
}

// failed returns what Do returns for an error of the SDK.
func (i *invoker) failed(ctx context.Context, err error, want int) error {
	if failure, ok := awscall.NoCredentials(ctx, err, i.hide); ok {
		return failure
	}
	answer, ok := errors.AsType[*awshttp.ResponseError](err)
	if !ok || answer.Response == nil || answer.HTTPStatusCode() < 100 || answer.HTTPStatusCode()/100 == 2 {
		if send, ok := errors.AsType[*smithyhttp.RequestSendError](err); ok {
			err = send.Err // without the SDK's words around it
		}
		if ctx.Err() != nil { // then so does reading, one way or another
			err = context.Cause(ctx)
		}
		return destination.Unanswered(ctx, err, i.hide)
	}
	code, message := "", ""
	if api, ok := errors.AsType[smithy.APIError](err); ok {
		code, message = api.ErrorCode(), api.ErrorMessage()
	}
	excerpt, _ := cut([]byte(message), want)
	e := destination.Answered(answer.HTTPStatusCode(), answer.Response.Header, excerpt, i.now(), i.hide)
	if !e.NoRetry {
		e.Class = class(code, e.Status)
	}
	e.Err = i.hide.Err(err)
	if code != "" {
		e.Message = awscall.Clip(i.hide.Text(code + reason(err) + ": " + message))
	}
	if awscall.Denied(code) {
		e.Message += "; " + awscall.Allow("lambda:InvokeFunction", i.shown)
	}
	if e.Class == destination.Credentials {
		i.credentials.Refresh()
	}
	return e
}

// reason returns which limit a throttled call met.
func reason(err error) string {
	if t, ok := errors.AsType[*types.TooManyRequestsException](err); ok && t.Reason != "" {
		return " (" + string(t.Reason) + ")"
	}
	return ""
}
