// Package config reads the configuration file: strictly, with defaults, and
// with every problem at its line and column. The rules that a field can say of
// itself stand in proto/jotsmith/config/v1; what concerns several fields, or
// the presets, is checked here.
package config

import (
	"crypto/sha256"
	_ "embed" // the JSON Schema
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	configv1 "github.com/jotsmith/jotsmith/proto/jotsmith/config/v1"
	"github.com/jotsmith/jotsmith/service/claims"
	"github.com/jotsmith/jotsmith/service/policy"
	"github.com/jotsmith/jotsmith/service/publish"
	"github.com/jotsmith/jotsmith/service/signer"
)

// MaxSize is the largest file that is read, in bytes.
const MaxSize = 1 << 20

// Schema is the JSON Schema of the file, for editors.
//
//go:embed config.schema.json
var Schema []byte

// Config is a file that has passed every check, with its defaults filled in.
type Config struct {
	*configv1.Config

	// Generation names the file: the first 16 hexadecimal digits of its
	// SHA-256 digest.
	Generation string

	ClaimProfiles []claims.Profile // sorted by name
	PolicyRules   []policy.Rule    // in the order of the file
	SigningKeys   []signer.Key     // sorted by name, the versions of one in their order
	Published     publish.Plan

	Rotations map[string]Rotation // of the keys that have versions, by name
}

// Load reads and checks the file at strictyaml.Path, "-" being standard input. checkURI
// says what is wrong with a backend's URI. The error lists every problem found.
func Load(path string, checkURI func(uri string) error) (*Config, error) {
	c, err := Sketch(path, checkURI)
	if err != nil {
		return nil, err
	}
	return c, nil
}

// Sketch is Load for whoever only looks: beside the error it returns what could
// be read of the file all the same, nil where that is nothing. Nothing may be
// served from it.
func Sketch(path string, checkURI func(uri string) error) (*Config, error) {
	if path == "-" {
		return load("<stdin>", os.Stdin, checkURI)
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file", path)
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return load(path, file, checkURI)
}

func load(name string, r io.Reader, checkURI func(string) error) (*Config, error) {
	data, err := io.ReadAll(io.LimitReader(r, MaxSize+1))
	if err != nil {
		return nil, err
	}
	if len(data) > MaxSize {
		return nil, fmt.Errorf("%s:1:1 the file is larger than %d bytes", name, MaxSize)
	}
	return sketch(name, data, checkURI)
}

// Parse checks the file's content; name stands for the file in messages.
func Parse(name string, data []byte, checkURI func(string) error) (*Config, error) {
	c, err := sketch(name, data, checkURI)
	if err != nil {
		return nil, err
	}
	return c, nil
}

func sketch(name string, data []byte, checkURI func(string) error) (*Config, error) {
	presets, err := Presets()
	if err != nil {
		return nil, err
	}
	digest := sha256.Sum256(data)
	c := &Config{Config: &configv1.Config{}, Generation: hex.EncodeToString(digest[:8])}
	check := &checker{config: c, presets: presets, checkURI: checkURI}
	err = decode(name, data, c.Config, check.check)
	if proto.Size(c.Config) == 0 {
		return nil, err
	}
	c.setDefaults()
	return c, err
}

// The defaults that config.proto promises.
const (
	defaultMaxInFlight = 64
	defaultMaxQueue    = 1024
	defaultFileQueue   = 16384
	defaultMinTime     = 100 * time.Millisecond
	defaultTimeout     = 10 * time.Second
	defaultConnections = 4096
	defaultStreams     = 128
	defaultGrace       = 30 * time.Second
	defaultCacheMiB    = 64
	defaultAuditMiB    = 256
	defaultCheckpoints = time.Minute
	defaultWatches     = 64
	defaultAllWatches  = 16384
	defaultCalls       = 16384
	defaultReaders     = 512
	defaultSocketMode  = "0660"
	defaultStart       = 30 * time.Second
)

func (c *Config) setDefaults() {
	for _, b := range c.GetBackends() {
		if strings.HasPrefix(b.GetUri(), "file:") { // max_in_flight is the machine's
			b.MaxQueue = orDefault(b.GetMaxQueue(), defaultFileQueue)
		} else {
			b.MaxInFlight = orDefault(b.GetMaxInFlight(), defaultMaxInFlight)
			b.MaxQueue = orDefault(b.GetMaxQueue(), defaultMaxQueue)
		}
		if b.GetMinTime() == nil {
			b.MinTime = durationpb.New(defaultMinTime)
		}
	}
	for _, l := range c.GetListeners() {
		if u := l.GetUnix(); u != nil {
			u.Mode = orDefault(u.GetMode(), defaultSocketMode)
		}
		if a := l.GetTcp().GetSpiffe(); a != nil && a.GetStartTimeout() == nil {
			a.StartTimeout = durationpb.New(defaultStart)
		}
	}
	if u := c.GetMetrics().GetUnix(); u != nil {
		u.Mode = orDefault(u.GetMode(), defaultSocketMode)
	}
	if c.Limits == nil {
		c.Limits = &configv1.Limits{}
	}
	limits := c.GetLimits()
	if limits.GetRequestTimeout() == nil {
		limits.RequestTimeout = durationpb.New(defaultTimeout)
	}
	if limits.GetShutdownGrace() == nil {
		limits.ShutdownGrace = durationpb.New(defaultGrace)
	}
	limits.MaxConnections = orDefault(limits.GetMaxConnections(), defaultConnections)
	limits.TokenCacheMib = orDefault(limits.GetTokenCacheMib(), defaultCacheMiB)
	limits.MaxWatchesPerCaller = orDefault(limits.GetMaxWatchesPerCaller(), defaultWatches)
	limits.MaxCalls = orDefault(limits.GetMaxCalls(), defaultCalls)
	limits.MaxWatches = orDefault(limits.GetMaxWatches(), defaultAllWatches)
	limits.MaxStreamsPerConnection = orDefault(limits.GetMaxStreamsPerConnection(), defaultStreams)
	if a := c.GetAdmin(); a != nil && len(a.GetUids()) == 0 {
		a.Uids = []uint32{0}
		if uid := os.Getuid(); uid > 0 {
			a.Uids = append(a.Uids, uint32(uid))
		}
	}
	if a := c.GetAudit(); a != nil {
		a.Sync = orDefault(a.GetSync(), "batch")
		a.MaxFileMib = orDefault(a.GetMaxFileMib(), defaultAuditMiB)
		if a.GetCheckpointInterval() == nil {
			a.CheckpointInterval = durationpb.New(defaultCheckpoints)
		}
	}
	if p := c.GetPublish(); p.GetAddress() != "" {
		p.MaxConnections = orDefault(p.GetMaxConnections(), defaultReaders)
	}
	if c.Log == nil {
		c.Log = &configv1.Log{}
	}
	c.GetLog().Level = orDefault(c.GetLog().GetLevel(), "info")
	c.GetLog().Format = orDefault(c.GetLog().GetFormat(), "json")
}

func orDefault[T comparable](v, otherwise T) T {
	var unset T
	if v == unset {
		return otherwise
	}
	return v
}
