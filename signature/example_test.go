package signature_test

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/grapnel/grapnel/signature"
)

func ExampleVerifier_Verify() {
	// Once, at the start.
	v, err := signature.New("github", signature.Secrets("It's a Secret to Everybody"))
	if err != nil {
		panic(err)
	}

	// For each request; signature.NewRequest makes the Request of an *http.Request and its body.
	req := &signature.Request{
		Method: http.MethodPost,
		URL:    "https://hooks.example.com/in/github",
		Header: http.Header{"X-Hub-Signature-256": {
			"sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17",
		}},
		Body: []byte("Hello, World!"),
	}
	proof, err := v.Verify(req, time.Now())
	fmt.Println(proof.Profile, proof.KeyIndex, err)

	req.Body = []byte("Hello, world!")
	_, err = v.Verify(req, time.Now())
	if refusal, ok := errors.AsType[*signature.Error](err); ok {
		fmt.Println(refusal.Reason, refusal.Reason.Status())
	}
	// Output:
	// github 0 <nil>
	// bad_signature 401
}

func ExampleStandardWebhooks() {
	signer, err := signature.StandardWebhooks("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
	if err != nil {
		panic(err)
	}
	req := &signature.Request{
		Method: http.MethodPost,
		URL:    "https://crm.example.com/hooks",
		Header: http.Header{"Webhook-Id": {"msg_p5jXN8AQM9LWM0D4loKWxJek"}},
		Body:   []byte(`{"test": 2432232314}`),
	}
	if err := signer.Sign(req, time.Unix(1614265330, 0)); err != nil {
		panic(err)
	}
	fmt.Println(req.Header.Get("Webhook-Timestamp"))
	fmt.Println(req.Header.Get("Webhook-Signature"))
	// Output:
	// 1614265330
	// v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=
}

func ExampleNewProfile() {
	// A sender that no table knows: HMAC over an id, the time and the body.
	v, err := signature.NewProfile(signature.Profile{
		Name: "acme", Mech: "mac", Alg: "sha256", Enc: "hex",
		Sig:       &signature.Sig{In: "header", Name: signature.Names{"X-Acme"}, Parse: "kv", Sep: ",", SigKey: "s", TSKey: "t"},
		Content:   "{header:X-Acme-Id}.{ts}.{body}",
		Tolerance: 300,
	}, signature.Secrets("new", "old"))
	if err != nil {
		panic(err)
	}
	_, err = v.Verify(&signature.Request{Header: http.Header{}}, time.Now())
	fmt.Println(err)
	// Output:
	// signature: acme: missing_signature (X-Acme)
}

func ExampleProvider() {
	p, _ := signature.LookupProvider("slack")
	req := &signature.Request{Body: []byte(`{"type":"event_callback","event_id":"Ev1","event":{"type":"app_mention"}}`)}
	fmt.Println(p.Source, p.EventType(req), p.DeliveryID(req))
	// Output:
	// slack.com app_mention Ev1
}
