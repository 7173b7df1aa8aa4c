package filekey

import (
	"errors"
	"fmt"
	"io"
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

// A refusal is a file that is there and is not taken. Its text says the
// problem, then the mend, and never what the file holds.
type refusal struct {
	kind error // ErrAccessDenied or ErrKeyUnsuitable
	text string
}

func (r *refusal) Error() string { return r.text }

func refuse(kind error, format string, args ...any) error {
	return &refusal{kind: kind, text: fmt.Sprintf(format, args...)}
}

// readKeyFile returns the content of the file id inside dir, once everything
// about the file but its content is found good. It fails with a *refusal,
// errNoDirectory or the system's error.
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
	// Looked at before it is opened: to open a device may do something.
	info, err := root.Stat(id)
	if err != nil {
		return nil, statError(err)
	}
	if err := checkFile(root, id, info); err != nil {
		return nil, err
	}
	// Not to wait for the writer of a FIFO that took the file's place.
	file, err := root.OpenFile(id, os.O_RDONLY|nonblock, 0)
	if err != nil {
		return nil, statError(err)
	}
	defer file.Close()
	// Looked at again: what is read is what was opened.
	if info, err = file.Stat(); err != nil {
		return nil, err
	}
	if err := checkFile(root, id, info); err != nil {
		return nil, err
	}
	data, err := io.ReadAll(io.LimitReader(file, maxFileSize+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxFileSize {
		return nil, tooLarge()
	}
	return data, nil
}

func tooLarge() error {
	return refuse(backends.ErrKeyUnsuitable, "the file is larger than 16 KiB, no private key is: name the key's file")
}

// checkFile refuses what is no regular file, too large, or open to others.
func checkFile(root *os.Root, id string, info fs.FileInfo) error {
	mode := info.Mode()
	var what string
	switch {
	case mode.IsDir():
		what = "a directory"
	case mode&fs.ModeNamedPipe != 0:
		what = "a FIFO"
	case mode&fs.ModeSocket != 0:
		what = "a socket"
	case mode&fs.ModeDevice != 0:
		what = "a device"
	case !mode.IsRegular():
		what = "no regular file"
	}
	if what != "" {
		return refuse(backends.ErrKeyUnsuitable, "it is %s: name the key's file", what)
	}
	if info.Size() > maxFileSize {
		return tooLarge()
	}
	return checkAccess(root.Name()+"/"+id, info)
}

// statError makes a refusal of what a wrong id causes.
func statError(err error) error {
	var errno syscall.Errno
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, fs.ErrPermission):
		return err
	case !errors.As(err, &errno):
		// Every error of the system has a number: this one is os.Root's own,
		// which has no name to compare with.
		return refuse(backends.ErrAccessDenied,
			"a symbolic link leads out of the directory, or is absolute: move the key itself into the directory")
	case errno == syscall.ENOTDIR:
		return fmt.Errorf("%w (a part of the path is no directory)", fs.ErrNotExist)
	case errno == syscall.ENAMETOOLONG:
		return fmt.Errorf("%w (the name is too long)", fs.ErrNotExist)
	case errno == syscall.ELOOP:
		return refuse(backends.ErrAccessDenied, "its symbolic links go in a circle: point them at the key's file")
	}
	return err
}
