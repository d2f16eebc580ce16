// Package transform decides what a target receives instead of the event: a constant, one value
// of the event, or a document made from a template. It is the target input of Amazon
// EventBridge (Input, InputPath, InputTransformer), byte for byte where the behavior of the
// service is known.
//
// A [Spec] says what is wanted, [Compile] checks it once, and [Transform.Apply] makes the output
// for each event. A Transform is immutable and safe for concurrent use. Apply reads the event as
// bytes, in one pass: nothing is decoded into maps, keys keep their order, and numbers keep
// their spelling.
//
// # The three inputs
//
// A constant is JSON and is sent as it is written:
//
//	Spec{Constant: []byte(`{"job":"sweep"}`)}
//
// A path selects one value, which is sent as compact JSON (a string with its quotes):
//
//	Spec{Path: "$.detail.pusher"}
//
// A transformer names values of the event and places them in a template:
//
//	Spec{Transformer: &Transformer{
//		Paths:    map[string]string{"ref": "$.detail.ref", "who": "$.detail.pusher"},
//		Template: `{"text": "push to <ref>", "by": <who>}`,
//	}}
//
// An empty Spec sends the whole event.
//
// # Paths
//
// A path is $ followed by any number of .name (letters, digits, _, - and /), [n] (the element at
// n, counted from zero) and [*] (every element; the values found become an array). A name that
// occurs twice in an object means its last occurrence. A path that is not well formed is not an
// error of Compile, as in EventBridge: it selects nothing. [ValidatePath] and
// [Transform.Warnings] tell a person who is writing one.
//
// # Templates
//
// A template that starts with a double quote is text, any other is JSON. A placeholder is <name>;
// a < that starts no name is ordinary text. Everything outside placeholders is copied byte for
// byte, and what was inserted is never looked at again for placeholders. How a value is written
// depends on where its placeholder stands:
//
//	                 JSON, as a value   JSON, inside quotes    text
//	string           with quotes        its characters         its characters
//	number, boolean  as it is           as it is               as it is
//	null             null               null                   null
//	object, array    compact JSON       compact JSON           compact JSON without any quotes
//	not found        ""                 nothing                nothing
//
// The output of a JSON template is valid JSON or Apply returns an error; placeholders cannot be
// keys. Inside quotes values are not escaped, so a value with a double quote, a line break or an
// object with strings in it does not fit there: leave out the quotes around the placeholder, or
// set [Transformer.Escape]. EventBridge checks the finished document only, which lets a value
// with quotes add members of its own; here such a value is always refused.
//
// These names need no path:
//
//	<aws.events.rule-arn>               ARN of the rule
//	<aws.events.rule-name>              name of the rule
//	<aws.events.event.ingestion-time>   when the event was received
//	<aws.events.event>                  the event without detail
//	<aws.events.event.json>             the whole event
//
// # Errors
//
// Compile reports every problem at once ([Errors]); each [Error] carries the place in the text it
// concerns, so that a configuration file can point at it, and the words that EventBridge uses
// ([Error.EventBridge]). The errors of Apply name the placeholder, what it found, and what to
// change; they never quote the event.
package transform
