package signature

import (
	"net/http"
	"time"
)

// The units of timestamps.
const (
	unitSeconds = "s"
	unitMillis  = "ms"
	unitRFC3339 = "rfc3339"
	unitHTTP    = "http-date"
)

// maxDigits bounds a numeric timestamp; the year 2286 has 11 digits of seconds, 14 of milliseconds.
const maxDigits = 15

// parseTime reads a timestamp of the unit. It is false for anything that is not one: signs, spaces,
// fractions of a number, more than maxDigits digits.
func parseTime(text, unit string) (time.Time, bool) {
	if unit == unitHTTP {
		t, err := time.Parse(http.TimeFormat, text)
		return t, err == nil && len(text) == len(http.TimeFormat)
	}
	if number, ok := digits(text); ok {
		if unit == unitMillis {
			return time.UnixMilli(number), true
		}
		return time.Unix(number, 0), true
	}
	if unit != unitRFC3339 || len(text) > len("2006-01-02T15:04:05.000000000+00:00") {
		return time.Time{}, false
	}
	t, err := time.Parse(time.RFC3339, text)
	return t, err == nil
}

// digits reads an unsigned decimal number.
func digits(text string) (int64, bool) {
	if text == "" || len(text) > maxDigits {
		return 0, false
	}
	var n int64
	for _, c := range []byte(text) {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int64(c-'0')
	}
	return n, true
}

// fresh returns the refusal of a time of sending that is further from now than the tolerance, which
// is inclusive. No tolerance, no refusal.
func fresh(sent, now time.Time, tolerance time.Duration) Reason {
	if tolerance <= 0 {
		return ""
	}
	switch age := now.Sub(sent); {
	case age > tolerance:
		return StaleTimestamp
	case age < -tolerance:
		return FutureTimestamp
	default:
		return ""
	}
}
