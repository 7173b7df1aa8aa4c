package awskms_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"github.com/jotsmith/jotsmith/backends"
	"github.com/jotsmith/jotsmith/backends/awskms"
	"github.com/jotsmith/jotsmith/backends/awskms/kmsfake"
)

// BenchmarkSign compares the backend with the bare SDK call on a transport of
// the same settings. The fake runs in a process of its own, so that cpu-us/op
// is the client's alone.
func BenchmarkSign(b *testing.B) {
	url, id := startFakeProcess(b)
	b.Setenv("AWS_ACCESS_KEY_ID", accessKey)
	b.Setenv("AWS_SECRET_ACCESS_KEY", secretKey)
	for _, callers := range []int{16, 64} {
		b.Run(fmt.Sprintf("bare SDK/callers=%d", callers), func(b *testing.B) {
			client := kms.New(kms.Options{
				Region: kmsfake.Region, BaseEndpoint: &url,
				Credentials: credentials.NewStaticCredentialsProvider(accessKey, secretKey, ""),
				HTTPClient: awshttp.NewBuildableClient().WithTransportOptions(func(t *http.Transport) {
					t.MaxIdleConns, t.MaxIdleConnsPerHost, t.MaxConnsPerHost = 0, 64, 64
				}),
			})
			var digest backends.Digest
			measure(b, callers, func() error {
				_, err := client.Sign(context.Background(), &kms.SignInput{
					KeyId: &id, Message: digest[:], MessageType: types.MessageTypeDigest,
					SigningAlgorithm: types.SigningAlgorithmSpecEcdsaSha256,
				})
				return err
			})
		})
		b.Run(fmt.Sprintf("backend/callers=%d", callers), func(b *testing.B) {
			backend, err := awskms.Open(b.Context(), "awskms:?rate=100000&region="+kmsfake.Region+"&endpoint="+url, discard())
			if err != nil {
				b.Fatal(err)
			}
			defer backend.Close()
			measure(b, callers, func() error {
				ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second) // as every RPC has one
				defer cancel()
				_, err := backend.Sign(ctx, id, backends.Digest{})
				return err
			})
		})
	}
}

func measure(b *testing.B, callers int, call func() error) {
	b.Helper()
	if err := call(); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	var left atomic.Int64
	left.Store(int64(b.N))
	cpu := cpuTime(b)
	b.ResetTimer()
	var wg sync.WaitGroup
	for range callers {
		wg.Go(func() {
			for left.Add(-1) >= 0 {
				if err := call(); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	b.ReportMetric(float64((cpuTime(b)-cpu).Microseconds())/float64(b.N), "cpu-us/op")
}

func cpuTime(b *testing.B) time.Duration {
	b.Helper()
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

const serveFake = "JOTSMITH_TEST_SERVE_KMSFAKE"

// startFakeProcess runs this test binary again, as TestServeFake.
func startFakeProcess(b *testing.B) (url, keyARN string) {
	b.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestServeFake$")
	cmd.Env = append(os.Environ(), serveFake+"=1")
	stdin, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		stdin.Close() // tells it to end
		cmd.Wait()
	})
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		b.Fatal(err)
	}
	url, keyARN, _ = strings.Cut(strings.TrimSpace(line), " ")
	return url, keyARN
}

// TestServeFake serves a benchmark in another process until its standard input
// ends; on its own it does nothing.
func TestServeFake(t *testing.T) {
	if serve, _ := strconv.ParseBool(os.Getenv(serveFake)); !serve {
		return
	}
	s, id := startFake(t, newKey(t))
	fmt.Fprintln(os.Stdout, s.URL(), id)
	io.Copy(io.Discard, os.Stdin)
}
