package main

import (
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
)

// object is a JSON object.
type object = map[string]any

// services are those that are answered over HTTP.
var services = []protoreflect.FullName{"jotsmith.v1.TokenService", "jotsmith.v1.ProfileService", "jotsmith.v1.KeyService"}

// about is the document's own text.
const about = `Jotsmith's unary calls in JSON over HTTP/1.1, on a listener with ` + "`http`" + `. ` +
	`A call is authenticated, authorised, recorded and answered as it is over gRPC. ` +
	`Requests are strict: an unknown field, a field twice or another Content-Type is an error.`

// document is the OpenAPI document. schemas is where the messages' schemas are.
func document(files *protoregistry.Files, schemas string) (object, error) {
	paths, tags, needed := object{}, []object{}, []protoreflect.FullName{}
	for _, name := range services {
		found, err := files.FindDescriptorByName(name)
		if err != nil {
			return nil, err
		}
		service, ok := found.(protoreflect.ServiceDescriptor)
		if !ok {
			continue
		}
		tags = append(tags, object{"name": string(service.Name()), "description": comment(service)})
		for i := range service.Methods().Len() {
			method := service.Methods().Get(i)
			if method.IsStreamingServer() || method.IsStreamingClient() {
				continue
			}
			paths["/"+string(name)+"/"+string(method.Name())] = object{"post": operation(service, method)}
			needed = append(needed, method.Input().FullName(), method.Output().FullName())
		}
	}
	components, err := messages(schemas, needed)
	if err != nil {
		return nil, err
	}
	components["Error"] = failure
	return object{
		"openapi": "3.1.0",
		"info": object{
			"title": "Jotsmith", "version": "v1", "description": about,
			"license": object{"name": "Apache-2.0", "identifier": "Apache-2.0"},
		},
		"servers":  []object{{"url": "/"}},
		"tags":     tags,
		"security": []object{{}, {"bearer": []string{}}, {"mutualTLS": []string{}}},
		"paths":    paths,
		"components": object{
			"schemas":   components,
			"responses": object{"Error": object{"description": "The call failed; docs/errors.md says for each reason what to do.", "headers": retryAfter, "content": ofJSON("Error")}},
			"securitySchemes": object{
				"bearer":    object{"type": "http", "scheme": "bearer", "bearerFormat": "JWT", "description": "A token of one of the issuers that the server knows."},
				"mutualTLS": object{"type": "mutualTLS", "description": "A client certificate. On a Unix socket the kernel says who calls."},
			},
		},
	}, nil
}

func operation(service protoreflect.ServiceDescriptor, method protoreflect.MethodDescriptor) object {
	text := comment(method)
	summary, _, _ := strings.Cut(text, ".\n")
	summary, _, _ = strings.Cut(summary, ". ")
	return object{
		"operationId": string(service.Name()) + "_" + string(method.Name()),
		"tags":        []string{string(service.Name())},
		"summary":     strings.TrimSuffix(strings.ReplaceAll(summary, "\n", " "), "."),
		"description": text,
		"requestBody": object{"required": true, "content": ofJSON(string(method.Input().FullName()))},
		"responses": object{
			"200":     object{"description": "The answer.", "content": ofJSON(string(method.Output().FullName()))},
			"default": object{"$ref": "#/components/responses/Error"},
		},
	}
}

// ofJSON is the content of a body that is one schema's.
func ofJSON(schema string) object {
	return object{"application/json": object{"schema": object{"$ref": place + schema}}}
}

// place is where the schemas are in the document.
const place = "#/components/schemas/"

// comment is what stands ahead of a descriptor in its file.
func comment(d protoreflect.Descriptor) string {
	text := d.ParentFile().SourceLocations().ByDescriptor(d).LeadingComments
	lines := strings.Split(strings.TrimSpace(text), "\n")
	for i, line := range lines {
		lines[i] = strings.TrimPrefix(line, " ")
	}
	return strings.Join(lines, "\n")
}

// failure is the schema of an error, in the form of AIP-193.
var failure = object{
	"type": "object", "required": []string{"error"}, "additionalProperties": false,
	"properties": object{"error": object{
		"type": "object", "required": []string{"code", "message", "status"}, "additionalProperties": false,
		"properties": object{
			"code":    object{"type": "integer", "description": "The HTTP status."},
			"message": object{"type": "string", "description": "For people; it may change."},
			"status":  object{"type": "string", "description": "gRPC's code by its name, as in PERMISSION_DENIED."},
			"details": object{
				"type": "array", "description": "google.rpc.ErrorInfo with the reason, RetryInfo where waiting helps, BadRequest where a field is wrong.",
				"items": object{"type": "object", "required": []string{"@type"}, "properties": object{"@type": object{"type": "string"}}},
			},
		},
	}},
}

var retryAfter = object{"Retry-After": object{"description": "After how many seconds to try again, where waiting helps.", "schema": object{"type": "integer"}}}
