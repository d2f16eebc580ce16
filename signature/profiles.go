package signature

import "slices"

// Profiles returns the built-in profiles: the parameters by which known senders sign, sorted by
// name. A profile whose mechanism or key source is not there yet is not listed.
func Profiles() []Profile {
	profiles := slices.Concat(bodyProfiles(), timedProfiles(), urlProfiles(), fieldProfiles(),
		publicKeyProfiles(), tokenProfiles(), jwtProfiles())
	slices.SortFunc(profiles, func(a, b Profile) int {
		switch {
		case a.Name < b.Name:
			return -1
		case a.Name > b.Name:
			return 1
		default:
			return 0
		}
	})
	return profiles
}

// LookupProfile returns the built-in profile with the name.
func LookupProfile(name string) (Profile, bool) {
	for _, p := range Profiles() {
		if p.Name == name {
			return p, true
		}
	}
	return Profile{}, false
}

// plainSig is a header that holds nothing but the signature.
func plainSig(names ...string) *Sig { return &Sig{In: inHeader, Name: names, Parse: parsePlain} }

// prefixSig is a header that holds one signature behind a prefix.
func prefixSig(name, prefix string) *Sig {
	return &Sig{In: inHeader, Name: Names{name}, Parse: parsePrefix, Prefix: prefix}
}

// listSig is a header that holds a list of signatures, those of the scheme behind a prefix.
func listSig(name, sep, prefix string) *Sig {
	return &Sig{In: inHeader, Name: Names{name}, Parse: parseList, Sep: sep, Prefix: prefix}
}

// kvSig is a header that holds pairs, the timestamp and the signatures among them.
func kvSig(name, sep, tsKey, sigKey string) *Sig {
	return &Sig{In: inHeader, Name: Names{name}, Parse: parseKV, Sep: sep, TSKey: tsKey, SigKey: sigKey}
}

// headerTS is a header that holds the time of sending.
func headerTS(name, unit string) *Timestamp {
	return &Timestamp{In: inHeader, Name: Names{name}, Unit: unit}
}

// body returns the profile of a sender that signs the body and nothing else.
func body(name, alg, enc string, sig *Sig) Profile {
	return Profile{Name: name, Mech: mechMAC, Alg: alg, Enc: enc, Sig: sig, Content: "{body}"}
}

// bodyProfiles are those that sign the body.
func bodyProfiles() []Profile {
	linear := body("linear-strict", "sha256", encHex, plainSig("Linear-Signature"))
	linear.TS = &Timestamp{In: inJSON, Name: Names{"/webhookTimestamp"}, Unit: unitMillis}
	linear.Tolerance = 60
	adyen := body("adyen-platform", "sha256", encBase64, plainSig("HmacSignature"))
	adyen.Key = encHex
	pusher := body("pusher", "sha256", encHex, plainSig("X-Pusher-Signature"))
	pusher.Require = []Require{{Header: "X-Pusher-Key", Param: "app_key"}}
	return []Profile{
		body("github", "sha256", encHex, prefixSig("X-Hub-Signature-256", "sha256=")),
		body("github-sha1", "sha1", encHex, prefixSig("X-Hub-Signature", "sha1=")),
		body("github-sha512", "sha512", encHex, prefixSig("X-Hub-Signature", "sha512=")),
		body("hub-sha256", "sha256", encHex, prefixSig("X-Hub-Signature", "sha256=")),
		body("gitea", "sha256", encHex, plainSig("X-Gitea-Signature")),
		body("gogs", "sha256", encHex, plainSig("X-Gogs-Signature")),
		body("shopify", "sha256", encBase64, plainSig("X-Shopify-Hmac-Sha256", "Shopify-Hmac-Sha256")),
		body("linear", "sha256", encHex, plainSig("Linear-Signature")),
		linear,
		body("vercel", "sha1", encHex, plainSig("X-Vercel-Signature")),
		body("dropbox", "sha256", encHex, plainSig("X-Dropbox-Signature")),
		body("sentry", "sha256", encHex, plainSig("Sentry-Hook-Signature")),
		body("meta", "sha256", encHex, prefixSig("X-Hub-Signature-256", "sha256=")),
		body("intercom", "sha1", encHex, prefixSig("X-Hub-Signature", "sha1=")),
		body("notion", "sha256", encHex, prefixSig("X-Notion-Signature", "sha256=")),
		body("twitter", "sha256", encBase64, prefixSig("X-Twitter-Webhooks-Signature", "sha256=")),
		body("line", "sha256", encBase64, plainSig("X-Line-Signature")),
		body("razorpay", "sha256", encHex, plainSig("X-Razorpay-Signature")),
		adyen,
		body("circleci", "sha256", encHex, listSig("Circleci-Signature", ",", "v1=")),
		body("pagerduty", "sha256", encHex, listSig("X-PagerDuty-Signature", ",", "v1=")),
		pusher,
		body("launchdarkly", "sha256", encHex, plainSig("X-Ld-Signature")),
		body("lemonsqueezy", "sha256", encHex, plainSig("X-Signature")),
		body("coinbase-commerce", "sha256", encHex, plainSig("X-Cc-Webhook-Signature")),
		body("paystack", "sha512", encHex, plainSig("X-Paystack-Signature")),
		body("woocommerce", "sha256", encBase64, plainSig("X-Wc-Webhook-Signature")),
		body("typeform", "sha256", encBase64, prefixSig("Typeform-Signature", "sha256=")),
		body("hmac-sha1-hex", "sha1", encHex, plainSig("X-Signature")),
		body("hmac-sha256-hex", "sha256", encHex, plainSig("X-Signature")),
		body("hmac-sha512-hex", "sha512", encHex, plainSig("X-Signature")),
		body("hmac-sha256-base64", "sha256", encBase64, plainSig("X-Signature")),
		body("hmac-sha512-base64", "sha512", encBase64, plainSig("X-Signature")),
		body("hmac-sha1-list", "sha1", encHex, listSig("X-Signature", ",", "sha1=")),
		body("hmac-sha256-list", "sha256", encHex, listSig("X-Signature", ",", "sha256=")),
		body("hmac-sha512-prefix", "sha512", encHex, prefixSig("X-Signature", "sha512=")),
	}
}

