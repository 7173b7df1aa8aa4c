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
	server *health.Server

	mu      sync.Mutex
	healthy map[string]bool
}

func newKeyHealth() *keyHealth {
	h := &keyHealth{server: health.NewServer(), healthy: map[string]bool{}}
	h.publish()
	return h
}

// set takes note of one key's health.
func (h *keyHealth) set(key string, healthy bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.healthy[key] = healthy
	h.server.SetServingStatus("key/"+key, servingStatus(healthy))
	h.publish()
}

// publish sets the health of the whole. The caller holds mu, or is alone.
func (h *keyHealth) publish() {
	serving := false
	for _, healthy := range h.healthy {
		serving = serving || healthy
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
