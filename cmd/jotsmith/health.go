package main

import (
	"sync"

	"google.golang.org/grpc/health"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"

	jotsmithv1 "github.com/jotsmith/jotsmith/proto/jotsmith/v1"
)

// keyHealth turns the health of keys into that of grpc.health.v1: "key/NAME"
// for each key; the server as a whole ("") and its services are SERVING while
// at least one key can sign.
type keyHealth struct {
	server   *health.Server
	onChange func() // called after each change of what is served; set before the first generation

	mu      sync.Mutex
	current *generationHealth
}

// generationHealth is the health of the keys of one generation, which is
// published while the generation answers.
type generationHealth struct {
	all *keyHealth

	mu      sync.Mutex
	healthy map[string]bool
}

func newKeyHealth() *keyHealth {
	h := &keyHealth{server: health.NewServer(), onChange: func() {}}
	h.publish(nil)
	return h
}

// next returns the health of a generation that does not answer yet.
func (h *keyHealth) next() *generationHealth {
	return &generationHealth{all: h, healthy: map[string]bool{}}
}

// set takes note of one key's health.
func (g *generationHealth) set(key string, healthy bool) {
	g.mu.Lock()
	g.healthy[key] = healthy
	g.mu.Unlock()

	g.all.mu.Lock()
	answers := g.all.current == g
	if answers {
		g.all.publish(g)
	}
	g.all.mu.Unlock()
	if answers {
		g.all.onChange()
	}
}

// adopt publishes the health of the generation that answers from now on, and
// forgets the keys that it does not have.
func (h *keyHealth) adopt(g *generationHealth) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.current != nil {
		h.current.mu.Lock()
		for key := range h.current.healthy {
			h.server.SetServingStatus("key/"+key, healthv1.HealthCheckResponse_SERVICE_UNKNOWN)
		}
		h.current.mu.Unlock()
	}
	h.current = g
	h.publish(g)
}

// publish sets the health of the keys and of the whole. The caller holds mu, or
// is alone.
func (h *keyHealth) publish(g *generationHealth) {
	serving := false
	if g != nil {
		g.mu.Lock()
		for key, healthy := range g.healthy {
			serving = serving || healthy
			h.server.SetServingStatus("key/"+key, servingStatus(healthy))
		}
		g.mu.Unlock()
	}
	for _, name := range []string{
		"", jotsmithv1.TokenService_ServiceDesc.ServiceName,
		jotsmithv1.ProfileService_ServiceDesc.ServiceName, jotsmithv1.KeyService_ServiceDesc.ServiceName,
	} {
		h.server.SetServingStatus(name, servingStatus(serving))
	}
}

func servingStatus(healthy bool) healthv1.HealthCheckResponse_ServingStatus {
	if healthy {
		return healthv1.HealthCheckResponse_SERVING
	}
	return healthv1.HealthCheckResponse_NOT_SERVING
}