// standard returns a profile of the Standard Webhooks form, whose headers share a prefix.
func standard(name, prefix string) Profile {
	return Profile{
		Name: name, Mech: mechMAC, Alg: "sha256", Enc: encBase64,
		Sig:     listSig(prefix+"-Signature", " ", "v1,"),
		Content: "{header:" + prefix + "-Id}.{ts}.{body}",
		Key:     encBase64, KeyStrip: "whsec_",
		TS: headerTS(prefix+"-Timestamp", unitSeconds), Tolerance: 300,
	}
}

// timedProfiles are those that sign the time of sending with the body.
func timedProfiles() []Profile {
	return []Profile{
		{
			Name: "slack", Mech: mechMAC, Alg: "sha256", Enc: encHex,
			Sig: prefixSig("X-Slack-Signature", "v0="), Content: "v0:{ts}:{body}",
			TS: headerTS("X-Slack-Request-Timestamp", unitSeconds), Tolerance: 300,
		},
		{
			Name: "zoom", Mech: mechMAC, Alg: "sha256", Enc: encHex,
			Sig: prefixSig("X-Zm-Signature", "v0="), Content: "v0:{ts}:{body}",
			TS: headerTS("X-Zm-Request-Timestamp", unitSeconds), Tolerance: 300,
		},
		{
			Name: "stripe", Mech: mechMAC, Alg: "sha256", Enc: encHex,
			Sig: kvSig("Stripe-Signature", ",", "t", "v1"), Content: "{ts}.{body}", Tolerance: 300,
		},
		{
			Name: "mux", Mech: mechMAC, Alg: "sha256", Enc: encHex,
			Sig: kvSig("Mux-Signature", ",", "t", "v1"), Content: "{ts}.{body}", Tolerance: 300,
		},
		{
			Name: "paddle", Mech: mechMAC, Alg: "sha256", Enc: encHex,
			Sig: kvSig("Paddle-Signature", ";", "ts", "h1"), Content: "{ts}:{body}", Tolerance: 300,
		},
		{
			Name: "zendesk", Mech: mechMAC, Alg: "sha256", Enc: encBase64,
			Sig: plainSig("X-Zendesk-Webhook-Signature"), Content: "{ts}{body}",
			TS: headerTS("X-Zendesk-Webhook-Signature-Timestamp", unitRFC3339), Tolerance: 300,
		},
		{
			Name: "twitch", Mech: mechMAC, Alg: "sha256", Enc: encHex,
			Sig:     prefixSig("Twitch-Eventsub-Message-Signature", "sha256="),
			Content: "{header:Twitch-Eventsub-Message-Id}{ts}{body}",
			TS:      headerTS("Twitch-Eventsub-Message-Timestamp", unitRFC3339), Tolerance: 600,
		},
		{
			Name: "cloudflare-stream", Mech: mechMAC, Alg: "sha256", Enc: encHex,
			Sig: kvSig("Webhook-Signature", ",", "time", "sig1"), Content: "{ts}.{body}", Tolerance: 300,
		},
		{
			Name: "calendly", Mech: mechMAC, Alg: "sha256", Enc: encHex,
			Sig: kvSig("Calendly-Webhook-Signature", ",", "t", "v1"), Content: "{ts}.{body}", Tolerance: 180,
		},
		{
			Name: "workos", Mech: mechMAC, Alg: "sha256", Enc: encHex,
			Sig: kvSig("Workos-Signature", ",", "t", "v1"), Content: "{ts}.{body}",
			TS: &Timestamp{In: inKV, Unit: unitMillis}, Tolerance: 180,
		},
		{
			Name: "klaviyo", Mech: mechMAC, Alg: "sha256", Enc: encHex,
			Sig: plainSig("Klaviyo-Signature"), Content: "{body}{ts}",
			TS: headerTS("Klaviyo-Timestamp", unitHTTP), Tolerance: 300,
		},
		standard("standard-webhooks", "Webhook"),
		standard("svix", "Svix"),
		standard("gitlab-signing-token", "Webhook"),
	}
}

