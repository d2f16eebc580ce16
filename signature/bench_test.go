package signature_test

import (
	"crypto/x509"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/grapnel/grapnel/signature"
)

// kibibyte is a JSON body of 1 KiB.
func kibibyte() string {
	return fmt.Sprintf(`{"id":"evt_1","data":{"text":%q},"type":"invoice.paid"}`, strings.Repeat("x", 1024-57))
}

func benchmarkVerify(b *testing.B, v *signature.Verifier, req *signature.Request) {
	b.Helper()
	b.SetBytes(int64(len(req.Body)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := v.Verify(req, sentAt); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkVerifyGitHub(b *testing.B) {
	benchmarkVerify(b, mustNew(b, "github", signature.Secrets("s")), signed(b, "github", kibibyte(), "s"))
}

func BenchmarkVerifyGitHubTwoSecrets(b *testing.B) {
	benchmarkVerify(b, mustNew(b, "github", signature.Secrets("new", "s")), signed(b, "github", kibibyte(), "s"))
}

func BenchmarkVerifyStripe(b *testing.B) {
	benchmarkVerify(b, mustNew(b, "stripe", signature.Secrets("s")), signed(b, "stripe", kibibyte(), "s"))
}

func BenchmarkVerifyStandardWebhooks(b *testing.B) {
	benchmarkVerify(b, mustNew(b, "standard-webhooks", signature.Secrets("MDAw")),
		signed(b, "standard-webhooks", kibibyte(), "MDAw"))
}

func BenchmarkVerifyMailgun(b *testing.B) {
	req := signed(b, "mailgun", `{"signature":{"token":"t","timestamp":"","signature":""},"event-data":`+kibibyte()+`}`, "s")
	benchmarkVerify(b, mustNew(b, "mailgun", signature.Secrets("s")), req)
}

func BenchmarkVerifyNetlify(b *testing.B) {
	benchmarkVerify(b, mustNew(b, "netlify", signature.Secrets("s")), signed(b, "netlify", kibibyte(), "s"))
}

func BenchmarkVerifyTwilioForm(b *testing.B) {
	signer, err := signature.NewSigner("twilio", signature.Secrets("s"))
	if err != nil {
		b.Fatal(err)
	}
	req := &signature.Request{
		Method: http.MethodPost, URL: "https://hooks.example.com/in/twilio",
		Header: http.Header{"Content-Type": {"application/x-www-form-urlencoded"}},
		Body: []byte("ToCountry=US&ToState=CA&SmsMessageSid=SM1&NumMedia=0&ToCity=&FromZip=94105&SmsSid=SM1&FromState=CA" +
			"&SmsStatus=received&FromCity=SAN+FRANCISCO&Body=Hello%2C+world&FromCountry=US&To=%2B14155550100&NumSegments=1" +
			"&MessageSid=SM1&AccountSid=AC1&From=%2B14155550101&ApiVersion=2010-04-01"),
	}
	if err := signer.Sign(req, sentAt); err != nil {
		b.Fatal(err)
	}
	benchmarkVerify(b, mustNew(b, "twilio", signature.Secrets("s")), req)
}

func BenchmarkSignStandardWebhooks(b *testing.B) {
	signer, err := signature.StandardWebhooks("MDAw")
	if err != nil {
		b.Fatal(err)
	}
	req := &signature.Request{Header: http.Header{"Webhook-Id": {"msg_1"}}, Body: []byte(kibibyte())}
	b.ReportAllocs()
	for b.Loop() {
		if err := signer.Sign(req, sentAt); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkIdentifyStripe(b *testing.B) {
	p, _ := signature.LookupProvider("stripe")
	req := &signature.Request{Body: []byte(kibibyte())}
	b.ReportAllocs()
	for b.Loop() {
		if p.DeliveryID(req) != "evt_1" || p.EventType(req) != "invoice.paid" {
			b.Fatal("not found")
		}
	}
}

func BenchmarkNew(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := signature.New("github", signature.Secrets("s")); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkVerifySigV4(b *testing.B) {
	c := sigV4Config()
	benchmarkVerify(b, mustNew(b, "sigv4", c), sigV4Request(b, c))
}

func BenchmarkVerifySNS(b *testing.B) {
	key := rsaKey(b)
	cert := issue(b, x509.Certificate{}, key, nil)
	v := mustNew(b, "sns", signature.Config{
		PublicKeys: []string{cert.pem()}, Params: map[string][]string{"topic_arn": {topic}},
	})
	benchmarkVerify(b, v, snsPost(snsBody(b, key, map[string]string{"Message": kibibyte()})))
}
