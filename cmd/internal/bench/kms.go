package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"github.com/jotsmith/jotsmith/backends/awskms/kmsfake"
)

const kmsCallers = 16

// awsEnvironment are credentials that the fake and the emulator take. The files
// of the user's own are kept out.
func (b *benchmark) awsEnvironment() []string {
	return []string{
		"AWS_ACCESS_KEY_ID=000000000000", "AWS_SECRET_ACCESS_KEY=bench", "AWS_REGION=" + kmsfake.Region, "AWS_SESSION_TOKEN=",
		"AWS_PROFILE=", "AWS_CONFIG_FILE=" + b.path("none"), "AWS_SHARED_CREDENTIALS_FILE=" + b.path("none"),
	}
}

// addKMS adds the rows of a key in AWS KMS, for which kmsfake stands in a
// process of its own: through the backend beside the SDK's bare call.
func (b *benchmark) addKMS(ctx context.Context) error {
	const section = "Key in AWS KMS (kmsfake)"
	self, err := os.Executable()
	if err != nil {
		return err
	}
	_, answer, err := b.startPiped(ctx, ready, self, nil, roleKMS, b.path("key.p8"), "0s")
	if err != nil {
		return err
	}
	endpoint, arn, _ := strings.Cut(answer, " ")
	env, inParallel := b.awsEnvironment(), strconv.Itoa(kmsCallers)
	bare, err := b.startAgent(ctx, env, roleSDK, endpoint, arn, inParallel)
	if err != nil {
		return err
	}
	uri := "awskms:?region=" + kmsfake.Region + "&endpoint=" + endpoint + "&rate=100000"
	backend, err := b.startAgent(ctx, env, roleBackend, uri, arn, inParallel)
	if err != nil {
		return err
	}
	byUnix, _, err := b.startServer(ctx, store{name: "kms", uri: uri, keyID: arn, env: env})
	if err != nil {
		return err
	}
	sdk := "SDK's Sign, " + inParallel + " callers"
	b.add(&row{section: section, name: sdk, load: bare.load})
	b.add(&row{
		section: section, name: "backends/awskms, " + inParallel + " callers",
		load: backend.load, against: sdk, byCPU: true, bound: atMost(1.1),
	})
	b.add(&row{section: section, name: "MintToken, Unix, kmsfake, " + inParallel + " callers", load: callers(byUnix, kmsCallers, 1), against: sdk, byCPU: true})
	b.agents = append(b.agents, namedAgent{"backends/awskms", backend})
	return nil
}

// addEmulator adds the row of the emulator that the tests run against, if it is
// installed. It is written in Python and shows its own limit.
func (b *benchmark) addEmulator(ctx context.Context) error {
	const section = "Key in AWS KMS (emulator)"
	installed, err := filepath.Glob(filepath.Join(b.root, ".cache", "ministack-*", "installed"))
	if err != nil || len(installed) == 0 {
		b.notes = append(b.notes, section+": not installed: deploy/dev/kms.sh install")
		return err
	}
	address, err := freeAddress(ctx)
	if err != nil {
		return err
	}
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return err
	}
	if _, _, err := b.startPiped(ctx, "KMS on ", filepath.Join(b.root, "deploy", "dev", "kms.sh"), nil, "start", port); err != nil {
		return err
	}
	b.emulator = "http://" + address
	byUnix, err := b.startOnEmulator(ctx, "emulator", b.emulator)
	if err != nil {
		return err
	}
	b.add(&row{section: section, name: "MintToken, Unix, emulator, " + strconv.Itoa(kmsCallers) + " callers", load: callers(byUnix, kmsCallers, 1)})
	return nil
}

// startOnEmulator starts the real server with the emulator's key, which it
// reaches at the endpoint.
func (b *benchmark) startOnEmulator(ctx context.Context, name, endpoint string) (target, error) {
	byUnix, _, err := b.startServer(ctx, store{
		name: name, uri: "awskms:?region=" + kmsfake.Region + "&endpoint=" + endpoint + "&rate=100000",
		keyID: "alias/jotsmith-dev", env: b.awsEnvironment(),
	})
	return byUnix, err
}

// runKMS is kmsfake with the key in a file, each signature later by delay, until
// its input ends.
func runKMS(keyFile string, delay time.Duration, in io.Reader, out io.Writer) error {
	text, err := os.ReadFile(keyFile) //nolint:gosec // the parent names it
	if err != nil {
		return err
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return errors.New("no PEM in " + keyFile)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return err
	}
	key, ok := parsed.(*ecdsa.PrivateKey)
	if !ok {
		return fmt.Errorf("%s holds a %T", keyFile, parsed)
	}
	server, err := kmsfake.New()
	if err != nil {
		return err
	}
	if delay > 0 {
		server.Inject(kmsfake.Fault{Operation: kmsfake.Sign, Delay: delay})
	}
	fmt.Fprintln(out, ready, server.URL(), server.AddKey(key))
	_, err = io.Copy(io.Discard, in)
	return errors.Join(err, server.Close())
}

// openSDK is the job of calling KMS with the SDK alone, without tries, and with
// as many connections as calls.
func openSDK(ctx context.Context, endpoint, keyID string, workers int) (job, error) {
	transport := awshttp.NewBuildableClient().WithTransportOptions(func(t *http.Transport) { t.MaxIdleConnsPerHost = workers })
	cfg, err := config.LoadDefaultConfig(ctx, config.WithHTTPClient(transport))
	if err != nil {
		return job{}, err
	}
	client := kms.NewFromConfig(cfg, func(o *kms.Options) {
		o.BaseEndpoint = aws.String(endpoint)
		o.Retryer = aws.NopRetryer{}
	})
	sign := func(ctx context.Context, i int) (int, error) {
		_, err := client.Sign(ctx, &kms.SignInput{
			KeyId: &keyID, Message: digestOf(i), MessageType: types.MessageTypeDigest, SigningAlgorithm: types.SigningAlgorithmSpecEcdsaSha256,
		})
		return 1, err
	}
	return job{
		run: func(ctx context.Context, d time.Duration) (sample, error) {
			return work(ctx, workers, d, ownCPU, sign)
		},
		close: func() error { return nil },
	}, nil
}