// urlProfiles are those that sign the URL.
func urlProfiles() []Profile {
	hubspot := Profile{
		Name: "hubspot-v3", Mech: mechMAC, Alg: "sha256", Enc: encBase64,
		Sig: plainSig("X-HubSpot-Signature-v3"), Content: "{method}{url}{body}{ts}",
		TS: headerTS("X-HubSpot-Request-Timestamp", unitMillis), Tolerance: 300,
	}
	// HubSpot decodes some escapes of the URL before it signs; hubspot-v3 is the scheme without.
	decoding := hubspot
	decoding.Name, decoding.URLVariants = "hubspot", []string{urlAsIs, urlEscapesDecoded}
	return []Profile{
		{
			Name: "twilio", Mech: mechMAC, Alg: "sha1", Enc: encBase64,
			Sig: plainSig("X-Twilio-Signature"), Content: "{url}{form-sorted}",
			URLVariants:   []string{urlAsIs, urlPortRemoved, urlPortAdded, urlApostropheEncoded},
			BodyHashParam: "bodySHA256",
		},
		{
			Name: "mandrill", Mech: mechMAC, Alg: "sha1", Enc: encBase64,
			Sig: plainSig("X-Mandrill-Signature"), Content: "{url}{form-sorted}",
		},
		{
			Name: "square", Mech: mechMAC, Alg: "sha256", Enc: encBase64,
			Sig: plainSig("X-Square-Hmacsha256-Signature"), Content: "{url}{body}",
		},
		{
			Name: "hubspot-v1", Mech: mechMAC, Alg: algConcat, Enc: encHex,
			Sig: plainSig("X-HubSpot-Signature"), Content: "{secret}{body}",
		},
		{
			Name: "hubspot-v2", Mech: mechMAC, Alg: algConcat, Enc: encHex,
			Sig: plainSig("X-HubSpot-Signature"), Content: "{secret}{method}{url}{body}",
		},
		hubspot,
		decoding,
	}
}

// adyenItem is where Adyen's classic notifications keep what they sign.
const adyenItem = "/notificationItems/0/NotificationRequestItem/"

// fieldProfiles are those that sign fields of the body, or headers with it.
func fieldProfiles() []Profile {
	field := func(name string) string { return "{json:" + adyenItem + name + "}" }
	return []Profile{
		{
			Name: "mailgun", Mech: mechMAC, Alg: "sha256", Enc: encHex,
			Sig:     &Sig{In: inJSON, Name: Names{"/signature/signature"}, Parse: parsePlain},
			Content: "{ts}{json:/signature/token}",
			TS:      &Timestamp{In: inJSON, Name: Names{"/signature/timestamp"}, Unit: unitSeconds}, Tolerance: 300,
		},
		{
			Name: "mailgun-form", Mech: mechMAC, Alg: "sha256", Enc: encHex,
			Sig:     &Sig{In: inForm, Name: Names{"signature"}, Parse: parsePlain},
			Content: "{ts}{form:token}",
			TS:      &Timestamp{In: inForm, Name: Names{"timestamp"}, Unit: unitSeconds}, Tolerance: 300,
		},
		{
			Name: "scalr", Mech: mechMAC, Alg: "sha1", Enc: encHex,
			Sig: plainSig("X-Signature"), Content: "{body}{header:Date}",
		},
		{
			Name: "adyen-classic", Mech: mechMAC, Alg: "sha256", Enc: encBase64, Key: encHex,
			Sig: &Sig{In: inJSON, Name: Names{adyenItem + "additionalData/hmacSignature"}, Parse: parsePlain},
			Content: field("pspReference") + ":" + field("originalReference") + ":" +
				field("merchantAccountCode") + ":" + field("merchantReference") + ":" +
				field("amount/value") + ":" + field("amount/currency") + ":" +
				field("eventCode") + ":" + field("success"),
		},
	}
}

