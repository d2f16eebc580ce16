package spec

import "maps"

// objectSchema is the key that stands in a field's schema for the schema of its own fields.
const objectSchema = "$fields"

// Schema returns the JSON schema (draft 2020-12) of an object with the fields, as values that
// encoding/json writes. Reserved fields are left out.
func Schema(fields []Field) map[string]any {
	properties, required := map[string]any{}, []any{}
	var variants []any
	for i := range fields {
		f := &fields[i]
		if f.later != "" {
			continue
		}
		properties[f.name] = f.schemaOf()
		if f.required {
			required = append(required, f.name)
		}
		for _, k := range f.kinds {
			if k.Reserved == "" {
				variants = append(variants, variantSchema(f.name, k))
			}
		}
	}
	out := map[string]any{"type": "object", "properties": properties}
	if len(required) > 0 {
		out["required"] = required
	}
	if len(variants) > 0 {
		out["oneOf"], out["unevaluatedProperties"] = variants, false
	} else {
		out["additionalProperties"] = false
	}
	return out
}

// variantSchema is the schema of what a kind adds.
func variantSchema(key string, k Kind) map[string]any {
	names := []any{k.Name}
	for _, a := range k.Aliases {
		names = append(names, a)
	}
	out := Schema(k.New().Fields())
	delete(out, "additionalProperties")
	out["title"] = k.Name
	properties, _ := out["properties"].(map[string]any)
	properties[key] = map[string]any{"enum": names}
	return out
}

// schemaOf is the schema of the field with its documentation.
func (f *Field) schemaOf() map[string]any {
	out := maps.Clone(f.schema)
	switch {
	case out == nil && f.shape == listShape:
		out = map[string]any{"type": "array", "items": Schema(f.fields())}
	case out == nil && f.shape == namesShape:
		out = map[string]any{
			"type": "object", "propertyNames": map[string]any{"pattern": nameText.String()},
			"additionalProperties": nullable(Schema(f.fields())),
		}
	case out == nil:
		out = Schema(f.fields())
	case f.fields != nil: // Either
		out["anyOf"] = []any{f.schema["anyOf"].([]any)[0], Schema(f.fields())}
	}
	if f.minItems > 0 {
		out["minItems"] = f.minItems
	}
	if f.doc != "" {
		out["description"] = f.doc
	}
	if f.hasDefault {
		out["default"] = f.def
	}
	if f.example != "" {
		out["examples"] = []any{f.example}
	}
	return out
}

// nullable allows nothing in place of a map: "default:" alone.
func nullable(schema map[string]any) map[string]any {
	return map[string]any{"anyOf": []any{schema, map[string]any{"type": "null"}}}
}
