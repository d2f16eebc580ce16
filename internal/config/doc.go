// Package config reads the one configuration file: YAML, strict, with every problem reported at once
// at its line and column, and nothing in it ever printing a secret.
//
// [Load] returns plain descriptions (Source, Destination, Rule …) whose patterns, inputs, signature
// settings and references were all checked; daemon turns them into what the engines use. It starts
// nothing, opens nothing but the files that ${file:…} names, and knows no kind of destination: the
// caller passes them. [Reference] and [Schema] describe the same file for people and for editors.
package config