// publicKeyProfiles are those that sign with a private key, and those of AWS.
func publicKeyProfiles() []Profile {
	return []Profile{
		{
			Name: "discord", Mech: mechPubkey, Alg: algEd25519, Keyfmt: "ed25519-hex", Enc: encHex,
			Sig: plainSig("X-Signature-Ed25519"), Content: "{ts}{body}",
			TS: headerTS("X-Signature-Timestamp", unitSeconds), Tolerance: 300,
		},
		{
			Name: "standard-webhooks-v1a", Mech: mechPubkey, Alg: algEd25519, Keyfmt: "ed25519-whpk",
			Enc: encBase64, Sig: listSig("Webhook-Signature", " ", "v1a,"),
			Content: "{header:Webhook-Id}.{ts}.{body}",
			TS:      headerTS("Webhook-Timestamp", unitSeconds), Tolerance: 300,
		},
		{
			Name: "sendgrid", Mech: mechPubkey, Alg: algECDSA, Keyfmt: "spki-base64", Enc: encBase64,
			Sig: plainSig("X-Twilio-Email-Event-Webhook-Signature"), Content: "{ts}{body}",
			TS: headerTS("X-Twilio-Email-Event-Webhook-Timestamp", unitSeconds), Tolerance: 300,
		},
		{
			Name: "paypal", Mech: mechPubkey, Alg: algRSA, Enc: encBase64,
			Sig: plainSig("Paypal-Transmission-Sig"), TS: headerTS("Paypal-Transmission-Time", unitRFC3339),
			Content:   "{header:Paypal-Transmission-Id}|{ts}|{param:webhook_id}|{crc32}",
			CertURL:   &Place{In: inHeader, Name: Names{"Paypal-Cert-Url"}},
			CertHost:  `(?:[a-z0-9-]+\.)*paypal\.com`,
			AlgHeader: "Paypal-Auth-Algo", AlgValue: "SHA256withRSA",
		},
		{
			Name: "sns", Mech: mechSNS,
			CertHost: `sns\.[a-zA-Z0-9-]{3,}\.amazonaws\.com(?:\.cn)?`,
			CertPath: `/SimpleNotificationService-[A-Za-z0-9]+\.pem`,
		},
		{Name: "sigv4", Mech: mechSigV4, Tolerance: 300},
	}
}

// token returns the profile of a constant at a place.
func token(name, in, where, scheme string) Profile {
	return Profile{Name: name, Mech: mechToken, Token: &Token{In: in, Name: Names{where}, Scheme: scheme}}
}

// tokenProfiles are those that send a constant.
func tokenProfiles() []Profile {
	basic := token("basic", inHeader, "Authorization", "Basic ")
	basic.Basic = true
	return []Profile{
		token("gitlab-token", inHeader, "X-Gitlab-Token", ""),
		token("telegram", inHeader, "X-Telegram-Bot-Api-Secret-Token", ""),
		token("okta", inHeader, "Authorization", ""),
		token("okta-custom-header", inHeader, "X-Okta-Token", ""),
		token("auth0-log-stream", inHeader, "Authorization", ""),
		token("datadog", inHeader, "X-Webhook-Token", ""),
		token("sumo-header", inHeader, "Authorization", ""),
		token("sumo-custom-header", inHeader, "X-Api-Key", ""),
		token("bearer", inHeader, "Authorization", "Bearer "),
		basic,
		token("api-key", inHeader, "X-Api-Key", ""),
		token("query-token", inQuery, "token", ""),
		token("path-token", inPath, "-1", ""),
		token("graph-client-state", inJSON, "/value/0/clientState", ""),
		{Name: "none", Mech: mechNone},
		{Name: "ip-allowlist", Mech: mechIP},
		{Name: "mtls", Mech: mechMTLS},
	}
}

// jwtProfiles are those that send a JSON Web Token.
func jwtProfiles() []Profile {
	authorization := &Token{In: inHeader, Name: Names{"Authorization"}, Scheme: "Bearer "}
	noClaims := false
	return []Profile{
		{
			Name: "netlify", Mech: mechJWT, Algs: []string{algHS256},
			Token:  &Token{In: inHeader, Name: Names{"X-Webhook-Signature"}},
			Expect: map[string]string{"iss": "netlify"}, BodyHashClaim: "sha256",
		},
		{
			Name: "jwt", Mech: mechJWT, Algs: []string{algRS256, algES256, algEdDSA},
			Token: authorization, Leeway: 60, RequireExp: true,
		},
		{
			Name: "jwt-noleeway", Mech: mechJWT, Algs: []string{algHS256, algRS256, algES256},
			Token: authorization,
		},
		{
			Name: "jwt-secret", Mech: mechJWT, Algs: []string{algHS256},
			Token: authorization, Leeway: 60, RequireExp: true,
		},
		{Name: "jws", Mech: mechJWT, Algs: []string{algEdDSA}, Token: authorization, Claims: &noClaims},
	}
}
