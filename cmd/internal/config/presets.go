package config

import (
	"embed"
	"io/fs"
	"maps"
	"strings"
	"sync"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	configv1 "github.com/jotsmith/jotsmith/proto/jotsmith/config/v1"
)

//go:embed presets
var presetFiles embed.FS

// ownPreset is the preset for tokens of one's own. A profile without a preset
// is of its kind.
const ownPreset = "jwt"

// Presets returns the presets that are part of the program, by name. The map is
// the caller's, the presets must not be changed.
func Presets() (map[string]*configv1.Preset, error) {
	all, err := presets()
	return maps.Clone(all), err
}

// presets is constant; a Go constant cannot hold it. Reading the files costs ten
// times what reading a configuration does.
var presets = sync.OnceValues(readPresets)

func readPresets() (map[string]*configv1.Preset, error) {
	presets := map[string]*configv1.Preset{}
	err := fs.WalkDir(presetFiles, "presets", func(file string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		data, err := presetFiles.ReadFile(file)
		if err != nil {
			return err
		}
		preset := &configv1.Preset{}
		if err := decode(file, data, preset, nil); err != nil {
			return err
		}
		presets[strings.TrimSuffix(strings.TrimPrefix(file, "presets/"), ".yaml")] = preset
		return nil
	})
	return presets, err
}

// PresetYAML returns the file of a preset, or an error where there is none.
func PresetYAML(name string) ([]byte, error) {
	return presetFiles.ReadFile("presets/" + name + ".yaml")
}

// noPreset is what a profile starts from that names no preset: no rules, and
// the defaults that config.proto promises.
func noPreset() *configv1.Preset {
	return &configv1.Preset{
		Open:          true,
		ReuseIsOpen:   true,
		Profile:       &configv1.Profile{Typ: "JWT", DefaultTtl: durationpb.New(5 * time.Minute)},
		DefaultMaxTtl: durationpb.New(time.Hour),
	}
}
