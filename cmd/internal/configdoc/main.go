// Configdoc makes what users read of the configuration file, from what buf makes
// of its proto:
//
//	configdoc page    a FileDescriptorSet with source info -> docs/config.md
//	configdoc schema  protoc-gen-jsonschema's bundle -> the schema for editors
//
// Both from standard input to standard output. Run by deploy/tools/generate.sh.
package main

import (
	"fmt"
	"io"
	"os"
)

func main() {
	if err := run(os.Args[1:], os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "configdoc:", err)
		os.Exit(1)
	}
}

func run(args []string, r io.Reader, w io.Writer) error {
	if len(args) != 1 {
		return fmt.Errorf("usage: configdoc page|schema")
	}
	data, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	switch args[0] {
	case "page":
		return writePage(data, w)
	case "schema":
		return writeSchema(data, w)
	default:
		return fmt.Errorf("usage: configdoc page|schema")
	}
}
