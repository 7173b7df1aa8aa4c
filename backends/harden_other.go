//go:build !linux && !darwin

package backends

// HardenProcess does nothing: this system has the commands of a client alone.
func HardenProcess() error { return nil }
