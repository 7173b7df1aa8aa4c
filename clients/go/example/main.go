// Command example lists one's apps in App Store Connect. The library puts a token
// of Jotsmith into every request; there is no key here and nothing to renew.
//
//	export JOTSMITH_ADDRESS=unix:///run/jotsmith/jotsmith.sock
//	go run ./clients/go/example --profile asc
//
// With --api it asks another server than Apple's, as the stand-in in
// clients/conformance/standin.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	jotsmith "github.com/jotsmith/jotsmith/clients/go"
)

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second) //nolint:forbidigo // main starts the root context
	err := run(ctx, os.Args[1:], os.Stdout)
	cancel()
	if err != nil {
		fmt.Fprintln(os.Stderr, "example:", err)
		os.Exit(1) //nolint:forbidigo // main ends the program
	}
}

func run(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("example", flag.ContinueOnError)
	profile := flags.String("profile", "asc", "the profile of Jotsmith's that makes App Store Connect's tokens")
	api := flags.String("api", "https://api.appstoreconnect.apple.com", "the App Store Connect API")
	if err := flags.Parse(args); err != nil {
		return err
	}
	client, err := jotsmith.Connect("") // the address in JOTSMITH_ADDRESS
	if err != nil {
		return err
	}
	defer client.Close() //nolint:errcheck // the process ends
	connect := http.Client{Transport: client.Transport(nil, *profile)}

	req, err := http.NewRequestWithContext(ctx, http.MethodGet, *api+"/v1/apps", http.NoBody)
	if err != nil {
		return err
	}
	resp, err := connect.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 4<<10))
		return fmt.Errorf("%s: %s", resp.Status, text)
	}
	var apps struct {
		Data []struct {
			ID         string
			Attributes struct{ Name, BundleID string }
		}
	}
	if err := json.NewDecoder(resp.Body).Decode(&apps); err != nil {
		return err
	}
	for _, app := range apps.Data {
		fmt.Fprintf(out, "%s\t%s\t%s\n", app.ID, app.Attributes.BundleID, app.Attributes.Name)
	}
	return nil
}
