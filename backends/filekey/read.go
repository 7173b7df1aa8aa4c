package filekey

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"

	"github.com/jotsmith/jotsmith/backends"
)

// maxFileSize is far above any private key with comments, and small enough
// that a wrong file costs nothing.
const maxFileSize = 16 << 10

// errNoDirectory says that the backend's whole directory is away.
var errNoDirectory = errors.New("the directory of key files is away")

// readKeyFile returns the content of the file id inside dir, once everything
// about the file but its content is found good. It fails with a
// *[backends.FileRefusal], errNoDirectory or the system's error.
//
// Symbolic links are followed as long as they stay inside dir (os.Root), which
// is what a Kubernetes secret mount needs: key.p8 -> ..data/key.p8 and
// ..data -> ..2026_11_23. The mount is changed by swapping ..data, so a file
// that vanished while it was being opened is looked for once more.
func readKeyFile(dir, id string) ([]byte, error) {
	root, err := os.OpenRoot(dir)
	if errors.Is(err, fs.ErrPermission) {
		return nil, err
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w: mount or create it again", errNoDirectory, err)
	}
	defer root.Close()
	data, err := readIn(root, id)
	if errors.Is(err, fs.ErrNotExist) {
		data, err = readIn(root, id)
	}
	return data, err
}

func readIn(root *os.Root, id string) ([]byte, error) {
	data, err := backends.ReadSecretFileIn(root, id, maxFileSize)
	if err != nil {
		return nil, statError(err)
	}
	return data, nil
}

// statError makes a refusal of what a wrong id causes.
func statError(err error) error {
	var errno syscall.Errno
	var refused *backends.FileRefusal
	switch {
	case errors.As(err, &refused):
		return err
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, fs.ErrPermission):
		return err
	case !errors.As(err, &errno):
		// Every error of the system has a number: this one is os.Root's own,
		// which has no name to compare with.
		return backends.RefuseFile(backends.ErrAccessDenied,
			"a symbolic link leads out of the directory, or is absolute: move the key itself into the directory")
	case errno == syscall.ENOTDIR:
		return fmt.Errorf("%w (a part of the path is no directory)", fs.ErrNotExist)
	case errno == syscall.ENAMETOOLONG:
		return fmt.Errorf("%w (the name is too long)", fs.ErrNotExist)
	case errno == syscall.ELOOP:
		return backends.RefuseFile(backends.ErrAccessDenied, "its symbolic links go in a circle: point them at the key's file")
	}
	return err
}
