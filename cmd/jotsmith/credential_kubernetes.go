package main

import (
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/go-json-experiment/json"
	"golang.org/x/oauth2"
)

// execInfoVariable is what a client of Kubernetes says to its plugin.
const execInfoVariable = "KUBERNETES_EXEC_INFO"

// execCredential is an apiVersion of ExecCredential.
// https://kubernetes.io/docs/reference/config-api/client-authentication.v1/
type execCredential string

const (
	execCredentialV1      execCredential = "client.authentication.k8s.io/v1"
	execCredentialV1beta1 execCredential = "client.authentication.k8s.io/v1beta1"
)

// execCredentialVersion returns what a client asks for, v1 where it says nothing.
func execCredentialVersion(info string) (execCredential, error) {
	if info == "" {
		return execCredentialV1, nil
	}
	var asked struct {
		APIVersion execCredential `json:"apiVersion"`
		Kind       string         `json:"kind"`
	}
	if err := json.Unmarshal([]byte(info), &asked); err != nil {
		return "", errors.New(execInfoVariable + " is not an ExecCredential in JSON")
	}
	if asked.Kind != "ExecCredential" || !slices.Contains([]execCredential{execCredentialV1, execCredentialV1beta1}, asked.APIVersion) {
		return "", fmt.Errorf("%s asks for %q of %q; set apiVersion to %s in the kubeconfig", execInfoVariable, asked.Kind, asked.APIVersion, execCredentialV1)
	}
	return asked.APIVersion, nil
}

// write writes a token as a client of Kubernetes reads it.
func (v execCredential) write(w io.Writer, token *oauth2.Token) error {
	type status struct {
		ExpirationTimestamp string `json:"expirationTimestamp"`
		Token               string `json:"token"`
	}
	return printJSON(w, struct {
		APIVersion execCredential `json:"apiVersion"`
		Kind       string         `json:"kind"`
		Spec       struct{}       `json:"spec"`
		Status     status         `json:"status"`
	}{v, "ExecCredential", struct{}{}, status{rfc3339(token), token.AccessToken}})
}
