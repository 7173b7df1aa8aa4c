package backends

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
)

// A FileRefusal is a file that is there and is not taken. Its text says the
// problem, then the mend, and never what the file holds.
type FileRefusal struct {
	Kind error // whose turn it is: ErrAccessDenied, ErrKeyUnsuitable for what can hold no key, ErrUnavailable
	text string
}

func (r *FileRefusal) Error() string { return r.text }

// RefuseFile returns a FileRefusal.
func RefuseFile(kind error, format string, args ...any) error {
	return &FileRefusal{Kind: kind, text: fmt.Sprintf(format, args...)}
}

// ReadFile returns what a regular file of at most limit bytes holds. No FIFO
// keeps it waiting and no device is opened; symbolic links are followed, as
// Kubernetes needs them in its mounts. The error begins with the path, and is a
// *FileRefusal below it or the system's own.
func ReadFile(path string, limit int64) ([]byte, error) {
	return readFile(system{}, path, limit, func(string, fs.FileInfo) error { return nil })
}

// ReadSecretFile is ReadFile for a file that CheckSecret finds good. No other
// copy of what it returns is left: the caller can wipe it.
func ReadSecretFile(path string, limit int64) ([]byte, error) {
	return readFile(system{}, path, limit, CheckSecret)
}

// ReadSecretFileIn is ReadSecretFile inside a directory: a link that leads out
// of it is an error that has no number of the system's.
func ReadSecretFileIn(root *os.Root, name string, limit int64) ([]byte, error) {
	return readFile(root, name, limit, func(_ string, info fs.FileInfo) error {
		return CheckSecret(root.Name()+"/"+name, info)
	})
}

// opener is what a file is looked up in: a directory, or the whole system.
type opener interface {
	Stat(name string) (fs.FileInfo, error)
	OpenFile(name string, flag int, perm fs.FileMode) (*os.File, error)
}

type system struct{}

func (system) Stat(name string) (fs.FileInfo, error) { return os.Stat(name) }

func (system) OpenFile(name string, flag int, perm fs.FileMode) (*os.File, error) {
	return os.OpenFile(name, flag, perm)
}

func readFile(in opener, name string, limit int64, check func(string, fs.FileInfo) error) ([]byte, error) {
	data, err := readChecked(in, name, func(info fs.FileInfo) error {
		if err := checkRegular(info, limit); err != nil {
			return err
		}
		return check(name, info)
	})
	if at, ok := errors.AsType[*fs.PathError](err); ok {
		err = at.Err
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return data, nil
}

func readChecked(in opener, name string, check func(fs.FileInfo) error) ([]byte, error) {
	// Looked at before it is opened: to open a device may do something.
	info, err := in.Stat(name)
	if err != nil {
		return nil, err
	}
	if err := check(info); err != nil {
		return nil, err
	}
	// Not to wait for the writer of a FIFO that took the file's place.
	file, err := in.OpenFile(name, os.O_RDONLY|nonblock, 0)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	// Looked at again: what is read is what was opened.
	if info, err = file.Stat(); err != nil {
		return nil, err
	}
	if err := check(info); err != nil {
		return nil, err
	}
	data := make([]byte, info.Size()+1)
	n, err := io.ReadFull(file, data)
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return data[:n], nil
	case err == nil:
		err = RefuseFile(ErrUnavailable, "it grew while it was read: try again")
	}
	clear(data)
	return nil, err
}

// checkRegular refuses what is no regular file, or has more than limit bytes.
func checkRegular(info fs.FileInfo, limit int64) error {
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
		what = "something else"
	}
	if what != "" {
		return RefuseFile(ErrKeyUnsuitable, "it is %s: name a regular file", what)
	}
	if info.Size() > limit {
		return RefuseFile(ErrKeyUnsuitable, "it is larger than %d bytes: name the right file", limit)
	}
	return nil
}

// CheckSecret refuses a file that somebody else than root and this program's
// user can use in any way. Of root's file a group may be the reader, because
// that is how Kubernetes mounts a secret into a pod with fsGroup and systemd
// passes a credential on, and a program that is not root can read it in no other
// way: who is in the group is the administrator's decision. PostgreSQL holds its
// ssl_key_file to the same.
//
// A POSIX access list shows in the group's bits: one that lets anyone write is
// refused with them. path is for the mend.
func CheckSecret(path string, info fs.FileInfo) error {
	owner, self, err := ownerOf(info)
	if err != nil {
		return err
	}
	return checkAccess(path, info.Mode(), owner, self, closedTo(owner))
}

// closedTo returns the mode bits that a secret file of this owner may not have.
func closedTo(owner uint32) fs.FileMode {
	if owner == 0 {
		return 0o037
	}
	return 0o077
}

// CheckWriters refuses a file, or a directory, that somebody else than root and this program's
// user can write; all may read it.
func CheckWriters(path string, info fs.FileInfo) error {
	owner, self, err := ownerOf(info)
	if err != nil {
		return err
	}
	return checkAccess(path, info.Mode(), owner, self, 0o022)
}

func checkAccess(path string, mode fs.FileMode, owner, self uint32, forbidden fs.FileMode) error {
	if owner != 0 && owner != self {
		return RefuseFile(ErrAccessDenied, "it belongs to uid %d, who could change it: run chown %d %s", owner, self, path)
	}
	found := mode.Perm() & forbidden
	if found == 0 {
		return nil
	}
	who, what, mend := "everyone", "use", "600"
	if found&0o007 == 0 {
		who, what = "its group", "read"
		if found&0o030 != 0 {
			what = "change"
		}
	}
	if mode.IsDir() {
		mend = "700"
	}
	return RefuseFile(ErrAccessDenied, "its mode %04o lets %s %s it: run chmod %s %s", mode.Perm(), who, what, mend, path)
}
