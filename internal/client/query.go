package client

import (
	"encoding"
	"fmt"
	"net/url"
	"reflect"
	"strings"
)

// queryOf writes a filter of package api as a query: the members with a query
// tag that are not zero. The tags are those that the server reads by.
func queryOf(filter any) url.Values {
	values := url.Values{}
	addQuery(values, reflect.ValueOf(filter))
	return values
}

func addQuery(values url.Values, v reflect.Value) {
	for i := range v.NumField() {
		field, value := v.Type().Field(i), v.Field(i)
		name, _, _ := strings.Cut(field.Tag.Get("query"), ",")
		switch {
		case field.Anonymous:
			addQuery(values, value)
		case name == "" || value.IsZero():
		default:
			values.Set(name, queryText(value.Interface()))
		}
	}
}

func queryText(v any) string {
	if m, ok := v.(encoding.TextMarshaler); ok {
		text, err := m.MarshalText()
		if err != nil {
			panic(fmt.Sprintf("a filter cannot be written: %v", err)) // a bug: no type here can fail
		}
		return string(text)
	}
	return fmt.Sprint(v)
}
